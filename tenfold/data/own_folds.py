"""A user's own folds, in any of the forms they come in, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import PredefinedSplit

from tenfold.core.errors import InputError

Rows = tuple[np.ndarray, ...]


def own_pairs(folds: Any, num_samples: int, allowed: np.ndarray) -> tuple[Rows, Rows]:
    """Training and validation rows of each fold, sorted.

    Args:
        folds: a fold number for each row of the source (-1: always trains), pairs (train, valid) of row numbers, or
            for each fold its validation rows. What scikit-learn's `split` yields is such pairs.
        num_samples: rows of the source.
        allowed: the rows that may be used, sorted; the others are kept for the test.

    Raises:
        InputError: not one of these forms, fewer than one fold, rows out of range, twice, in both parts, or none.

    Example:
        >>> train, valid = own_pairs([[0, 1], [2, 3]], 4, np.arange(4))
        >>> [rows.tolist() for rows in train], [rows.tolist() for rows in valid]
        ([[2, 3], [0, 1]], [[0, 1], [2, 3]])
    """
    if isinstance(folds, np.ndarray) and folds.ndim == 1 and folds.dtype.kind in "iu":
        pairs = _from_numbers(folds, num_samples, allowed)
    else:
        pairs = [_pair(fold, number, allowed) for number, fold in enumerate(_listed(folds), 1)]
    if not pairs:
        raise InputError("folds: there must be at least one, got none. Give a number such as 5.")
    checked = [_checked(*pair, number, num_samples, allowed) for number, pair in enumerate(pairs, 1)]
    return tuple(train for train, _ in checked), tuple(valid for _, valid in checked)


def _listed(folds: Any) -> list[Any]:
    try:
        return list(folds)
    except TypeError:
        raise InputError(
            f"folds: must be a number, a fold number for each row, or index arrays, got {type(folds).__name__}. "
            "Give a number such as 5."
        ) from None


def _from_numbers(numbers: np.ndarray, num_samples: int, allowed: np.ndarray) -> list[tuple[Any, Any]]:
    if len(numbers) != num_samples:
        raise InputError(
            f"folds: fold numbers must be one a row, got {len(numbers)} for {num_samples} rows. Give -1 to rows that "
            "always train."
        )
    return [(allowed[train], allowed[valid]) for train, valid in PredefinedSplit(numbers[allowed]).split()]


def _pair(fold: Any, number: int, allowed: np.ndarray) -> tuple[Any, Any]:
    if (
        isinstance(fold, tuple | list)
        and len(fold) == 2
        and all(isinstance(part, tuple | list | np.ndarray) for part in fold)
    ):
        return fold[0], fold[1]
    if not isinstance(fold, tuple | list | np.ndarray) or any(np.ndim(row) for row in fold):
        raise InputError(
            f"folds: fold {number} must be row numbers to score on, or a pair (train, valid) of row numbers, got "
            f"{type(fold).__name__}. Give integer arrays."
        )
    return np.setdiff1d(allowed, _integers(fold, number)), fold


def _checked(
    train: Any, valid: Any, number: int, num_samples: int, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    learned = _part(train, "training", number, num_samples, allowed)
    scored = _part(valid, "scored", number, num_samples, allowed)
    both = np.intersect1d(learned, scored)
    if len(both):
        raise InputError(
            f"folds: fold {number} has {len(both)} rows in both parts, first row {both[0]}. Remove them from one."
        )
    return learned, scored


def _part(rows: Any, part: str, number: int, num_samples: int, allowed: np.ndarray) -> np.ndarray:
    indices = _integers(rows, number)
    if not len(indices):
        raise InputError(f"folds: fold {number} has no {part} rows. Give each fold some.")
    wrong = indices[(indices < 0) | (indices >= num_samples)]
    if len(wrong):
        raise InputError(
            f"folds: fold {number} names row {wrong[0]}, rows go from 0 to {num_samples - 1}. Correct the indices."
        )
    distinct = np.unique(indices)
    if len(distinct) < len(indices):
        raise InputError(
            f"folds: fold {number} names {len(indices) - len(distinct)} {part} rows twice. Name each once."
        )
    kept_apart = np.setdiff1d(distinct, allowed)
    if len(kept_apart):
        raise InputError(
            f"folds: fold {number} names row {kept_apart[0]}, which is kept for the test. Leave it out, or keep no "
            "test part."
        )
    return distinct


def _integers(rows: Sequence[Any] | np.ndarray, number: int) -> np.ndarray:
    indices = np.asarray(rows)
    if len(indices) and indices.dtype.kind not in "iu":
        raise InputError(
            f"folds: fold {number} must hold integers, got {indices.dtype}. Turn a mask into indices by "
            "np.flatnonzero."
        )
    return indices.astype(np.int64)
