"""Gradients and changes in place, member by member: what runs one after another is each model's own training."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tenfold
from tenfold.core.errors import StackError
from tenfold.stacking import SerialFallbackWarning

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
QUIET = pytest.mark.filterwarnings("ignore::tenfold.stacking.SerialFallbackWarning")


def total(model, x):
    return model(x).square().sum()


def double(*models):
    return [model.double() for model in models]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)


def train_alone(models, make, num_steps, batches=(X,)):
    for model in models:
        optimizer = make(model.parameters())
        for t in range(num_steps):
            optimizer.zero_grad()
            total(model, batches[t % len(batches)]).backward()
            optimizer.step()
    return models


def train_together(models, make, num_steps, form="auto", batches=(X,)):
    stack = tenfold.stack(models, form=form)
    optimizer = make(stack.parameters())
    for t in range(num_steps):
        loss_M = stack.each(total, batches[t % len(batches)])
        optimizer.zero_grad()
        stack.backward(loss_M)
        optimizer.step()
    return stack


def assert_same(stack, models, tolerance=1e-10):
    for got, model in zip(stack.unstack(), models, strict=True):
        for (name, value), expected in zip(got.state_dict().items(), model.state_dict().values(), strict=True):
            assert (value - expected).abs().max() <= tolerance, name


class Hooked(Net):
    def forward(self, x):
        y = self.layer(x)
        if y.requires_grad:
            y.register_hook(lambda gradient: -gradient)
        return y


def test_a_hook_on_a_tensor_runs_one_by_one_and_the_sentence_names_the_line():
    models = double(*(Hooked() for _ in range(2)))
    stack = tenfold.stack(models)
    with pytest.warns(SerialFallbackWarning, match=r"register_hook asks .*test_one_by_one.py:\d+: `y.register_hook"):
        loss_M = stack.each(total, X)
    stack.backward(loss_M)
    for i, model in enumerate(models):
        total(model, X).backward()
        torch.testing.assert_close(dict(stack.named_parameters())["layer.bias"].grad[i], model.layer.bias.grad)


class Asking(Net):
    """Takes another branch where nothing is trained."""

    def forward(self, x):
        y = self.layer(x)
        return y if y.requires_grad and self.layer.weight.requires_grad and not x.requires_grad else -y + 1


def test_a_tensor_knows_inside_one_program_whether_it_requires_a_gradient():
    models = double(*(Asking() for _ in range(2)))
    stack = tenfold.stack(models, form="stacked")
    torch.testing.assert_close(stack.each(lambda m, x: m(x), X), torch.stack([model(X) for model in models]))
    with torch.no_grad():
        torch.testing.assert_close(stack.each(lambda m, x: m(x), X), torch.stack([model(X) for model in models]))


class Experts(nn.Module):
    """Each batch goes to the expert that the gate chooses for it, and to no other."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(3, 3)
        self.experts = nn.ModuleList(nn.Linear(3, 2) for _ in range(3))

    def forward(self, x):
        weights = self.gate(x.mean(0)).softmax(0)
        chosen = int(weights.argmax())
        return self.experts[chosen](x) * weights[chosen]


