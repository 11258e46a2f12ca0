"""The learning-rate range test on a stack: which rate, which range to search, from which rate on the loss rises.

Smith's test raises the rate along one run, so that each rate starts from what the ones before made of the weights. In
a stack every rate is a member's own from the first step on, and all see the same batches: what differs between two
losses is the rate.

M rates, P pieces of the pass

References:
    Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3 (the LR range test).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tenfold.statistics.scores import FloatArray, as_scores, number

WINDOW = 5  # neighbouring rates whose losses are averaged
HALF = 0.5  # of the best fall: rates that reach it are worth a search
LEARNS = 0.02  # of the loss of the untrained network: a smaller fall is none
MARGIN = 3.0  # the suggestion is so many times below the rate from which the loss rises


@dataclass(frozen=True, kw_only=True)
class RateAdvice:
    """What the test tells.

    Attributes:
        rate: to train with, as the peak of a schedule; None where no rate makes the network learn.
        low: lower end of the range to search; None likewise.
        high: its upper end.
        rises_from: the lowest rate from which on the loss rises, or is not finite; None where no rate tried does.
        verdict: "found", "higher" when the best rate is the highest tried, "lower" when it is the lowest, or "none".
        sentence: all that in words.
        rates: those tried, ascending.
        losses: where the pass ended with each, NaN where it diverged.
        start: the loss of the untrained network.
    """

    rate: float | None
    low: float | None
    high: float | None
    rises_from: float | None
    verdict: str
    sentence: str
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    start: float


def advise_rates(rates: ArrayLike, losses: ArrayLike) -> RateAdvice:
    """Reads the losses of a short pass with many rates.

    A rate's result is its mean loss over the last quarter of the pass, averaged with its neighbours'. The best rate
    has the lowest; the suggestion is at most a third of the rate from which the loss rises above where it began. The
    range to search holds the rates around the best that reach half its fall.

    Args:
        rates: at least 8 different ones, positive, ascending, shape (M,).
        losses: of each in the course of the pass, shape (M, P), at least two pieces; the first is that of the
            untrained network, and from the piece on in which a rate diverged its losses are not finite.

    Raises:
        ValueError: the rates or the shapes are others.

    Example:
        >>> rates = np.geomspace(1e-5, 10, 33)
        >>> fall = np.exp(-np.log10(rates / 0.01) ** 2)
        >>> losses = 2.3 - np.outer(fall, np.linspace(0, 2, 9))
        >>> losses[rates > 1, 1:] = np.nan
        >>> advice = advise_rates(rates, losses)
        >>> round(advice.rate, 3), round(advice.low, 4), round(advice.high, 2), round(advice.rises_from, 1)
        (0.01, 0.0018, 0.06, 1.2)
    """
    rate_M = as_scores("advise_rates", "rates", rates, (1,))
    loss_MP = as_scores("advise_rates", "losses", losses, (2,))
    _check(rate_M, loss_MP)
    start = float(np.nanmedian(np.where(np.isfinite(loss_MP[:, 0]), loss_MP[:, 0], np.nan)))
    last = max(1, (loss_MP.shape[1] - 1) // 4)
    end_M = np.where(np.isfinite(loss_MP).all(axis=1), loss_MP[:, -last:].mean(axis=1), np.nan)
    fall_M = _smooth(start - np.where(np.isnan(end_M), math.inf, end_M), start)
    best = int(fall_M.argmax())
    facts: dict[str, Any] = {"rates": tuple(rate_M.tolist()), "losses": tuple(end_M.tolist()), "start": start}
    if not fall_M[best] > LEARNS * abs(start):
        advice = (
            "The lowest one raises it: try lower ones"
            if not end_M[0] <= start * (1 + LEARNS)
            else "Look at the data and the loss, or give the pass more steps"
        )
        told = (
            f"No rate from {number(rate_M[0])} to {number(rate_M[-1])} lowers the loss of {number(start)} by more "
            f"than {100 * LEARNS:g} % in this pass. {advice}."
        )
        return RateAdvice(rate=None, low=None, high=None, rises_from=None, verdict="none", sentence=told, **facts)
    rising = np.flatnonzero(~(end_M < start) & (np.arange(len(rate_M)) > best))
    rises_from = float(rate_M[rising[0]]) if rising.size else None
    rate = min(float(rate_M[best]), rises_from / MARGIN if rises_from else math.inf)
    worth = fall_M >= HALF * fall_M[best]
    first = best - int(np.argmin(np.append(worth[best::-1], False))) + 1
    after = best + int(np.argmin(np.append(worth[best:], False)))
    low, high = float(rate_M[first]), float(rate_M[after - 1])
    verdict = "lower" if best == 0 else "higher" if best == len(rate_M) - 1 else "found"
    told = (
        f"Train with a rate of {number(rate)}: the loss falls from {number(start)} to {number(start - fall_M[best])}"
    )
    told += f"; from {number(rises_from)} on it rises. " if rises_from else "; no rate tried makes it rise. "
    told += f"Search {number(low)} to {number(high)}."
    if verdict != "found":
        told += f" The best rate is the {'lowest' if verdict == 'lower' else 'highest'} tried: try {verdict} ones."
    return RateAdvice(rate=rate, low=low, high=high, rises_from=rises_from, verdict=verdict, sentence=told, **facts)


def _smooth(fall_M: FloatArray, start: float) -> FloatArray:
    """Falls averaged over neighbouring rates; a rise counts no more than the best fall, or one would drown all."""
    most = max(float(fall_M.max()), LEARNS * abs(start))
    bounded = np.maximum(fall_M, -most)
    edge = WINDOW // 2
    return np.convolve(np.pad(bounded, edge, mode="edge"), np.full(WINDOW, 1 / WINDOW), mode="valid")


def _check(rate_M: FloatArray, loss_MP: FloatArray) -> None:
    if len(rate_M) < 8 or not (np.isfinite(rate_M).all() and rate_M[0] > 0 and (np.diff(rate_M) > 0).all()):
        raise ValueError(
            f"advise_rates: rates must be eight or more ascending numbers above 0, got {rate_M.tolist()}. Sort them."
        )
    if loss_MP.shape[0] != len(rate_M) or loss_MP.shape[1] < 2 or not np.isfinite(loss_MP[:, 0]).any():
        raise ValueError(
            f"advise_rates: losses must be two or more for each of {len(rate_M)} rates, the first of some rate "
            f"finite, got shape {loss_MP.shape}. Begin with the loss of the untrained network."
        )
