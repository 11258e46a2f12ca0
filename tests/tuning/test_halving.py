import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.tuning import promote, successive_halving_rungs


def pairs(*arguments):
    return [(rung.resource, rung.keep) for rung in successive_halving_rungs(*arguments)]


@pytest.mark.parametrize(
    ("num_trials", "min_resource", "bracket"),
    [
        # Hyperband paper, Table 1: R = 81, eta = 3; (n_i, r_i) for i = 0, 1, ...
        (81, 1, [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]),  # s = 4
        (27, 3, [(27, 3), (9, 9), (3, 27), (1, 81)]),  # s = 3
        (9, 9, [(9, 9), (3, 27), (1, 81)]),  # s = 2
        (6, 27, [(6, 27), (2, 81)]),  # s = 1
        (5, 81, [(5, 81)]),  # s = 0
    ],
)
def test_the_brackets_are_those_of_the_hyperband_paper(num_trials, min_resource, bracket):
    rungs = successive_halving_rungs(num_trials, min_resource, 81, 3)
    trained = [num_trials, *(rung.keep for rung in rungs[:-1])]
    assert list(zip(trained, [rung.resource for rung in rungs], strict=True)) == bracket
    assert rungs[-1].keep == trained[-1]


@pytest.mark.parametrize(
    ("arguments", "rungs"),
    [
        ((1, 1, 27), [(27, 1)]),
        ((2, 1, 27), [(9, 1), (27, 1)]),
        ((8, 1, 81), [(9, 2), (27, 1), (81, 1)]),
        ((64, 1, 1), [(1, 64)]),
        ((33, 3, 9), [(3, 11), (9, 11)]),
        ((16, 1, 8, 2), [(1, 8), (2, 4), (4, 2), (8, 2)]),
        ((16, 1, 100, 4), [(6, 4), (25, 1), (100, 1)]),
    ],
)
def test_few_trials_or_few_epochs_make_few_rungs(arguments, rungs):
    assert pairs(*arguments) == rungs


@given(st.integers(1, 2000), st.integers(1, 50), st.integers(0, 500), st.integers(2, 5))
def test_rungs_rise_drop_someone_each_and_end_at_the_full_resource(trials, least, more, eta):
    rungs = pairs(trials, least, least + more, eta)
    resources = [resource for resource, _ in rungs]
    keeps = [trials, *(keep for _, keep in rungs)]
    assert resources == sorted(set(resources))
    assert resources[0] >= least
    assert resources[-1] == least + more
    assert all(a > b >= 1 for a, b in pairwise(keeps[:-1]))
    assert keeps[-1] == keeps[-2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 9), "num_trials must be a whole number >= 1, got 0"),
        ((9, 0, 9), "min_resource must be a whole number >= 1, got 0"),
        ((9, 5, 4), "max_resource must be a whole number >= 5, got 4"),
        ((9, 1, 9, 1), "reduction_factor must be a whole number >= 2, got 1"),
        ((9, 1, 9.5), "max_resource must be a whole number >= 1, got 9.5"),
        ((True, 1, 9), "num_trials must be a whole number >= 1, got True"),
    ],
)
def test_impossible_rungs_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        successive_halving_rungs(*arguments)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_go_on_as_a_stable_sort_has_them(direction):
    values = np.random.Generator(np.random.Philox(0)).integers(0, 5, 30).astype(float)
    order = np.argsort(-values if direction == "maximize" else values, kind="stable")
    assert promote(dict(enumerate(values)), 12, direction) == order[:12].tolist()


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_nan_is_worse_than_everything(direction):
    scores = {4: math.nan, 3: math.inf, 2: -math.inf, 1: math.nan, 0: 0.5}
    assert promote(scores, 5, direction)[-2:] == [1, 4]


def test_equal_scores_go_by_number_and_not_by_the_order_they_came_in():
    assert promote({7: 1.0, 2: 1.0, 5: 1.0}, 2, "maximize") == [2, 5]


def test_keeping_more_than_there_are_keeps_all():
    assert promote({1: 0.1, 0: 0.2}, 9, "minimize") == [1, 0]


@pytest.mark.parametrize(
    ("keep", "direction", "message"),
    [
        (1, "max", "direction must be 'maximize' or 'minimize', got 'max'"),
        (-1, "maximize", "keep must be at least 0, got -1"),
    ],
)
def test_an_impossible_promotion_is_refused(keep, direction, message):
    with pytest.raises(ValueError, match=message):
        promote({0: 1.0}, keep, direction)
