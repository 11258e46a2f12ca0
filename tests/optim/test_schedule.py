"""The schedules against torch.optim.lr_scheduler, a learning rate a member."""

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import tenfold
from tenfold.optim import SGD, AdamW, Constant, Cosine, OneCycle, Schedule

LR = [1.0, 0.1, 1e-3]


def make(lr=LR):
    stack = tenfold.stack([nn.Linear(2, 2) for _ in range(3)])
    return stack, SGD(stack.parameters(), lr=lr, momentum=0.9)


def rates(schedule, steps):
    """The rates a member, shape (steps, 3), the one of the first step in front."""
    out = []
    for _ in range(steps):
        out.append(schedule.optimizer.param_groups[0]["lr"].clone())
        schedule.optimizer.step()
        schedule.step()
    return torch.stack(out)


def torch_rates(build, steps):
    columns = []
    for lr in LR:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
        scheduler = build(optimizer, lr)
        column = []
        for _ in range(steps):
            column.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        columns.append(column)
    return torch.tensor(columns, dtype=torch.float64).T


def warmed_up(optimizer, warmup, total, floor=0.0):
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=floor)
    return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[warmup])


CASES = {
    "cosine": (lambda o: Cosine(o, 40), lambda o, lr: lr_scheduler.CosineAnnealingLR(o, T_max=40)),
    "cosine to a floor": (
        lambda o: Cosine(o, 40, final_factor=0.2),
        lambda o, lr: lr_scheduler.CosineAnnealingLR(o, T_max=40, eta_min=0.2 * lr),
    ),
    "cosine of one step": (lambda o: Cosine(o, 1), lambda o, lr: lr_scheduler.CosineAnnealingLR(o, T_max=1)),
    "warm-up": (lambda o: Cosine(o, 40, warmup_steps=7), lambda o, lr: warmed_up(o, 7, 40)),
    "warm-up of one step": (lambda o: Cosine(o, 40, warmup_steps=1), lambda o, lr: warmed_up(o, 1, 40)),
    "warm-up to a floor": (
        lambda o: Cosine(o, 40, warmup_steps=10, final_factor=0.1),
        lambda o, lr: warmed_up(o, 10, 40, 0.1 * lr),
    ),
    "warm-up alone": (
        lambda o: Constant(o, warmup_steps=9),
        lambda o, lr: lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=9),
    ),
    "constant": (lambda o: Constant(o), lambda o, lr: lr_scheduler.ConstantLR(o, factor=1.0)),
    **{
        f"one cycle of {total} steps, rise {rise}": (
            lambda o, total=total, rise=rise: OneCycle(o, total, rise=rise),
            lambda o, lr, total=total, rise=rise: lr_scheduler.OneCycleLR(
                o, max_lr=lr, total_steps=total, pct_start=rise, cycle_momentum=False
            ),
        )
        for total, rise in [(40, 0.3), (41, 0.25), (100, 0.9), (10, 0.15), (5, 0.3)]
    },
    "one cycle of other heights": (
        lambda o: OneCycle(o, 30, div_factor=3.0, final_div_factor=7.0),
        lambda o, lr: lr_scheduler.OneCycleLR(
            o, max_lr=lr, total_steps=30, div_factor=3.0, final_div_factor=7.0, cycle_momentum=False
        ),
    ),
}
STEPS = {
    "cosine of one step": 2,
    **{n: int(n.split()[3]) for n in CASES if n.startswith("one cycle of ") and n[13].isdigit()},
}


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
@pytest.mark.parametrize("name", CASES)
def test_the_rates_are_those_of_torch(name):
    ours, theirs = CASES[name]
    steps = STEPS.get(name, 30)
    _, optimizer = make()
    got = rates(ours(optimizer), steps)
    torch.testing.assert_close(got, torch_rates(theirs, steps), rtol=1e-12, atol=1e-12)
    assert optimizer.param_groups[0]["momentum"] == 0.9


def test_after_its_last_step_a_schedule_stays_where_it_is():
    for schedule in (Cosine(make()[1], 5, final_factor=0.25), OneCycle(make()[1], 5)):
        values = rates(schedule, 12)
        assert torch.equal(values[5], values[11])
    _, optimizer = make()
    assert rates(Cosine(optimizer, 5, final_factor=0.25), 8)[-1].tolist() == [0.25 * lr for lr in LR]


