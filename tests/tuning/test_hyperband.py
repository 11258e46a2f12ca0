import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.tuning import Bracket, Halving, Rung, hyperband_brackets

# Hyperband paper, Table 1 (R = 81, eta = 3): (n_i, r_i) of brackets s = 4, ..., 0
TABLE_1 = [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(27, 3), (9, 9), (3, 27), (1, 81)],
    [(9, 9), (3, 27), (1, 81)],
    [(6, 27), (2, 81)],
    [(5, 81)],
]


def sizes(bracket):
    """(trials that train, until which epoch) between rungs."""
    trained = [bracket.num_trials, *(rung.keep for rung in bracket.rungs[:-1])]
    return list(zip(trained, [rung.resource for rung in bracket.rungs], strict=True))


def test_the_brackets_are_those_of_the_papers_table_1():
    assert [sizes(bracket) for bracket in hyperband_brackets(81, reduction_factor=3)] == TABLE_1


def test_the_table_is_the_same_when_its_own_number_of_trials_is_asked_for():
    assert hyperband_brackets(81, num_trials=128) == hyperband_brackets(81)


@pytest.mark.parametrize(
    ("arguments", "starts"),
    [
        ({"max_resource": 81, "num_trials": 256}, [162, 54, 18, 12, 10]),
        ({"max_resource": 30, "num_trials": 46}, [27, 9, 6, 4]),
        ({"max_resource": 30, "num_trials": 15}, [9, 3, 3]),
        ({"max_resource": 30, "num_trials": 4}, [4]),
        ({"max_resource": 30, "num_trials": 1}, [1]),
        ({"max_resource": 1, "num_trials": 7}, [7]),
        ({"max_resource": 81, "min_resource": 9}, [9, 3, 3]),
        ({"max_resource": 16, "reduction_factor": 4}, [16, 4, 3]),
    ],
)
def test_few_trials_or_epochs_make_few_brackets(arguments, starts):
    assert [bracket.num_trials for bracket in hyperband_brackets(**arguments)] == starts


@given(st.integers(1, 600), st.integers(1, 300), st.integers(1, 20), st.integers(2, 5))
def test_brackets_share_out_all_trials_and_begin_to_compare_ever_later(trials, most, least, eta):
    least = min(least, most)
    brackets = hyperband_brackets(most, num_trials=trials, min_resource=least, reduction_factor=eta)
    assert sum(bracket.num_trials for bracket in brackets) == trials
    assert all(bracket.num_trials >= 1 for bracket in brackets)
    assert [len(bracket.rungs) for bracket in brackets] == list(range(len(brackets), 0, -1))
    assert all(bracket.rungs[0].resource >= least for bracket in brackets)
    assert all(bracket.rungs[-1].resource == most for bracket in brackets)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_resource": 0}, "max_resource must be a whole number >= 1, got 0"),
        ({"max_resource": 9, "min_resource": 10}, "max_resource must be a whole number >= 10, got 9"),
        ({"max_resource": 9, "num_trials": 0}, "num_trials must be a whole number >= 1, got 0"),
        ({"max_resource": 9, "reduction_factor": 1}, "reduction_factor must be a whole number >= 2, got 1"),
        ({"max_resource": 9, "min_resource": 0.5}, "min_resource must be a whole number >= 1, got 0.5"),
    ],
)
def test_impossible_brackets_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        hyperband_brackets(**arguments)


def halving(*brackets, direction="maximize"):
    made = tuple(
        Bracket(num_trials=size, rungs=tuple(Rung(resource=r, keep=k) for r, k in rungs)) for size, rungs in brackets
    )
    return Halving(brackets=made, max_resource=made[0].rungs[-1].resource, direction=direction)


TWO = halving((4, [(1, 2), (3, 1), (9, 1)]), (2, [(3, 1), (9, 1)]))


def test_nobody_leaves_until_all_of_the_bracket_have_reached_the_rung():
    curves = {0: [0.9], 1: [0.8], 2: [0.7], 3: []}
    assert TWO.leavers(curves, {0, 1, 2, 3}) == {}
    assert set(TWO.leavers(curves | {3: [0.1]}, {0, 1, 2, 3})) == {2, 3}


def test_between_rungs_nobody_leaves():
    curves = {0: [0.9, 0.1], 1: [0.8, 0.2]}
    assert TWO.leavers(curves, {0, 1}) == {}


def test_brackets_are_compared_apart():
    curves = {0: [0.9], 1: [0.8], 2: [0.7], 3: [0.6], 4: [0.1], 5: [0.2]}
    assert set(TWO.leavers(curves, set(curves))) == {2, 3}
    later = {4: [0.1, 0.2, 0.3], 5: [0.2, 0.2, 0.2]}
    assert TWO.leavers(curves | later, {4, 5}) == {5: "0.2 after 3 epochs is number 2 of 2, and 1 goes on"}


def test_the_best_score_until_the_rung_counts_and_not_the_last():
    curves = {4: [0.1, 0.9, 0.3], 5: [0.2, 0.4, 0.8]}
    assert set(TWO.leavers(curves, {4, 5})) == {5}


def test_a_smaller_score_wins_where_it_is_minimised():
    rule = halving((2, [(1, 1), (3, 1)]), direction="minimize")
    assert set(rule.leavers({0: [0.5], 1: [0.4]}, {0, 1})) == {0}


def test_a_trial_that_is_sick_at_the_rung_is_last_whatever_it_had_before():
    curves = {4: [0.1, 0.1, 0.1], 5: [0.2, 0.9, math.nan]}
    assert set(TWO.leavers(curves, {4, 5})) == {5}


def test_a_late_trial_must_be_among_the_best_of_all_that_reached_the_rung():
    early = {0: [0.9, 0.9], 1: [0.8, 0.8], 2: [0.7]}
    assert set(TWO.leavers(early | {3: [0.75]}, {0, 1, 3})) == {3}
    assert set(TWO.leavers(early | {3: [0.85]}, {0, 1, 3})) == {1}


def test_numbers_beyond_the_last_bracket_begin_the_brackets_anew():
    assert [TWO.bracket_of(trial) for trial in (0, 3, 4, 5, 6, 9, 10, 12)] == [0, 0, 1, 1, 2, 2, 3, 4]
    curves = {0: [0.9], 6: [0.5], 7: [0.4], 8: [0.3], 9: [0.2]}
    assert set(TWO.leavers(curves, {6, 7, 8, 9})) == {8, 9}


def test_a_direction_without_a_name_is_refused():
    with pytest.raises(ValueError, match="Halving: direction must be 'maximize' or 'minimize', got 'up'"):
        halving((1, [(1, 1)]), direction="up")
