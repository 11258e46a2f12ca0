"""Linear layers in C++: against PyTorch in float64, against layer and ReLU apart, and where they are taken."""

import numpy as np
import pytest
import torch
from seen_operators import Operators
from torch import nn

import tenfold
from tenfold.stacking import GradientReplay, kernels

pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="the kernels are for CPUs with AVX-512"
)
ours = torch.ops.tenfold
SIZES = [  # members, rows, features, outputs
    (4, 32, 64, 128), (3, 33, 65, 47), (1, 50, 300, 17), (5, 1, 1, 1), (2, 7, 600, 10), (20, 13, 16, 100),
    (1, 64, 200, 200),
]  # fmt: skip
HOW = ["rows", "transposed"]


@pytest.fixture(autouse=True)
def slow_products(monkeypatch):
    """Kernels are taken here whoever made the processor."""
    monkeypatch.setattr(kernels.linear, "has_slow_products", lambda: True)


def drawn(sizes, how="rows", is_shared=False):
    members, rows, features, outputs = sizes
    torch.manual_seed(0)
    x = torch.randn(rows, features).expand(members, rows, features) if is_shared else torch.randn(*sizes[:3])
    weight = torch.randn(members, outputs, features)
    if how == "transposed":
        weight = weight.transpose(1, 2).contiguous().transpose(1, 2)
    return x, weight, torch.randn(members, outputs)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("sizes", SIZES)
def test_results_and_gradients_are_those_of_pytorch_in_float64(sizes, how, is_shared, threads):
    x, weight, bias = drawn(sizes, how, is_shared)
    own = [tensor.clone(memory_format=torch.preserve_format).requires_grad_() for tensor in (x, weight, bias)]
    exact = [tensor.double().requires_grad_() for tensor in own]
    found = kernels.Linear.apply(*own)
    expected = torch.baddbmm(exact[2].unsqueeze(1), exact[0], exact[1].transpose(1, 2))
    scale = 2e-6 * np.sqrt(sizes[2]) * expected.abs().max().item()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=scale)
    grad = torch.randn(found.shape)
    gradients = torch.autograd.grad(found, own, grad)
    for one, other in zip(gradients, torch.autograd.grad(expected, exact, grad.double()), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=1e-5 * other.abs().max().item())
    if min(sizes) > 1:
        assert gradients[1].stride() == weight.stride()


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("sizes", SIZES)
def test_with_a_relu_they_are_the_bits_of_the_two_one_after_another(sizes, how, has_bias, threads):
    x, weight, bias = drawn(sizes, how)
    x[0, 0, 0] = torch.nan
    bias = bias if has_bias else None
    expected = ours.linear(x, weight, bias, False).relu()
    found = ours.linear(x, weight, bias, True)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    grad = torch.randn(found.shape)
    wanted = [True, True, has_bias]
    masked = torch.ops.aten.threshold_backward(grad, expected, 0)
    apart = ours.linear_backward(masked, None, x, weight, wanted)
    together = ours.linear_backward(grad, found, x, weight, wanted)
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("how", HOW)
def test_a_members_bits_are_the_same_on_any_number_of_threads_and_beside_anybody(how):
    x, weight, bias = drawn((5, 40, 90, 70), how)
    grad, before = torch.randn(5, 40, 70), torch.get_num_threads()

    def results(places):
        own = (x[places], weight[places])
        out = ours.linear(*own, bias[places], True)
        return [out, *ours.linear_backward(grad[places], out, *own, [True] * 3)]

    try:
        torch.set_num_threads(1)
        alone = [torch.cat(parts) for parts in zip(*(results(slice(m, m + 1)) for m in range(5)), strict=True)]
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert all(map(torch.equal, results(slice(0, 5)), alone))
    finally:
        torch.set_num_threads(before)


def test_only_the_gradients_that_are_wanted_are_made():
    x, weight, _ = drawn((2, 3, 4, 5))
    grad = torch.randn(2, 3, 5)
    whole = ours.linear_backward(grad, None, x, weight, [True] * 3)
    for place in range(3):
        found = ours.linear_backward(grad, None, x, weight, [place == other for other in range(3)])
        assert torch.equal(found[place], whole[place])
        assert [part.numel() > 0 for part in found] == [place == other for other in range(3)]


def test_layers_without_rows_or_features_are_empty_or_the_bias():
    assert ours.linear(torch.zeros(2, 0, 3), torch.zeros(2, 4, 3), None, False).shape == (2, 0, 4)
    bias = torch.randn(2, 4)
    out = ours.linear(torch.zeros(2, 3, 0), torch.zeros(2, 4, 0), bias, False)
    assert torch.equal(out, bias.unsqueeze(1).expand(2, 3, 4))
    found = ours.linear_backward(torch.zeros(2, 0, 4), None, torch.zeros(2, 0, 3), torch.ones(2, 4, 3), [True] * 3)
    assert [tuple(part.shape) for part in found] == [(2, 0, 3), (2, 4, 3), (2, 4)]
    assert not found[1].any()
    assert not found[2].any()


