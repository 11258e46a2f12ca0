"""Who leaves after an epoch: rungs of brackets, folds and seeds, the sick, and the end."""

import math

import pytest

from tenfold.core.records import MemberId
from tenfold.train.judging import Judge, Race
from tenfold.tuning import Halving, MedianStopping, NoStopping, Rung, hyperband_brackets

NAN = math.nan


def race(scores, *, epochs=1, sick=(), is_over=False):
    """Trials with a score, or a list of them by fold; all have trained equally long."""
    best = {
        MemberId(trial=trial, fold=fold): score
        for trial, own in scores.items()
        for fold, score in enumerate(own if isinstance(own, list) else [own])
    }
    lengths = epochs if isinstance(epochs, dict) else dict.fromkeys(scores, epochs)
    curves = {trial: [0.0] * lengths[trial] for trial in scores}
    return Race(best=best, curves=curves, sick=set(sick), is_over=is_over)


def judge(*rungs, direction="maximize"):
    return Judge.of_rungs([Rung(resource=resource, keep=keep) for resource, keep in rungs], direction)


def test_between_rungs_nobody_leaves():
    verdict = judge((2, 1), (4, 1)).decide(race({0: 0.1, 1: 0.9}, epochs=1))
    assert (verdict.leavers, verdict.rungs) == ({}, [])


def test_at_a_rung_all_but_the_best_leave_with_a_reason():
    verdict = judge((2, 1), (4, 1)).decide(race({0: 0.1, 1: 0.9, 2: 0.5}, epochs=2))
    assert verdict.leavers == {
        0: "0.1 after 2 epochs is number 3 of 3, and 1 goes on",
        2: "0.5 after 2 epochs is number 2 of 3, and 1 goes on",
    }
    assert verdict.rungs == [{"rung": 0, "epoch": 2, "scores": {0: 0.1, 1: 0.9, 2: 0.5}, "kept": [1], "left": [0, 2]}]


def test_the_sick_leave_at_a_rung_though_there_is_room():
    verdict = judge((2, 2), (4, 2)).decide(race({0: NAN, 1: 0.9}, epochs=2, sick=[0]))
    assert verdict.leavers == {0: "its loss is not finite"}


def test_when_training_is_over_the_last_rung_decides_wherever_the_trials_are():
    (facts,) = judge((2, 2), (9, 1)).decide(race({0: 0.1, 1: 0.9}, epochs=5, is_over=True)).rungs
    assert (facts["rung"], facts["epoch"], facts["kept"]) == (1, 5, [1])


def test_brackets_are_compared_each_among_themselves_at_their_own_rungs():
    rule = Halving(brackets=hyperband_brackets(9, num_trials=17), max_resource=9, direction="maximize")
    first, second, _ = rule.start_trials
    scores = {trial: trial / 100 for trial in range(first + second)}
    epochs = {trial: 3 if trial < first else 1 for trial in scores}
    verdict = Judge(rule=rule, direction="maximize").decide(race(scores, epochs=epochs))
    (facts,) = verdict.rungs
    keep = next(rung.keep for rung in rule.rungs()[0] if rung.resource == 3)
    assert (facts["bracket"], facts["rung"], facts["epoch"]) == (0, 1, 3)
    assert facts["kept"] == list(range(first - keep, first))
    assert set(verdict.leavers) == set(range(first - keep))


def test_a_trial_that_is_not_clearly_worse_on_its_folds_is_spared():
    scores = {0: [0.91, 0.92, 0.90, 0.93], 1: [0.92, 0.91, 0.91, 0.60], 2: [0.51, 0.50, 0.52, 0.53]}
    verdict = judge((1, 1), (2, 1)).decide(race(scores))
    assert set(verdict.leavers) == {2}


def test_any_other_rule_is_asked_after_every_epoch_and_the_sick_leave_at_once():
    rule = MedianStopping(num_trials=3, max_resource=9, direction="maximize", min_resource=1, min_trials=1)
    now = Race(
        best={MemberId(trial=t): s for t, s in {0: 0.9, 1: 0.1, 2: NAN}.items()},
        curves={0: [0.8, 0.9], 1: [0.1, 0.1], 2: [0.5, NAN]},
        sick={2},
        is_over=False,
    )
    verdict = Judge(rule=rule, direction="maximize").decide(now)
    assert verdict.leavers[2] == "its loss is not finite"
    assert "the median of" in verdict.leavers[1]
    assert 0 not in verdict.leavers
    assert verdict.rungs == []


@pytest.mark.parametrize(("epoch", "expected"), [(0, 2), (1, 2), (2, 3), (4, 3), (5, 0)])
def test_a_stretch_goes_from_one_decision_to_the_next(epoch, expected):
    assert judge((2, 1), (5, 1)).stretch({0, 1}, epoch) == expected


@pytest.mark.parametrize("epoch", [0, 1, 8])
def test_where_nobody_is_ever_stopped_one_stretch_goes_from_beginning_to_end(epoch):
    rule = NoStopping(num_trials=3, max_resource=9)
    assert Judge(rule=rule, direction="maximize").stretch({0, 1}, epoch) == 9


@pytest.mark.parametrize(("epochs", "expected"), [(0, 3 * 2 + 1 * 3), (2, 3 * 3), (3, 3 * 2), (5, 0)])
def test_what_lies_ahead_is_what_the_rungs_let_train(epochs, expected):
    assert judge((2, 1), (5, 1)).ahead(dict.fromkeys(range(3), epochs)) == expected
