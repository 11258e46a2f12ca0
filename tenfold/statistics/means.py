"""The mean of a few numbers with its interval and p-value: for one look, for overlapping folds, for many looks.

Three ways to the same answer. `student_mean` is Student's t for independent values; with an `overlap` it is the
corrected resampled t-test, for folds whose training parts share rows. `anytime_mean` may be asked after every seed,
and stays right however often it was.

All take the values as normal. With few values that are far from it (a metric near its end, a rare bad training) the
intervals are too short: `benchmarks/coverage.py` measures by how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import binom
from scipy.stats import t as student_t

EFFECT_VARIANCE = 1.0
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean and what is known of it.

    Attributes:
        n: number of values.
        mean: NaN without a value.
        std: standard deviation with n - 1; NaN for fewer than two values, 0 where they differ by rounding alone.
        low: lower end of the interval of the expected value; NaN where no spread was seen, or fewer than two values.
        high: its upper end.
        p_value: two-sided, of an expected value of zero; NaN where nothing can be said.
    """

    n: int
    mean: float
    std: float
    low: float
    high: float
    p_value: float


def student_mean(values: NDArray[np.float64], *, overlap: float = 0.0, level: float = 0.95) -> Mean:
    """Mean, interval and p-value by Student's t, with the correction for overlapping training parts.

    The variance of the mean is taken as (1 / n + overlap) s². Without overlap that is the usual one. With it, it is
    Nadeau and Bengio's: the scores of folds are correlated because their training parts share rows, and the
    correlation is set to n_test / (n_test + n_train), which no estimate from one data set can replace (Bengio and
    Grandvalet, 2004). A learner whose scores move together more than that makes the interval too short.

    Equal values show no spread; then there is no interval, and the p-value is that of the exact sign test, or NaN
    with an overlap. Three equal differences of a coarse score are no proof.

    Args:
        values: finite, shape (n,).
        overlap: n_test / n_train, at least 0; 0 for independent values.
        level: coverage, in (0, 1).

    Example:
        >>> sleep = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
        >>> result = student_mean(sleep)
        >>> round(result.low, 3), round(result.high, 3), round(result.p_value, 4)
        (-0.53, 2.03, 0.2176)

    References:
        Student, "The probable error of a mean", Biometrika 6, 1908 (the example).
        Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003: the
            corrected resampled t-test.
        Bengio and Grandvalet, "No unbiased estimator of the variance of k-fold cross-validation", JMLR 5, 2004.
    """
    return _mean(values, overlap, lambda n: float(student_t.isf((1 - level) / 2, n - 1)), _student_p, _sign_p)


def anytime_mean(values: NDArray[np.float64], *, level: float = 0.95) -> Mean:
    """Mean, interval and p-value that hold at every n at once: look after each value, stop when you like.

    The probability that any of the intervals, from the first value to the last that will ever come, misses the
    expected value is at most 1 - level. The p-value is the inverse of a likelihood ratio that mixes over the
    standardised effect with a normal of variance 1; it depends on the values through t alone, is therefore a
    martingale from 1 whatever the variance, and seldom grows large by chance (Ville). Before the fifth value
    (at 95 %) the interval is unbounded.

    The price is width: to show what one planned look would show takes about twice the values at small effects, and
    little more at large ones (`benchmarks/coverage.py`).

    Args:
        values: finite, shape (n,), in the order in which they came.
        level: coverage of all intervals together, in (0, 1).

    Example:
        >>> result = anytime_mean(np.array([1.1, 0.9, 1.3, 0.8, 1.2, 1.0]))
        >>> round(result.low, 2), round(result.high, 2), round(result.p_value, 4)
        (0.63, 1.47, 0.0119)

    References:
        Wang and Ramdas, "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance",
            arXiv 2310.03722, 2023: the scale-invariant martingale with a Gaussian mixture over the effect.
        Lai, "On confidence sequences", Annals of Statistics 4, 1976.
    """
    return _mean(values, 0.0, lambda n: anytime_threshold(n, level), _anytime_p, _anytime_sign_p)


def anytime_threshold(n: int, level: float) -> float:
    """The |t| that `anytime_mean` needs at n values; infinite while n is too small for any."""
    grown = 1 + n * EFFECT_VARIANCE
    factor = (grown / (1 - level) ** 2) ** (1 / n)
    return math.sqrt((n - 1) * (factor - 1) / (1 - factor / grown)) if factor < grown else math.inf


def _mean(
    values: NDArray[np.float64],
    overlap: float,
    threshold: Callable[[int], float],
    p_of_t: Callable[[float, int], float],
    p_of_signs: Callable[[int], float],
) -> Mean:
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    if n < 2:
        return Mean(n=n, mean=mean, std=math.nan, low=math.nan, high=math.nan, p_value=math.nan)
    std = float(values.std(ddof=1))
    if std <= ROUNDING * max(1.0, float(np.abs(values).max())):
        p_value = 1.0 if abs(mean) <= ROUNDING else math.nan if overlap else p_of_signs(n)
        return Mean(n=n, mean=mean, std=0.0, low=math.nan, high=math.nan, p_value=p_value)
    error = std * math.sqrt(1 / n + overlap)
    half = error * threshold(n)
    return Mean(n=n, mean=mean, std=std, low=mean - half, high=mean + half, p_value=p_of_t(mean / error, n))


def _student_p(t: float, n: int) -> float:
    return float(2 * student_t.sf(abs(t), n - 1))


def _sign_p(n: int) -> float:
    return float(2.0 ** (1 - n))


def _anytime_p(t: float, n: int) -> float:
    grown, square = 1 + n * EFFECT_VARIANCE, t * t / (n - 1)
    log_ratio = n / 2 * (math.log1p(square) - math.log1p(square / grown)) - math.log(grown) / 2
    return min(1.0, math.exp(-log_ratio))


def _anytime_sign_p(n: int) -> float:
    """One over the likelihood ratio of n equal signs against a fair coin, mixed over Jeffreys' prior."""
    return min(1.0, float(2.0**n / binom(2 * n, n)))
