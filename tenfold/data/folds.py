"""Folds for cross-validation, cut by scikit-learn's splitters: the same rows as theirs for the same random state.

References:
    Kohavi, A study of cross-validation and bootstrap for accuracy estimation and model selection, IJCAI 1995.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.seeds import derive_seed
from tenfold.data.own_folds import own_pairs
from tenfold.data.source import Source

MANNERS = ("plain", "stratified", "grouped", "stratified-grouped", "time-series", "leave-one-group-out")
_WITH_GROUPS = ("grouped", "stratified-grouped", "leave-one-group-out")
_REPEATABLE = ("plain", "stratified", "stratified-grouped")
Pairs = Iterator[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Row numbers of a source for each fold, int64, sorted.

    Attributes:
        train: for each fold the rows to learn from.
        valid: for each fold the rows to score on.
        names: for each fold what to call it, such as "fold 3", or its group.
        rows: all rows that were cut.
        manner: one of `MANNERS`, "own", or "holdout".
        how: a sentence for the user.
        notes: a sentence for each thing worth knowing, such as a class that a fold's training rows lack.
        random_state: what scikit-learn's splitter was given; None where nothing is drawn.
        repeats: how often all rows were cut anew.
    """

    train: tuple[np.ndarray, ...]
    valid: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    rows: np.ndarray
    manner: str
    how: str
    notes: tuple[str, ...] = ()
    random_state: int | None = None
    repeats: int = 1

    def __len__(self) -> int:
        return len(self.train)

    @property
    def n(self) -> int:
        """Number of rows that were cut."""
        return len(self.rows)

    @property
    def complete(self) -> bool:
        """Whether each row is scored once in each repeat, so that out-of-fold predictions cover all of them."""
        scored = np.sort(np.concatenate(self.valid))
        return np.array_equal(scored, np.repeat(np.sort(self.rows), self.repeats))


def cut_folds(
    source: Source,
    folds: int | Any = 5,
    *,
    seed: int,
    manner: str | None = None,
    groups: Any = None,
    repeats: int = 1,
    rows: np.ndarray | None = None,
) -> Folds:
    """Cuts the rows of a source into folds.

    Args:
        source: what to cut.
        folds: how many, at least 2; or the user's own, as pairs of row numbers (train, valid), as the rows to score
            on, one array a fold (the others train), or as a fold number for each row of the source (-1: always
            trains).
        seed: of the run; the same seed cuts the same rows.
        manner: one of `MANNERS`. By default stratified for a classification and plain for others, and grouped when
            there are groups. "time-series" trains on earlier rows and scores on later ones; the rows lie in the
            order of time. "leave-one-group-out" has a fold for each group.
        groups: labels, shape (N,), by default those that the source came with; a group is never in both parts.
        repeats: how often to cut anew, at least 1.
        rows: the rows to cut, int64; by default all. Leave test rows out.

    Returns:
        The folds; `random_state` is derived from the seed.

    Raises:
        ValueError: the manner is unknown or does not fit what was given, or repeats are below 1.
        InputError: folds below 2, or more than rows, groups, or samples of a class; own folds that overlap, are
            empty or out of range; missing groups.

    Example:
        >>> from tenfold.data import read
        >>> folds = cut_folds(read("iris"), 5, seed=0)
        >>> folds.how, [len(rows) for rows in folds.valid], folds.complete
        ('5 folds of 150 rows, stratified by class', [30, 30, 30, 30, 30], True)
    """
    kept = np.arange(len(source)) if rows is None else np.sort(np.asarray(rows, dtype=np.int64))
    if not isinstance(folds, int | np.integer):
        train, valid = own_pairs(folds, len(source), kept)
        return Folds(
            train=train, valid=valid, names=_names(len(train), 1), rows=kept, manner="own",
            how=f"{len(train)} folds of {len(kept)} rows, as given", notes=_missing_classes(source, train),
        )  # fmt: skip
    labels = None if groups is None and source.groups is None else _groups(source, groups)[kept]
    manner = manner or _usual_manner(source, labels is not None)
    targets = source.targets[kept]
    _check(source, int(folds), manner, labels, repeats, targets)
    state = derive_seed(seed, "split") % 2**32
    pairs = list(_SPLITTERS[manner](int(folds), repeats, state, targets, labels))
    train, valid = (tuple(np.sort(kept[pair[part]]) for pair in pairs) for part in (0, 1))
    _refuse_empty(train, valid)
    count = len(pairs) // repeats
    distinct = () if labels is None else np.unique(labels)
    how = f"{count} folds of {len(kept)} rows" + (f" {repeats} times" if repeats > 1 else "")
    return Folds(
        train=train,
        valid=valid,
        names=tuple(map(str, distinct)) if manner == "leave-one-group-out" else _names(count, repeats),
        rows=kept,
        manner=manner,
        how=f"{how}, {_WORDS[manner].format(groups=len(distinct))}",
        notes=_missing_classes(source, train),
        random_state=state if manner in _REPEATABLE else None,
        repeats=repeats,
    )


