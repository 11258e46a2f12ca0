"""Steps that come back: the very bits of `each` and `backward`; left alone where a record would not repeat them."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from stacking_nets import CASES
from torch import nn
from users_modules import USERS

import tenfold
from tenfold.core.seeds import torch_seed
from tenfold.stacking.gradients import GradientReplay

pytestmark = pytest.mark.filterwarnings("ignore::tenfold.stacking.SerialFallbackWarning")
X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


def trained(make, loss, batches, *, replayed, form="auto", count=3, steps=12):
    """The losses of some steps of SGD, and the stack after them."""
    models = []
    for seed in range(count):
        with torch_seed(seed):
            models.append(make())
    stack = tenfold.stack(models, form=form)
    parameters = [parameter for parameter in stack.parameters() if parameter.requires_grad]
    losses = GradientReplay(stack, loss, parameters)
    losses.is_on = replayed
    optimizer, found = tenfold.optim.SGD(parameters, lr=0.05), []
    for batch in itertools.islice(itertools.cycle(batches), steps):
        optimizer.zero_grad()
        found.append(losses(*batch))
        optimizer.step()
    return losses, torch.stack(found), stack


def is_replayed(losses):
    return any(recorded is not None for recorded in losses._recorded.values())


def assert_same_bits(one, two):
    for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    for (name, a), (_, b) in zip(one.named_buffers(), two.named_buffers(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("form", ["auto", "serial"])
@pytest.mark.parametrize("case", [*CASES, *USERS], ids=lambda case: case.name)
def test_replayed_steps_give_the_bits_of_steps_as_they_come(case, form):
    count = 1 if form == "serial" else 3
    run = {"form": form, "count": count}
    _, losses, plain = trained(case.make, case.loss, case.batches, replayed=False, **run)
    _, again, replayed = trained(case.make, case.loss, case.batches, replayed=True, **run)
    assert torch.equal(losses, again)
    assert_same_bits(plain, replayed)


ORDINARY = ["linear", "mlp with batch norm and dropout", "convolutions with batch norm", "attention", "transformer"]


@pytest.mark.parametrize("form", ["auto", "serial"])
@pytest.mark.parametrize("case", [case for case in CASES if case.name in ORDINARY], ids=lambda case: case.name)
def test_ordinary_networks_are_replayed(case, form):
    count = 1 if form == "serial" else 3
    losses, _, _ = trained(case.make, case.loss, case.batches, replayed=True, form=form, count=count)
    assert is_replayed(losses)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(8, 3), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x) / self.calls


class Clamping(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, x):
        with torch.no_grad():
            self.layer.weight.clamp_(-0.1, 0.1)
        return self.layer(x)


class Renewing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 3)
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.layer(x - self.mean)


def squares(model, x):
    return model(x).square().mean()


@pytest.mark.parametrize("make", [Counting, Clamping, Renewing])
def test_what_a_record_would_not_repeat_is_left_as_it_is(make):
    losses, found, replayed = trained(make, squares, [(X,)], replayed=True)
    assert not is_replayed(losses)
    _, plain, as_it_comes = trained(make, squares, [(X,)], replayed=False)
    assert torch.equal(found, plain)
    assert_same_bits(as_it_comes, replayed)


def mlp():
    return nn.Sequential(nn.Linear(8, 40), nn.ReLU(), nn.Linear(40, 3))


def test_a_batch_a_member_and_batches_that_all_share_have_records_of_their_own():
    own = tenfold.per_member(torch.stack([X, X + 1, X + 2]))
    losses, _, replayed = trained(mlp, squares, [(X,), (own,)], replayed=True, steps=110)
    assert [recorded is not None for recorded in losses._recorded.values()] == [True, True]
    _, _, plain = trained(mlp, squares, [(X,), (own,)], replayed=False, steps=110)
    assert_same_bits(plain, replayed)


def test_gradients_are_added_to_what_is_there():
    losses, _, stack = trained(mlp, squares, [(X,)], replayed=True)
    first = [parameter.grad.clone() for parameter in stack.parameters()]
    for parameter in stack.parameters():
        parameter.grad = None
    losses(X)
    one = [parameter.grad.clone() for parameter in stack.parameters()]
    losses(X)
    for parameter, own, before in zip(stack.parameters(), one, first, strict=True):
        assert not torch.equal(own, before)
        torch.testing.assert_close(parameter.grad, 2 * own)


def test_who_is_left_after_keep_goes_on_as_without_a_record():
    stacks = []
    for replayed in (True, False):
        losses, _, stack = trained(mlp, squares, [(X,)], replayed=replayed)
        optimizer = tenfold.optim.SGD(stack.parameters(), lr=0.05)
        stack.keep([2, 0])
        for _ in range(6):
            optimizer.zero_grad()
            losses(X)
            optimizer.step()
        stacks.append(stack)
        assert is_replayed(losses) == replayed
    assert_same_bits(*stacks)


def test_a_member_that_is_nan_changes_no_bit_of_another():
    bits = []
    for poisoned in (False, True):
        losses, _, stack = trained(mlp, squares, [(X,)], replayed=True)
        if poisoned:
            with torch.no_grad():
                stack.parameters()[0][1] = torch.nan
        for parameter in stack.parameters():
            parameter.grad = None
        found = losses(X)
        bits.append([found[[0, 2]], *(parameter.grad[[0, 2]] for parameter in stack.parameters())])
    assert all(torch.equal(one, two) for one, two in zip(*bits, strict=True))


def test_long_steps_are_left_alone(monkeypatch):
    monkeypatch.setattr("tenfold.stacking.gradients._LONG_S", 0.0)
    losses, _, _ = trained(mlp, squares, [(X,)], replayed=True)
    assert not is_replayed(losses)


def test_a_parameter_that_nobody_uses_has_no_gradient():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(8, 2), nn.Linear(8, 2)

        def forward(self, x):
            return self.used(x)

    losses, _, stack = trained(Half, squares, [(X,)], replayed=True)
    assert is_replayed(losses)
    assert [parameter.grad is None for parameter in stack.parameters()] == [False, False, True, True]


def test_narrow_layers_have_gradients_of_gradients():
    """A penalty on the gradient goes through the product of few columns a second time."""
    model = nn.Linear(8, 3)
    stack = tenfold.stack([model, nn.Linear(8, 3)])
    rows = tenfold.per_member(torch.stack([X, X]).requires_grad_())
    out = stack.each(lambda model, x: model(x).square().sum(), rows)
    (slope,) = torch.autograd.grad(out.sum(), rows.value, create_graph=True)
    slope.square().sum().backward(inputs=stack.parameters())
    x = X.clone().requires_grad_()
    (own,) = torch.autograd.grad(F.linear(x, model.weight, model.bias).square().sum(), x, create_graph=True)
    (expected,) = torch.autograd.grad(own.square().sum(), model.weight)
    torch.testing.assert_close(stack.parameters()[0].grad[0], expected)


class Reading(nn.Module):
    """Does one thing or another, as the numbers in its batch have it."""

    def __init__(self, how):
        super().__init__()
        self.layer, self.how = nn.Linear(8, 3), how

    def forward(self, x):
        largest = {"item": lambda: x.max().item(), "list": lambda: max(map(max, x.tolist())), "numpy": x.numpy().max}
        return self.layer(x) if largest[self.how]() > 5 else self.layer(-x)


@pytest.mark.parametrize("how", ["item", "list", "numpy"])
def test_a_loss_that_reads_the_numbers_in_its_batch_is_left_as_it_is(how):
    run = {"form": "serial", "count": 1, "steps": 8}
    batches = [(X,), (X,), (X,), (X,), (X + 10,)]
    losses, found, _ = trained(lambda: Reading(how), squares, batches, replayed=True, **run)
    assert not is_replayed(losses)
    _, plain, _ = trained(lambda: Reading(how), squares, batches, replayed=False, **run)
    assert torch.equal(found, plain)


def test_a_record_that_differs_on_a_second_batch_is_dropped(monkeypatch):
    said = iter([True, False, True, True])
    same = GradientReplay._gives_the_same
    monkeypatch.setattr(GradientReplay, "_gives_the_same", lambda *args: same(*args) and next(said))
    losses, _, _ = trained(mlp, squares, [(X,), (X + 1,)], replayed=True)
    assert not is_replayed(losses)


def smoothed(model, values, x, y):
    return F.cross_entropy(model(x), y) * (1 - values["smoothing"]) + torch.where(
        values["smoothing"] > 0, values["smoothing"] * model(x).square().mean(), 0.0
    )


@pytest.mark.parametrize("smoothing", [[0.0, 0.0, 0.0], [0.1, 0.2, 0.3], [0.0, 0.2, 0.0]])
def test_values_that_stay_are_worked_with_once_and_change_no_bit(smoothing):
    y = torch.tensor([0, 1, 2, 2, 1, 0])
    stacks, programs = [], []
    for replayed in (True, False):
        models = []
        for seed in range(3):
            with torch_seed(seed):
                models.append(mlp())
        stack = tenfold.stack(models)
        losses = GradientReplay(stack, smoothed, stack.parameters())
        losses.is_on = replayed
        optimizer = tenfold.optim.SGD(stack.parameters(), lr=0.05)
        values = {"smoothing": torch.tensor(smoothing)}
        for step in range(10):
            optimizer.zero_grad()
            losses(X + step, y, values=values)
            optimizer.step()
        stacks.append(stack)
        programs += [recorded.program for recorded in losses._recorded.values()]
    assert_same_bits(*stacks)
    assert len(programs) == 1
    num_choices = sum(called is torch.where for called in programs[0].run.__globals__.values())
    assert num_choices == (4 if smoothing == [0.0, 0.2, 0.0] else 3)  # three are cross-entropy's own
    other = {"smoothing": torch.tensor([0.5, 0.5, 0.5])}
    losses.is_on = True
    for parameter in stack.parameters():
        parameter.grad = None
    expected = stack.each(smoothed, tenfold.per_member(other), X, y)
    assert torch.equal(losses(X, y, values=other), expected.detach())


class Bare(nn.Module):
    """A parameter that is its own loss."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(2.0))

    def forward(self):
        return self.value


