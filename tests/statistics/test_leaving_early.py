import math

import numpy as np
import pytest
from scipy import stats

from tenfold.statistics import clearly_worse

LEADER = np.array([0.90, 0.91, 0.92, 0.93, 0.94])
CLOSE = LEADER - np.array([0.001, -0.001, 0.002, 0.0, 0.001])
BAD = np.array([0.50, 0.52, 0.51, 0.53, 0.55])
WORSE = np.array([0.30, 0.32, 0.31, 0.33, 0.34])


def leaving(*trials, **options):
    return clearly_worse(np.array(trials), **{"direction": "maximize", **options})


def test_trials_that_are_clearly_worse_leave_the_worst_first():
    assert leaving(LEADER, BAD, CLOSE, WORSE) == [3, 1]


def test_one_unlucky_fold_sends_nobody_away():
    unlucky = LEADER.copy()
    unlucky[2] = 0.1
    assert leaving(LEADER, unlucky, CLOSE) == []


def test_of_losses_the_large_ones_leave():
    assert leaving(BAD, LEADER, direction="minimize") == [1]


@pytest.mark.parametrize(("keep", "expected"), [(1, [3, 1]), (3, [3]), (4, []), (9, [])])
def test_so_many_stay_at_least(keep, expected):
    assert leaving(LEADER, BAD, CLOSE, WORSE, keep=keep) == expected


def test_the_threshold_is_the_one_sided_corrected_test_shared_among_the_trials():
    difference = np.array([0.08, 0.02, 0.05, 0.07, 0.01])
    t = difference.mean() / (difference.std(ddof=1) * math.sqrt(1 / 5 + 1 / 4))
    p_value = stats.t.sf(t, 4)
    trials = LEADER, LEADER - difference, CLOSE
    assert leaving(*trials, level=1 - 2 * p_value * 1.01) == [1]
    assert leaving(*trials, level=1 - 2 * p_value * 0.99) == []


def test_seeds_of_a_fold_are_averaged_and_seeds_of_one_fold_are_pairs():
    noise = np.random.default_rng(0).normal(0, 0.2, (3, 5, 1)) * np.array([1.0, -1.0])
    scores = np.stack([LEADER, BAD, CLOSE])[:, :, None] + noise  # the noise of the two seeds cancels
    assert clearly_worse(scores, direction="maximize") == [1]
    assert clearly_worse(np.stack([LEADER, BAD, CLOSE])[:, None, :], direction="maximize") == [1]


def test_a_trial_that_diverged_everywhere_leaves_and_one_that_did_in_a_fold_is_compared_on_the_others():
    lost, once, once_bad = np.full(5, math.nan), CLOSE.copy(), BAD.copy()
    once[1] = once_bad[4] = math.inf
    assert leaving(lost, LEADER, once, once_bad) == [0, 3]
    assert leaving(lost, lost) == []


def test_a_trial_that_diverged_somewhere_does_not_lead_one_that_did_not():
    once = np.array([0.99, 0.99, 0.98, 0.99, math.nan])
    assert leaving(once, LEADER, WORSE) == [2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0}, "clearly_worse: keep must be at least 1, got 0. Give the rung's keep."),
        ({"direction": "best"}, "clearly_worse: direction must be"),
        ({"level": 2}, "clearly_worse: level must be"),
        ({"test_to_train": -1}, "clearly_worse: test_to_train must be"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        leaving(LEADER, BAD, **options)


def test_scores_without_folds_are_refused():
    with pytest.raises(ValueError, match=r"clearly_worse: scores must be 2-dimensional or 3-dimensional"):
        clearly_worse(LEADER, direction="maximize")
