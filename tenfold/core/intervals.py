"""Intervals of a share."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(share: float, n: int | None, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share; it stays within [0, 1] and is right for shares near the ends.

    Args:
        share: in [0, 1]; anything else, NaN included, gives NaN twice.
        n: number of samples; None or 0 gives NaN twice.
        level: coverage, in (0, 1).

    Example:
        >>> [round(end, 4) for end in wilson(81 / 263, 263)]
        [0.2553, 0.3662]

    References:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
        Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, 1998,
            method 3 (the example is from its table I).
    """
    if not n or not 0 <= share <= 1:
        return math.nan, math.nan
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (0.0 if share == 0 else middle - half), (1.0 if share == 1 else middle + half)
