"""Clipping and normalising a member, against torch.nn.utils on each member alone."""

import pytest
import torch
from torch import nn

import tenfold
from tenfold.optim import clip_grad_norm_, clip_grad_value_, normalize_grad_

M = 3
SHAPES = [(4, 4), (3, 5), (), (6,), (2, 3, 3, 2)]
INF = float("inf")
NAN = float("nan")
every_shape = pytest.mark.parametrize(
    "shapes", [SHAPES, [()], [(), ()], [(5,)]], ids=["all", "scalar", "scalars", "vector"]
)


class Parameters(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        self.parts = nn.ParameterList(nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in shapes)


def make(shapes=SHAPES, dtype=torch.float64):
    stack = tenfold.stack([Parameters(shapes).to(dtype) for _ in range(M)])
    generator = torch.Generator().manual_seed(0)
    for parameter in stack.parameters():
        gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        sizes = torch.tensor([0.01, 1.0, 100.0]).view(-1, *(1,) * (gradient.dim() - 1))
        parameter.grad = (gradient * sizes).to(dtype)
    return stack


def alone(stack, member):
    parameters = [nn.Parameter(parameter[member].detach().clone()) for parameter in stack.parameters()]
    for one, parameter in zip(parameters, stack.parameters(), strict=True):
        one.grad = parameter.grad[member].clone()
    return parameters


def of_member(value, member):
    return value[member] if isinstance(value, list) else value


def assert_gradients(stack, expected, **tolerances):
    for k, parameter in enumerate(stack.parameters()):
        for i in range(M):
            torch.testing.assert_close(parameter.grad[i], expected[i][k].grad, **tolerances)


def bits(stack, members):
    return [parameter.grad[members].clone().view(torch.int64) for parameter in stack.parameters()]


@pytest.mark.parametrize("max_norm", [1.0, 1e-3, 1e6, INF, [0.5, 1e-3, 1e3], [INF, 0.1, 1e-3]])
@every_shape
def test_every_member_is_clipped_as_torch_clips_it_alone(max_norm, shapes):
    stack = make(shapes)
    expected = [alone(stack, i) for i in range(M)]
    norms = [nn.utils.clip_grad_norm_(expected[i], of_member(max_norm, i)) for i in range(M)]
    bound = torch.tensor(max_norm, dtype=torch.float64) if isinstance(max_norm, list) else max_norm
    got = clip_grad_norm_(stack.parameters(), bound)
    torch.testing.assert_close(got, torch.stack(norms), rtol=1e-12, atol=0)
    assert_gradients(stack, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("clip_value", [1.0, 1e-3, 1e6, INF, [0.5, 1e-3, 20.0], [INF, 0.1, 1e-3]])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@every_shape
def test_every_number_is_clipped_as_torch_clips_it_alone(clip_value, dtype, shapes):
    stack = make(shapes, dtype)
    expected = [alone(stack, i) for i in range(M)]
    for i in range(M):
        nn.utils.clip_grad_value_(expected[i], of_member(clip_value, i))
    clip_grad_value_(stack.parameters(), clip_value)
    assert_gradients(stack, expected, rtol=0, atol=0)


@pytest.mark.parametrize("norm", [1.0, [0.5, 1e-3, 1e3]])
@every_shape
def test_every_gradient_is_normalised_by_its_own_norm(norm, shapes):
    stack = make(shapes)
    expected = [alone(stack, i) for i in range(M)]
    norms = [nn.utils.get_total_norm([one.grad for one in expected[i]]) for i in range(M)]
    for i in range(M):
        for one in expected[i]:
            one.grad *= of_member(norm, i) / norms[i]
    got = normalize_grad_(stack.parameters(), norm)
    torch.testing.assert_close(got, torch.stack(norms), rtol=1e-12, atol=0)
    assert_gradients(stack, expected, rtol=1e-12, atol=0)
    for i in range(M):
        own = nn.utils.get_total_norm([parameter.grad[i] for parameter in stack.parameters()])
        assert float(own) == pytest.approx(of_member(norm, i))


def test_a_gradient_of_zero_stays_zero_and_a_tiny_one_is_normalised():
    stack = make([(4,)])
    gradient = stack.parameters()[0].grad
    gradient[0] = 0.0
    gradient[1] = torch.tensor([0.0, 1e-150, 0.0, -0.0], dtype=torch.float64)
    assert normalize_grad_(stack.parameters(), 2.0)[:2].tolist() == pytest.approx([0.0, 1e-150])
    assert gradient[0].tolist() == [0.0] * 4
    assert gradient[1].tolist() == pytest.approx([0.0, 2.0, 0.0, 0.0])


CLIPS = {
    "norm": lambda parameters: clip_grad_norm_(parameters, 1.0),
    "value": lambda parameters: clip_grad_value_(parameters, 0.1),
    "normalise": lambda parameters: normalize_grad_(parameters),
}


@pytest.mark.parametrize("poison", [NAN, INF, -INF])
@pytest.mark.parametrize("shapes", [SHAPES, [()]], ids=["all", "scalar"])
@pytest.mark.parametrize("clip", CLIPS)
def test_a_member_without_a_norm_changes_no_bit_of_the_others(clip, poison, shapes):
    clean, poisoned = make(shapes), make(shapes)
    poisoned.parameters()[0].grad[1] = poison
    before = bits(clean, [0, 2])
    CLIPS[clip](clean.parameters())
    norm_M = CLIPS[clip](poisoned.parameters())
    assert norm_M is None or norm_M.isfinite().tolist() == [True, False, True]
    for old, one, two in zip(before, bits(clean, [0, 2]), bits(poisoned, [0, 2]), strict=True):
        assert torch.equal(one, two)
        assert not torch.equal(one, old) or clip == "norm"


@pytest.mark.parametrize("clip", [clip_grad_norm_, clip_grad_value_])
def test_an_infinite_bound_leaves_a_member_bit_for_bit_whatever_its_gradient(clip):
    stack = make()
    gradients = [parameter.grad for parameter in stack.parameters()]
    gradients[0][1] = torch.tensor([NAN, INF, -INF, -0.0], dtype=torch.float64)
    gradients[1][1] = 5e-324
    gradients[3][0, 0] = -NAN
    before = bits(stack, [0, 1])
    clip(stack.parameters(), [INF, INF, 1e-3])
    for old, new in zip(before, bits(stack, [0, 1]), strict=True):
        assert torch.equal(old, new)
    assert max(float(gradient[2].abs().max()) for gradient in gradients) <= 1e-3


@pytest.mark.parametrize("clip", CLIPS)
def test_parameters_without_a_gradient_are_passed_over(clip):
    stack, other = make(), make(SHAPES[1:])
    for parameter, same in zip(stack.parameters()[1:], other.parameters(), strict=True):
        same.grad = parameter.grad.clone()
    stack.parameters()[0].grad = None
    CLIPS[clip](parameter for parameter in stack.parameters())
    CLIPS[clip](other.parameters())
    for parameter, same in zip(stack.parameters()[1:], other.parameters(), strict=True):
        assert torch.equal(parameter.grad, same.grad)


@pytest.mark.parametrize(
    ("clip", "name"),
    [(clip_grad_norm_, "max_norm"), (clip_grad_value_, "clip_value"), (normalize_grad_, "norm")],
)
def test_clipping_without_gradients_or_with_a_wrong_bound_is_refused(clip, name):
    with pytest.raises(ValueError, match=rf"{clip.__name__}: no parameter has a gradient. Call it between backward"):
        clip(tenfold.stack([nn.Linear(2, 2)]).parameters(), 1.0)
    stack = make()
    words = rf"{clip.__name__}: {name} must be > 0( and finite)?, a number or one a member, shape \(3,\), got"
    for wrong in (0.0, -1.0, NAN, torch.tensor([1.0, 0.0, 1.0]), [1.0, NAN, 1.0], torch.ones(2), torch.ones(3, 1)):
        with pytest.raises(ValueError, match=words):
            clip(stack.parameters(), wrong)


def test_an_infinite_norm_to_scale_to_is_refused():
    with pytest.raises(ValueError, match="normalize_grad_: norm must be > 0 and finite, a number or one a member"):
        normalize_grad_(make().parameters(), [1.0, INF, 1.0])
