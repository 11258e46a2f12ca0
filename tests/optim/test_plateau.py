"""Plateau against torch.optim.lr_scheduler.ReduceLROnPlateau, member by member."""

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import tenfold
from tenfold.optim import SGD, Plateau

M = 4
LR = [1.0, 0.1, 1e-3, 0.5]
EVALUATIONS = 70


def make(lr=LR):
    stack = tenfold.stack([nn.Linear(2, 2) for _ in range(M)])
    return stack, SGD(stack.parameters(), lr=lr)


def scores(seed=0):
    """Scores that improve for a while and then wander, shape (evaluations, M), with some that are no numbers."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(EVALUATIONS, M, generator=generator, dtype=torch.float64)
    trend = torch.linspace(3.0, 0.0, EVALUATIONS, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.1, 0.0, -1.0])
    score = trend + 0.2 * noise
    score[10, 1] = score[11, 1] = float("nan")
    score[20, 2] = float("inf")
    score[60, 3] = -float("inf")
    return score


def torch_rates(score, **options):
    columns = []
    for i, lr in enumerate(LR):
        own = {name: value[i] if isinstance(value, list) else value for name, value in options.items()}
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, **own)
        column = []
        for value in score[:, i].tolist():
            scheduler.step(value)
            column.append(optimizer.param_groups[0]["lr"])
        columns.append(column)
    return torch.tensor(columns, dtype=torch.float64).T


def rates(schedule, score):
    out = []
    for score_M in score:
        schedule.step(score_M)
        lr = schedule.optimizer.param_groups[0]["lr"]
        out.append(lr if isinstance(lr, torch.Tensor) else torch.full((M,), lr, dtype=torch.float64))
    return torch.stack(out)


CASES = {
    "as it comes": {},
    "larger is better": {"mode": "max", "patience": 3},
    "in differences": {"threshold_mode": "abs", "threshold": [0.5, 0.1, 0.0, 1e-4], "patience": [0, 1, 2, 3]},
    "in differences, larger is better": {"mode": "max", "threshold_mode": "abs", "threshold": 0.1, "patience": 2},
    "a threshold of everything": {"threshold": 1.0, "patience": 3},
    "all a member": {
        "factor": [0.5, 0.9, 0.0, 0.1],
        "patience": [0, 4, 2, 1],
        "threshold": [0.1, 1e-4, 0.0, 0.3],
        "cooldown": [0, 3, 1, 5],
        "min_lr": [1e-2, 1e-4, 0.0, 0.6],
        "eps": [1e-8, 1e-3, 0.0, 1e-8],
    },
}


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("name", CASES)
def test_the_rates_are_those_of_torch(name, mode):
    options = {"mode": mode, **CASES[name]}
    expected = torch_rates(scores(), **options)
    assert (expected[0] != expected[-1]).any()
    torch.testing.assert_close(rates(Plateau(make()[1], **options), scores()), expected, rtol=1e-12, atol=1e-12)


def test_a_plain_rate_becomes_one_a_member_at_the_first_fall():
    _, optimizer = make(0.5)
    schedule = Plateau(optimizer, factor=0.5, patience=0)
    schedule.step([1.0] * M)
    assert optimizer.param_groups[0]["lr"] == 0.5
    schedule.step([1.0, 0.5, 2.0, float("nan")])
    assert optimizer.param_groups[0]["lr"].tolist() == [0.25, 0.5, 0.25, 0.25]


def test_steps_without_scores_move_the_warm_up_and_nothing_else():
    _, optimizer = make()
    schedule = Plateau(optimizer, factor=0.5, patience=0, warmup_steps=3)
    shares = []
    for _ in range(5):
        shares.append(float(optimizer.param_groups[0]["lr"][0]) / LR[0])
        schedule.step()
    assert shares == [0.25, 0.5, 0.75, 1.0, 1.0]
    for score_M in (torch.ones(M), torch.ones(M)):
        schedule.step(score_M)
    assert optimizer.param_groups[0]["lr"].tolist() == [0.5 * lr for lr in LR]


def test_a_score_that_is_no_number_changes_no_bit_of_the_others():
    score, poisoned = scores(), scores()
    poisoned[2:, 1] = float("nan")
    clean, sick = (rates(Plateau(make()[1], patience=[2, 3, 1, 0]), values) for values in (score, poisoned))
    assert torch.equal(clean[:, [0, 2, 3]], sick[:, [0, 2, 3]])
    assert not torch.equal(clean[:, 1], sick[:, 1])


def test_members_that_stay_keep_what_they_have_borne():
    score, options, places = scores(), CASES["all a member"], [3, 1, 0]
    stack, optimizer = make()
    schedule = Plateau(optimizer, **options)
    expected = torch_rates(score, **options)
    rates(schedule, score[:25])
    stack.keep(places)
    torch.testing.assert_close(
        torch.stack([optimizer.param_groups[0]["lr"], *rates(schedule, score[25:, places])]),
        expected[24:, places],
        rtol=1e-12,
        atol=1e-12,
    )


def test_a_state_goes_on_in_another_schedule_through_a_file(tmp_path):
    score, options = scores(), CASES["all a member"]
    schedule, other = Plateau(make()[1], **options), Plateau(make([0.3] * M)[1])
    rates(schedule, score[:25])
    torch.save(schedule.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(rates(schedule, score[25:]), rates(other, score[25:]))


WRONG = {
    "mode": ({"mode": "lowest"}, "Plateau: mode must be 'min' or 'max', got 'lowest'"),
    "threshold_mode": ({"threshold_mode": "both"}, "Plateau: threshold_mode must be 'rel' or 'abs', got 'both'"),
    "factor": ({"factor": 1.0}, r"Plateau: factor must be in \[0, 1\), got 1.0"),
    "patience": ({"patience": [1, 2, 3, -1]}, r"Plateau: patience must be a whole number >= 0, got \[1, 2, 3, -1\]"),
    "threshold": ({"threshold": -1.0}, "Plateau: threshold must be >= 0 and finite, got -1.0"),
    "cooldown": ({"cooldown": 0.5}, "Plateau: cooldown must be a whole number >= 0, got 0.5"),
    "min_lr": (
        {"min_lr": [0.1]},
        r"Plateau: min_lr must be a number or one a member, shape \(4,\), got shape \(1,\)",
    ),
    "eps": ({"eps": float("inf")}, "Plateau: eps must be >= 0 and finite, got inf"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options_are_refused(name):
    options, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        Plateau(make()[1], **options)


def test_scores_of_another_number_of_members_are_refused():
    schedule = Plateau(make()[1])
    for wrong in (0.5, torch.ones(3), torch.ones(M, 1)):
        with pytest.raises(
            ValueError, match=r"Plateau.step: score_M must have shape \(4,\), one score a member, got"
        ):
            schedule.step(wrong)
