import math
from dataclasses import replace

import pytest

from tenfold.tuning import HALVINGS
from tenfold.tuning.ladder import data_fractions, make_ladder

FRACTIONS = (1 / 9, 1 / 3, 1.0)


def climb(ladder, quality, num_trials):
    """Trains all trials step by step, the score being the quality; returns the steps that each took."""
    curves = {trial: [math.nan] * ladder.first_step(trial) for trial in range(num_trials)}
    running = set(curves)
    for _ in ladder.values:
        for trial in running:
            if len(curves[trial]) < len(ladder.values):
                curves[trial].append(quality[trial] + 0.01 * len(curves[trial]))
        running -= set(ladder.rule.leavers(curves, running))
    return {
        trial: [step for step, score in enumerate(curve) if not math.isnan(score)] for trial, curve in curves.items()
    }


@pytest.mark.parametrize(
    ("halving", "num_trials", "counts"),
    [
        ("none", 9, [0, 0, 9]),
        ("successive", 27, [27, 9, 3]),
        ("successive", 9, [9, 3, 1]),
        ("successive", 5, [0, 5, 1]),
        ("successive", 2, [0, 0, 2]),
        ("hyperband", 15, [9, 3 + 3, 1 + 1 + 3]),
    ],
)
def test_so_many_trials_train_on_each_step(halving, num_trials, counts):
    ladder = make_ladder(halving, FRACTIONS, num_trials, "maximize")
    steps = climb(ladder, [trial / 100 for trial in range(num_trials)], num_trials)
    assert [sum(step in taken for taken in steps.values()) for step in range(3)] == counts


@pytest.mark.parametrize("halving", list(HALVINGS))
def test_every_rule_climbs_every_ladder_with_the_best_trial_at_the_top(halving):
    ladder = make_ladder(halving, ("resnet18", "resnet34", "resnet50"), 30, "maximize")
    steps = climb(ladder, [0.5 + trial / 100 for trial in range(30)], 30)
    assert max(steps[29]) == 2
    assert ladder.values[max(steps[29])] == "resnet50"


def test_the_score_of_the_present_step_counts_and_not_a_better_one_of_a_cheaper_step():
    ladder = make_ladder("successive", FRACTIONS, 9, "maximize")
    scores = {0: [0.9, 0.6], 1: [0.7, 0.8], 2: [0.7, 0.7]}
    assert set(ladder.rule.leavers(scores, {0, 1, 2})) == {0, 2}


def test_epochs_are_counted_in_those_of_the_last_step():
    ladder = replace(make_ladder("hyperband", FRACTIONS, 15, "maximize"), epochs=3, costs=FRACTIONS)
    assert ladder.first_step(9) == 1
    assert ladder.spent(0, 3) == pytest.approx(3 / 9)
    assert ladder.spent(0, 9) == pytest.approx(3 / 9 + 1 + 3)
    assert ladder.spent(9, 4) == pytest.approx(1 + 1)
    assert (ladder.length(0), ladder.length(9)) == (9, 6)


def test_what_lies_ahead_is_what_those_who_go_on_will_take():
    ladder = replace(make_ladder("successive", FRACTIONS, 9, "maximize"), epochs=3, costs=FRACTIONS)
    assert ladder.ahead(dict.fromkeys(range(9), 0)) == pytest.approx(9 * 3 / 9 + 3 * 1 + 3)
    assert ladder.ahead(dict.fromkeys(range(9), 1)) == pytest.approx(9 * 2 / 9 + 3 * 1 + 3)
    assert ladder.ahead(dict.fromkeys(range(3), 3)) == pytest.approx(3 * 1 + 3)
    assert ladder.ahead({0: 9}) == 0
    whole = replace(make_ladder("median", FRACTIONS, 9, "maximize"), epochs=3, costs=FRACTIONS)
    assert whole.ahead({0: 0, 1: 3}) == pytest.approx(3 / 9 + 1 + 3 + 1 + 3)


def test_a_rule_sees_one_score_a_step():
    ladder = replace(make_ladder("hyperband", FRACTIONS, 15, "maximize"), epochs=2)
    assert ladder.curve(0, [0.1, 0.2, 0.15, 0.3, 0.25]) == [0.2, 0.3]
    assert ladder.curve(9, [0.1, 0.2])[1:] == [0.2]
    assert math.isnan(ladder.curve(9, [0.1, 0.2])[0])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((5400,), [1 / 27, 1 / 9, 1 / 3, 1]), ((5399,), [1 / 9, 1 / 3, 1]), ((10,), [1])],
)
def test_fractions_have_rows_enough(arguments, expected):
    assert data_fractions(*arguments) == pytest.approx(expected)
    assert data_fractions(1600, reduction_factor=4, min_rows=100) == (1 / 16, 1 / 4, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_ladder("successive", (), 9, "maximize"), "number of values must be a whole number >= 1, got 0"),
        (lambda: make_ladder("successive", (1,), 0, "maximize"), "num_trials must be a whole number >= 1, got 0"),
        (lambda: make_ladder("none", (1,), 0, "maximize"), "num_trials must be a whole number >= 1, got 0"),
        (lambda: make_ladder("curve", (1,), 9, "up"), "direction must be 'maximize' or 'minimize', got 'up'"),
        (lambda: make_ladder("curves", (1,), 9, "maximize"), r"unknown halving 'curves'\. Did you mean 'curve'\?"),
        (
            lambda: make_ladder("none", (1,), 9, "maximize", reduction_factor=1),
            "reduction_factor must be a whole number >= 2, got 1",
        ),
        (lambda: data_fractions(0), "num_rows must be a whole number >= 1, got 0"),
        (lambda: data_fractions(9, min_rows=0), "min_rows must be a whole number >= 1, got 0"),
    ],
)
def test_impossible_ladders_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
