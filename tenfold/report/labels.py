"""Where a multi-label model errs: how many of a label's samples it finds, and how many of those it names are right.

N samples, L labels
"""

from __future__ import annotations

import numpy as np

from tenfold.core.intervals import wilson
from tenfold.core.wording import plural
from tenfold.report.dots import Dot, dot_axis, ruler, track
from tenfold.report.markup import Html, element, join, note
from tenfold.report.records import RunRecords

MAX_LABELS = 40


def labels(records: RunRecords, targets: np.ndarray, predictions: np.ndarray) -> Html:
    """How many samples have all labels right, and for each label recall and precision with their intervals.

    Args:
        records: the run, for the names of the labels.
        targets: 0 and 1, shape (N, L).
        predictions: 0 and 1, shape (N, L).
    """
    whole = int((targets == predictions).all(axis=1).sum())
    order = np.argsort(-targets.sum(axis=0), kind="stable")[:MAX_LABELS]
    text = (
        f"{whole} of {plural(len(targets), records.evaluated)} have all labels right. “Found” is the share of a "
        "label's samples that were given it, “right” the share of those given it that have it; bars are 95 % Wilson "
        "intervals."
    )
    shown = [(records.class_name(int(place)), targets[:, place], predictions[:, place]) for place in order]
    parts = [note(text)]
    for title, given in (("Found", "true"), ("Right", "predicted")):
        rows = [(name, said[true > 0] if given == "true" else true[said > 0]) for name, true, said in shown]
        parts.append(element("div", element("h3", title), _dots(rows)))
    if targets.shape[1] > MAX_LABELS:
        parts.append(note(f"The {MAX_LABELS} commonest of {targets.shape[1]} labels."))
    return join(parts)


def _dots(rows: list[tuple[str, np.ndarray]]) -> Html:
    """A line a label: the share of ones, with its interval and n."""
    dots = []
    for _, hits in rows:
        share = float(hits.mean()) if len(hits) else float("nan")
        low, high = wilson(share, len(hits)) if len(hits) else (float("nan"), float("nan"))
        dots.append(Dot(value=share, low=low, high=high))
    axis = dot_axis(dots, "accuracy")
    lines = [
        element(
            "div",
            element("span", name, class_="name"),
            track(dot, axis, "accuracy", "chosen"),
            element("span", f"{int(hits.sum())} of {len(hits)}", class_="value"),
            class_="dotrow chosen",
        )
        for (name, hits), dot in zip(rows, dots, strict=True)
    ]
    last = element("div", element("span"), ruler(axis), element("span"), class_="dotrow")
    return element("div", *lines, last, class_="dots")
