import math

import numpy as np
import pytest

from tenfold.statistics import rank_correlation


def pairs(correlation, n, seed=0):
    random = np.random.Generator(np.random.Philox(seed))
    x = random.normal(size=n)
    return x, correlation * x + math.sqrt(1 - correlation**2) * random.normal(size=n)


def test_tau_and_rho_are_those_of_their_definitions():
    x, y = pairs(0.7, 25)
    signs = [np.sign((x[i] - x[j]) * (y[i] - y[j])) for i in range(25) for j in range(i)]
    ranks = [values.argsort().argsort() for values in (x, y)]
    result = rank_correlation(x, y)
    assert result.kendall == pytest.approx(np.mean(signs))
    assert result.spearman == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert f"in {100 * np.mean(np.array(signs) > 0):.0f} % of the pairs" in result.sentence


def test_the_interval_covers_the_true_tau():
    true = 2 / math.pi * math.asin(0.6)  # of a bivariate normal distribution (Greiner)
    results = [rank_correlation(*pairs(0.6, 30, seed)) for seed in range(400)]
    covered = np.mean([result.low <= true <= result.high for result in results])
    assert 0.91 <= covered <= 0.99


@pytest.mark.parametrize(
    ("correlation", "n", "verdict"),
    [(0.99, 40, "trusted"), (0.6, 40, "partly"), (0.0, 60, "untrusted"), (0.5, 6, "unknown")],
)
def test_the_verdict_follows_the_interval(correlation, n, verdict):
    assert rank_correlation(*pairs(correlation, n, seed=3)).verdict == verdict


@pytest.mark.parametrize(
    ("cheap", "full", "why"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], "only 4 trials have both scores"),
        ([1, 2, 3, math.nan, 5, 6], [1, 2, 3, 4, 5, math.nan], "only 4 trials have both scores"),
        ([1, math.nan], [1, 2], "only 1 trial has both scores"),
        ([1.0] * 8, range(8), "all scores of one resource are alike"),
    ],
)
def test_what_cannot_be_told_is_said(cheap, full, why):
    result = rank_correlation(cheap, list(full))
    assert result.verdict == "unknown"
    assert why in result.sentence
    assert math.isnan(result.kendall)


def test_a_perfect_ranking_has_an_interval_within_its_range():
    result = rank_correlation(range(10), range(10))
    assert result.kendall == pytest.approx(1)
    assert 0.8 < result.low < 0.99
    assert result.kendall <= result.high <= 1


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1, 2], [1]), {}, "full must have a score for each of 2 trials, got 1"),
        (([[1, 2]], [1, 2]), {}, r"cheap must be 1-dimensional and not empty, got shape \(1, 2\)"),
        (([1, 2], [1, 2]), {"level": 2}, r"level must be in \(0, 1\), got 2"),
    ],
)
def test_bad_arguments_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        rank_correlation(*arguments, **options)
