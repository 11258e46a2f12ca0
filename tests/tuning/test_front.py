import math

import numpy as np
import pytest

from tenfold.tuning import front


def brute(values, directions):
    """By the definition, over all pairs."""
    signs = np.array([1 if way == "minimize" else -1 for way in directions])
    costs = np.array(values) * signs
    return {
        i for i, one in enumerate(costs) if not any((other <= one).all() and (other < one).any() for other in costs)
    }


@pytest.mark.parametrize("num_objectives", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_what_nothing_dominates(num_objectives, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 8, size=(60, num_objectives)).astype(float)  # with ties and equal ones
    directions = rng.choice(["maximize", "minimize"], size=num_objectives)
    assert set(front(values, directions)) == brute(values, directions)


def test_the_best_in_the_first_objective_comes_first():
    assert front([(1.0, 1.0), (3.0, 3.0), (2.0, 2.0)], ("maximize", "minimize")) == [1, 2, 0]


def test_diverged_candidates_are_not_on_the_front_and_none_is_an_empty_one():
    values = [(math.nan, 1.0), (0.5, math.inf), (0.1, 5.0), (-math.inf, 0.0)]
    assert front(values, ("maximize", "minimize")) == [2]
    assert front([], ("maximize",)) == []


@pytest.mark.parametrize(
    ("values", "directions", "message"),
    [
        ([(1.0,)], ("up",), r"front: directions must be 'maximize' or 'minimize', got \('up',\)"),
        ([(1.0,)], (), r"directions must be"),
        ([(1.0,), (1.0, 2.0)], ("maximize",), r"each candidate must have 1 values, got 2 at 1"),
    ],
)
def test_what_is_no_table_of_objectives_is_refused(values, directions, message):
    with pytest.raises(ValueError, match=message):
        front(values, directions)
