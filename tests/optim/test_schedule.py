"""The schedules against torch.optim.lr_scheduler, a learning rate and options a member."""

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import tenfold
from tenfold.optim import (
    SGD,
    AdamW,
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    Linear,
    MultiStep,
    OneCycle,
    Schedule,
    Step,
)

LR = [1.0, 0.1, 1e-3]
STEPS = 80
FLOORS = [0.0, 0.2, 0.01]


def make(lr=LR):
    stack = tenfold.stack([nn.Linear(2, 2) for _ in range(3)])
    return stack, SGD(stack.parameters(), lr=lr, momentum=0.9)


def rates(schedule, steps):
    """The rates a member, shape (steps, 3), the one of the first step in front."""
    out = []
    for _ in range(steps):
        lr = schedule.optimizer.param_groups[0]["lr"]
        out.append(lr.clone() if isinstance(lr, torch.Tensor) else torch.full((3,), lr, dtype=torch.float64))
        schedule.optimizer.step()
        schedule.step()
    return torch.stack(out)


def torch_rates(build, steps):
    """The rates of one plain optimiser a member; `build(optimizer, lr, member)` gives its scheduler."""
    columns = []
    for member, lr in enumerate(LR):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
        scheduler = build(optimizer, lr, member)
        column = []
        for _ in range(steps):
            column.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        columns.append(column)
    return torch.tensor(columns, dtype=torch.float64).T


def after_warmup(warmup, build):
    def sequence(optimizer, lr, member):
        steps = warmup[member] if isinstance(warmup, list) else warmup
        if steps == 0:
            return build(optimizer, lr, member)
        rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (steps + 1), total_iters=steps)
        return lr_scheduler.SequentialLR(optimizer, [rise, build(optimizer, lr, member)], milestones=[steps])

    return sequence


def cosine(steps, floors=None):
    def build(optimizer, lr, member):
        total = steps[member] if isinstance(steps, list) else steps
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=total, eta_min=floors[member] * lr if floors else 0.0)

    return build


def one_cycle(**options):
    def build(optimizer, lr, member):
        own = {name: value[member] if isinstance(value, list) else value for name, value in options.items()}
        return lr_scheduler.OneCycleLR(optimizer, max_lr=lr, cycle_momentum=False, **own)

    return build


def restarts(T_0, T_mult, floors=FLOORS):
    return lambda optimizer, lr, i: lr_scheduler.CosineAnnealingWarmRestarts(
        optimizer, T_0=T_0[i], T_mult=T_mult[i], eta_min=floors[i] * lr
    )