_WORDS = {
    "plain": "at random",
    "stratified": "stratified by class",
    "grouped": "{groups} groups kept whole",
    "stratified-grouped": "{groups} groups kept whole, stratified by class as far as they allow",
    "time-series": "each scored on rows later than those it learns from",
    "leave-one-group-out": "each group left out once",
}


def _plain(folds: int, repeats: int, state: int, targets: np.ndarray, groups: Any) -> Pairs:
    if repeats > 1:
        return RepeatedKFold(n_splits=folds, n_repeats=repeats, random_state=state).split(targets)
    return KFold(n_splits=folds, shuffle=True, random_state=state).split(targets)


def _stratified(folds: int, repeats: int, state: int, targets: np.ndarray, groups: Any) -> Pairs:
    if repeats > 1:
        splitter = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=state)
        return splitter.split(targets, targets)
    return StratifiedKFold(n_splits=folds, shuffle=True, random_state=state).split(targets, targets)


def _grouped(folds: int, repeats: int, state: int, targets: np.ndarray, groups: Any) -> Pairs:
    return GroupKFold(n_splits=folds).split(targets, groups=groups)


def _stratified_grouped(folds: int, repeats: int, state: int, targets: np.ndarray, groups: Any) -> Pairs:
    for repeat in range(repeats):
        splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=(state + repeat) % 2**32)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "The least populated class", UserWarning
            )  # what follows is in the notes
            pairs = list(splitter.split(targets, targets, groups))
        yield from pairs


def _time_series(folds: int, repeats: int, state: int, targets: np.ndarray, groups: Any) -> Pairs:
    return TimeSeriesSplit(n_splits=folds).split(targets)


def _leave_one_group_out(folds: int, repeats: int, state: int, targets: np.ndarray, groups: Any) -> Pairs:
    return LeaveOneGroupOut().split(targets, groups=groups)


_SPLITTERS: dict[str, Callable[[int, int, int, np.ndarray, Any], Pairs]] = {
    "plain": _plain,
    "stratified": _stratified,
    "grouped": _grouped,
    "stratified-grouped": _stratified_grouped,
    "time-series": _time_series,
    "leave-one-group-out": _leave_one_group_out,
}


def _usual_manner(source: Source, grouped: bool) -> str:
    if source.task != "classification":
        return "grouped" if grouped else "plain"
    return "stratified-grouped" if grouped else "stratified"


def _groups(source: Source, groups: Any) -> np.ndarray:
    labels = np.asarray(source.groups if groups is None else groups)
    if labels.shape != (len(source),):
        raise InputError(
            f"{source.name}: groups must be one label a row, got shape {labels.shape} for {len(source)} rows. "
            "Give an array of that length."
        )
    missing = np.asarray(pd.isna(labels))
    if missing.any():
        raise InputError(
            f"{source.name}: {int(missing.sum())} of {len(labels)} rows have no group, first row "
            f"{int(np.flatnonzero(missing)[0])} (counted from 0). Give them one, or remove them."
        )
    return labels.astype(str) if labels.dtype.kind == "O" else labels