@pytest.mark.parametrize("num_members", [1, 3])
def test_losses_stay_what_they_were_when_the_parameters_move(num_members):
    stack = tenfold.stack([Bare() for _ in range(num_members)])
    losses = GradientReplay(stack, lambda model: model(), stack.parameters())
    losses.is_on = True
    optimizer = tenfold.optim.SGD(stack.parameters(), lr=0.5)
    found = []
    for _ in range(6):
        optimizer.zero_grad()
        found.append(losses())
        optimizer.step()
    assert [loss_M.tolist() for loss_M in found] == [[2.0 - 0.5 * step] * num_members for step in range(6)]


# -- in parts ----------------------------------------------------------------------------------------------


def in_parts(steps, make, *, is_on, places=((0, 2, 3), (1,)), sizes=(5, 4), values=None, form="auto"):
    """Losses, gradients and counts of steps that some members take with one row more than others."""
    models = []
    for seed in range(sum(map(len, places))):
        with torch_seed(seed):
            models.append(make())
    stack = tenfold.stack(models, form=form)
    own = {} if values is None else {"values": {"smoothing": torch.linspace(0.0, 0.3, len(stack))}}

    def loss(model, *batch):
        smoothing = batch[0]["smoothing"] if values is not None else 0.0
        return F.cross_entropy(model(batch[-2]), batch[-1]) * (1.0 - smoothing)

    losses, found = GradientReplay(stack, loss, stack.parameters()), []
    losses.is_on = is_on
    generator = torch.Generator().manual_seed(7)
    for _ in range(steps):
        for parameter in stack.parameters():
            parameter.grad = None
        parts = []
        for chosen, size in zip(places, sizes, strict=True):
            x = torch.randn(len(chosen), size, 8, generator=generator)
            y = torch.randint(0, 3, (len(chosen), size), generator=generator)
            parts.append((torch.tensor(chosen), (tenfold.per_member(x), tenfold.per_member(y))))
        found.append(losses.in_parts(parts, **own))
        found += [parameter.grad.clone() for parameter in stack.parameters()]
        with torch.no_grad():
            for parameter in stack.parameters():
                parameter -= 0.1 * parameter.grad
    return losses, found, stack