GAMMAS = [0.5, 0.9, 1.01]
MILESTONES = [[3, 30], [70, 10, 10], []]
CASES = {
    "constant": (lambda o: Constant(o), lambda o, lr, i: lr_scheduler.ConstantLR(o, factor=1.0)),
    "warm-up alone": (
        lambda o: Constant(o, warmup_steps=9),
        lambda o, lr, i: lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=9),
    ),
    "warm-up alone, one a member": (
        lambda o: Constant(o, warmup_steps=[1, 70, 9]),
        lambda o, lr, i: lr_scheduler.LinearLR(o, start_factor=1 / [2, 71, 10][i], total_iters=[1, 70, 9][i]),
    ),
    "step": (lambda o: Step(o, 7), lambda o, lr, i: lr_scheduler.StepLR(o, 7)),
    "step, one a member": (
        lambda o: Step(o, [7, 1, 100], gamma=GAMMAS),
        lambda o, lr, i: lr_scheduler.StepLR(o, [7, 1, 100][i], gamma=GAMMAS[i]),
    ),
    "step after warm-up": (
        lambda o: Step(o, [7, 1, 20], gamma=GAMMAS, warmup_steps=[3, 0, 10]),
        after_warmup([3, 0, 10], lambda o, lr, i: lr_scheduler.StepLR(o, [7, 1, 20][i], gamma=GAMMAS[i])),
    ),
    "multi-step": (
        lambda o: MultiStep(o, (5, 40, 40, 60)),
        lambda o, lr, i: lr_scheduler.MultiStepLR(o, [5, 40, 40, 60]),
    ),
    "multi-step, one a member": (
        lambda o: MultiStep(o, MILESTONES, gamma=GAMMAS),
        lambda o, lr, i: lr_scheduler.MultiStepLR(o, MILESTONES[i], gamma=GAMMAS[i]),
    ),
    "multi-step, milestones as a tensor": (
        lambda o: MultiStep(o, torch.tensor([[3, 30], [1, 2], [0, 70]]), warmup_steps=[0, 4, 0]),
        after_warmup([0, 4, 0], lambda o, lr, i: lr_scheduler.MultiStepLR(o, [[3, 30], [1, 2], [0, 70]][i])),
    ),
    "exponential": (lambda o: Exponential(o, 0.95), lambda o, lr, i: lr_scheduler.ExponentialLR(o, 0.95)),
    "exponential, one a member": (
        lambda o: Exponential(o, torch.tensor(GAMMAS, dtype=torch.float64), warmup_steps=5),
        after_warmup(5, lambda o, lr, i: lr_scheduler.ExponentialLR(o, GAMMAS[i])),
    ),
    "linear": (
        lambda o: Linear(o, 70, start_factor=0.25, end_factor=1.0),
        lambda o, lr, i: lr_scheduler.LinearLR(o, 0.25, 1.0, 70),
    ),
    "linear, one a member": (
        lambda o: Linear(o, [70, 3, 200], start_factor=[1.0, 0.1, 0.5], end_factor=FLOORS),
        lambda o, lr, i: lr_scheduler.LinearLR(o, [1.0, 0.1, 0.5][i], FLOORS[i], [70, 3, 200][i]),
    ),
    "linear after warm-up": (
        lambda o: Linear(o, 60, end_factor=FLOORS, warmup_steps=6),
        after_warmup(6, lambda o, lr, i: lr_scheduler.LinearLR(o, 1.0, FLOORS[i], 54)),
    ),
    "cosine": (lambda o: Cosine(o, STEPS), cosine(STEPS)),
    "cosine, one a member": (
        lambda o: Cosine(o, [80, 90, 160], final_factor=FLOORS),
        cosine([80, 90, 160], FLOORS),
    ),
    "cosine after warm-up": (lambda o: Cosine(o, 90, warmup_steps=7), after_warmup(7, cosine(83))),
    "cosine after a warm-up of one step": (lambda o: Cosine(o, 90, warmup_steps=1), after_warmup(1, cosine(89))),
    "cosine after warm-up, one a member": (
        lambda o: Cosine(o, [90, 80, 100], warmup_steps=[10, 0, 60], final_factor=FLOORS),
        after_warmup([10, 0, 60], cosine([80, 80, 40], FLOORS)),
    ),
    "restarts": (lambda o: CosineRestarts(o, 7), restarts([7] * 3, [1] * 3, [0.0] * 3)),
    "restarts, one a member": (
        lambda o: CosineRestarts(o, [1, 3, 5], T_mult=[2, 3, 1], final_factor=FLOORS),
        restarts([1, 3, 5], [2, 3, 1]),
    ),
    "restarts after warm-up": (
        lambda o: CosineRestarts(o, [2, 3, 20], T_mult=2, final_factor=FLOORS, warmup_steps=[0, 5, 9]),
        after_warmup([0, 5, 9], restarts([2, 3, 20], [2] * 3)),
    ),
    **{
        f"one cycle of {total} steps, rise {rise}": (
            lambda o, total=total, rise=rise: OneCycle(o, total, rise=rise),
            one_cycle(total_steps=total, pct_start=rise),
        )
        for total, rise in [(80, 0.3), (81, 0.25), (100, 0.9), (90, 0.1)]
    },
    "one cycle, one a member": (
        lambda o: OneCycle(
            o, [80, 85, 130], rise=[0.3, 0.5, 0.1], div_factor=[25.0, 3.0, 1.0], final_div_factor=[1e4, 7.0, 2.0]
        ),
        one_cycle(
            total_steps=[80, 85, 130],
            pct_start=[0.3, 0.5, 0.1],
            div_factor=[25.0, 3.0, 1.0],
            final_div_factor=[1e4, 7.0, 2.0],
        ),
    ),
    "one cycle in lines": (
        lambda o: OneCycle(o, 80, rise=[0.3, 0.6, 0.1], anneal="linear"),
        one_cycle(total_steps=80, pct_start=[0.3, 0.6, 0.1], anneal_strategy="linear"),
    ),
    "one cycle of three phases": (
        lambda o: OneCycle(o, [80, 80, 90], rise=[0.3, 0.5, 0.1], three_phase=True, final_div_factor=10.0),
        one_cycle(total_steps=[80, 80, 90], pct_start=[0.3, 0.5, 0.1], three_phase=True, final_div_factor=10.0),
    ),
    "one cycle of three phases in lines": (
        lambda o: OneCycle(o, 80, rise=0.4, three_phase=True, anneal="linear"),
        one_cycle(total_steps=80, pct_start=0.4, three_phase=True, anneal_strategy="linear"),
    ),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
