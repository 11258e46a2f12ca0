"""Trials that stay at a rung because they are not clearly worse: against the corrected paired test by hand."""

import numpy as np
import pytest
from scipy import stats

from tenfold.core.records import MemberId
from tenfold.train.sparing import spared


def standing(scores):
    """Scores of shape (T, F, S) by member."""
    return {
        MemberId(trial=t, fold=f, seed=s): float(scores[t, f, s])
        for t in range(scores.shape[0])
        for f in range(scores.shape[1])
        for s in range(scores.shape[2])
    }


def is_worse_by_hand(leader, other, overlap):
    """Nadeau and Bengio's corrected t-test on the means over seeds, one-sided at 5 %."""
    d = leader.mean(axis=1) - other.mean(axis=1)
    t = d.mean() / np.sqrt((1 / len(d) + overlap) * d.var(ddof=1))
    return d.mean() > 0 and stats.t.sf(t, len(d) - 1) <= 0.05


@pytest.mark.parametrize("seed", range(6))
def test_who_is_spared_is_who_the_corrected_test_does_not_find_worse(seed):
    random = np.random.default_rng(seed)
    scores = 0.8 - 0.02 * np.arange(6)[:, None, None] + 0.02 * random.normal(size=(6, 5, 2))
    ranking = sorted(range(6), key=lambda t: -scores[t].mean())
    kept, others = ranking[:4], ranking[4:]
    expected = [t for t in others if not is_worse_by_hand(scores[kept[-1]], scores[t], 0.25)]
    assert spared(standing(scores), kept, others, direction="maximize") == expected
    assert spared(standing(-scores), kept, others, direction="minimize") == expected


def test_one_unlucky_fold_does_not_send_a_trial_away_and_a_bad_trial_leaves():
    good = np.array([0.91, 0.92, 0.90, 0.93, 0.91])
    unlucky = np.array([0.92, 0.93, 0.91, 0.94, 0.50])
    scores = np.stack([good, unlucky, good - 0.2 + 0.01 * np.arange(5)])[:, :, None]
    assert spared(standing(scores), [0], [1, 2], direction="maximize") == [1]


def test_a_rung_never_keeps_more_than_twice_its_size():
    scores = np.random.default_rng(0).normal(size=(9, 3, 1))
    assert len(spared(standing(scores), [0, 1], list(range(2, 9)), direction="maximize")) == 2


def test_with_one_member_a_trial_nobody_is_spared():
    scores = np.full((4, 1, 1), 0.5)
    assert spared(standing(scores), [0], [1, 2, 3], direction="maximize") == []


def test_seeds_alone_are_pairs_without_overlap():
    random = np.random.default_rng(1)
    scores = np.stack([0.8 + 0.01 * random.normal(size=(1, 8)), 0.75 + 0.01 * random.normal(size=(1, 8))])
    assert spared(standing(scores), [0], [1], direction="maximize", test_to_train=0.2) == []


def test_a_trial_of_which_a_member_diverged_is_not_spared():
    good = np.array([[0.9, 0.91, 0.92, 0.9]]).T[None]
    half = good.copy()
    half[0, 0] = np.nan
    scores = np.concatenate([good, half, good[:, ::-1]])
    assert spared(standing(scores), [0], [1, 2], direction="maximize") == [2]
    assert spared(standing(scores), [1], [0, 2], direction="maximize") == []