def small_mlp():
    return nn.Sequential(nn.Linear(8, 40), nn.ReLU(), nn.Dropout(0.3), nn.Linear(40, 3))


@pytest.mark.parametrize("values", [None, "of members"])
def test_steps_in_parts_are_replayed_to_the_bits_of_those_that_come(values):
    losses, found, stack = in_parts(8, small_mlp, is_on=True, values=values)
    _, expected, plain = in_parts(8, small_mlp, is_on=False, values=values)
    assert all(map(torch.equal, found, expected))
    assert is_replayed(losses)
    assert stack.call_counts() == plain.call_counts()


def test_each_member_of_a_replayed_part_learns_as_alone():
    def make():
        return nn.Sequential(nn.Linear(8, 40), nn.ReLU(), nn.Linear(40, 3)).double()

    torch.manual_seed(0)
    models = [make() for _ in range(3)]
    stack = tenfold.stack(models, form="stacked")
    losses = GradientReplay(stack, lambda model, x, y: F.cross_entropy(model(x), y), stack.parameters())
    losses.is_on = True
    x, y = torch.randn(3, 5, 8, dtype=torch.float64), torch.randint(0, 3, (3, 5))
    parts = [
        (torch.tensor([2, 0]), tuple(tenfold.per_member(own[[2, 0]]) for own in (x, y))),
        (torch.tensor([1]), tuple(tenfold.per_member(own[1:2, :4]) for own in (x, y))),
    ]
    for _ in range(6):
        for parameter in stack.parameters():
            parameter.grad = None
        loss_M = losses.in_parts(parts)
    assert is_replayed(losses)
    for m, model in enumerate(models):
        rows = 4 if m == 1 else 5
        loss = F.cross_entropy(model(x[m, :rows]), y[m, :rows])
        torch.testing.assert_close(loss_M[m], loss.detach(), rtol=1e-12, atol=1e-12)
        own = torch.autograd.grad(loss, list(model.parameters()))
        for gradient, parameter in zip(own, stack.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad[m], gradient, rtol=1e-10, atol=1e-12)


