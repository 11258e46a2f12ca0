"""Clipping a member, against torch.nn.utils on each member alone."""

import pytest
import torch
from torch import nn

import tenfold
from tenfold.optim import clip_grad_norm_

M = 3
SHAPES = [(4, 4), (3, 5), (), (6,), (2, 3, 3, 2)]


class Parameters(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        self.parts = nn.ParameterList(nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in shapes)


def make(shapes=SHAPES):
    stack = tenfold.stack([Parameters(shapes) for _ in range(M)])
    generator = torch.Generator().manual_seed(0)
    for parameter in stack.parameters():
        gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.grad = gradient * torch.tensor([0.01, 1.0, 100.0]).view(-1, *(1,) * (gradient.dim() - 1))
    return stack


@pytest.mark.parametrize("max_norm", [1.0, 1e-3, 1e6, [0.5, 1e-3, 1e3]])
@pytest.mark.parametrize("shapes", [SHAPES, [()], [(), ()], [(5,)]], ids=["all", "scalar", "scalars", "vector"])
def test_every_member_is_clipped_as_torch_clips_it_alone(max_norm, shapes):
    stack = make(shapes)
    expected, norms = [], []
    for i in range(M):
        alone = [nn.Parameter(parameter[i].detach().clone()) for parameter in stack.parameters()]
        for one, parameter in zip(alone, stack.parameters(), strict=True):
            one.grad = parameter.grad[i].clone()
        bound = max_norm[i] if isinstance(max_norm, list) else max_norm
        norms.append(nn.utils.clip_grad_norm_(alone, bound))
        expected.append([one.grad for one in alone])
    got = clip_grad_norm_(stack.parameters(), torch.tensor(max_norm) if isinstance(max_norm, list) else max_norm)
    torch.testing.assert_close(got, torch.stack(norms), rtol=1e-12, atol=0)
    for k, parameter in enumerate(stack.parameters()):
        for i in range(M):
            torch.testing.assert_close(parameter.grad[i], expected[i][k], rtol=1e-7, atol=0)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("shapes", [SHAPES, [()]], ids=["all", "scalar"])
def test_a_member_without_a_norm_changes_no_bit_of_the_others(poison, shapes):
    clean, poisoned = make(shapes), make(shapes)
    poisoned.parameters()[0].grad[1] = poison
    clip_grad_norm_(clean.parameters(), 1.0)
    norm_M = clip_grad_norm_(poisoned.parameters(), 1.0)
    assert norm_M.isfinite().tolist() == [True, False, True]
    for one, two in zip(clean.parameters(), poisoned.parameters(), strict=True):
        assert torch.equal(one.grad[[0, 2]], two.grad[[0, 2]])


def test_parameters_without_a_gradient_are_passed_over():
    stack = make()
    stack.parameters()[0].grad = None
    whole = clip_grad_norm_(stack.parameters(), 1e9)
    assert torch.equal(whole, clip_grad_norm_((p for p in stack.parameters()[1:]), 1e9))


def test_clipping_without_gradients_or_with_a_wrong_bound_is_refused():
    with pytest.raises(ValueError, match=r"clip_grad_norm_: no parameter has a gradient. Call it between backward"):
        clip_grad_norm_(tenfold.stack([nn.Linear(2, 2)]).parameters(), 1.0)
    stack = make()
    for wrong in (0.0, -1.0, float("nan"), torch.tensor([1.0, 0.0, 1.0]), torch.ones(2), torch.ones(3, 1)):
        with pytest.raises(ValueError, match=r"max_norm must be > 0, a number or one a member, shape \(3,\), got"):
            clip_grad_norm_(stack.parameters(), wrong)
