"""One learning curve's forecast, for reports: where it will end, between what, and whether that is the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.statistics.scores import check_direction, check_level
from tenfold.tuning.curve_model import curve_prior, forecast_ends
from tenfold.tuning.standing import check_whole, filled


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The score that a trial would end with.

    Attributes:
        mean: its expectation.
        low: the lower end of its interval.
        high: the upper end.
        chance_of_beating: the probability that it is better than `best`; None where none was given.
    """

    mean: float
    low: float
    high: float
    chance_of_beating: float | None


def forecast(
    curve: Sequence[float],
    max_resource: int,
    *,
    direction: str = "maximize",
    best: float | None = None,
    peers: Sequence[Sequence[float]] = (),
    level: float = 0.9,
) -> Forecast:
    """Forecasts the score after `max_resource` epochs from those so far.

    Args:
        curve: the score after each epoch, at least one of them; the last one finite.
        max_resource: the epoch asked about, at least 2 and at least as many as there are scores.
        direction: "maximize" or "minimize".
        best: the score to beat.
        peers: curves of the other trials, which tell how noisy scores are and how far curves move.
        level: coverage of the interval, in (0, 1).

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> curve = [0.9 - 0.5 / epoch for epoch in range(1, 11)]
        >>> ahead = forecast(curve, 100, best=0.95)
        >>> round(ahead.mean, 2), ahead.low < 0.895 < ahead.high, ahead.chance_of_beating < 0.05
        (0.9, True, True)
    """
    sign = check_direction("forecast", direction)
    check_level("forecast", level)
    check_whole("forecast", "max_resource", max_resource, max(2, len(curve)))
    scores = sign * np.asarray(curve, dtype=float)
    if not scores.size or not np.isfinite(scores[-1]):
        raise ValueError(
            f"forecast: curve must end with a finite score, got {list(curve)[-3:]!r}. Leave sick trials out."
        )
    prior = curve_prior([scores, *(sign * np.asarray(peer, dtype=float) for peer in peers)])
    ends = forecast_ends(filled(scores)[None], max_resource, prior)
    outer = (1 - level) / 2
    low, high = sorted(sign * float(ends.quantile(p)[0]) for p in (outer, 1 - outer))
    chance = None if best is None else float(ends.chance_above(sign * best)[0])
    return Forecast(mean=sign * float(ends.mean()[0]), low=low, high=high, chance_of_beating=chance)
