"""Scores of members as they come in: checked, oriented, and described.

S seeds, F folds
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
DIRECTIONS = ("maximize", "minimize")


def check_direction(caller: str, direction: str) -> float:
    """1.0 where more is better, -1.0 where less is."""
    if direction not in DIRECTIONS:
        raise ValueError(f"{caller}: direction must be 'maximize' or 'minimize', got {direction!r}. Choose one.")
    return 1.0 if direction == "maximize" else -1.0


def check_level(caller: str, level: float) -> None:
    """Refuses what is no coverage."""
    if not 0 < level < 1:
        raise ValueError(f"{caller}: level must be in (0, 1), got {level!r}. Use 0.95.")


def as_scores(caller: str, name: str, scores: ArrayLike, dims: Sequence[int]) -> FloatArray:
    """The scores as float64, NaN and infinite ones included, with one of the given numbers of dimensions."""
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim not in dims or not array.size:
        wanted = " or ".join(f"{dim}-dimensional" for dim in dims)
        raise ValueError(f"{caller}: {name} must be {wanted} and not empty, got shape {array.shape}. Reshape it.")
    return array


def fold_overlap(caller: str, scores: FloatArray, test_to_train: float | None) -> float:
    """n_test / n_train of overlapping folds; 0 where the scores are of seeds alone, shape (S,)."""
    if test_to_train is None:
        return 1 / (scores.shape[1] - 1) if scores.ndim == 2 and scores.shape[1] > 1 else 0.0
    if not 0 <= test_to_train < np.inf:
        raise ValueError(
            f"{caller}: test_to_train must be a finite number >= 0, got {test_to_train!r}. "
            "Give the rows of a test part divided by those of its training part."
        )
    return float(test_to_train)


def population(scores: FloatArray, overlap: float) -> str:
    """Over what the scores' expectation is taken, in words."""
    if overlap or (scores.ndim == 2 and scores.shape[1] > 1):
        return "trainings on other data of this size from the same source, scored on samples left out"
    return "trainings on this data with fresh seeds, scored on these same samples"


def number(value: float) -> str:
    """Four significant digits, as sentences show them."""
    return f"{value:.4g}"