BATCHES = [torch.randn(5, 3, generator=torch.Generator().manual_seed(s), dtype=torch.float64) * 3 for s in range(4)]
OPTIMIZERS = {
    "AdamW": {"lr": 0.05, "weight_decay": 0.3},
    "Adam": {"lr": 0.05, "weight_decay": 0.1, "amsgrad": True},
    "SGD": {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "RMSprop": {"lr": 0.01, "momentum": 0.5, "centered": True},
    "NAdam": {"lr": 0.02},
    "RAdam": {"lr": 0.02},
    "Adagrad": {"lr": 0.05, "lr_decay": 0.1},
    "Adadelta": {"lr": 0.5},
    "ASGD": {"lr": 0.01},
}


@QUIET
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_member_without_a_gradient_for_a_parameter_lets_it_rest_as_torch_does(name):
    torch.manual_seed(3)
    models = double(*(Experts() for _ in range(4)))
    choices = {tuple(int(model.gate(x.mean(0)).argmax()) for x in BATCHES) for model in models}
    assert len(choices) > 1, "every member uses the same experts: nothing is shown"
    options = OPTIMIZERS[name]
    lone = train_alone(copy.deepcopy(models), lambda p: getattr(torch.optim, name)(p, **options), 12, BATCHES)
    stack = train_together(models, lambda p: getattr(tenfold.optim, name)(p, **options), 12, batches=BATCHES)
    assert_same(stack, lone)


@QUIET
def test_gradients_that_are_accumulated_reach_who_any_batch_has_reached():
    torch.manual_seed(3)
    models = double(*(Experts() for _ in range(4)))
    lone = copy.deepcopy(models)
    stack = tenfold.stack(models, form="serial")
    optimizer = tenfold.optim.AdamW(stack.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        stack.backward(stack.each(total, BATCHES[0]) + stack.each(total, BATCHES[1]))
        stack.backward(stack.each(total, BATCHES[2]))
        optimizer.step()
    for model in lone:
        alone = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
        for _ in range(3):
            alone.zero_grad()
            (total(model, BATCHES[0]) + total(model, BATCHES[1])).backward()
            total(model, BATCHES[2]).backward()
            alone.step()
    assert_same(stack, lone)


@QUIET
def test_who_has_a_gradient_goes_along_when_members_leave():
    torch.manual_seed(3)
    models = double(*(Experts() for _ in range(4)))
    stack = tenfold.stack(models, form="serial")
    optimizer = tenfold.optim.AdamW(stack.parameters(), lr=0.1, weight_decay=0.5)
    stack.backward(stack.each(total, BATCHES[0]))
    stack.keep([3, 1])
    optimizer.step()
    lone = train_alone([copy.deepcopy(models[i]) for i in (3, 1)],
                       lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5), 1, BATCHES[:1])  # fmt: skip
    assert_same(stack, lone)


class Bounded(Net):
    """Keeps its weights within bounds, in forward, in one of several ways; members whose weights are small do not."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        weight = self.layer.weight
        if weight.abs().max() > 0.4:
            with torch.no_grad():
                if self.way == "in place":
                    weight.clamp_(-0.4, 0.4)
                elif self.way == "through data":
                    weight.data.clamp_(-0.4, 0.4)
                elif self.way == "data set anew":
                    weight.data = weight.data.clamp(-0.4, 0.4)
                elif self.way == "copied":
                    weight.copy_(F.normalize(weight, dim=1))
        return self.layer(self.head(x).tanh())


@QUIET
@pytest.mark.parametrize("way", ["in place", "through data", "data set anew", "copied"])
def test_weights_bounded_in_forward_are_bounded_and_train_as_alone(way):
    torch.manual_seed(0)
    models = double(*(Bounded(way) for _ in range(3)))
    with torch.no_grad():
        models[0].layer.weight.mul_(0.1)
    lone = train_alone(copy.deepcopy(models), lambda p: torch.optim.SGD(p, lr=0.02), 5)
    assert_same(train_together(models, lambda p: tenfold.optim.SGD(p, lr=0.02), 5), lone)


def test_data_of_another_shape_is_refused():
    def cut(model, x):
        model.layer.weight.data = model.layer.weight.data[:2]
        return x.sum()

    with pytest.raises(StackError, match=r"each: .data must keep its shape \(3, 3\) .*got \(2, 3\)"):
        tenfold.stack([Net(), Net()], form="serial").each(cut, X)


class Noisy(Net):
    """A buffer changed in place, set anew, and read into the graph."""

    def __init__(self):
        super().__init__()
        self.register_buffer("noise", torch.ones(3))
        self.register_buffer("scale", torch.ones(3))

    def forward(self, x):
        self.noise.mul_(1.5)
        y = self.layer(x) * self.noise * self.scale
        self.scale = 0.5 * self.scale + 0.5 * y.detach().abs().mean(0)
        return y


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_a_buffer_changed_in_forward_and_used_in_the_graph_trains_as_alone(form):
    models = double(*(Noisy() for _ in range(3)))
    lone = train_alone(copy.deepcopy(models), lambda p: torch.optim.SGD(p, lr=1e-3), 4)
    assert_same(train_together(models, lambda p: tenfold.optim.SGD(p, lr=1e-3), 4, form), lone)


def sick(make, count=3):
    """Members of which the second is NaN."""
    models = [make() for _ in range(count)]
    with torch.no_grad():
        next(models[1].parameters()).fill_(float("nan"))
    return models


TARGET = (torch.arange(6)[:, None] % 2).double()
CHECKED = {
    "binary_cross_entropy": lambda m, x: F.binary_cross_entropy(m(x).sigmoid(), TARGET),
    "weighted": lambda m, x: nn.BCELoss(weight=torch.tensor([2.0]).double(), reduction="sum")(m(x).sigmoid(), TARGET),
    "each sample": lambda m, x: F.binary_cross_entropy(m(x).sigmoid(), TARGET, reduction="none").mean(),
    "normal": lambda m, x: -torch.distributions.Normal(m(x), 1.0).log_prob(TARGET).mean(),
    "categorical": lambda m, x: -torch.distributions.Categorical(logits=m(x).T).log_prob(torch.tensor(1)).mean(),
}


@pytest.mark.parametrize("form", ["stacked", "serial"])
@pytest.mark.parametrize("name", CHECKED)
def test_a_member_of_nan_does_not_stop_the_others(name, form):
    models = sick(lambda: nn.Linear(3, 1).double())
    stack = tenfold.stack(models, form=form)
    loss_M = stack.each(CHECKED[name], X)
    stack.backward(loss_M)
    assert loss_M.isnan().tolist() == [False, True, False]
    for i in (0, 2):
        expected = CHECKED[name](models[i], X)
        expected.backward()
        torch.testing.assert_close(loss_M[i], expected)
        torch.testing.assert_close(stack.parameters()[0].grad[i], models[i].weight.grad)


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_numbers_out_of_range_are_still_refused(form):
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        tenfold.stack([nn.Linear(3, 1).double()] * 2, form=form).each(
            lambda m, x: F.binary_cross_entropy(m(x) * 0 + 2, TARGET), X
        )


def test_binary_cross_entropy_with_the_old_options_is_torchs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Linear(3, 1).double()
        loss = lambda m, x: F.binary_cross_entropy(m(x).sigmoid(), TARGET, size_average=False)  # noqa: E731
        got = tenfold.stack([model]).each(loss, X)
        torch.testing.assert_close(got[0], loss(model, X))


def test_distributions_check_their_arguments_again_after_the_call():
    tenfold.stack([nn.Linear(3, 1)] * 2).each(total, X.float())
    with pytest.raises(ValueError, match="to satisfy the constraint"):
        torch.distributions.Normal(torch.tensor(float("nan")), 1.0)


@QUIET
def test_a_members_own_assertion_says_which_member_it_was():
    def checked(model, x):
        y = model(x)
        assert not y.isnan().any(), "NaN in forward"
        return y.sum()

    with pytest.raises(AssertionError, match="NaN in forward") as caught:
        tenfold.stack(sick(lambda: nn.Linear(3, 1).double())).each(checked, X)
    assert "it was member 1 that raised this, and all stop with it" in caught.value.__notes__[0]


class Filling(Net):
    def forward(self, x):
        y = torch.zeros_like(x)
        y += self.layer(x)
        return y


def test_the_sentence_for_a_new_tensor_changed_in_place_says_how_to_mend_it():
    def write(model, x):
        y = torch.zeros(2, *x.shape, dtype=x.dtype)
        y[1] = model(x)
        return y.sum()

    for make, function in ((Filling, total), (lambda: nn.Linear(3, 3), write)):
        stack = tenfold.stack(double(make(), make()))
        with pytest.warns(
            SerialFallbackWarning, match=r"write b = b \+ own in place of b \+= own, torch.stack in place"
        ):
            stack.each(function, X)


def test_where_vmap_is_slow_warnings_as_errors_do_not_make_it_slower():
    def slow(model, x):
        return torch.renorm(model(x), 2, 0, 1.0).square().sum()

    models = double(nn.Linear(3, 3), nn.Linear(3, 3))
    stack = tenfold.stack(models)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = stack.each(slow, X)
    assert stack.form == "stacked"
    torch.testing.assert_close(got, torch.stack([slow(model, X) for model in models]))


@pytest.mark.parametrize("out_features", [2, 10])
def test_the_output_of_a_narrow_layer_may_be_viewed_as_alone(out_features):
    models = double(*(nn.Linear(3, out_features) for _ in range(2)))
    tokens = torch.randn(4, 5, 3, dtype=torch.float64)
    stack = tenfold.stack(models, form="stacked")
    for x, function in ((X, lambda m, x: m(x).view(-1)), (tokens, lambda m, x: m(x).view(4, -1))):
        torch.testing.assert_close(stack.each(function, x), torch.stack([function(model, x) for model in models]))
    with pytest.raises(RuntimeError, match="is invalid for input of size"):
        stack.each(lambda m, x: m(x).view(7, 7), X)


@QUIET
@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_weights_bounded_in_a_call_of_some_members_are_bounded_in_these_alone(form):
    models = double(*(Net() for _ in range(3)))
    stack = tenfold.stack(models, form=form)

    def bounded(model, x):
        with torch.no_grad():
            model.layer.weight.clamp_(-0.01, 0.01)
        return x.sum()

    stack.each(bounded, X, places=[2, 0])
    largest = [model.layer.weight.abs().max().item() for model in stack.unstack()]
    assert largest[0] == largest[2] == 0.01 < largest[1]
