import math

import pytest

from tenfold.tuning.median import MedianStopping


def rule(**options):
    return MedianStopping(**{"num_trials": 9, "max_resource": 9, "direction": "maximize", "min_trials": 3, **options})


# running averages after 2 epochs: 0.5, 0.6, 0.7
OTHERS = {0: [0.4, 0.6], 1: [0.5, 0.7], 2: [0.6, 0.8]}


@pytest.mark.parametrize(
    ("curve", "leaves"), [([0.1, 0.59], True), ([0.59, 0.1], True), ([0.1, 0.6], False), ([0.7, 0.1], False)]
)
def test_the_best_score_is_compared_with_the_median_of_running_averages(curve, leaves):
    assert (3 in rule().leavers(OTHERS | {3: curve}, {3})) == leaves


@pytest.mark.parametrize(("curve", "leaves"), [([0.9, 0.41], True), ([0.39, 0.9], False)])
def test_smaller_is_better_where_it_is_minimised(curve, leaves):
    others = {trial: [1 - score for score in other] for trial, other in OTHERS.items()}
    assert (3 in rule(direction="minimize").leavers(others | {3: curve}, {3})) == leaves


def test_the_reason_says_the_score_and_the_median():
    assert rule().leavers(OTHERS | {3: [0.1, 0.55]}, {3}) == {
        3: "0.55 after 2 epochs is worse than 0.6, the median of 3 others"
    }


def test_nobody_leaves_in_the_warm_up_or_among_too_few():
    curves = OTHERS | {3: [0.1, 0.1]}
    assert rule(min_resource=3).leavers(curves, {3}) == {}
    assert rule(min_trials=4).leavers(curves, {3}) == {}
    assert set(rule(min_trials=3, min_resource=2).leavers(curves, {3})) == {3}


def test_those_who_have_trained_to_the_end_are_the_others_as_soon_as_there_are_enough():
    through = {5: [0.1] * 9, 6: [0.2] * 9, 7: [0.3] * 9}
    curves = OTHERS | through | {3: [0.25, 0.1], 4: [0.15, 0.1]}
    assert set(rule().leavers(curves, {3, 4})) == {4}
    del curves[7]
    assert set(rule().leavers(curves, {3, 4})) == {3, 4}


def test_a_trial_that_left_counts_on_with_its_average_and_one_that_comes_later_does_not_count():
    survivors = {0: [0.8, 0.8, 0.8], 1: [0.7, 0.7, 0.7]}
    left = {2: [0.2], 3: [0.1], 4: [0.3]}
    assert rule().leavers(survivors | left, {0, 1}) == {}
    newcomers = {5: [0.9], 6: [0.9], 7: [0.9]}
    assert rule().leavers(survivors | left | newcomers, {0, 1, 5, 6, 7}) == {}
    gone = rule().leavers(survivors | left | newcomers, {0, 1})
    assert gone == {1: "0.7 after 3 epochs is worse than 0.8, the median of 7 others"}


def test_sick_trials_leave_and_count_as_the_worst():
    curves = OTHERS | {3: [0.9, math.nan], 4: [math.nan, math.nan], 5: [math.nan, math.nan], 6: [0.55, 0.55]}
    gone = rule().leavers(curves, {3, 6})
    assert gone == {3: "its score after 2 epochs is not a number"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "up"}, "MedianStopping: direction must be 'maximize' or 'minimize', got 'up'"),
        ({"min_trials": 0}, "min_trials must be a whole number >= 1, got 0"),
        ({"min_resource": -1}, "min_resource must be a whole number >= 1, got -1"),
        ({"max_resource": 1.5}, r"max_resource must be a whole number >= 1, got 1\.5"),
        ({"num_trials": True}, "num_trials must be a whole number >= 1, got True"),
    ],
)
def test_impossible_rules_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rule(**options)
