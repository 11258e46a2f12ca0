"""Batch norm in C++: against PyTorch in float64, against norm and ReLU apart, and where the two are one operator."""

import pytest
import torch
import torch.nn.functional as F
from seen_operators import Operators
from torch import nn

import tenfold
from tenfold.stacking import GradientReplay, kernels
from tenfold.stacking.kernels.samples_last import samples_last

pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="the kernels are for CPUs with AVX-512"
)
ours, EPS = torch.ops.tenfold, 1e-5
SIZES = [(2, 16, 3, 8, 8), (3, 5, 7, 3, 2), (1, 64, 4, 14, 14), (2, 2, 1, 1, 1), (1, 70, 2, 9, 7)]  # M, B, C, H, W


def drawn(size, *, affine=True):
    torch.manual_seed(0)
    x = samples_last(3.0 + 2.0 * torch.randn(size))
    weight, bias = torch.randn(size[0], size[2]), torch.randn(size[0], size[2])
    return x, *((weight, bias) if affine else (None, None)), samples_last(torch.randn(size))


def in_float64(x, weight, bias, relu):
    each = [None if value is None else value.unbind(0) for value in (x, weight, bias)]
    found = []
    for m in range(len(x)):
        own = [None if values is None else values[m] for values in each]
        y = F.batch_norm(own[0], None, None, own[1], own[2], True, 0.1, EPS)
        found.append(y.relu() if relu else y)
    return torch.stack(found)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_result_and_gradients_are_those_of_pytorch_in_float64(size, affine, relu, threads):
    x, weight, bias, grad = drawn(size, affine=affine)
    exact = [None if value is None else value.double().requires_grad_() for value in (x, weight, bias)]
    expected = in_float64(*exact, relu)
    y, mean, scale, _ = ours.norm(x, weight, bias, EPS, relu)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    found = ours.norm_backward(grad, x, weight, bias, mean, scale, relu, [True, affine, affine])
    wanted = [value for value in exact if value is not None]
    theirs = torch.autograd.grad(expected, wanted, grad.double())
    for one, other in zip(found, theirs, strict=False):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=2e-5 * max(1.0, other.abs().max().item()))
    assert [part.numel() > 0 for part in found] == [True, affine, affine]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_with_a_relu_they_are_the_bits_of_the_two_one_after_another(size, affine, threads):
    x, weight, bias, grad = drawn(size, affine=affine)
    if size[0] > 1:
        x[1, 0, 0, 0, 0] = torch.nan
    y, *saved, _ = ours.norm(x, weight, bias, EPS, False)
    expected = y.relu()
    found = ours.norm(x, weight, bias, EPS, True)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    masked = torch.ops.aten.threshold_backward(grad, expected, 0)
    wanted = [True, affine, affine]
    apart = ours.norm_backward(masked, x, weight, bias, *saved, False, wanted)
    together = ours.norm_backward(grad, x, weight, bias, *saved, True, wanted)
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_a_nan_in_one_member_changes_no_bit_of_another(threads):
    x, weight, bias, grad = drawn((4, 6, 3, 5, 5))

    def results():
        y, *saved, variance = ours.norm(x, weight, bias, EPS, True)
        return [y, *saved, variance, *ours.norm_backward(grad, x, weight, bias, *saved, True, [True] * 3)]

    clean = results()
    x[1, 2, 0, 1, 1], weight[2, 0] = torch.nan, torch.inf
    for before, after in zip(clean, results(), strict=True):
        assert torch.equal(before[[0, 3]], after[[0, 3]])


def test_gradients_of_gradients_are_those_of_pytorch():
    x, weight, bias, _ = (value.requires_grad_() for value in drawn((2, 4, 3, 2, 2)))

    def penalty(y):
        (of_x,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
        return torch.autograd.grad(of_x.square().sum(), [x, weight])

    found = penalty(kernels.BatchNorm.apply(x, None, None, weight, bias, True, 0.1, EPS))
    for one, other in zip(found, penalty(in_float64(x, weight, bias, relu=False)), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3 * other.abs().max().item())


class Net(nn.Module):
    """Convolutions and norms, and what stands behind the first norm."""

    def __init__(self, behind):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm, self.last_norm, self.behind = nn.BatchNorm2d(4), nn.BatchNorm2d(4), behind
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        x = self.behind(self.norm(self.one(x)))
        return self.last(self.last_norm(self.two(x)).mean((2, 3)))


def in_place(x):
    return F.relu(x, inplace=True)


def residual(x):
    active = x.relu()
    return active + active.roll(1, 3)


def before_too(x):
    return x.relu() + x


def beside_a_sum(x):
    return (x + 1.0).relu()


RELUS = ("aten::relu", "aten::relu_", "aten::clamp_min", "aten::threshold_backward")
BEHIND = [  # and whether the ReLU is part of the norm
    (torch.relu, True), (in_place, True), (residual, True), (before_too, False),
    (beside_a_sum, False), (torch.tanh, None),
]  # fmt: skip


@pytest.mark.parametrize(("behind", "is_taken_in"), BEHIND)
def test_recorded_steps_take_in_the_relu_that_nobody_else_reads_and_give_the_same_bits(behind, is_taken_in):
    torch.manual_seed(0)
    stack, twin = (tenfold.stack([Net(behind) for _ in range(3)], form="stacked") for _ in range(2))
    for (_, own), (_, other) in zip(stack.named_parameters(), twin.named_parameters(), strict=True):
        other.data.copy_(own.data)

    def loss(model, x, y):
        return F.cross_entropy(model(x), y)

    losses = GradientReplay(stack, loss, stack.parameters())
    losses.is_on = True
    for number in range(6):
        x, y = torch.randn(10, 1, 12, 12), torch.randint(0, 3, (10,))
        for parameter in stack.parameters():
            parameter.grad = None
        with Operators() as operators:
            loss_M = losses(x, y)
        own = twin.each(loss, x, y)
        reference = [own, *torch.autograd.grad(own.sum(), twin.parameters())]
        found = [loss_M, *(parameter.grad for parameter in stack.parameters())]
        assert all(map(torch.equal, found, reference)), number
    for (name, one), (_, other) in zip(stack.named_buffers(), twin.named_buffers(), strict=True):
        assert torch.equal(one, other), name
    assert stack.fallback is None
    assert operators.seen.count("tenfold::norm") == operators.seen.count("tenfold::norm_backward") == 2
    left = [name for name in operators.seen if name in RELUS]
    assert bool(left) is (is_taken_in is False)
