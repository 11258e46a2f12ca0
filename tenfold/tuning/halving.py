"""Successive halving on plain values: how many trials go on at which epoch, and which ones.

References:
    Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization", AISTATS 2016.
    Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, "Hyperband: A Novel Bandit-Based Approach to
    Hyperparameter Optimization", JMLR 18, 2018, Algorithm 1 and Table 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A point of training where trials are compared.

    Attributes:
        resource: epochs trained since the start when the rung is reached.
        keep: number of trials that go on; at the last rung the number of those that arrive.
    """

    resource: int
    keep: int


def successive_halving_rungs(
    num_trials: int, min_resource: int, max_resource: int, reduction_factor: int = 3
) -> tuple[Rung, ...]:
    """The rungs of one bracket: at each, the best 1 / reduction_factor of the trials go on.

    Resources are `max_resource` divided by powers of the reduction factor, rounded down, as in the paper
    (r = R * eta^-s), so that the last stretch is never a short one. There are no more rungs than it takes to
    come down to one trial, and these are the latest ones: comparisons after few epochs are the least
    reliable.

    Args:
        num_trials: trials that start, at least 1.
        min_resource: no trial leaves before this many epochs, at least 1.
        max_resource: epochs of a trial that is never stopped, at least `min_resource`.
        reduction_factor: eta, at least 2; the paper recommends 3 or 4.

    Returns:
        Rungs in the order of time. The last one is the end of training at `max_resource`, where nobody
        leaves.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> [(rung.resource, rung.keep) for rung in successive_halving_rungs(64, 1, 30)]
        [(1, 21), (3, 7), (10, 2), (30, 2)]
    """
    _check_rungs(num_trials, min_resource, max_resource, reduction_factor)
    keeps: list[int] = []
    left = num_trials
    while left > 1 and min_resource * reduction_factor ** (len(keeps) + 1) <= max_resource:
        left = max(1, left // reduction_factor)
        keeps.append(left)
    leaving = [
        Rung(resource=max_resource // reduction_factor ** (len(keeps) - index), keep=keep)
        for index, keep in enumerate(keeps)
    ]
    return (*leaving, Rung(resource=max_resource, keep=left))


def promote(scores: Mapping[int, float], keep: int, direction: str) -> list[int]:
    """The trials that go on from a rung, best first.

    Args:
        scores: for each trial's number its score at the rung; NaN is worse than everything.
        keep: how many go on; all where there are fewer.
        direction: "maximize" or "minimize".

    Returns:
        Trial numbers, best first; of equal scores the lower number first.

    Raises:
        ValueError: the direction has no such name, or keep is negative.

    Example:
        >>> promote({0: 0.7, 1: float("nan"), 2: 0.9, 3: 0.7}, 2, "maximize")
        [2, 0]
    """
    if direction not in ("maximize", "minimize"):
        raise ValueError(f"promote: direction must be 'maximize' or 'minimize', got {direction!r}. Choose one.")
    if keep < 0:
        raise ValueError(f"promote: keep must be at least 0, got {keep!r}. Give the rung's keep.")
    sign = -1.0 if direction == "maximize" else 1.0

    def rank(trial: int) -> tuple[bool, float, int]:
        score = float(scores[trial])
        return (True, 0.0, trial) if math.isnan(score) else (False, sign * score, trial)

    return sorted(scores, key=rank)[:keep]


def _check_rungs(num_trials: int, min_resource: int, max_resource: int, reduction_factor: int) -> None:
    bounds = (
        ("num_trials", num_trials, 1),
        ("min_resource", min_resource, 1),
        ("max_resource", max_resource, min_resource),
        ("reduction_factor", reduction_factor, 2),
    )
    for name, value, low in bounds:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(
                f"successive_halving_rungs: {name} must be a whole number >= {low}, got {value!r}. Raise it."
            )
