"""How sure a metric of trained models is: intervals over the samples of one test part.

They tell what another test part of the same size might have given, for these very models. They do not tell what
another training would have: that is for seeds and folds.

N samples, R resamples
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from tenfold.core.seeds import generator
from tenfold.statistics.scores import FloatArray, check_level

MetricFunction = Callable[..., float]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its interval.

    Attributes:
        value: on the samples as they are.
        low: lower end; NaN where the value is, or no resample has one.
        high: upper end.
        n: number of samples.
    """

    value: float
    low: float
    high: float
    n: int


def resampled_rows(n: int, num_resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """For each resample the rows that it draws with replacement, int64, shape (n,): stream "sample" of the seed.

    Example:
        >>> [rows.tolist() for rows in resampled_rows(4, 2, seed=0)]
        [[0, 3, 1, 1], [3, 3, 0, 3]]
    """
    random = generator(seed, "sample")
    for _ in range(num_resamples):
        yield random.integers(n, size=n)


def percentiles(value: float, resampled: FloatArray, level: float) -> tuple[float, float]:
    """The interval between the percentiles of resampled values, those that are NaN left out.

    Args:
        value: of the metric; without it there is no interval.
        resampled: shape (R,).
        level: coverage, in (0, 1).

    Example:
        >>> percentiles(2.0, np.array([1.0, 2.0, np.nan, 3.0]), 0.5)
        (1.5, 2.5)
    """
    known = resampled[~np.isnan(resampled)]
    if math.isnan(value) or not len(known):
        return math.nan, math.nan
    with np.errstate(invalid="ignore"):  # between two infinite log losses there is no number: NaN
        low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_interval(
    metric: MetricFunction, *arrays: ArrayLike, seed: int = 0, level: float = 0.95, num_resamples: int = 1000
) -> Estimate:
    """The percentile interval of any metric, by resampling the samples of one test part.

    For a metric that comes as a callable. Those of a task are faster by `tenfold.tasks.metric_intervals`, which draws
    the same resamples.

    Args:
        metric: called with the arrays, or with the same rows of each; returns a number, NaN where it has none.
        *arrays: targets, predictions, weights, ...: each has N samples on its first axis, at least one.
        seed: of the resamples.
        level: coverage, in (0, 1).
        num_resamples: R, at least 1; the metric is called R + 1 times.

    Raises:
        ValueError: arrays of different lengths, no sample, or an argument out of its range.

    Example:
        >>> bootstrap_interval(lambda y, p: float(np.mean(y == p)), [0, 1, 1, 0, 1], [0, 1, 0, 0, 1])
        Estimate(value=0.8, low=0.4, high=1.0, n=5)

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3 (percentile interval).
    """
    columns = _columns("bootstrap_interval", arrays, level, num_resamples)
    return _bootstrap(metric, columns, seed, level, num_resamples)


def bootstrap_difference(
    metric: MetricFunction,
    targets: ArrayLike,
    outputs_a: ArrayLike,
    outputs_b: ArrayLike,
    *,
    seed: int = 0,
    level: float = 0.95,
    num_resamples: int = 1000,
) -> Estimate:
    """The metric of model A minus that of model B on one test part, both on the same resamples.

    Paired: what makes a sample hard for both does not widen the interval. It speaks of these two trained models, not
    of the methods that trained them.

    Args:
        metric: called as metric(targets, outputs).
        targets: shape (N, ...).
        outputs_a: what A said of the same samples, shape (N, ...).
        outputs_b: what B said.
        seed: of the resamples.
        level: coverage, in (0, 1).
        num_resamples: R, at least 1.

    Raises:
        ValueError: arrays of different lengths, no sample, or an argument out of its range.

    Example:
        >>> y, a, b = [0, 1, 1, 0, 1, 0], [0, 1, 1, 0, 1, 1], [0, 1, 0, 1, 1, 1]
        >>> result = bootstrap_difference(lambda y, p: float(np.mean(y == p)), y, a, b)
        >>> round(result.value, 3), result.low, round(result.high, 3)
        (0.333, 0.0, 0.667)
    """
    columns = _columns("bootstrap_difference", (targets, outputs_a, outputs_b), level, num_resamples)

    def difference(y: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> float:
        return metric(y, a) - metric(y, b)

    return _bootstrap(difference, columns, seed, level, num_resamples)


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """The answer of `mcnemar`.

    Attributes:
        only_a: samples that A has right and B wrong.
        only_b: samples that B has right and A wrong.
        p_value: exact, two-sided, of both being equally often right.
        n: number of samples.
    """

    only_a: int
    only_b: int
    p_value: float
    n: int


def mcnemar(targets: ArrayLike, labels_a: ArrayLike, labels_b: ArrayLike) -> McNemar:
    """McNemar's exact test: whether two trained classifiers are equally often right on one test part.

    It speaks of these two models and other test parts from the same source, not of other trainings.

    Args:
        targets: true labels, shape (N,).
        labels_a: what A said, shape (N,).
        labels_b: what B said, shape (N,).

    Raises:
        ValueError: arrays of different lengths, or no sample.

    Example:
        >>> mcnemar([1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0])
        McNemar(only_a=2, only_b=1, p_value=1.0, n=5)

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
            Psychometrika 12, 1947.
        Dietterich, "Approximate statistical tests for comparing supervised classification learning algorithms",
            Neural Computation 10, 1998, section 3.1.
    """
    y, a, b = _columns("mcnemar", (targets, labels_a, labels_b), 0.95, 1)
    only_a, only_b = int(((a == y) & (b != y)).sum()), int(((a != y) & (b == y)).sum())
    p_value = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a=only_a, only_b=only_b, p_value=p_value, n=len(y))


def _bootstrap(
    metric: MetricFunction, columns: list[NDArray[Any]], seed: int, level: float, num_resamples: int
) -> Estimate:
    n, value = len(columns[0]), float(metric(*columns))
    draws = resampled_rows(n, num_resamples, seed)
    resampled = np.array([metric(*(column[rows] for column in columns)) for rows in draws], dtype=np.float64)
    low, high = percentiles(value, resampled, level)
    return Estimate(value=value, low=low, high=high, n=n)


def _columns(caller: str, arrays: tuple[ArrayLike, ...], level: float, num_resamples: int) -> list[NDArray[Any]]:
    check_level(caller, level)
    columns = [np.asarray(array) for array in arrays]
    lengths = [len(column) if column.ndim else 0 for column in columns]
    if not lengths or len(set(lengths)) > 1 or not lengths[0]:
        raise ValueError(
            f"{caller}: arrays must have the same samples, at least one, got lengths {lengths}. "
            "Give targets and outputs of the same test part."
        )
    if num_resamples < 1:
        raise ValueError(f"{caller}: num_resamples must be at least 1, got {num_resamples!r}. Use 1000.")
    return columns
