"""Whether a cheap resource ranks trials as the full one does: rank correlations with their intervals.

n pairs
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau, spearmanr

from tenfold.core.wording import plural
from tenfold.statistics.scores import as_scores, check_level

FEWEST_PAIRS = 5
TRUSTED = 0.5  # a tau of 0.5: of two trials the cheap resource names the better one in three of four cases


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """How alike two resources rank the same trials.

    Attributes:
        kendall: Kendall's tau-b, in [-1, 1]; NaN where one side has all scores alike.
        low: lower end of its interval.
        high: upper end.
        spearman: Spearman's rho.
        n: trials with both scores.
        verdict: "trusted" when the interval lies above 0.5, "partly" when above 0, "untrusted" when below 0.5 and not
            above 0, "unknown" otherwise.
        sentence: all that in words.
    """

    kendall: float
    low: float
    high: float
    spearman: float
    n: int
    verdict: str
    sentence: str


def rank_correlation(cheap: ArrayLike, full: ArrayLike, *, level: float = 0.95) -> RankCorrelation:
    """Compares the ranking at a cheap resource with that at the full one.

    Only trials that were scored at both count. Those are the ones that the cheap ranking let go on, and among trials
    that are all good ranks agree less than among all: the true agreement is rather higher than this.

    Args:
        cheap: each trial's score at the cheap resource, shape (n,); NaN where there is none.
        full: the same trials' scores at the full one.
        level: coverage of the interval, in (0, 1).

    Raises:
        ValueError: the shapes differ, or an argument is out of its range.

    Example:
        >>> result = rank_correlation([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 5, 4, 6, 7, 8])
        >>> round(result.kendall, 3), result.verdict
        (0.929, 'trusted')

    References:
        Fieller, Hartley and Pearson, "Tests for rank correlation coefficients. I", Biometrika 44, 1957 (the variance
            0.437 / (n - 4) of the transformed tau).
    """
    x, y = as_scores("rank_correlation", "cheap", cheap, (1,)), as_scores("rank_correlation", "full", full, (1,))
    check_level("rank_correlation", level)
    if x.shape != y.shape:
        raise ValueError(
            f"rank_correlation: full must have a score for each of {len(x)} trials, got {len(y)}. Give NaN for none."
        )
    known = np.isfinite(x) & np.isfinite(y)
    x, y, n = x[known], y[known], int(known.sum())
    if n < FEWEST_PAIRS or np.ptp(x) == 0 or np.ptp(y) == 0:
        why = _too_few(n) if n < FEWEST_PAIRS else "all scores of one resource are alike"
        return RankCorrelation(
            kendall=math.nan,
            low=-1.0,
            high=1.0,
            spearman=math.nan,
            n=n,
            verdict="unknown",
            sentence=f"Whether the cheap resource can be trusted is unknown: {why}.",
        )
    tau, rho = float(kendalltau(x, y).statistic), float(spearmanr(x, y).statistic)
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(0.437 / (n - 4))
    most = 1 - 2 / (n * (n - 1))  # half a pair short of perfect: n pairs never show that a ranking is
    middle = math.atanh(max(min(tau, most), -most))
    low, high = min(math.tanh(middle - half), tau), max(math.tanh(middle + half), tau)
    verdict, told = _verdict(low, high)
    sentence = (
        f"The cheap resource {told}: of two trials, the one ahead there was ahead at the full resource in "
        f"{50 * (1 + tau):.0f} % of the pairs (Kendall's tau {tau:.2f}, {low:.2f} to {high:.2f}; Spearman's rho "
        f"{rho:.2f}; {n} trials that have both scores)."
    )
    return RankCorrelation(kendall=tau, low=low, high=high, spearman=rho, n=n, verdict=verdict, sentence=sentence)


def _too_few(count: int) -> str:
    """How many trials have both scores, where they are too few."""
    return f"only {plural(count, 'trial')} {'has' if count == 1 else 'have'} both scores"


def _verdict(low: float, high: float) -> tuple[str, str]:
    if low > TRUSTED:
        return "trusted", "could be trusted"
    if low > 0:
        return "partly", "could partly be trusted"
    if high < TRUSTED:
        return "untrusted", "could not be trusted"
    return "unknown", "was tried on too few trials to tell whether it could be trusted"