def test_gradients_of_gradients_are_those_of_pytorch():
    x, weight, bias = (tensor.requires_grad_() for tensor in drawn((2, 3, 4, 5)))

    def penalty(result):
        (of_x,) = torch.autograd.grad(result.square().sum(), x, create_graph=True)
        return torch.autograd.grad(of_x.square().sum(), [x, weight, bias])

    theirs = penalty(torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2)))
    for one, other in zip(penalty(kernels.Linear.apply(x, weight, bias)), theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_nan_in_one_member_changes_no_bit_of_another(threads):
    x, weight, bias = drawn((4, 9, 20, 33), "transposed")
    grad = torch.randn(4, 9, 33)

    def results():
        out = ours.linear(x, weight, bias, True)
        return [out, *ours.linear_backward(grad, out, x, weight, [True] * 3)]

    clean = results()
    x[1, 3, 5], weight[2, 0, 0], bias[2, 3], grad[1, 0, 0] = torch.nan, torch.inf, torch.nan, torch.nan
    for before, after in zip(clean, results(), strict=True):
        assert torch.equal(before[[0, 3]], after[[0, 3]])
        assert not after[1].isfinite().all()


def test_matrices_that_do_not_fit_together_are_explained_by_pytorch():
    stack = tenfold.stack([nn.Linear(64, 64) for _ in range(40)], form="stacked")
    with pytest.raises(RuntimeError, match=r"shape|size|inner dimensions"):
        stack.each(lambda model, x: model(x), torch.zeros(16, 65))


@pytest.mark.parametrize("width", [32, 10])
@pytest.mark.parametrize(("members", "are_ours"), [(2, False), (60, True)])
def test_steps_as_they_come_take_layers_of_ours_where_they_are_quicker(members, are_ours, width):
    models = [nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, width)) for _ in range(members)]
    stack, x = tenfold.stack(models, form="stacked"), torch.randn(16, 64)
    with Operators() as operators:
        loss_M = stack.each(lambda model, x: model(x).square().mean(), x)
        stack.backward(loss_M)
    assert (operators.seen.count("tenfold::linear") == 2) is are_ours
    models[1].zero_grad()
    loss = models[1](x).square().mean()
    loss.backward()
    torch.testing.assert_close(loss_M[1], loss.detach())
    for (name, parameter), stacked in zip(models[1].named_parameters(), stack.parameters(), strict=True):
        torch.testing.assert_close(stacked.grad[1], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


class Net(nn.Module):
    """Two layers, what stands between them, and a last one that PyTorch takes."""

    def __init__(self, between):
        super().__init__()
        self.one, self.two, self.between = nn.Linear(64, 64), nn.Linear(64, 64), between

    def forward(self, x):
        return self.two(self.between(self.one(x)))


def read_before(x):
    return x.relu() + x


def in_place(x):
    return torch.relu_(x)


def part_in_place(x):
    torch.relu_(x[:, :5])
    return x


def read_twice(x):
    x = x.relu()
    return x + x.roll(1, 0)


def changed_between(x):
    seen = x * 1.0
    x.add_(1.0)
    return x.relu() + seen


BETWEEN = [  # and how many ReLUs and masks of them are left
    (torch.relu, 0, 0), (in_place, 0, 0), (torch.sigmoid, 0, 0), (read_twice, 0, 0), (read_before, 1, 1),
    (part_in_place, 1, 1), (changed_between, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize(("between", "relus", "masks"), BETWEEN)
def test_recorded_steps_take_in_what_nobody_else_reads_and_give_the_same_bits(between, relus, masks):
    torch.manual_seed(0)
    stack = tenfold.stack([Net(between) for _ in range(30)], form="stacked")
    losses = GradientReplay(stack, lambda model, x: model(x).square().mean(), stack.parameters())
    losses.is_on = True
    for number in range(6):
        x = torch.randn(10, 64)
        for parameter in stack.parameters():
            parameter.grad = None
        with Operators() as operators:
            loss_M = losses(x)
        found = [loss_M, *(parameter.grad for parameter in stack.parameters())]
        own = stack.each(lambda model, x: model(x).square().mean(), x)
        reference = [own, *torch.autograd.grad(own.sum(), stack.parameters())]
        assert all(map(torch.equal, found, reference)), number
    assert stack.fallback is None
    assert operators.seen.count("tenfold::linear_backward") == 2
    if between is torch.relu:
        assert "aten::copy_" not in operators.seen  # gradients are handed over as they are made
    names = [name.split("::")[1] for name in operators.seen]
    assert sum(name in ("relu", "relu_", "clamp_min") for name in names) == relus
    assert names.count("threshold_backward") == masks
