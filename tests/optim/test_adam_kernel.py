"""Adam's kernel in C++ against torch.optim, member by member, where numbers are enough to be worth it."""

import math

import pytest
import torch

import tenfold
from tenfold.stacking import kernels

pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="the kernel is for CPUs with AVX-512"
)
M, STEPS = 3, 20
SHAPES = [(150, 201), (150,), (5, 3, 2), (7,)]  # 90,000 numbers for all members, and tails of a vector


class Parameters(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.all = torch.nn.ParameterList([torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES])


def gradients(dtype=torch.float32):
    """For each step and parameter, shape (M, ...); the same for all who ask."""
    generator = torch.Generator().manual_seed(7)
    steps = [[torch.randn(M, *shape, generator=generator) for shape in SHAPES] for _ in range(STEPS)]
    return [[grad.to(dtype) for grad in own] for own in steps]


def stacked(kind, models, **options):
    """Parameters after all steps, for each member."""
    stack = tenfold.stack(models)
    optimizer = kind(stack.parameters(), **options)
    for own in gradients():
        for parameter, grad in zip(stack.parameters(), own, strict=True):
            parameter.grad = grad.clone()
        optimizer.step()
    return [list(model.parameters()) for model in stack.unstack()]


def alone(kind, model, member, **options):
    """The same by torch.optim, in double precision."""
    model = model.double()
    optimizer = kind(model.parameters(), **options)
    for own in gradients(torch.float64):
        for parameter, grad in zip(model.parameters(), own, strict=True):
            parameter.grad = grad[member].clone()
        optimizer.step()
    return list(model.parameters())


def models(num=M):
    torch.manual_seed(0)
    return [Parameters() for _ in range(num)]


OPTIONS = {
    "one rate": {"lr": 1e-2, "weight_decay": 0.1},
    "rates": {"lr": [1e-3, 1e-2, 3e-2], "weight_decay": [0.0, 0.1, 0.3]},
    "everything": {
        "lr": [1e-3, 1e-2, 3e-2], "betas": ([0.3, 0.8, 0.95], [0.9, 0.99, 0.999]), "eps": [1e-8, 1e-4, 1e-2],
    },
}  # fmt: skip


def of_member(options, member):
    def pick(value):
        if isinstance(value, tuple):
            return tuple(map(pick, value))
        return value[member] if isinstance(value, list) else value

    return {name: pick(value) for name, value in options.items()}


def as_tensors(value):
    if isinstance(value, tuple):
        return tuple(map(as_tensors, value))
    return torch.tensor(value, dtype=torch.float64) if isinstance(value, list) else value


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_every_member_goes_where_torch_leads_it(name, options, monkeypatch):
    calls, kernel = [], kernels.adam_step
    monkeypatch.setattr(kernels, "adam_step", lambda *args, **kwargs: calls.append(kernel(*args, **kwargs)))
    if name == "Adam":
        options = {key: value for key, value in options.items() if key != "weight_decay"}
    found = stacked(
        getattr(tenfold.optim, name), models(), **{key: as_tensors(value) for key, value in options.items()}
    )
    assert len(calls) == STEPS
    for member, model in enumerate(models()):
        expected = alone(getattr(torch.optim, name), model, member, **of_member(options, member))
        for ours, theirs in zip(found[member], expected, strict=True):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=2e-6)


def moved(count, rate, threads=2, spoil=None):
    """Parameters after three calls of the kernel, of `count` members with these rates."""
    generator = torch.Generator().manual_seed(3)
    parameter, gradient = (torch.randn(count, 70_001, generator=generator) for _ in range(2))
    if spoil is not None:
        gradient[spoil] = math.nan
    mean, square = torch.zeros_like(parameter), torch.zeros_like(parameter)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for step in range(1, 4):
            kernels.adam_step(
                [parameter], [gradient], [mean], [square],
                lr=rate, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8, steps=step,
            )  # fmt: skip
    finally:
        torch.set_num_threads(before)
    return torch.stack([parameter, mean, square])


def test_a_rate_for_all_and_the_same_one_for_each_give_the_same_bits_on_any_number_of_threads():
    one = moved(4, 1e-3)
    assert torch.equal(one, moved(4, torch.full((4,), 1e-3, dtype=torch.float64)))
    assert torch.equal(one, moved(4, 1e-3, threads=1))
    assert torch.equal(one[:, :2], moved(4, torch.tensor([1e-3, 1e-3, 1e-2, 1.0], dtype=torch.float64))[:, :2])


def test_a_nan_in_one_members_gradient_changes_no_bit_of_another():
    well, spoilt = moved(3, 1e-3), moved(3, 1e-3, spoil=1)
    assert spoilt[:, 1].isnan().all()
    assert torch.equal(well[:, [0, 2]], spoilt[:, [0, 2]])


def test_members_of_several_ages_are_corrected_by_their_own():
    parameter, gradient = torch.ones(2, 40_000), torch.full((2, 40_000), 0.5)
    mean, square = torch.zeros_like(parameter), torch.zeros_like(parameter)
    kernels.adam_step(
        [parameter], [gradient], [mean], [square], lr=0.1, weight_decay=0.0, betas=(0.9, 0.99), eps=0.0,
        steps=torch.tensor([1.0, 5.0], dtype=torch.float64),
    )  # fmt: skip
    first = 1 - 0.1  # a first step is as long as the rate
    later = 1 - 0.1 * (0.05 / (1 - 0.9**5)) / math.sqrt(0.0025 / (1 - 0.99**5))
    torch.testing.assert_close(parameter[:, 0].double(), torch.tensor([first, later], dtype=torch.float64))


def test_a_mean_that_forgets_ends_at_zero():
    """PyTorch's ends at a few of the smallest numbers there are, with which arithmetic takes ten times as long."""
    stack = tenfold.stack(models())
    optimizer = tenfold.optim.AdamW(stack.parameters(), lr=1e-3)
    for step in range(1500):
        for parameter in stack.parameters():
            parameter.grad = torch.full_like(parameter, 1e-6 if step == 0 else 0.0)
        optimizer.step()
    tiny = torch.finfo(torch.float32).tiny
    for state in optimizer.state.values():
        assert (state["mean"] == 0).all()
        assert (state["square"] >= tiny).all()
    assert torch.tensor(tiny).div(2) != 0  # elsewhere in this thread such numbers are what they were
