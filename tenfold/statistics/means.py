"""The mean of a few numbers with its interval and p-value: for one look, for overlapping folds, for many looks.

`student_mean` is Student's t for independent values; with an `overlap` it is the corrected resampled t-test, for
folds whose training parts share rows, and `fold_mean` adds seeds to the folds. `anytime_mean` may be asked after
every seed, and stays right however often it was.

All take the values as normal. With few values that are far from it (a metric near its end, a rare bad training) the
intervals are too short: `benchmarks/coverage.py` measures by how much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

from tenfold.statistics.scores import FloatArray

EFFECT_VARIANCE = 1.0
ROUNDING = 1e-9


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


def student_mean(values: FloatArray, *, overlap: float = 0.0, level: float = 0.95) -> Mean:
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
    return _student(*_spread(values), overlap, level)


def fold_mean(scores: FloatArray, *, resplit: bool = False, overlap: float = 0.0, level: float = 0.95) -> Mean:
    """As `student_mean`, of folds and seeds: further seeds steady the mean, but only folds count as values.

    With the same folds for all seeds, the values are the means of the folds. With folds drawn anew by each seed, the
    mean is that of all scores; s² is the variance within a seed's folds, averaged over the seeds, and n is F. Random
    splits (shape (S,) and an overlap) count as no more values than it takes to test every row once. The usual way,
    which counts every score (Bouckaert and Frank, 2004), finds too many winners among learners that depend much on
    their training rows: repetitions do not add rows. `benchmarks/coverage.py` shows both.

    Args:
        scores: shape (S,) for seeds alone or random splits, or (S, F). Those that are not finite are left out.
        resplit: each seed had folds of its own.
        overlap: n_test / n_train, at least 0.
        level: coverage, in (0, 1).

    Example:
        >>> fold_mean(np.array([[0.8, 0.9, 0.7], [0.7, 0.9, 0.8]]), overlap=0.5).n
        3

    References:
        Bouckaert and Frank, "Evaluating the replicability of significance tests for comparing learning algorithms",
            PAKDD 2004.
    """
    finite = np.isfinite(scores)
    if scores.ndim == 1 or scores.shape[1] == 1:
        n, mean, std = _spread(scores[finite])
        return _student(one_pass(n, overlap), mean, std, overlap, level)
    if not resplit:
        kept = finite.any(axis=0)
        sums = np.where(finite, scores, 0.0).sum(axis=0)
        return student_mean(sums[kept] / finite.sum(axis=0)[kept], overlap=overlap, level=level)
    rows = [_spread(row[mask]) for row, mask in zip(scores, finite, strict=True)]
    degrees = sum(n - 1 for n, _, _ in rows if n > 1)
    squares = sum((n - 1) * std**2 for n, _, std in rows if n > 1)
    mean = float(scores[finite].mean()) if finite.any() else math.nan
    std = math.sqrt(squares / degrees) if degrees else math.nan
    return _student(max(n for n, _, _ in rows), mean, std, overlap, level, degrees)


def one_pass(n: int, overlap: float) -> int:
    """The number of splits that count: n, or as many as test every row once if that is less."""
    return min(n, round(1 + 1 / overlap)) if overlap > 0 else n


def anytime_mean(values: FloatArray, *, level: float = 0.95) -> Mean:
    """Mean, interval and p-value that hold at every n at once: look after each value, stop when you like.

    The probability that any of the intervals, from the first value to the last that will ever come, misses the
    expected value is at most 1 - level. The p-value is the inverse of a likelihood ratio that mixes over the
    standardised effect with a normal of variance 1; it depends on the values through t alone, is therefore a
    martingale from 1 whatever the variance, and seldom grows large by chance (Ville). Before the fifth value
    (at 95 %) the interval is unbounded.

    The price: for the same power of 80 % it takes 1.5 to 1.8 times the values that a test at one planned look needs,
    1.2 to 1.5 times on average, for effects of a half to three standard deviations (`benchmarks/coverage.py`).

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
    n, mean, std = _spread(values)
    if not std > 0:
        return _without_spread(n, mean, std, _anytime_sign_p(n))
    error = std / math.sqrt(n)
    half = error * anytime_threshold(n, level)
    return Mean(n=n, mean=mean, std=std, low=mean - half, high=mean + half, p_value=_anytime_p(mean / error, n))


def anytime_threshold(n: int, level: float) -> float:
    """The |t| that `anytime_mean` needs at n values; infinite while n is too small for any."""
    grown = 1 + n * EFFECT_VARIANCE
    factor = (grown / (1 - level) ** 2) ** (1 / n)
    return math.sqrt((n - 1) * (factor - 1) / (1 - factor / grown)) if factor < grown else math.inf


def _spread(values: FloatArray) -> tuple[int, float, float]:
    """How many, their mean, and their standard deviation; that of values which differ by rounding alone is 0."""
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    std = float(values.std(ddof=1)) if n > 1 else math.nan
    return n, mean, 0.0 if n > 1 and std <= ROUNDING * float(np.abs(values).max()) else std


def _student(n: int, mean: float, std: float, overlap: float, level: float, degrees: int | None = None) -> Mean:
    if not std > 0:
        return _without_spread(n, mean, std, math.nan if overlap else 2.0 ** (1 - n))
    error = std * math.sqrt(1 / n + overlap)
    degrees = degrees or n - 1
    half = error * float(student_t.isf((1 - level) / 2, degrees))
    p_value = 2 * float(student_t.sf(abs(mean / error), degrees))
    return Mean(n=n, mean=mean, std=std, low=mean - half, high=mean + half, p_value=p_value)


def _without_spread(n: int, mean: float, std: float, p_of_signs: float) -> Mean:
    """Fewer than two values, or all equal: no interval; signs may still say something."""
    p_value = math.nan if math.isnan(std) else 1.0 if mean == 0 else p_of_signs
    return Mean(n=n, mean=mean, std=std, low=math.nan, high=math.nan, p_value=p_value)


def _anytime_p(t: float, n: int) -> float:
    grown, square = 1 + n * EFFECT_VARIANCE, t * t / (n - 1)
    log_ratio = n / 2 * (math.log1p(square) - math.log1p(square / grown)) - math.log(grown) / 2
    return min(1.0, math.exp(-log_ratio))


def _anytime_sign_p(n: int) -> float:
    """One over the likelihood ratio of n equal signs against a fair coin, mixed over Jeffreys' prior."""
    return min(1.0, math.exp(n * math.log(2) + 2 * math.lgamma(n + 1) - math.lgamma(2 * n + 1)))