@pytest.mark.parametrize(("total", "rise"), [(2, 0.5), (2, 0.3), (3, 0.1), (4, 0.25)])
def test_a_cycle_too_short_to_rise_starts_high_and_falls(total, rise):
    values = rates(OneCycle(make()[1], total, rise=rise), total)
    assert values.isfinite().all()
    assert (values <= torch.tensor(LR, dtype=torch.float64) * (1 + 1e-12)).all()
    assert (values[-1] < values[0]).all()


def test_a_plain_rate_and_groups_of_their_own_are_scheduled_too():
    stack = tenfold.stack([nn.Linear(2, 2) for _ in range(3)])
    weight, bias = stack.parameters()
    optimizer = AdamW([{"params": [weight], "lr": LR}, {"params": [bias]}], lr=0.5)
    schedule = Cosine(optimizer, 2)
    schedule.step()
    torch.testing.assert_close(optimizer.param_groups[0]["lr"], torch.tensor(LR, dtype=torch.float64) / 2)
    assert optimizer.param_groups[1]["lr"] == pytest.approx(0.25)


def test_members_that_stay_keep_their_rates():
    stack, optimizer = make()
    _, undisturbed = make()
    schedule, other = Cosine(optimizer, 20, warmup_steps=3), Cosine(undisturbed, 20, warmup_steps=3)
    for step in range(15):
        if step == 7:
            stack.keep([2, 0])
        places = [2, 0] if step >= 7 else [0, 1, 2]
        assert torch.equal(optimizer.param_groups[0]["lr"], undisturbed.param_groups[0]["lr"][places])
        schedule.step()
        other.step()


def test_a_state_goes_on_in_another_schedule():
    (_, first), (_, second) = make(), make([0.5, 0.5, 0.5])
    schedule, other = OneCycle(first, 20), OneCycle(second, 20)
    for _ in range(6):
        schedule.step()
    other.load_state_dict(schedule.state_dict())
    for _ in range(10):
        assert torch.equal(first.param_groups[0]["lr"], second.param_groups[0]["lr"])
        schedule.step()
        other.step()


WRONG = {
    "negative warm-up": (lambda o: Constant(o, warmup_steps=-1), "Constant: warmup_steps must be >= 0, got -1"),
    "no steps": (lambda o: Cosine(o, 0), r"Cosine: total_steps must be > 0 \(warm-up included\), got 0"),
    "warm-up alone": (lambda o: Cosine(o, 5, warmup_steps=5), "Cosine: total_steps must be > 5 .* got 5"),
    "floor above the base": (
        lambda o: Cosine(o, 5, final_factor=1.5),
        r"Cosine: final_factor must be in \[0, 1\], got 1.5",
    ),
    "negative floor": (lambda o: Cosine(o, 5, final_factor=-0.1), r"final_factor must be in \[0, 1\], got -0.1"),
    "a cycle of one": (lambda o: OneCycle(o, 1), "OneCycle: total_steps must be > 1 .* got 1"),
    "no rise": (lambda o: OneCycle(o, 5, rise=0.0), r"OneCycle: rise must be in \(0, 1\), got 0.0"),
    "only rise": (lambda o: OneCycle(o, 5, rise=1.0), r"OneCycle: rise must be in \(0, 1\), got 1.0"),
    "no divisor": (
        lambda o: OneCycle(o, 5, div_factor=0.0),
        r"div_factor and final_div_factor must be > 0, got 0.0 and",
    ),
    "negative divisor": (lambda o: OneCycle(o, 5, final_div_factor=-1.0), "must be > 0, got 25.0 and -1.0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_curves_that_cannot_be_are_refused(name):
    build, words = WRONG[name]
    _, optimizer = make()
    with pytest.raises(ValueError, match=words):
        build(optimizer)
    assert optimizer.param_groups[0]["lr"].tolist() == LR


def test_a_schedule_without_a_curve_says_so():
    with pytest.raises(NotImplementedError):
        Schedule(make()[1])
