import math
import re

import numpy as np
import pytest

from tenfold.tuning.curve_stopping import CurveStopping


def rule(**options):
    return CurveStopping(**{"num_trials": 9, "max_resource": 30, "direction": "maximize", **options})


def curve(end, epochs, noise=0.002, seed=0):
    random = np.random.Generator(np.random.Philox(seed))
    t = np.arange(1, epochs + 1)
    return (end - 0.4 * t**-1.0 + random.normal(0, noise, epochs)).tolist()


def test_the_hopeless_leave_the_hopeful_stay_and_the_reason_says_the_chance():
    curves = {0: curve(0.9, 10), 1: curve(0.6, 10, seed=1), 2: curve(0.898, 10, seed=2)}
    gone = rule().leavers(curves, {0, 1, 2})
    assert list(gone) == [1]
    assert gone[1].endswith("after 10 epochs has a chance of less than 0.1 % to be the best after 30")


def test_a_slow_riser_stays_where_one_that_has_levelled_out_at_the_same_score_leaves():
    leader = [0.9 - 0.3 * math.exp(-0.3 * t) for t in range(1, 11)]
    riser = [0.3 + 0.04 * t for t in range(1, 11)]
    level = [riser[-1] - 0.3 * math.exp(-1.5 * t) for t in range(1, 11)]
    assert list(rule(threshold=0.2).leavers({0: leader, 1: riser, 2: level}, {0, 1, 2})) == [2]


def test_the_best_score_never_leaves_and_a_single_trial_never_does():
    falling = {0: [0.95, *np.linspace(0.9, 0.5, 9)], 1: curve(0.9, 10)}
    assert 0 not in rule(threshold=0.5).leavers(falling, {0, 1})
    assert rule(threshold=0.5).leavers({0: curve(0.9, 10)}, {0}) == {}


def test_smaller_is_better_where_it_is_minimised():
    curves = {0: curve(0.9, 10), 1: curve(0.6, 10, seed=1)}
    losses = {trial: [1 - score for score in scores] for trial, scores in curves.items()}
    assert list(rule(direction="minimize").leavers(losses, {0, 1})) == [1]


def test_those_who_are_through_and_those_who_left_set_the_record_but_do_not_leave():
    done = {0: curve(0.9, 30), 1: curve(0.3, 4, seed=3)}
    assert list(rule().leavers({**done, 2: curve(0.6, 10)}, {2})) == [2]


def test_a_late_trial_has_its_warm_up():
    curves = {0: curve(0.9, 30), 1: curve(0.3, 2, seed=1), 2: curve(0.3, 12, seed=2)}
    assert list(rule(min_resource=5).leavers(curves, {1, 2})) == [2]


def test_sick_trials_leave_and_gaps_are_bridged():
    curves = {0: curve(0.9, 8), 1: [*curve(0.9, 7), math.nan], 2: [0.5, math.nan, *curve(0.9, 8)[2:]]}
    assert rule().leavers(curves, {0, 1, 2}) == {1: "its score after 8 epochs is not a number"}
    sick = {0: [math.nan] * 5, 1: [math.inf] * 5}
    assert set(rule().leavers(sick, {0, 1})) == {0, 1}


@pytest.mark.parametrize("scores", [[0.1] * 10, [0.0] * 10])
def test_trials_that_are_all_alike_stay(scores):
    assert rule(threshold=0.5).leavers(dict.fromkeys(range(5), scores), set(range(5))) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "up"}, "CurveStopping: direction must be 'maximize' or 'minimize', got 'up'"),
        ({"threshold": 0.0}, r"CurveStopping: threshold must be in \(0, 0\.5\], got 0\.0"),
        ({"threshold": 0.6}, r"CurveStopping: threshold must be in \(0, 0\.5\], got 0\.6"),
        ({"min_resource": 0}, "CurveStopping: min_resource must be a whole number >= 1, got 0"),
        ({"max_resource": 2.5}, r"CurveStopping: max_resource must be a whole number >= 1, got 2\.5"),
    ],
)
def test_impossible_rules_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rule(**options)


def test_of_many_with_a_small_chance_only_so_many_leave_as_may_hardly_hold_the_best():
    leader, middling = curve(0.9, 10, noise=0.02), curve(0.82, 10, noise=0.02, seed=5)
    alone = rule(threshold=0.1).leavers({0: leader, 1: middling}, {0, 1})
    chance = float(re.search(r"a chance of (.*) % to be", alone[1]).group(1)) / 100
    assert 0.01 < chance < 0.05, "one leaves, and of twenty not all"
    curves = {0: leader, **dict.fromkeys(range(1, 21), middling)}
    gone = rule(num_trials=21, threshold=0.1).leavers(curves, set(curves))
    chance = float(re.search(r"a chance of (.*) % to be", gone[1]).group(1)) / 100
    assert list(gone) == list(range(1, 1 + len(gone)))
    assert 2 <= len(gone) < 20
    assert (len(gone) - 0.5) * chance < 0.1 < (len(gone) + 1.5) * chance


def test_a_trial_counts_with_its_best_score_not_with_its_last():
    leader, other = curve(0.9, 10), curve(0.88, 9, seed=1)
    steady, jumping = [*other, max(other) - 0.001], [*other, max(other) - 0.3]
    assert rule().leavers({0: leader, 1: jumping}, {0, 1}) == rule().leavers({0: leader, 1: steady}, {0, 1})


def test_chances_of_being_the_best_are_shared_among_all_who_may_be():
    """Copies change neither noise nor steps: each of twenty has a twentieth of the chance that one alone has."""
    leader, middling = curve(0.9, 10, noise=0.02), curve(0.82, 10, noise=0.02, seed=5)
    alone = rule(threshold=0.1).leavers({0: leader, 1: middling}, {0, 1})
    many = {trial: leader if trial < 20 else middling for trial in range(40)}
    shared = rule(num_trials=40, threshold=0.1).leavers(many, set(many))
    first, twentieth = (re.search(r"a chance of (.*) % to be", reason) for reason in (alone[1], shared[20]))
    assert float(twentieth.group(1)) == pytest.approx(float(first.group(1)) / 20, rel=0.1)


def test_a_best_score_that_stands_still_while_scores_jump_may_move_again():
    jumps = np.where(np.arange(15) % 2, -0.04, 0.0)
    steady = {0: np.full(15, 0.64), 1: np.full(15, 0.62)}
    for curves in (steady, jumping := {trial: scores + jumps for trial, scores in steady.items()}):
        for scores in curves.values():
            scores[:2] = 0.5, 0.58
    assert list(rule().leavers(steady, {0, 1})) == [1]
    assert rule().leavers(jumping, {0, 1}) == {}
