"""Convolution, ReLU and pooling as one operator: against PyTorch, against the three, and where they may be one."""

import pytest
import torch
import torch.nn.functional as F
from seen_operators import Operators
from torch import nn

import tenfold
from tenfold.optim import TrainingStep
from tenfold.stacking import GradientReplay
from tenfold.stacking.kernels.samples_last import samples_last

pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="the kernels are for CPUs with AVX-512"
)
ours = torch.ops.tenfold
CASES = [  # members, batch, channels, size, channels of the result, window, stride, padding, dilation; pooling
    ((2, 64, 1, (28, 28), 6, (5, 5), (1, 1), (2, 2), (1, 1)), (2, 2)),
    ((2, 50, 6, (14, 14), 16, (5, 5), (1, 1), (0, 0), (1, 1)), (2, 2)),
    ((3, 130, 3, (9, 11), 7, (3, 2), (2, 1), (1, 1), (1, 2)), (2, 3)),  # rows and columns that no window sees
    ((1, 1, 5, (8, 8), 13, (3, 3), (1, 1), (1, 1), (1, 1)), (3, 1)),
    ((2, 20, 20, (6, 6), 30, (3, 3), (1, 1), (1, 1), (1, 1)), (6, 6)),
]


def drawn(case, is_shared=False):
    members, batch, channels, size, out, window, *options = case
    torch.manual_seed(0)
    x = torch.randn(*(() if is_shared else (members,)), batch, channels, *size)
    return x, torch.randn(members, out, channels, *window), torch.randn(members, out), options


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(("case", "pool"), CASES)
def test_what_comes_out_and_the_gradients_are_those_of_pytorch_in_float64(case, pool, relu, threads):
    x, weight, bias, options = drawn(case)
    largest, winners = ours.convolution_pool(x, weight, bias, *options, pool, relu)
    weights, biases = weight.double().requires_grad_(), bias.double().requires_grad_()
    expected = torch.stack([
        F.max_pool2d(F.conv2d(x[m].double(), weights[m], biases[m], *options).relu() if relu else
                     F.conv2d(x[m].double(), weights[m], biases[m], *options), pool)
        for m in range(len(weight))
    ])  # fmt: skip
    torch.testing.assert_close(largest.double(), expected, rtol=1e-5, atol=1e-4)
    grad = torch.randn_like(expected)
    found = ours.convolution_pool_weight(grad.float(), winners, x, weight.shape[-2:], *options, pool, True)
    for one, other in zip(found, torch.autograd.grad(expected, [weights, biases], grad), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=3e-6 * other.abs().max().item())


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(("case", "pool"), CASES)
def test_they_are_the_bits_of_the_three_one_after_another(case, pool, relu, is_shared, threads):
    x, weight, bias, options = drawn(case, is_shared)
    x = samples_last(x)
    x[..., 0, 0, 2, 3] = torch.nan
    between = ours.convolution(x, weight, bias, *options)
    pooling = (pool, pool, (0, 0), (1, 1), False)
    expected, winners = ours.max_pool_samples(between.relu() if relu else between, *pooling, False)
    largest, own_winners = ours.convolution_pool(x, weight, bias, *options, pool, relu)
    torch.testing.assert_close(largest, expected, rtol=0, atol=0, equal_nan=True)
    grad = torch.randn(expected.shape)
    before = ours.max_pool_samples_backward(grad, winners, between.shape[-2:], *pooling)
    before = torch.where(between <= 0, 0.0, before) if relu else before
    plain = ours.convolution_weight(before, x, weight.shape[-2:], *options, True)
    found = ours.convolution_pool_weight(grad, own_winners, x, weight.shape[-2:], *options, pool, True)
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


class Net(nn.Module):
    """A convolution, what follows it, and a last layer."""

    def __init__(self, after, **options):
        super().__init__()
        self.convolution, self.after = nn.Conv2d(1, 5, 3, **options), after
        self.last = nn.LazyLinear(3)
        self(torch.zeros(2, 1, 12, 12))

    def forward(self, x):
        return self.last(self.after(self.convolution(x)).flatten(1))


def relu_before(x):
    return F.max_pool2d(x.relu(), 2)


def relu_in_place(x):
    return F.max_pool2d(F.relu(x, inplace=True), 2)


def none(x):
    return F.max_pool2d(x, 2)


def relu_behind(x):
    return F.max_pool2d(x, 2).relu()


def overlapping(x):
    return F.max_pool2d(x.relu(), 3, 2, 1)


