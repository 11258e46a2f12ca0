"""Cross-entropy in C++ against PyTorch in double precision, and between members."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tenfold
from tenfold.nn import cross_entropy
from tenfold.stacking import GradientReplay, kernels

pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="the kernels are for CPUs with AVX-512"
)
M = 3


def drawn(batch, classes, *, shared=True, ignored=0):
    generator = torch.Generator().manual_seed(batch + classes)
    logits = 5 * torch.randn(M, batch, classes, generator=generator)
    target = torch.randint(0, classes, (batch,) if shared else (M, batch), generator=generator)
    target = target.expand(M, batch) if shared else target
    if ignored:
        target = target.clone()
        target[:, :ignored] = -100
    return logits, target


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("ignored", [0, 1])
@pytest.mark.parametrize(("batch", "classes"), [(32, 10), (1, 2), (33, 17), (7, 100), (700, 16)])
def test_loss_and_gradient_are_those_of_pytorch(batch, classes, ignored, shared, threads):
    logits, target = drawn(batch, classes, shared=shared, ignored=ignored if batch > 1 else 0)
    ours, theirs = logits.clone().requires_grad_(), logits.double().requires_grad_()
    found = kernels.CrossEntropy.apply(ours, target, -100, None)
    expected = torch.stack([F.cross_entropy(own, to) for own, to in zip(theirs, target, strict=True)])
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    weights = torch.tensor([1.0, -2.0, 0.5])
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-5, atol=1e-7)


def test_gradients_of_gradients_are_those_of_pytorch():
    logits, target = drawn(5, 4, ignored=1)
    found = []
    for own, loss in (
        (logits.clone().requires_grad_(), lambda x: kernels.CrossEntropy.apply(x, target, -100, None).sum()),
        (logits.clone().requires_grad_(), lambda x: sum(F.cross_entropy(x[m], target[m]) for m in range(M))),
    ):
        (first,) = torch.autograd.grad(loss(own), own, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), own)
        found.append((first.detach(), second))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_where_all_targets_are_ignored_the_loss_is_nan_and_nothing_is_learned_from_it():
    logits, target = drawn(4, 3)
    target = target.clone()
    target[1] = -100
    logits.requires_grad_()
    loss_M = kernels.CrossEntropy.apply(logits, target, -100, None)
    loss_M.sum().backward()
    assert loss_M.isnan().tolist() == [False, True, False]
    assert F.cross_entropy(logits[1], target[1]).isnan()
    assert (logits.grad[1] == 0).all()


@pytest.mark.parametrize("wrong", [10, -1, 1 << 40])
def test_a_target_that_is_no_class_is_refused_as_pytorch_does(wrong):
    logits, target = drawn(4, 10, shared=False)
    target[1, 2] = wrong
    with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds"):
        kernels.CrossEntropy.apply(logits, target, -100, None)
    with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds"):
        F.cross_entropy(logits[1], target[1])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_one_member_says_changes_no_bit_of_another(value, threads):
    logits, target = drawn(300, 30)
    spoilt = logits.clone()
    spoilt[1, 3, 4] = value
    (loss_M, grad), (spoilt_M, spoilt_grad) = (
        torch.ops.tenfold.cross_entropy(own, target, -100, None, True) for own in (logits, spoilt)
    )
    assert torch.equal(loss_M[[0, 2]], spoilt_M[[0, 2]])
    assert torch.equal(grad[[0, 2]], spoilt_grad[[0, 2]])
    expected = F.cross_entropy(spoilt[1].double(), target[1])
    torch.testing.assert_close(spoilt_M[1].double(), expected, rtol=1e-5, atol=0, equal_nan=True)


def test_a_member_gets_the_same_bits_whoever_stands_beside_it_and_on_any_number_of_threads():
    logits, target = drawn(200, 40)
    found = []
    for count in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        found.append(torch.ops.tenfold.cross_entropy(logits, target, -100, None, True))
        torch.set_num_threads(before)
    alone = torch.ops.tenfold.cross_entropy(logits[1:2], target[1:2], -100, None, True)
    for one, other, own in zip(*found, alone, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one[1:2], own)


class Net(nn.Linear):
    def __init__(self):
        super().__init__(20, 10)


def learned(loss, batch, is_on):
    """Losses and gradients of the last of six calls."""
    torch.manual_seed(0)
    stack = tenfold.stack([Net() for _ in range(M)])
    losses = GradientReplay(stack, loss, stack.parameters())
    losses.is_on = is_on
    for _ in range(6):
        for parameter in stack.parameters():
            parameter.grad = None
        loss_M = losses(torch.randn(batch, 20), torch.randint(0, 10, (batch,)))
    return [loss_M, *(parameter.grad for parameter in stack.parameters())]


@pytest.mark.parametrize("loss", [F.cross_entropy, cross_entropy])
@pytest.mark.parametrize(("batch", "pays"), [(100, True), (4, False)])
def test_it_takes_the_place_of_pytorchs_where_it_pays_and_is_replayed_to_the_bit(loss, batch, pays, monkeypatch):
    calls, kernel = [], kernels.losses._kernel()
    monkeypatch.setattr(kernels.losses, "_kernel", lambda: lambda *args: calls.append(args) or kernel(*args))
    ends = []
    for is_on in (False, True):
        calls.clear()
        ends.append(learned(lambda model, x, y: loss(model(x), y), batch, is_on))
        assert bool(calls) == pays
    assert all(map(torch.equal, *ends))


SHARES = torch.tensor([0.0, 0.1, 0.5])


@pytest.mark.parametrize("ignored", [0, 2])
@pytest.mark.parametrize(("batch", "classes"), [(32, 10), (9, 17), (700, 16)])
def test_smoothed_loss_and_gradient_are_those_of_pytorch(batch, classes, ignored, threads):
    logits, target = drawn(batch, classes, ignored=ignored)
    ours, theirs = logits.clone().requires_grad_(), logits.double().requires_grad_()
    found = kernels.CrossEntropy.apply(ours, target, -100, SHARES)
    expected = torch.stack([
        F.cross_entropy(own, to, label_smoothing=share)
        for own, to, share in zip(theirs, target, SHARES.tolist(), strict=True)
    ])  # fmt: skip
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-5, atol=1e-7)
    plain, gradient = torch.ops.tenfold.cross_entropy(logits[:1], target[:1], -100, None, True)
    assert torch.equal(found[:1], plain)
    assert torch.equal(ours.grad[:1], gradient)


def test_smoothed_gradients_of_gradients_are_those_of_pytorch():
    logits, target = drawn(5, 4)
    found = []
    for own, loss in (
        (logits.clone().requires_grad_(), lambda x: kernels.CrossEntropy.apply(x, target, -100, SHARES).sum()),
        (logits.clone().requires_grad_(), lambda x: sum(
            F.cross_entropy(x[m], target[m], label_smoothing=SHARES[m].item()) for m in range(M))),
    ):  # fmt: skip
        (first,) = torch.autograd.grad(loss(own), own, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), own)
        found.append((first.detach(), second))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_class_that_is_masked_costs_only_members_that_smooth():
    logits, target = drawn(300, 10)
    logits[:, :, 7] = -torch.inf
    target = torch.where(target == 7, 0, target)
    loss_M, grad = torch.ops.tenfold.cross_entropy(logits, target, -100, SHARES, True)
    assert loss_M.isfinite().tolist() == [True, False, False]
    assert (loss_M[1:] == torch.inf).all()
    assert grad.isfinite().all()


@pytest.mark.parametrize(("batch", "pays"), [(300, True), (4, False)])
def test_label_smoothing_by_a_member_is_that_of_pytorch(batch, pays, monkeypatch):
    calls, kernel = [], kernels.losses._kernel()
    monkeypatch.setattr(kernels.losses, "_kernel", lambda: lambda *args: calls.append(args) or kernel(*args))
    logits, target = drawn(batch, 10)

    def loss(model, share, y):
        return cross_entropy(model.weight, y, label_smoothing=share)

    models = [nn.Linear(10, batch, bias=False) for _ in range(M)]
    for model, own in zip(models, logits, strict=True):
        model.weight.data.copy_(own)
    stack = tenfold.stack(models, form="stacked")
    loss_M = stack.each(loss, tenfold.per_member(SHARES), target[0])
    stack.backward(loss_M)
    assert bool(calls) == pays
    for m, model in enumerate(models):
        expected = F.cross_entropy(model.weight.double(), target[0], label_smoothing=SHARES[m].item())
        (grad,) = torch.autograd.grad(expected, model.weight)
        torch.testing.assert_close(loss_M[m].double(), expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(stack.parameters()[0].grad[m], grad, rtol=1e-4, atol=1e-7)


def test_a_share_that_learns_gets_its_gradient():
    logits, target = drawn(300, 10)
    shares = SHARES[1:].clone().requires_grad_()
    stack = tenfold.stack([nn.Linear(1, 1) for _ in range(2)], form="stacked")
    loss_M = stack.each(
        lambda model, share, x: cross_entropy(x, target[0], label_smoothing=share),
        tenfold.per_member(shares), tenfold.per_member(logits[:2]),
    )  # fmt: skip
    loss_M.sum().backward()
    for m in range(2):
        hard = F.cross_entropy(logits[m], target[0])
        torch.testing.assert_close(shares.grad[m], -logits[m].log_softmax(1).mean() - hard)
