"""Rows for training, validation and test: stratified by class, and those that the source came with respected."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, train_test_split

from tenfold.core.errors import InputError
from tenfold.core.seeds import derive_seed
from tenfold.data.source import Source


@dataclass(frozen=True, kw_only=True)
class Split:
    """Row numbers of each part, int64, sorted.

    Attributes:
        train: rows to learn from.
        valid: rows to choose by.
        test: rows to touch once.
        how: a sentence for the user.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    how: str


def split(source: Source, *, seed: int, valid_fraction: float = 0.2, test_fraction: float = 0.2) -> Split:
    """Cuts a source into training, validation and test rows.

    Parts that the source came with are kept; those it lacks are cut from its training rows. Classes are
    stratified, and each keeps at least one row in training. Groups are kept whole; the parts' sizes, and the classes'
    shares, are then as near as they allow.

    Args:
        source: what to cut.
        seed: of the run; the same seed cuts the same rows.
        valid_fraction: share of all rows that are cut, in [0, 1).
        test_fraction: likewise.

    Raises:
        ValueError: the fractions are out of range.
        InputError: too few rows or groups, a class of one sample, or no training part.

    Example:
        >>> from tenfold.data import read
        >>> parts = split(read("iris"), seed=0)
        >>> len(parts.train), len(parts.valid), len(parts.test)
        (90, 30, 30)
    """
    if not (valid_fraction >= 0 and test_fraction >= 0 and valid_fraction + test_fraction < 1):
        raise ValueError(
            f"split: valid_fraction and test_fraction must be at least 0 and together below 1, got "
            f"{valid_fraction!r} and {test_fraction!r}. Make them smaller."
        )
    labels = source.targets if source.task == "classification" else None
    parts = _given(source)
    if labels is not None:
        _refuse_single(labels if source.parts is None else labels[parts["train"]], source)
    total, how = len(parts["train"]), []
    for name, fraction in (("test", test_fraction), ("valid", valid_fraction)):
        if len(parts[name]):
            how.append(f"{name} part as the source has it")
        elif fraction > 0:
            size = max(1, round(total * fraction))
            cut = _cut if source.groups is None else _cut_groups
            parts["train"], parts[name], manner = cut(
                parts["train"], labels, size, derive_seed(seed, "split"), source
            )
            how.append(f"{name} {len(parts[name])} of {total} rows, {manner}")
    return Split(**{name: np.sort(rows) for name, rows in parts.items()}, how="; ".join(how))


def _given(source: Source) -> dict[str, np.ndarray]:
    if source.parts is None:
        return {"train": np.arange(len(source)), "valid": np.array([], int), "test": np.array([], int)}
    rows = {name: np.flatnonzero(source.parts == name) for name in ("train", "valid", "test")}
    if not len(rows["train"]):
        raise InputError(f"{source.name}: has no training part. Add one called train.")
    return rows


def _refuse_single(labels: np.ndarray, source: Source) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    single = classes[counts < 2]
    if len(single):
        shown = ", ".join(repr(label) for label in single[:5].tolist())
        subject = f"class {shown} has" if len(single) == 1 else f"classes {shown} have"
        raise InputError(
            f"{source.name}: {subject} one sample only; training and validation need one each. "
            "Add samples, or remove what is too small."
        )


def _cut(
    rows: np.ndarray, labels: np.ndarray | None, size: int, seed: int, source: Source
) -> tuple[np.ndarray, np.ndarray, str]:
    """Kept rows, cut rows, and how."""
    if len(rows) - size < 2:
        raise InputError(
            f"{source.name}: {len(rows)} rows are too few to cut {size} off for validation or test. Give more rows."
        )
    state = seed % 2**32
    if labels is None:
        kept, cut = train_test_split(rows, test_size=size, random_state=state)
        return kept, cut, "at random"
    classes, counts = np.unique(labels[rows], return_counts=True)
    if counts.min() >= 2 and min(size, len(rows) - size) >= len(classes):
        kept, cut = train_test_split(rows, test_size=size, random_state=state, stratify=labels[rows])
        manner = "stratified by class"
    else:
        kept, cut = train_test_split(rows, test_size=size, random_state=state)
        manner = "at random, too few rows a class to stratify"
    return *_with_every_class(kept, cut, labels), manner


def _cut_groups(
    rows: np.ndarray, labels: np.ndarray | None, size: int, seed: int, source: Source
) -> tuple[np.ndarray, np.ndarray, str]:
    """As `_cut`, with whole groups."""
    assert source.groups is not None
    groups = source.groups[rows]
    count = len(np.unique(groups))
    if count < 2:
        raise InputError(
            f"{source.name}: the {len(rows)} rows to cut {size} off are of one group. Give more groups, or leave "
            "--group out."
        )
    folds, state = min(max(2, round(len(rows) / size)), count), seed % 2**32
    if labels is not None and np.unique(labels[rows], return_counts=True)[1].max() >= folds:
        splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=state)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "The least populated class", UserWarning
            )  # a rare class is no error here
            pairs = list(splitter.split(rows, labels[rows], groups))
        manner = f"{count} groups kept whole, stratified by class as far as they allow"
    else:
        pairs = list(
            GroupShuffleSplit(n_splits=1, test_size=1 / folds, random_state=state).split(rows, groups=groups)
        )
        manner = f"{count} groups kept whole"
    kept, cut = min(pairs, key=lambda pair: abs(len(pair[1]) - size) if len(pair[0]) and len(pair[1]) else np.inf)
    return rows[kept], rows[cut], manner


def _with_every_class(kept: np.ndarray, cut: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Swaps rows so that each class keeps one in training, and the sizes stay."""
    for label in np.setdiff1d(labels[cut], labels[kept]):
        kept_labels = labels[kept]
        classes, counts = np.unique(kept_labels, return_counts=True)
        give = np.flatnonzero(kept_labels == classes[counts.argmax()])[0]
        take = np.flatnonzero(labels[cut] == label)[0]
        kept[give], cut[take] = cut[take], kept[give]
    return kept, cut
