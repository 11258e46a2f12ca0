"""Averages of weights against torch.optim.swa_utils.AveragedModel, member by member."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

import tenfold
from tenfold.optim import SGD, WeightAverage

M = 3
DECAY = [0.9, 0.5, 0.999]


def make_models():
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double() for _ in range(M)]


def make(**options):
    stack = tenfold.stack(make_models())
    return stack, WeightAverage(stack, **options), SGD(stack.parameters(), lr=[0.1, 0.05, 0.2])


def train(stack, optimizer, steps, after=lambda: None, start=0):
    generator = torch.Generator().manual_seed(1)
    batches = torch.randn(30, 5, 3, generator=generator, dtype=torch.float64)
    for x in batches[start : start + steps]:
        loss_M = stack.each(lambda model, x: model(x).square().mean(), x)
        optimizer.zero_grad()
        stack.backward(loss_M)
        optimizer.step()
        after()


def averaged_alone(steps, *, use_buffers, average):
    """What PyTorch averages along the same weights, one model a member; `average(member)` gives its options."""
    stack, _, optimizer = make()
    averages = [AveragedModel(m, use_buffers=use_buffers, **average(i)) for i, m in enumerate(stack.unstack())]

    def after():
        for one, model in zip(averages, stack.unstack(), strict=True):
            one.update_parameters(model)

    train(stack, optimizer, steps, after)
    return averages


def assert_same(models, averages):
    for model, average in zip(models, averages, strict=True):
        for (name, got), expected in zip(
            model.state_dict().items(), average.module.state_dict().values(), strict=True
        ):
            if not name.endswith("num_batches_tracked"):  # torch averages and truncates it; it has no meaning then
                torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12, msg=name)


def warmed_up(decay):
    def blend(average, value, n):
        share = min(decay, (1 + int(n)) / (10 + int(n)))
        return share * average + (1 - share) * value

    return blend


CASES = {
    "equal": ({}, lambda i: {}),
    "exponential": ({"decay": 0.9}, lambda i: {"avg_fn": get_ema_avg_fn(0.9)}),
    "exponential, a decay a member": ({"decay": DECAY}, lambda i: {"multi_avg_fn": get_ema_multi_avg_fn(DECAY[i])}),
    "with a warm-up": ({"decay": 0.3, "warmup": True}, lambda i: {"avg_fn": warmed_up(0.3)}),
    "with a warm-up, a decay a member": (
        {"decay": torch.tensor(DECAY, dtype=torch.float64), "warmup": True},
        lambda i: {"avg_fn": warmed_up(DECAY[i])},
    ),
    "without a memory": ({"decay": [0.0, 1.0, 0.5]}, lambda i: {"avg_fn": get_ema_avg_fn([0.0, 1.0, 0.5][i])}),
}


@pytest.mark.parametrize("use_buffers", [False, True], ids=["buffers copied", "buffers averaged"])
@pytest.mark.parametrize("name", CASES)
def test_the_averages_are_those_of_torch(name, use_buffers):
    options, average = CASES[name]
    stack, averaged, optimizer = make(use_buffers=use_buffers, **options)
    train(stack, optimizer, 30, averaged.update)
    with averaged.applied():
        models = stack.unstack()
    assert_same(models, averaged_alone(30, use_buffers=use_buffers, average=average))
    assert [int(model[1].num_batches_tracked) for model in models] == [30] * M


def test_counters_are_copied_when_buffers_are_averaged():
    stack, averaged, optimizer = make(use_buffers=True)
    train(stack, optimizer, 7, averaged.update)
    with averaged.applied():
        assert [int(model[1].num_batches_tracked) for model in stack.unstack()] == [7] * M


@pytest.mark.parametrize("options", [{}, {"decay": DECAY}], ids=["equal", "exponential"])
def test_members_that_stay_keep_their_averages(options):
    (stack, averaged, optimizer), (other, whole, other_optimizer) = make(**options), make(**options)
    train(stack, optimizer, 5, averaged.update)
    train(other, other_optimizer, 5, whole.update)
    stack.keep([2, 0])
    held, expected = averaged.state_dict(), whole.state_dict()
    for part in ("parameters", "buffers"):
        for name, tensor in held[part].items():
            assert torch.equal(tensor, expected[part][name][[2, 0]])
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    train(stack, optimizer, 5, averaged.update, start=5)
    train(other, other_optimizer, 5, whole.update, start=5)
    for name, tensor in averaged.state_dict()["parameters"].items():
        torch.testing.assert_close(tensor, whole.state_dict()["parameters"][name][[2, 0]], rtol=1e-9, atol=1e-9)


def snapshot(stack):
    return {name: tensor.detach().clone() for name, tensor in (*stack.named_parameters(), *stack.named_buffers())}


def test_inside_the_stack_is_the_average_and_outside_it_is_itself_again():
    stack, averaged, optimizer = make(decay=0.9)
    train(stack, optimizer, 4, averaged.update)
    before = snapshot(stack)
    with averaged.applied() as same:
        assert same is stack
        assert not any(torch.equal(before[name], tensor) for name, tensor in stack.named_parameters())
    with pytest.raises(KeyError, match="by the way"), averaged.applied():
        raise KeyError("by the way")
    for name, tensor in snapshot(stack).items():
        assert torch.equal(tensor, before[name])


def test_training_goes_on_as_if_the_averages_had_never_been_in_the_stack():
    (stack, averaged, optimizer), (other, _, other_optimizer) = make(decay=0.9), make()

    def evaluate():
        averaged.update()
        with averaged.applied(), torch.no_grad():
            stack.eval().each(lambda model, x: model(x), torch.ones(2, 3, dtype=torch.float64))
        stack.train()

    train(stack, optimizer, 5, evaluate)
    train(other, other_optimizer, 5)
    for name, tensor in snapshot(other).items():
        assert torch.equal(snapshot(stack)[name], tensor)


def test_a_loss_from_outside_can_still_be_gone_back_through():
    gradients = []
    for looks in (False, True):
        stack, averaged, optimizer = make(decay=0.9)
        train(stack, optimizer, 2, averaged.update)
        optimizer.zero_grad()
        loss_M = stack.each(lambda model, x: model(x).square().mean(), torch.eye(3, dtype=torch.float64))
        if looks:
            with averaged.applied():
                pass
        stack.backward(loss_M)
        gradients.append([parameter.grad for parameter in stack.parameters()])
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))


def test_batch_statistics_renewed_inside_belong_to_the_average():
    stack, averaged, optimizer = make(decay=0.9)
    train(stack, optimizer, 4, averaged.update)
    before = snapshot(stack)
    x = torch.randn(8, 3, dtype=torch.float64)
    with averaged.applied(), torch.no_grad():
        plain = stack.unstack()
        stack.each(lambda model, x: model(x), x)
        for model in plain:
            model.train()(x)
    for name, tensor in snapshot(stack).items():
        assert torch.equal(tensor, before[name])
    mean = averaged.state_dict()["buffers"]["1.running_mean"]
    torch.testing.assert_close(mean, torch.stack([model[1].running_mean for model in plain]), rtol=1e-12, atol=1e-12)


def test_a_member_without_numbers_changes_no_bit_of_the_others():
    (stack, averaged, optimizer), (other, sick, other_optimizer) = make(decay=DECAY), make(decay=DECAY)
    train(stack, optimizer, 3, averaged.update)
    train(other, other_optimizer, 1, sick.update)
    with torch.no_grad():
        other.parameters()[0][1] = float("nan")
    train(other, other_optimizer, 2, sick.update, start=1)
    for name, tensor in averaged.state_dict()["parameters"].items():
        assert torch.equal(tensor[[0, 2]], sick.state_dict()["parameters"][name][[0, 2]])
    assert sick.state_dict()["parameters"]["0.weight"][1].isnan().all()


def test_a_state_goes_on_in_another_average_through_a_file(tmp_path):
    options = {"decay": DECAY, "warmup": True}
    (stack, averaged, optimizer), (other, loaded, other_optimizer) = (
        make(**options),
        make(**{**options, "decay": 0.1}),
    )
    train(stack, optimizer, 4, averaged.update)
    train(other, other_optimizer, 4)
    torch.save(averaged.state_dict(), tmp_path / "state.pt")
    loaded.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    train(stack, optimizer, 4, averaged.update, start=4)
    train(other, other_optimizer, 4, loaded.update, start=4)
    assert loaded.num_averaged == averaged.num_averaged == 8
    for name, tensor in averaged.state_dict()["parameters"].items():
        assert torch.equal(tensor, loaded.state_dict()["parameters"][name])


def test_wrong_options_and_states_are_refused():
    stack, _, _ = make()
    with pytest.raises(ValueError, match=r"WeightAverage: decay must be in \[0, 1\], got 1.5"):
        WeightAverage(stack, decay=1.5)
    with pytest.raises(ValueError, match=r"WeightAverage: decay must be a number or one a member, shape \(3,\), got"):
        WeightAverage(stack, decay=[0.5, 0.6])
    with pytest.raises(ValueError, match=r"WeightAverage: warmup must be False without a decay, got True. Give a"):
        WeightAverage(stack, warmup=True)
    smaller, _, _ = make()
    state = WeightAverage(smaller).state_dict()
    smaller.keep([0])
    with pytest.raises(ValueError, match=r"WeightAverage.load_state_dict: state must have the shapes .* Build it on"):
        WeightAverage(smaller).load_state_dict(state)


def test_nothing_touches_the_averages_while_they_are_in_the_stack():
    _, averaged, _ = make()
    state = averaged.state_dict()
    with averaged.applied():
        calls = {
            "update": averaged.update,
            "applied": lambda: averaged.applied().__enter__(),
            "state_dict": averaged.state_dict,
            "load_state_dict": lambda: averaged.load_state_dict(state),
        }
        for name, call in calls.items():
            with pytest.raises(
                RuntimeError, match=f"WeightAverage.{name}: the averages are in the stack. Leave `with"
            ):
                call()
    averaged.update()
