"""Where a classifier errs: the confusion matrix, or the most confused of many classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix

from tenfold.core.wording import plural
from tenfold.report.markup import Html, element, empty, join, note, table
from tenfold.report.records import RunRecords

MAX_CLASSES = 30
MAX_PAIRS = 20


def confusion(records: RunRecords, targets: np.ndarray, predictions: np.ndarray) -> Html:
    """The confusion matrix and the pairs most often confused.

    Args:
        records: the run, for the names of the classes.
        targets: int, shape (N,), class indices.
        predictions: int, shape (N,), class indices.
    """
    known = len(records.run.get("classes") or [])
    num_classes = max([known, int(targets.max()) + 1, int(predictions.max()) + 1])
    counts = confusion_matrix(targets, predictions, labels=np.arange(num_classes))
    names = [records.class_name(index) for index in range(num_classes)]
    right = int(np.trace(counts))
    text = f"{right} of {plural(len(targets), records.evaluated)} are right."
    parts: list[Html] = [note(text)]
    predicted = np.flatnonzero(counts.sum(axis=0))
    if len(predicted) == 1 and num_classes > 1:
        only = f"Every sample was predicted as {names[predicted[0]]}: the model does not tell classes apart."
        parts.append(element("p", only, class_="verdict warn"))
    pairs = element("div", _pairs(counts, names))
    if num_classes <= MAX_CLASSES:
        parts.append(element("div", _matrix(counts, names), pairs, class_="beside"))
    else:
        parts += [note(f"{num_classes} classes are too many for a matrix."), pairs]
    return join(parts)


def _matrix(counts: np.ndarray, names: Sequence[str]) -> Html:
    """Rows are true classes, columns predicted ones; the shade is the share of the row."""
    totals = counts.sum(axis=1)
    head = [element("th", element("span", name), class_="up", scope="col") for name in names]
    rows = [
        element(
            "tr",
            element("th", names[i], scope="row"),
            *(_cell(counts[i, j], totals[i], names[i], names[j], i == j) for j in range(len(names))),
            element("td", f"{100 * counts[i, i] / totals[i]:.0f} %" if totals[i] else "–", class_="recall"),
        )
        for i in range(len(names))
    ]
    corner = element("th", "true \\ predicted", class_="corner")
    top = element("tr", corner, *head, element("th", element("span", "found"), class_="up"))
    inner = element("table", element("thead", top), element("tbody", *rows), class_="confusion")
    key = note("Rows are true classes, columns predicted ones; “found” is the share of a class that was recognised.")
    return element("div", element("div", inner, class_="scroll"), key)


def _cell(count: int, total: int, true: str, predicted: str, right: bool) -> Html:
    if not count:
        return element("td", class_="zero")
    share = round(100 * (count / total) ** 0.6) if total else 0
    kind = "right" if right else "wrong"
    dark = " deep" if share > 55 else ""
    title = f"{true} predicted as {predicted}: {count} of {total}"
    return element("td", str(count), class_=kind + dark, style=f"--share:{share}%", title=title)


def _pairs(counts: np.ndarray, names: Sequence[str]) -> Html:
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    if not errors.any():
        return empty("No class is confused with another.")
    order = np.argsort(-errors, axis=None, kind="stable")[: MAX_PAIRS if len(names) > MAX_CLASSES else 6]
    pairs = [np.unravel_index(index, errors.shape) for index in order]
    rows = [
        (names[i], names[j], int(errors[i, j]), f"{100 * errors[i, j] / counts[i].sum():.0f} %")
        for i, j in pairs
        if errors[i, j]
    ]
    return join(
        [
            element("h3", "Most confused"),
            table(("true", "predicted as", "samples", "of that class"), rows, numeric=(2, 3)),
        ]
    )
