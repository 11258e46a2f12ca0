"""The training step in one call: as it comes, and compiled, against a plain PyTorch loop over single models."""

import io

import pytest
import torch
import torch._inductor
import torch.nn.functional as F
from torch import nn

import tenfold
from tenfold.core.seeds import derive_seed, torch_seed
from tenfold.optim import SGD, AdamW, CompileFallbackWarning, Cosine, NAdam, TrainingStep
from tenfold.stacking.forms import as_member

M, STEPS = 4, 12
LR = [0.02, 0.005, 0.01, 0.001]
NORMS = torch.tensor([0.5, torch.inf, 1.0, 0.1], dtype=torch.float64)
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(STEPS, 8, 6, generator=GENERATOR, dtype=torch.float64)
Y = torch.randint(3, (STEPS, 8), generator=GENERATOR)


class Net(nn.Module):
    """Buffers that forward changes, noise, a frozen layer and a layer that nobody uses."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.unused = nn.Linear(2, 2)
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))

    def forward(self, x):
        return self.body(self.frozen(x))


def loss(model, x, y):
    return F.cross_entropy(model(x), y)


def models(make=Net):
    made = []
    for i in range(M):
        with torch_seed(i):
            made.append(make().double())
    return made


PROGRAMS = {}  # compiled once for all tests: a program takes seconds


def prepared(ours=AdamW, *, make=Net, compiled=True, max_norm=None, form="auto", **options):
    stack = tenfold.stack(models(make), form=form)
    trained = [parameter for parameter in stack.parameters() if parameter.requires_grad]
    optimizer = ours(trained, **{"lr": LR, **options})
    programs = PROGRAMS.setdefault((ours, make), {})
    return TrainingStep(stack, loss, optimizer, compiled=compiled, max_norm=max_norm, programs=programs)


def alone(i, plain=torch.optim.AdamW, *, make=Net, max_norm=None, schedule=None, steps=STEPS, x=X, y=Y, **options):
    """Member i in a loop as everybody writes it; only the draws are the member's own."""
    model = models(make)[i]
    optimizer = plain(model.parameters(), lr=LR[i], **options)
    schedule = schedule(optimizer) if schedule else None
    key, losses = torch.tensor(derive_seed(i, "noise")), []
    for t in range(steps):
        with as_member(key, 2 * (t + 1)):
            value = loss(model, x[t], y[t])
        optimizer.zero_grad()
        value.backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        if schedule:
            schedule.step()
        losses.append(value.item())
    return model, losses


def assert_equal_to(step, i, model, losses_M, losses, place=None):
    place = i if place is None else place
    assert torch.allclose(losses_M[:, place], torch.tensor(losses, dtype=torch.float64), rtol=0, atol=1e-9)
    mine = step.stack.unstack()[place].state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.allclose(mine[name], tensor, rtol=0, atol=1e-9), name


@pytest.mark.parametrize("compiled", [False, True])
def test_every_member_trains_as_in_a_plain_loop(compiled):
    step = prepared(compiled=compiled, max_norm=NORMS, weight_decay=0.1)
    schedule = Cosine(step.optimizer, total_steps=STEPS)
    losses_M = []
    for t in range(STEPS):
        losses_M.append(step(X[t], Y[t]))
        schedule.step()
    assert step.fallback is None
    for i in range(M):
        model, losses = alone(
            i,
            max_norm=float(NORMS[i]),
            weight_decay=0.1,
            schedule=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=STEPS),
        )
        assert_equal_to(step, i, model, torch.stack(losses_M), losses)