@pytest.mark.parametrize("name", CASES)
def test_the_rates_are_those_of_torch(name):
    ours, theirs = CASES[name]
    _, optimizer = make()
    got = rates(ours(optimizer), STEPS)
    torch.testing.assert_close(got, torch_rates(theirs, STEPS), rtol=1e-12, atol=1e-12)
    assert optimizer.param_groups[0]["momentum"] == 0.9


@pytest.mark.parametrize(("total", "rise"), [(10, 0.15), (5, 0.3), (11, 0.1)])
def test_short_cycles_are_those_of_torch(total, rise):
    got = rates(OneCycle(make()[1], total, rise=rise), total)
    theirs = torch_rates(one_cycle(total_steps=total, pct_start=rise), total)
    torch.testing.assert_close(got, theirs, rtol=1e-12, atol=1e-12)


def test_a_cosine_of_one_step_falls_at_once():
    theirs = torch_rates(cosine(1), 2)
    torch.testing.assert_close(rates(Cosine(make()[1], 1), 2), theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("first", [1, 3])
@pytest.mark.parametrize("times", [2, 3, 7, 10])
def test_restarts_come_at_the_very_step_however_late(first, times):
    _, optimizer = make()
    schedule = CosineRestarts(optimizer, first, T_mult=times)
    start, length = 0, first
    while start < 10_000_000:
        start, length = start + length, length * times
        assert schedule.factor(float(start)) == pytest.approx(1.0, abs=1e-12)
        assert schedule.factor(float(start - 1)) < 0.9 or length == first * times  # curves of one step are all 1
        assert schedule.factor(float(start + length - 1)) < schedule.factor(float(start + 1)) or length < 4


def test_a_warm_up_rises_to_where_the_schedule_begins():
    def expected(build, lr, warmup):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
        scheduler = build(optimizer)
        column = []
        for _ in range(60):
            column.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return [column[0] * (k + 1) / (warmup + 1) for k in range(warmup)] + column

    cases = [
        (
            lambda o: OneCycle(o, 64, warmup_steps=4),
            lambda o: lr_scheduler.OneCycleLR(o, o.param_groups[0]["lr"], total_steps=60, cycle_momentum=False),
        ),
        (
            lambda o: Linear(o, 54, start_factor=0.2, end_factor=1.0, warmup_steps=4),
            lambda o: lr_scheduler.LinearLR(o, 0.2, 1.0, 50),
        ),
    ]
    for ours, theirs in cases:
        columns = torch.tensor([expected(theirs, lr, 4) for lr in LR], dtype=torch.float64).T
        torch.testing.assert_close(rates(ours(make()[1]), 64), columns, rtol=1e-12, atol=1e-12)


def test_after_its_last_step_a_schedule_stays_where_it_is():
    for build in (
        lambda o: Cosine(o, 5, final_factor=0.25),
        lambda o: OneCycle(o, 5),
        lambda o: OneCycle(o, 5, anneal="linear", three_phase=True),
        lambda o: Linear(o, [5, 3, 4], end_factor=0.25),
    ):
        values = rates(build(make()[1]), 12)
        assert torch.equal(values[5], values[11])
    _, optimizer = make()
    assert rates(Cosine(optimizer, 5, final_factor=0.25), 8)[-1].tolist() == [0.25 * lr for lr in LR]


@pytest.mark.parametrize(("total", "rise"), [(2, 0.5), (2, 0.3), (3, 0.1), (4, 0.25), ([2, 3, 4], [0.5, 0.1, 0.25])])
def test_a_cycle_too_short_to_rise_starts_high_and_falls(total, rise):
    values = rates(OneCycle(make()[1], total, rise=rise), 4)
    assert values.isfinite().all()
    assert (values <= torch.tensor(LR, dtype=torch.float64) * (1 + 1e-12)).all()
    assert (values[0] > 0.5 * torch.tensor(LR, dtype=torch.float64)).all()
    assert (values[-1] < values[0]).all()


def test_a_plain_rate_and_groups_of_their_own_are_scheduled_too():
    stack = tenfold.stack([nn.Linear(2, 2) for _ in range(3)])
    weight, bias = stack.parameters()
    optimizer = AdamW([{"params": [weight], "lr": LR}, {"params": [bias]}], lr=0.5)
    schedule = Cosine(optimizer, 2)
    schedule.step()
    torch.testing.assert_close(optimizer.param_groups[0]["lr"], torch.tensor(LR, dtype=torch.float64) / 2)
    assert optimizer.param_groups[1]["lr"] == pytest.approx(0.25)


def test_options_a_member_give_a_plain_rate_a_value_a_member():
    _, optimizer = make(0.5)
    schedule = Exponential(optimizer, GAMMAS)
    schedule.step()
    assert optimizer.param_groups[0]["lr"].tolist() == [0.5 * gamma for gamma in GAMMAS]


EACH = {
    "constant": lambda o: Constant(o, warmup_steps=[2, 30, 9]),
    "step": lambda o: Step(o, [3, 4, 5], gamma=GAMMAS, warmup_steps=[2, 0, 9]),
    "multi-step": lambda o: MultiStep(o, [[2], [4, 11, 12], [9, 3]], gamma=GAMMAS),
    "multi-step in common": lambda o: MultiStep(o, [2, 12]),
    "exponential": lambda o: Exponential(o, GAMMAS),
    "linear": lambda o: Linear(o, [9, 20, 30], start_factor=GAMMAS, end_factor=FLOORS),
    "cosine": lambda o: Cosine(o, [20, 12, 30], warmup_steps=[3, 0, 10], final_factor=FLOORS),
    "cosine in common": lambda o: Cosine(o, 20, warmup_steps=3),
    "restarts": lambda o: CosineRestarts(o, [2, 3, 7], T_mult=[2, 1, 3], final_factor=FLOORS),
    "one cycle": lambda o: OneCycle(o, [20, 12, 30], rise=[0.3, 0.5, 0.2], div_factor=[2.0, 3.0, 4.0]),
}


@pytest.mark.parametrize("name", EACH)
def test_members_that_stay_keep_their_rates(name):
    (stack, optimizer), (_, undisturbed) = make(), make()
    schedule, other = EACH[name](optimizer), EACH[name](undisturbed)
    for step in range(15):
        if step == 7:
            stack.keep([2, 0])
        places = [2, 0] if step >= 7 else [0, 1, 2]
        torch.testing.assert_close(
            optimizer.param_groups[0]["lr"], undisturbed.param_groups[0]["lr"][places], rtol=1e-15, atol=0
        )
        schedule.step()
        other.step()


@pytest.mark.parametrize("name", EACH)
def test_a_state_goes_on_in_another_schedule_through_a_file(name, tmp_path):
    (stack, first), (smaller, second) = make(), make([0.5, 0.5, 0.5])
    schedule, other = EACH[name](first), EACH[name](second)
    for _ in range(6):
        schedule.step()
    stack.keep([2, 0])
    smaller.keep([0, 1])
    torch.save(schedule.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(10):
        assert torch.equal(first.param_groups[0]["lr"], second.param_groups[0]["lr"])
        schedule.step()
        other.step()


def test_a_state_of_another_schedule_is_refused():
    schedule = Cosine(make()[1], 5)
    with pytest.raises(
        ValueError, match=r"Cosine.load_state_dict: state must be of a Cosine of 1 groups, got 1 grou"
    ):
        schedule.load_state_dict(OneCycle(make()[1], 5).state_dict())
    stack, optimizer = make()
    smaller = Cosine(optimizer, 5)
    stack.keep([0, 1])
    with pytest.raises(
        ValueError, match=r"Cosine.load_state_dict: state must be of 3 members, got 2. Build the stack"
    ):
        schedule.load_state_dict(smaller.state_dict())


def test_a_rate_that_is_no_number_stays_with_its_member():
    _, optimizer = make([1.0, 0.1, 1e-3])
    _, poisoned = make([1.0, 0.1, 1e-3])
    poisoned.param_groups[0]["lr"][1] = float("nan")
    clean, sick = rates(EACH["cosine"](optimizer), 12), rates(EACH["cosine"](poisoned), 12)
    assert torch.equal(clean[:, [0, 2]], sick[:, [0, 2]])
    assert sick[:, 1].isnan().all()


COUNT_WORDS = "must be a whole number >= "
WRONG = {
    "negative warm-up": (lambda o: Constant(o, warmup_steps=-1), f"Constant: warmup_steps {COUNT_WORDS}0, got -1"),
    "half a step": (lambda o: Constant(o, warmup_steps=0.5), f"Constant: warmup_steps {COUNT_WORDS}0, got 0.5"),
    "no steps": (lambda o: Cosine(o, 0), r"Cosine: total_steps must be > 0 \(warm-up included\), got 0"),
    "half a total": (lambda o: Cosine(o, 2.5), f"Cosine: total_steps {COUNT_WORDS}0, got 2.5"),
    "warm-up alone": (lambda o: Cosine(o, 5, warmup_steps=5), "Cosine: total_steps must be > 5 .* got 5"),
    "warm-up alone for one": (
        lambda o: Linear(o, 5, warmup_steps=[1, 5, 2]),
        "Linear: total_steps must be > warmup_steps of each member, got 5",
    ),
    "floor above the base": (
        lambda o: Cosine(o, 5, final_factor=1.5),
        r"Cosine: final_factor must be in \[0, 1\], got 1.5",
    ),
    "negative floor": (lambda o: Cosine(o, 5, final_factor=-0.1), r"final_factor must be in \[0, 1\], got -0.1"),
    "one floor too low": (
        lambda o: CosineRestarts(o, 5, final_factor=[0.1, -0.1, 0.2]),
        r"CosineRestarts: final_factor must be in \[0, 1\], got \[0.1, -0.1, 0.2\]",
    ),
    "two floors for three": (
        lambda o: Cosine(o, 5, final_factor=[0.1, 0.2]),
        r"Cosine: final_factor must be a number or one a member, shape \(3,\), got shape \(2,\)",
    ),
    "no first curve": (lambda o: CosineRestarts(o, 0), f"CosineRestarts: T_0 {COUNT_WORDS}1, got 0"),
    "curves that shrink": (lambda o: CosineRestarts(o, 2, T_mult=0.5), f"T_mult {COUNT_WORDS}1, got 0.5"),
    "no step size": (lambda o: Step(o, 0), f"Step: step_size {COUNT_WORDS}1, got 0"),
    "negative gamma": (lambda o: Step(o, 5, gamma=-1.0), "Step: gamma must be >= 0 and finite, got -1.0"),
    "gamma not a number": (lambda o: Exponential(o, float("nan")), "Exponential: gamma must be >= 0 and finite, got"),
    "negative milestone": (lambda o: MultiStep(o, [1, -2]), rf"MultiStep: milestones {COUNT_WORDS}0, got \[1, -2\]"),
    "milestones for two": (
        lambda o: MultiStep(o, [[1], [2]]),
        "MultiStep: milestones must be one list or one a member, 3, got 2",
    ),
    "negative end": (lambda o: Linear(o, 5, end_factor=-1.0), "Linear: end_factor must be >= 0 and finite, got -1.0"),
    "a cycle of one": (lambda o: OneCycle(o, 1), "OneCycle: total_steps must be > 1 .* got 1"),
    "no rise": (lambda o: OneCycle(o, 5, rise=0.0), r"OneCycle: rise must be in \(0, 1\), got 0.0"),
    "only rise": (lambda o: OneCycle(o, 5, rise=1.0), r"OneCycle: rise must be in \(0, 1\), got 1.0"),
    "too long a rise for three": (
        lambda o: OneCycle(o, 5, rise=0.6, three_phase=True),
        r"OneCycle: rise must be in \(0, 0.5\] with three phases, got 0.6",
    ),
    "no divisor": (lambda o: OneCycle(o, 5, div_factor=0.0), "OneCycle: div_factor must be > 0 and finite, got 0.0"),
    "negative divisor": (lambda o: OneCycle(o, 5, final_div_factor=-1.0), "final_div_factor must be > 0 .* got -1.0"),
    "an unknown way": (
        lambda o: OneCycle(o, 5, anneal="cos"),
        "OneCycle: anneal must be 'cosine' or 'linear', got 'cos'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_curves_that_cannot_be_are_refused(name):
    build, words = WRONG[name]
    _, optimizer = make()
    with pytest.raises(ValueError, match=words):
        build(optimizer)
    assert optimizer.param_groups[0]["lr"].tolist() == LR


@pytest.mark.parametrize("build", [lambda o: MultiStep(o, 5), lambda o: MultiStep(o, "35"), lambda o: Step(o, "x")])
def test_options_that_are_no_numbers_are_refused(build):
    with pytest.raises(
        TypeError, match=r"Step: (milestones must be a list of steps|step_size must be a number) or one"
    ):
        build(make()[1])


def test_a_schedule_without_a_curve_says_so():
    with pytest.raises(NotImplementedError):
        Schedule(make()[1])
