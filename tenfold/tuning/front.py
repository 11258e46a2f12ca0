"""The Pareto front: what nothing else beats in every respect."""

from __future__ import annotations

import math
from collections.abc import Sequence


def front(values: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """The candidates that no other one dominates: none is as good in all objectives and better in one.

    Equal candidates are on the front together. One with a value that is NaN, or infinitely bad, is not on it.

    Args:
        values: for each candidate one number an objective.
        directions: "maximize" or "minimize" for each objective.

    Returns:
        Their indices, the best in the first objective first.

    Raises:
        ValueError: a direction has no such name, or a candidate has more or fewer values.

    Example:
        >>> accuracy_and_latency = [(0.9, 5.0), (0.8, 1.0), (0.85, 6.0), (0.9, 4.0)]
        >>> front(accuracy_and_latency, ("maximize", "minimize"))
        [3, 1]

    References:
        Kung, Luccio and Preparata, "On Finding the Maxima of a Set of Vectors", JACM 22, 1975.
    """
    if len(directions) == 0 or any(way not in ("maximize", "minimize") for way in directions):
        raise ValueError(
            f"front: directions must be 'maximize' or 'minimize', got {tuple(directions)!r}. Choose one."
        )
    costs: dict[int, tuple[float, ...]] = {}
    for index, row in enumerate(values):
        if len(row) != len(directions):
            raise ValueError(
                f"front: each candidate must have {len(directions)} values, got {len(row)} at {index}. "
                "Give one for each objective."
            )
        cost = tuple(
            -float(one) if way == "maximize" else float(one) for one, way in zip(row, directions, strict=True)
        )
        if not any(math.isnan(one) or one == math.inf for one in cost):
            costs[index] = cost
    # In the order of the costs, whatever dominates a candidate comes before it.
    kept: list[int] = []
    for index in sorted(costs, key=lambda one: (costs[one], one)):
        if not any(_dominates(costs[other], costs[index]) for other in kept):
            kept.append(index)
    return kept


def _dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))