def read_twice(x):
    x = x.relu()
    return torch.cat([F.max_pool2d(x, 2).flatten(1), x.mean((2, 3))], 1)


def beside_relu(x):
    return torch.cat([F.max_pool2d(x.relu(), 2).flatten(1), x.mean((2, 3))], 1)


def pooled_twice(x):
    x = x.relu()
    return torch.cat([F.max_pool2d(x, 2).flatten(1), F.max_pool2d(x, 5).flatten(1)], 1)


def dilated(x):
    return F.max_pool2d(x.relu(), 2, dilation=2)


def changed_between(x):
    active = x.relu()
    x.add_(1.0)
    return F.max_pool2d(active, 2)


def changed_after_it_was_seen(x):
    pooled = F.max_pool2d(x.relu(), 2)
    x.add_(1.0)
    return torch.cat([pooled.flatten(1), x.mean((2, 3))], 1)


def part_in_place(x):
    part = F.relu(x[:, 1:], inplace=True)
    return torch.cat([F.max_pool2d(part, 2).flatten(1), x.mean((2, 3))], 1)


ALL, RELU, NOTHING = "all", "ReLU", "nothing"
NETS = [
    (relu_before, ALL), (relu_in_place, ALL), (none, ALL), (relu_behind, ALL), (overlapping, RELU), (dilated, RELU),
    (read_twice, NOTHING), (beside_relu, RELU), (pooled_twice, NOTHING),
    (changed_between, NOTHING), (changed_after_it_was_seen, RELU), (part_in_place, NOTHING),
]  # fmt: skip


def taken(seen):
    """What was taken in, by the operators that ran."""
    if any("convolution_pool" in name for name in seen):
        return ALL
    return NOTHING if any(name in ("aten::relu", "aten::relu_", "aten::clamp_min") for name in seen) else RELU


def loss_of(model, x, y):
    return F.cross_entropy(model(x), y)


@pytest.mark.parametrize(("after", "expected"), NETS)
def test_recorded_steps_take_in_what_nobody_else_reads_and_give_the_same_bits(after, expected):
    torch.manual_seed(0)
    stack = tenfold.stack([Net(after) for _ in range(3)], form="stacked")
    losses = GradientReplay(stack, loss_of, stack.parameters())
    losses.is_on = True
    for number in range(6):
        x, y = torch.randn(10, 1, 12, 12), torch.randint(0, 3, (10,))
        for parameter in stack.parameters():
            parameter.grad = None
        with Operators() as operators:
            loss_M = losses(x, y)
        found = [loss_M, *(parameter.grad for parameter in stack.parameters())]
        own = stack.each(loss_of, x, y)
        reference = [own, *torch.autograd.grad(own.sum(), stack.parameters())]
        assert all(map(torch.equal, found, reference)), number
    assert stack.fallback is None
    assert taken(operators.seen) == expected


@pytest.mark.parametrize("after", [relu_before, relu_in_place, changed_between, part_in_place])
def test_a_compiled_step_learns_as_one_that_comes(after):
    torch.manual_seed(0)
    models = [Net(after, padding=1) for _ in range(2)]
    ends = []
    for compiled in (False, True):
        stack = tenfold.stack([Net(after, padding=1) for _ in range(2)], form="stacked")
        for model, parameters in zip(models, zip(*stack.parameters(), strict=True), strict=True):
            for own, start in zip(parameters, model.parameters(), strict=True):
                own.data.copy_(start.data)
        optimizer = tenfold.optim.SGD(stack.parameters(), lr=0.1)
        step = TrainingStep(stack, loss_of, optimizer, compiled=compiled)
        generator = torch.Generator().manual_seed(1)
        for _ in range(4):
            step(torch.randn(10, 1, 12, 12, generator=generator), torch.randint(0, 3, (10,), generator=generator))
        assert step.fallback is None
        ends.append([parameter.detach().clone() for parameter in stack.parameters()])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_scores_are_replayed_by_one_operator_too():
    torch.manual_seed(0)
    stack = tenfold.stack([Net(relu_before) for _ in range(3)], form="stacked").eval()
    said = tenfold.stacking.Replay(stack, lambda model, x: model(x), is_exact=True)
    for _ in range(6):
        x = torch.randn(10, 1, 12, 12)
        with Operators() as operators:
            found = said(x)
        with torch.no_grad():
            assert torch.equal(found, stack.each(lambda model, x: model(x), x))
    assert taken(operators.seen) == ALL