def test_parts_of_other_members_are_recorded_anew():
    stack = tenfold.stack([nn.Linear(8, 3) for _ in range(3)], form="stacked")
    losses = GradientReplay(stack, lambda model, x: model(x).square().mean(), stack.parameters())
    losses.is_on = True
    for step in range(12):
        places = ([0, 1], [2]) if step % 2 else ([2, 0], [1])
        x = torch.randn(3, 4, 8)
        for parameter in stack.parameters():
            parameter.grad = None
        loss_M = losses.in_parts([(torch.tensor(own), (tenfold.per_member(x[own]),)) for own in places])
        expected = stack.each(lambda model, x: model(x).square().mean(), tenfold.per_member(x))
        torch.testing.assert_close(loss_M, expected.detach())
    assert len(losses._recorded) == 2
    assert is_replayed(losses)


@pytest.mark.parametrize("make", [lambda: nn.Sequential(nn.Linear(8, 3), nn.BatchNorm1d(3)), small_mlp])
def test_parts_that_leave_members_out_or_move_buffers_come_as_they_come(make):
    batches = (
        [(torch.tensor([0, 1]), 4)] if make is small_mlp else [(torch.tensor([0, 1]), 4), (torch.tensor([2]), 3)]
    )
    stack = tenfold.stack([make() for _ in range(3)], form="stacked")
    losses = GradientReplay(stack, lambda model, x: model(x).square().mean(), stack.parameters())
    losses.is_on = True
    for _ in range(6):
        for parameter in stack.parameters():
            parameter.grad = None
        parts = [(own, (tenfold.per_member(torch.randn(len(own), rows, 8)),)) for own, rows in batches]
        loss_M = losses.in_parts(parts)
    assert not is_replayed(losses)
    assert (loss_M[2] == 0) == (make is small_mlp)


def test_where_every_step_has_another_shape_few_are_remembered():
    stack = tenfold.stack([nn.Linear(2, 1) for _ in range(2)], form="stacked")
    losses = GradientReplay(stack, lambda model, x: model(x).mean(), stack.parameters())
    losses.is_on = True
    for rows in [*range(1, 100), 3, 3, 3, 3, 3, 3, 3, 3]:
        for parameter in stack.parameters():
            parameter.grad = None
        losses(torch.ones(rows, 2))
    assert len(losses._seen) == 64
    assert is_replayed(losses)
