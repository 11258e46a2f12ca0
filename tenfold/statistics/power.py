"""How many independent trainings it takes to be sure, if the difference and the spread are what they seem now.

The estimate is as rough as the difference it starts from: with few seeds it may be off by a factor of several.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.stats import nct, norm
from scipy.stats import t as student_t

from tenfold.statistics.means import anytime_threshold

MOST = 10_000
CERTAIN_NONCENTRALITY = 30.0


def pairs_needed(effect: float, *, level: float = 0.95, power: float = 0.8, sequential: bool = False) -> int | None:
    """The smallest number of pairs that will show a difference of this size.

    Args:
        effect: |mean difference| / standard deviation of the differences, at least 0.
        level: coverage of the interval that is to leave out zero, in (0, 1).
        power: probability to show it with that many pairs, in (0, 1).
        sequential: for `anytime_mean`: the first number at which a difference of exactly this size is shown
            (`power` is not used).

    Returns:
        At least 2; None where 10,000 are not enough.

    Example:
        >>> pairs_needed(0.5), pairs_needed(1.0), pairs_needed(0.01)
        (34, 10, None)

    References:
        Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988, chapter 2.
    """
    if sequential:
        return _smallest(lambda n: effect * math.sqrt(n) >= anytime_threshold(n, level))
    precision = (effect / (norm.isf((1 - level) / 2) + norm.ppf(power))) ** 2
    if precision * MOST < 1:
        return None
    start = max(2, math.floor(1 / precision))  # a normal needs fewer than t does
    enough = (n for n in range(start, MOST + 1) if _power(effect * math.sqrt(n), n, level) >= power)
    return next(enough, None)


def _power(noncentrality: float, n: int, level: float) -> float:
    """Probability that |t| exceeds its quantile; the wrong side counts, as it does in the books."""
    threshold = float(student_t.isf((1 - level) / 2, n - 1))
    if noncentrality > CERTAIN_NONCENTRALITY + 2 * threshold:  # scipy's tail turns to NaN far out
        return 1.0
    return float(nct.sf(threshold, n - 1, noncentrality) + nct.cdf(-threshold, n - 1, noncentrality))


def _smallest(enough: Callable[[int], bool]) -> int | None:
    """By doubling and halving; `enough` stays true once it is."""
    low, high = 1, 2
    while not enough(high):
        if high == MOST:
            return None
        low, high = high, min(2 * high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