@pytest.mark.parametrize(
    ("ours", "plain", "options"),
    [
        (SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        (NAdam, torch.optim.NAdam, {}),  # keeps a number beside its moments
    ],
)
def test_other_optimisers_are_compiled_too(ours, plain, options):
    step = prepared(ours, **options)
    losses_M = torch.stack([step(X[t], Y[t]) for t in range(STEPS)])
    assert step.fallback is None
    model, losses = alone(1, plain, **options)
    assert_equal_to(step, 1, model, losses_M, losses)


def test_members_with_a_batch_each_and_members_that_leave_go_on_as_alone():
    step = prepared()
    x, y = torch.stack([X, X.flip(0), X.roll(1, 0), X + 1], 1), torch.stack([Y, Y.flip(0), Y.roll(1, 0), Y], 1)
    first = [step(tenfold.per_member(x[t]), tenfold.per_member(y[t])) for t in range(6)]
    step.stack.keep([3, 1])
    kept = torch.tensor([3, 1])
    rest = [step(tenfold.per_member(x[t][kept]), tenfold.per_member(y[t][kept])) for t in range(6, STEPS)]
    assert step.fallback is None
    losses_M = torch.cat([torch.stack(first)[:, kept], torch.stack(rest)])
    for place, i in enumerate((3, 1)):
        model, losses = alone(i, x=x[:, i], y=y[:, i])
        assert_equal_to(step, i, model, losses_M, losses, place)


def test_a_state_that_is_loaded_is_what_the_compiled_step_goes_on_from():
    step, other = prepared(), prepared()
    for t in range(3):
        step(X[t], Y[t])
        other(X[t + 5], Y[t + 5])
    saved = step.stack.state_dict(), step.optimizer.state_dict()
    torch.save(saved, file := io.BytesIO())
    expected = [step(X[t], Y[t]) for t in range(3, 6)]
    file.seek(0)
    stack_state, optimizer_state = torch.load(file)
    other.stack.load_state_dict(stack_state)
    other.optimizer.load_state_dict(optimizer_state)
    for t in range(3, 6):
        assert torch.equal(other(X[t], Y[t]), expected[t - 3])


def test_a_poisoned_member_changes_no_bit_of_the_others():
    step, poisoned = prepared(max_norm=1.0), prepared(max_norm=1.0)
    with torch.no_grad():
        poisoned.stack.parameters()[-1][1] = torch.nan
        poisoned.optimizer.param_groups[0]["lr"][2] = 1e30
    for t in range(5):
        clean_M, sick_M = step(X[t], Y[t]), poisoned(X[t], Y[t])
        assert torch.equal(clean_M[[0, 3]], sick_M[[0, 3]])
    assert sick_M[1].isnan()
    for (name, clean), sick in zip(step.stack.named_parameters(), poisoned.stack.parameters(), strict=True):
        assert torch.equal(clean[[0, 3]], sick[[0, 3]]), name


def test_serial_members_are_compiled_one_by_one_with_one_program():
    PROGRAMS.clear()
    step = prepared(form="serial")
    losses_M = torch.stack([step(X[t], Y[t]) for t in range(STEPS)])
    assert step.fallback is None
    assert len(PROGRAMS[AdamW, Net]) == 1
    model, losses = alone(2)
    assert_equal_to(step, 2, model, losses_M, losses)


def test_members_are_compiled_a_few_at_a_time_with_few_programs_for_any_number():
    programs = {}
    stack = tenfold.stack(models())
    step = TrainingStep(stack, loss, AdamW(stack.parameters(), lr=LR), max_norm=1.0, compiled=True, programs=programs)
    step.block_members = 2
    first = [step(X[t], Y[t]) for t in range(4)]
    assert [len(block.members.keys_M) for block in step._blocks] == [2, 2]
    assert len(programs) == 1
    stack.keep([3, 1, 2])
    kept = torch.tensor([3, 1, 2])
    rest = [step(X[t], Y[t]) for t in range(4, 7)]
    assert [len(block.members.keys_M) for block in step._blocks] == [2, 1]
    stack.keep([2])
    last = [step(X[t], Y[t]) for t in range(7, STEPS)]
    assert step.fallback is None
    assert len(programs) == 2
    for place, i in ((2, 2),):
        model, losses = alone(i, max_norm=1.0)
        own = [*(loss_M[kept] for loss_M in first), *rest]
        found = torch.stack([*(loss_M[place] for loss_M in own), *(loss_M[0] for loss_M in last)])
        assert torch.allclose(found, torch.tensor(losses, dtype=torch.float64), rtol=0, atol=1e-9)
        for name, tensor in model.state_dict().items():
            assert torch.allclose(stack.unstack()[0].state_dict()[name], tensor, rtol=0, atol=1e-9), name


def test_steps_that_share_programs_compile_what_is_alike_once():
    programs = PROGRAMS.setdefault((AdamW, Net), {})
    for model in models()[:2]:
        stack = tenfold.stack([model])
        step = TrainingStep(stack, loss, AdamW(stack.parameters(), lr=0.1), compiled=True, programs=programs)
        step(X[0], Y[0])
        step(X[1], Y[1])
        count = len(programs)
        assert step.fallback is None
    assert len(programs) == count


def test_a_batch_of_another_shape_runs_as_it_comes():
    step = prepared()
    step(X[0], Y[0])
    step(X[1], Y[1])
    count, before = len(step._programs), step.stack.parameters()[-1].detach().clone()
    assert step(X[2][:5], Y[2][:5]).shape == (M,)
    assert len(step._programs) == count
    assert not torch.equal(before, step.stack.parameters()[-1])


class Counting(Net):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def test_a_forward_that_sets_attributes_is_not_compiled_and_goes_on():
    step = prepared(make=Counting)
    step(X[0], Y[0])
    with pytest.warns(CompileFallbackWarning, match=r"forward sets the attribute 'calls'"):
        step(X[1], Y[1])
    assert step.fallback is not None
    assert "runs as it comes" in step.fallback
    before = step.stack.parameters()[-1].detach().clone()
    step(X[2], Y[2])
    assert not torch.equal(before, step.stack.parameters()[-1])


def test_without_a_compiler_the_sentence_says_what_to_install(monkeypatch):
    def no_compiler(*_, **__):
        raise RuntimeError(
            "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx: (g++)"
        )

    monkeypatch.setattr(torch._inductor, "standalone_compile", no_compiler)
    PROGRAMS.clear()
    step = prepared()
    step(X[0], Y[0])
    with pytest.warns(CompileFallbackWarning, match=r"no working C\+\+ compiler was found \(install g\+\+"):
        step(X[1], Y[1])


def test_no_memory_is_not_mistaken_for_code_that_cannot_be_compiled(monkeypatch):
    def no_memory(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr(torch._inductor, "standalone_compile", no_memory)
    PROGRAMS.clear()
    step = prepared()
    step(X[0], Y[0])
    with pytest.raises(MemoryError, match="no room"):
        step(X[1], Y[1])


def test_steps_that_train_other_parameters_have_programs_of_their_own():
    programs, built = {}, []
    for chosen in (slice(0, 2), slice(2, 4)):
        stack = tenfold.stack([model.body for model in models()])
        step = TrainingStep(stack, loss, SGD(stack.parameters()[chosen], lr=0.1), compiled=True, programs=programs)
        step._compile = lambda block, _, own=step: built.append(own._groups()) or (lambda *leaves: torch.zeros(M))
        step(X[0], Y[0])
        step(X[1], Y[1])
    assert built == [[["0.weight", "0.bias"]], [["1.weight", "1.bias"]]]
