"""Axes of a chart: from values to pixels, with round ticks and a range that one wild value cannot ruin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_SAME = 1e-9  # values that differ by a smaller share count as one


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A map from values to pixels along one direction.

    Attributes:
        low: the value at `start`.
        high: the value at `stop`, above `low`.
        start: pixel of `low`.
        stop: pixel of `high`; below `start` for an axis that points up.
        log: whether equal ratios have equal lengths; `low` is then above 0.
        percent: whether ticks are written in percent.
        whole: whether values are whole numbers, so that ticks are too.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False
    percent: bool = False
    whole: bool = False

    def place(self, values: npt.ArrayLike) -> np.ndarray:
        """Pixels of values, same shape; NaN where a value is NaN, or not above 0 on a log axis.

        Example:
            >>> Axis(low=1, high=100, start=0, stop=10, log=True).place([1, 10, 100])
            array([ 0.,  5., 10.])
        """
        array = np.asarray(values, dtype=np.float64)
        low, high = self.low, self.high
        if self.log:
            array = np.log(np.where(array > 0, array, np.nan))
            low, high = math.log(low), math.log(high)
        return self.start + (array - low) / (high - low) * (self.stop - self.start)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """About `count` round values inside the range, each with its label.

        Example:
            >>> Axis(low=0, high=1, start=0, stop=1, percent=True).ticks(2)
            [(0.0, '0 %'), (0.5, '50 %'), (1.0, '100 %')]
        """
        values = _log_ticks(self.low, self.high, count) if self.log else []
        if len(values) < 2:
            values = _linear_ticks(self.low, self.high, count, self.whole)
        if self.percent:  # of a whole: room beyond it has no name
            values = [value for value in values if -_SAME <= value <= 1 + _SAME]
        return [(value, self._label(value)) for value in values]

    def _label(self, value: float) -> str:
        if self.percent:
            return f"{100 * value:.6g} %"
        for unit, letter in ((1e6, "M"), (1e3, "k")):
            if 1e5 <= self._largest < 1e9 and unit <= self._largest:  # more digits would reach into the axis' name
                return f"{value / unit:.6g}{letter if value else ''}"
        return f"{value:.6g}"

    @property
    def _largest(self) -> float:
        return max(abs(self.low), abs(self.high))


def fit_axis(
    values: npt.ArrayLike,
    *,
    start: float,
    stop: float,
    log: bool = False,
    percent: bool = False,
    whole: bool = False,
    robust: bool = True,
    pad: float = 0.05,
) -> Axis:
    """An axis that holds the values.

    Args:
        values: any shape; what is not finite (or not above 0 on a log axis) is passed over.
        start: pixel of the low end.
        stop: pixel of the high end.
        log: as in `Axis`; linear instead when no value is above 0.
        percent: as in `Axis`.
        whole: as in `Axis`.
        robust: leave out values far from the middle four fifths, which would press all others into a line.
        pad: free room at both ends, as a share of the range.

    Returns:
        The axis; [0, 1] when there is no value at all.
    """
    array = np.asarray(values, dtype=np.float64).ravel()
    array = array[np.isfinite(array)]
    log = log and bool((array > 0).any())
    scaled = np.log(array[array > 0]) if log else array
    if not len(scaled):
        return Axis(low=0.0, high=1.0, start=start, stop=stop, percent=percent, whole=whole)
    low, high = _robust_range(scaled) if robust else (float(scaled.min()), float(scaled.max()))
    if high - low <= _SAME * max(abs(low), abs(high)):  # one value, but for rounding
        low = high = (low + high) / 2
    room = pad * (high - low) or max(abs(high), 1.0) * 0.1
    low, high = low - room, high + room
    if log:
        low, high = math.exp(low), math.exp(high)
    return Axis(low=low, high=high, start=start, stop=stop, log=log, percent=percent, whole=whole)


def wants_log(values: npt.ArrayLike) -> bool:
    """Whether values span more than a factor of 30, so that a log axis shows them better.

    Example:
        >>> wants_log([0.01, 2.3]), wants_log([0.4, 2.3]), wants_log([-1.0, 50.0])
        (True, False, False)
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    return bool(len(array) and array.min() > 0 and array.max() / array.min() > 30)


def _robust_range(values: np.ndarray) -> tuple[float, float]:
    """The range of the values within twice the middle four fifths' width around these."""
    low, high = (float(value) for value in np.quantile(values, [0.1, 0.9]))
    width = 2 * (high - low)
    near = values[(values >= low - width) & (values <= high + width)] if width > 0 else values
    return float(near.min()), float(near.max())


def _linear_ticks(low: float, high: float, count: int, whole: bool) -> list[float]:
    exponent = 10.0 ** math.floor(math.log10((high - low) / count))
    step = min((m * exponent for m in (1, 2, 5, 10)), key=lambda s: abs(math.log((high - low) / count / s)))
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") + 0.0 for number in range(first, last + 1)]


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    """Powers of ten, thinned when there are many, with 2 and 5 between them when there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = math.log10(high / low)
    mantissas: Sequence[int] = (1,) if decades > 2.5 else (1, 3) if decades > 1.6 else (1, 2, 5)
    stride = max(1, math.ceil(decades / (count + 1)))
    ticks = [m * 10.0**exponent for exponent in range(first, last + 1, stride) for m in mantissas]
    return [float(f"{tick:.6g}") for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
