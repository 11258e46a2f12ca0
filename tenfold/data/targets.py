"""The target column: which task it asks for, and its clean values.

Rule: text and booleans are classes; whole numbers are classes when they take at most 20 different values and no
more than half as many as there are rows (beside pictures: always); everything else is a number to predict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tenfold.core.errors import InputError
from tenfold.data.columns import not_numbers
from tenfold.data.source import TASKS
from tenfold.data.target_encoder import MULTI_LABEL, SEPARATOR

SEPARATORS = (SEPARATOR, "|", ",")
MAX_WHOLE_CLASSES = 20
LARGEST = 1e150  # squares of larger numbers overflow


@dataclass(frozen=True, kw_only=True)
class Target:
    """A clean target.

    Attributes:
        values: class labels (str or int), sets of labels joined by ";", or float64; shape (n,).
        kept: the rows that have a target, int64, shape (n,).
        task: "classification", "multilabel" or "regression".
        notes: a sentence for each inference.
        problem: why nothing can be learned from it; empty where something can.
    """

    values: np.ndarray
    kept: np.ndarray
    task: str
    notes: tuple[str, ...]
    problem: str = ""


def clean_target(raw: Any, *, name: str, task: str | None, where: str, whole_are_classes: bool = False) -> Target:
    """Decides the task, drops rows without a target, and says whether there is something to learn.

    Args:
        raw: a column of any type, shape (N,).
        name: the target's name for messages.
        task: "classification", "regression" or "multilabel" when the user said so, else None.
        where: the source's name for messages.
        whole_are_classes: whether whole numbers are classes however many there are (targets of pictures).

    Raises:
        InputError: the task is unknown, no row has a target, a value is infinite, or text is to be regressed on.

    Example:
        >>> clean_target(["cat", None, "dog"], name="animal", task=None, where="x").values.tolist()
        ['cat', 'dog']
        >>> clean_target([0.5, 1.25, 7.0], name="price", task=None, where="x").task
        'regression'
    """
    if task is not None and task not in TASKS:
        raise InputError(f"{where}: task must be one of {', '.join(TASKS)}, got {task!r}. Choose one.")
    if task == MULTI_LABEL:
        return clean_label_sets(raw, name=name, where=where)
    series = pd.Series(raw).reset_index(drop=True)
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    present = series.notna().to_numpy()
    notes = _missing_note(present, name, where)
    kept = np.flatnonzero(present)
    values = _plain(series.iloc[kept], name, where)
    chosen, reason = (task, "--task") if task else infer_task(values, whole_are_classes=whole_are_classes)
    if not task:
        notes += [f"task: {chosen} ({reason}; --task)"]
    text = values.dtype.kind == "O"
    advice = "" if text else ", or --task regression"
    if text and not task and (separator := _separator_of_sets(values)):
        notes.append(f"target: its texts hold {separator!r}; if they are sets of labels, say --task multilabel")
        advice = ", or --task multilabel"
    labels = values
    values = _as_labels(values) if chosen == "classification" else _as_numbers(values, name, where)
    stray = _stray_text(labels, series.index[kept]) if text else ""
    problem = _problem(values, chosen, name, where, advice, stray)
    return Target(values=values, kept=kept, task=chosen, notes=tuple(notes), problem=problem)


def clean_label_sets(raw: Any, *, name: str, where: str) -> Target:
    """The targets of a multi-label task, from a column of lists or from several columns of 0 and 1.

    Args:
        raw: text such as "sun;wind", shape (N,): labels separated by ";", "|" or ",", whichever comes first in this
            order; an empty cell is a sample without a label. Or a DataFrame, shape (N, L), whose cells are 0 or 1,
            true or false, and whose column names are the labels.
        name: the target's name for messages.
        where: the source's name for messages.

    Returns:
        Values are the labels of each sample, sorted, each once, and joined by ";".

    Raises:
        InputError: a cell that is not 0 or 1, or a label with ";" in it.

    Example:
        >>> clean_label_sets(["sun|wind", "wind | rain", ""], name="weather", where="x").values.tolist()
        ['sun;wind', 'rain;wind', '']
        >>> clean_label_sets(pd.DataFrame({"sun": [1, 0], "wind": [1, 1]}), name="weather", where="x").values.tolist()
        ['sun;wind', 'wind']
    """
    if isinstance(raw, pd.DataFrame):
        sets, notes = _sets_of_columns(raw, where), [f"labels: {len(raw.columns)} columns of 0 and 1"]
    else:
        cells = pd.Series(raw).reset_index(drop=True)
        texts = ["" if missing else str(cell) for cell, missing in zip(cells, cells.isna(), strict=True)]
        separator = next((mark for mark in SEPARATORS if any(mark in text for text in texts)), SEPARATOR)
        sets = [{label.strip() for label in text.split(separator)} - {""} for text in texts]
        notes = [f"labels: separated by {separator!r}"]
    problem = _problem_of_sets(sets, name, where)
    values = np.array([SEPARATOR.join(sorted(one)) for one in sets], dtype=np.str_)
    return Target(values=values, kept=np.arange(len(values)), task=MULTI_LABEL, notes=tuple(notes), problem=problem)


def _separator_of_sets(texts: np.ndarray) -> str | None:
    """The mark at which texts split into fewer different labels than there are different texts."""
    distinct = set(texts.tolist())
    for mark in SEPARATORS[:2]:
        labels = {label.strip() for text in distinct for label in text.split(mark)}
        if any(mark in text for text in distinct) and len(labels) < len(distinct):
            return mark
    return None


def _sets_of_columns(frame: pd.DataFrame, where: str) -> list[set[str]]:
    columns = {}
    for label, column in frame.items():
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        wrong = np.flatnonzero(~np.isin(numbers, (0, 1)))
        if len(wrong):
            raise InputError(
                f"{where}: the label column {label!r} must hold 0 and 1, got {shown(column.tolist()[wrong[0]])} in "
                f"{len(wrong)} of {len(column)} rows. Mend them, or leave the column out."
            )
        columns[str(label)] = numbers == 1
    return [{label for label, holds in columns.items() if holds[row]} for row in range(len(frame))]


def _problem_of_sets(sets: list[set[str]], name: str, where: str) -> str:
    torn = sorted(label for one in sets for label in one if SEPARATOR in label)
    if torn:
        raise InputError(f"{where}: the label {shown(torn[0])} must not hold {SEPARATOR!r}. Rename it.")
    if len(set(map(frozenset, sets))) < 2:
        only = SEPARATOR.join(sorted(sets[0])) if sets else ""
        return (
            f"{where}: the target {name!r} has the labels {only!r} in every row, there is nothing to learn. "
            "Choose another --target."
        )
    return ""


def infer_task(values: np.ndarray, *, whole_are_classes: bool = False) -> tuple[str, str]:
    """The task that clean target values ask for, and the reason in a few words.

    Example:
        >>> infer_task(np.array([0, 1, 1, 0, 1, 0]))
        ('classification', '2 different whole numbers')
    """
    if values.dtype.kind in "OUb":
        return "classification", "the target is " + ("true or false" if values.dtype.kind == "b" else "text")
    distinct = np.unique(values)
    if not np.all(distinct == np.floor(distinct)):
        return "regression", "the target has fractions"
    few = len(distinct) <= MAX_WHOLE_CLASSES and len(distinct) * 2 <= len(values)
    reason = f"{len(distinct)} different whole numbers"
    return ("classification" if few or whole_are_classes else "regression"), reason


def _missing_note(present: np.ndarray, name: str, where: str) -> list[str]:
    missing = int((~present).sum())
    if missing == len(present):
        raise InputError(f"{where}: no row has a value in the target {name!r}. Choose another --target.")
    return [f"rows: {missing} of {len(present)} left out, they have no target"] if missing else []


def _plain(series: pd.Series, name: str, where: str) -> np.ndarray:
    """Bool, int64, float64 or object of str; infinities are refused."""
    if pd.api.types.is_bool_dtype(series.dtype):
        return series.to_numpy(bool)
    if pd.api.types.is_numeric_dtype(series.dtype):
        if pd.api.types.is_integer_dtype(series.dtype) and series.max() < 2**63:
            return series.to_numpy(np.int64)
        values = series.to_numpy(np.float64)
        bad = np.flatnonzero(np.isinf(values))
        if len(bad):
            raise InputError(
                f"{where}: the target {name!r} is infinite in {len(bad)} of {len(values)} rows, first in row "
                f"{int(series.index[bad[0]])} (counted from 0). Mend or remove them."
            )
        return values
    return series.astype(str).str.strip().to_numpy(object)


def _as_labels(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "Ob":
        return np.array([str(value) for value in values])
    if values.dtype.kind == "i":
        return values
    if np.all(values == np.floor(values)) and np.all(np.abs(values) < 2**53):
        return values.astype(np.int64)
    return np.array([f"{value:g}" for value in values])


def _as_numbers(values: np.ndarray, name: str, where: str) -> np.ndarray:
    numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(np.float64)
    if np.isnan(numbers).any():
        raise InputError(
            f"{where}: regression needs numbers, the target {name!r} holds text such as "
            f"{shown(values[np.isnan(numbers)][0])}. Choose another --target, or --task classification."
        )
    if not (np.abs(numbers) < LARGEST).all():
        raise InputError(
            f"{where}: the target {name!r} holds values such as {np.abs(numbers).max():g}. Scale it down."
        )
    return numbers


def _stray_text(texts: np.ndarray, rows: pd.Index) -> str:
    """That a target is numbers but for some texts, for a message; empty where it is not."""
    bad = not_numbers(pd.Series(texts, dtype=object))
    if not len(bad):
        return ""
    return f"{len(bad)} of {len(texts)} values are no numbers, such as {shown(texts[bad[0]])} in row {rows[bad[0]]}"


def _problem(values: np.ndarray, task: str, name: str, where: str, advice: str, stray: str) -> str:
    """Why nothing can be learned: the target is constant, or nearly every row is a class of its own."""
    distinct = np.unique(values)
    if len(distinct) == 1:
        return (
            f"{where}: the target {name!r} is {distinct[0].item()!r} in every row, there is nothing to learn. "
            "Choose another --target."
        )
    if task == "classification" and len(values) >= 10 and len(distinct) * 2 > len(values):
        if stray:
            return f"{where}: the target {name!r} is text: {stray} (counted from 0). Mend these, or empty them."
        return (
            f"{where}: the target {name!r} has {len(distinct)} classes in {len(values)} rows, such as "
            f"{shown(distinct[0].item())}: too few rows a class. Choose another --target{advice}."
        )
    return ""


def shown(value: object) -> str:
    """A value for a message, long text cut.

    Example:
        >>> shown("a" * 100)
        "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'"
    """
    text = str(value)
    return repr(text[:40] + "...") if len(text) > 43 else repr(value)
