"""The promises of the room, on a small scale; benchmarks/coverage.py has the full one."""

import numpy as np
import pytest

from tenfold.statistics import anytime_mean, clearly_worse, compare_scores, summarize_replicates


def test_intervals_of_replicate_cover_the_expected_score_and_one_more_training():
    mean, following = [], []
    for scores in np.random.default_rng(0).normal(0.9, 0.01, (1500, 6)):
        result = summarize_replicates(scores[:5], direction="maximize")
        mean.append(result.low <= 0.9 <= result.high)
        following.append(result.next_low <= scores[5] <= result.next_high)
    assert 0.93 <= np.mean(mean) <= 0.97
    assert 0.93 <= np.mean(following) <= 0.97


@pytest.mark.parametrize("against", [None, "best"])
def test_of_three_equal_methods_none_wins_too_often(against):
    random, any_false = np.random.default_rng(1), []
    for scores in random.binomial(500, 0.9, (300, 3, 5)) / 500:
        named = {f"m{i}": row for i, row in enumerate(scores)}
        any_false.append(any(r.winner for r in compare_scores(named, direction="maximize", against=against)))
    assert np.mean(any_false) <= 0.08


def test_looking_after_every_seed_calls_no_more_false_winners_than_it_says():
    differences = np.random.default_rng(2).normal(size=(1000, 60))
    false = [any(anytime_mean(row[:n]).p_value <= 0.05 for n in range(2, 61)) for row in differences]
    assert 0.005 < np.mean(false) <= 0.05


def nearest_mean_scores(x, y, folds):
    """Accuracy of a nearest-mean classifier on each of k folds, shape (F,)."""
    scores = []
    for fold in range(folds):
        test = np.arange(len(y)) % folds == fold
        means = np.stack([x[~test & (y == k)].mean(axis=0) for k in (0, 1)])
        labels = ((x[test, None] - means) ** 2).sum(axis=2).argmin(axis=1)
        scores.append((labels == y[test]).mean())
    return np.array(scores)


def test_of_overlapping_folds_no_winner_is_called_too_often():
    random, false = np.random.default_rng(3), []
    y = (np.arange(60) >= 30).astype(int)
    for _ in range(800):
        x = random.normal(size=(60, 8)) + 0.6 * y[:, None]
        a, b = nearest_mean_scores(x[:, :4], y, 10), nearest_mean_scores(x[:, 4:], y, 10)
        [result] = compare_scores({"a": a[None], "b": b[None]}, direction="maximize")
        false.append(result.winner is not None)
    assert np.mean(false) <= 0.06


def test_the_best_trial_hardly_ever_leaves():
    random = np.random.default_rng(4)
    lost = [0 in clearly_worse(random.normal(0, 1, (6, 5)), direction="maximize") for _ in range(600)]
    assert np.mean(lost) <= 0.05