def _check(
    source: Source, folds: int, manner: str, groups: np.ndarray | None, repeats: int, targets: np.ndarray
) -> None:
    if manner not in MANNERS:
        raise ValueError(f"cut_folds: manner has no {manner!r}.{did_you_mean(manner, MANNERS)}")
    if manner in _WITH_GROUPS and groups is None:
        raise ValueError(f"cut_folds: manner {manner!r} needs groups, got none. Name a column with --group.")
    if repeats < 1 or (repeats > 1 and manner not in _REPEATABLE):
        raise ValueError(
            f"cut_folds: repeats must be at least 1, and 1 where nothing is drawn, got {repeats!r} for manner "
            f"{manner!r}. The manners that draw are {', '.join(_REPEATABLE)}."
        )
    if "stratified" in manner and source.task != "classification":
        raise ValueError(
            f"cut_folds: manner {manner!r} needs classes, the task is {source.task}. Choose 'plain' or 'grouped'."
        )
    if manner == "leave-one-group-out":
        folds = 2
    if folds < 2:
        raise InputError(f"{source.name}: folds must be at least 2, got {folds}. 5 or 10 are common.")
    needed = folds + (manner == "time-series")
    if len(targets) < needed:
        raise InputError(f"{source.name}: {len(targets)} rows are too few for {folds} folds. Take fewer folds.")
    if groups is not None and manner in _WITH_GROUPS and len(np.unique(groups)) < folds:
        raise InputError(
            f"{source.name}: {len(np.unique(groups))} groups are too few for {folds} folds. Take fewer folds."
        )
    if "stratified" in manner:
        _refuse_small_classes(source, folds, targets, every=manner == "stratified")


def _refuse_small_classes(source: Source, folds: int, targets: np.ndarray, every: bool) -> None:
    """Each class needs a sample a fold; where groups decide, at least one class does."""
    classes, counts = np.unique(targets, return_counts=True)
    small = counts.argmin() if every else counts.argmax()
    if counts[small] < folds:
        fewer = f"Take {counts[small]} folds, add samples" if counts[small] > 1 else "Add samples"
        raise InputError(
            f"{source.name}: class {classes[small].item()!r} has {counts[small]} of the {folds} samples that {folds} "
            f"folds need. {fewer}, or cut with manner 'plain'."
        )


def _refuse_empty(train: Sequence[np.ndarray], valid: Sequence[np.ndarray]) -> None:
    for number, (learned, scored) in enumerate(zip(train, valid, strict=True), 1):
        if not len(learned) or not len(scored):
            part = "score on" if len(learned) else "learn from"
            raise InputError(
                f"folds: fold {number} has no rows to {part}. Take fewer folds: groups are kept whole, and a large "
                "one can fill a fold."
            )


def _missing_classes(source: Source, train: Sequence[np.ndarray]) -> tuple[str, ...]:
    if source.task != "classification":
        return ()
    everything = np.unique(source.targets)
    notes = []
    for number, rows in enumerate(train, 1):
        lacking = np.setdiff1d(everything, source.targets[rows])
        if len(lacking):
            shown = ", ".join(repr(label) for label in lacking[:3].tolist()) + (", ..." if len(lacking) > 3 else "")
            notes.append(f"fold {number}: its training rows hold no sample of class {shown}, it cannot learn that")
    return tuple(notes)


def _names(folds: int, repeats: int) -> tuple[str, ...]:
    if repeats == 1:
        return tuple(f"fold {fold + 1}" for fold in range(folds))
    return tuple(f"repeat {repeat + 1} fold {fold + 1}" for repeat in range(repeats) for fold in range(folds))
