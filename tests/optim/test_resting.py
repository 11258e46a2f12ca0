"""Members that rest against plain optimisers that are simply not stepped."""

import pytest
import torch
from torch import nn

import tenfold
from tenfold.optim import OPTIMIZERS, SGD, AdamW, resting

M, STEPS = 3, 14
LR = [0.1, 0.02, 0.05]
RESTS = {0: [1], 1: [1, 2], 4: [0], 5: [0, 1, 2], 6: [1], 9: [], 10: [2, 0]}
OPTIONS = {
    "sgd": {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1},
    "adagrad": {"initial_accumulator_value": 0.5, "lr_decay": 0.1},
    "rmsprop": {"centered": True, "momentum": 0.9},
    "adam": {"amsgrad": True, "weight_decay": 0.1},
    "asgd": {"lambd": 0.01, "t0": 3.0},
    "nadam": {"weight_decay": 0.1},
}


def make_models():
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double() for _ in range(M)]


def gradients(step, member, like):
    generator = torch.Generator().manual_seed(1000 * step + member)
    return [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in like]


def give_gradients(stack, step, rests):
    for k, parameter in enumerate(stack.parameters()):
        one = [gradients(step, member, [p[0] for p in stack.parameters()])[k] for member in stack.members]
        parameter.grad = torch.stack(one)
        parameter.grad[rests] = float("nan")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_who_rests_goes_on_as_if_the_step_had_not_been(name):
    entry, options = OPTIMIZERS[name], OPTIONS.get(name, {})
    stack = tenfold.stack(make_models())
    optimizer = entry.stacked(stack.parameters(), lr=LR, **options)
    for step in range(STEPS):
        give_gradients(stack, step, RESTS.get(step, []))
        with resting(stack, [optimizer], RESTS.get(step, [])):
            optimizer.step()
    for i, (model, got) in enumerate(zip(make_models(), stack.unstack(), strict=True)):
        plain = entry.plain(model.parameters(), lr=LR[i], **options)
        for step in range(STEPS):
            if i not in RESTS.get(step, []):
                for parameter, gradient in zip(
                    model.parameters(), gradients(step, i, model.parameters()), strict=True
                ):
                    parameter.grad = gradient
                plain.step()
        for one, two in zip(model.parameters(), got.parameters(), strict=True):
            torch.testing.assert_close(two, one, rtol=1e-10, atol=1e-10)


def everything(stack, optimizer, places):
    tensors = {n: t.detach() for n, t in (*stack.named_parameters(), *stack.named_buffers())}
    for k, parameter in enumerate(stack.parameters()):
        tensors |= {f"{name} of {k}": value for name, value in optimizer.state.get(parameter, {}).items()}
    wide = {n: v if isinstance(v, torch.Tensor) else torch.full((len(stack),), float(v)) for n, v in tensors.items()}
    return {name: value[places].clone() for name, value in wide.items()}


def test_parameters_buffers_and_state_stay_bit_for_bit_and_the_others_move():
    stack = tenfold.stack(make_models())
    optimizer = AdamW(stack.parameters(), lr=LR)
    x = torch.arange(15.0, dtype=torch.float64).sin().view(5, 3)
    for rests in ([], [2, 0]):
        stack.backward(stack.each(lambda model, x: model(x).square().mean() + model[0].weight.sum(), x))
        before = everything(stack, optimizer, [0, 2]), everything(stack, optimizer, [1])
        with resting(stack, [optimizer], torch.tensor(rests, dtype=torch.int64)):
            stack.each(lambda model, x: model(2 * x), x)
            optimizer.step()
    after = everything(stack, optimizer, [0, 2]), everything(stack, optimizer, [1])
    for name, old in before[0].items():
        assert torch.equal(old.double(), after[0][name].double()), name
        assert not torch.equal(before[1][name].double(), after[1][name].double()), name


def test_they_are_put_back_when_the_block_fails():
    stack = tenfold.stack(make_models())
    optimizer = SGD(stack.parameters(), lr=LR)
    before = everything(stack, optimizer, [0, 1, 2])
    give_gradients(stack, 0, [])

    def fail():
        with resting(stack, [optimizer], [0, 1, 2]):
            optimizer.step()
            raise KeyError("by the way")

    with pytest.raises(KeyError, match="by the way"):
        fail()
    for name, tensor in everything(stack, optimizer, [0, 1, 2]).items():
        assert torch.equal(tensor, before[name])


def test_a_first_step_that_nobody_takes_leaves_no_state_and_a_later_one_leaves_the_count():
    stack = tenfold.stack(make_models())
    optimizer = AdamW(stack.parameters(), lr=LR)
    give_gradients(stack, 0, [])
    with resting(stack, [optimizer], [0, 1, 2]):
        optimizer.step()
    assert optimizer.state == {}
    optimizer.step()
    with resting(stack, [optimizer], [2, 1, 0]):
        optimizer.step()
    assert [state["steps"] for state in optimizer.state.values()] == [1] * 4


def test_members_that_stay_keep_their_own_counts_and_so_does_a_saved_state():
    stacks = [tenfold.stack(make_models()) for _ in range(2)]
    optimizers = [AdamW(stack.parameters(), lr=LR) for stack in stacks]
    for step in range(3):
        give_gradients(stacks[0], step, [])
        with resting(stacks[0], [optimizers[0]], [1] if step == 1 else []):
            optimizers[0].step()
    stacks[1].load_state_dict(stacks[0].state_dict())
    optimizers[1].load_state_dict(optimizers[0].state_dict())
    for stack, optimizer in zip(stacks, optimizers, strict=True):
        stack.keep([2, 1])
        assert optimizer.state[stack.parameters()[0]]["steps"].tolist() == [3.0, 2.0]
        give_gradients(stack, 3, [])
        optimizer.step()
    for one, two in zip(stacks[0].parameters(), stacks[1].parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("places", [[3], [-1], [1, 1], [[0]], 0])
def test_places_that_are_none_are_refused(places):
    stack = tenfold.stack(make_models())
    with (
        pytest.raises(ValueError, match=r"resting: places must be distinct and in \[0, 3\), got"),
        resting(stack, [], places),
    ):
        pass
