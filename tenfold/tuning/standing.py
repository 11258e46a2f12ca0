"""What stopping rules read off a curve: how good a trial is by an epoch, and how that is said.

A curve holds a trial's score after each of its own epochs, NaN where it had none (the trial was sick).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tenfold.statistics.scores import FloatArray


def check_whole(where: str, name: str, value: object, low: int) -> int:
    """The value, a whole number of at least `low`.

    Raises:
        ValueError: it is not.

    Example:
        >>> check_whole("fit", "folds", 5, 2)
        5
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"{where}: {name} must be a whole number >= {low}, got {value!r}. Change it.")
    return value


def best_by(curve: Sequence[float], epoch: int, direction: str) -> float:
    """The best score of a trial's first epochs: what its best weights by then are worth.

    Args:
        curve: the score after each epoch.
        epoch: epochs that count, at least 1.
        direction: "maximize" or "minimize".

    Returns:
        NaN when the trial has not come so far, or was sick by then: it has nothing to show.

    Example:
        >>> best_by([0.5, 0.8, 0.7], 3, "maximize"), best_by([0.5, float("nan")], 2, "maximize")
        (0.8, nan)
    """
    seen = [float(score) for score in curve[:epoch]]
    if len(seen) < epoch or math.isnan(seen[-1]):
        return math.nan
    known = [score for score in seen if not math.isnan(score)]
    return max(known) if direction == "maximize" else min(known)


def filled(curve: FloatArray) -> FloatArray:
    """The curve with the next score in place of one that is not finite; the last one must be.

    Example:
        >>> import numpy as np
        >>> filled(np.array([np.nan, 0.5, 0.7])).tolist()
        [0.5, 0.5, 0.7]
    """
    scores = curve.copy()
    for place in range(len(scores) - 2, -1, -1):
        if not math.isfinite(scores[place]):
            scores[place] = scores[place + 1]
    return scores


def epochs(count: int, unit: str = "epoch") -> str:
    """A number of epochs in words, or of steps of a ladder.

    Example:
        >>> epochs(1), epochs(3), epochs(2, "step")
        ('1 epoch', '3 epochs', '2 steps')
    """
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
