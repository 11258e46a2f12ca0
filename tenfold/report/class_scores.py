"""Where a segmentation errs: the scores of each class, from counts of pixels.

N pictures, K classes
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tenfold.core.wording import plural
from tenfold.report.dots import Dot, dot_axis, ruler, track
from tenfold.report.markup import Html, element, join, note, table
from tenfold.report.records import RunRecords
from tenfold.report.wording import as_number

PREFIX = "iou_"


def class_scores(records: RunRecords) -> Html:
    """IoU of each class as dots with intervals, and a table of what it is made of."""
    hits, truth, said = records.evaluation["counts"].sum(axis=0)
    names = [records.class_name(place) for place in range(len(hits))]
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            "IoU": hits / (truth + said - hits),
            "Dice": 2 * hits / (truth + said),
            "found": hits / truth,
            "right": hits / said,
        }
    shares = truth / max(truth.sum(), 1)
    order = np.argsort(-np.nan_to_num(columns["IoU"], nan=-1), kind="stable")
    rows = [[names[k], *(_percent(column[k]) for column in columns.values()), _percent(shares[k], 1)] for k in order]
    count = plural(len(records.evaluation["counts"]), records.evaluated)
    text = (
        f"All pixels of {count}: {100 * hits.sum() / max(truth.sum(), 1):.1f} % of those with a label are right. "
        "Bars are 95 % intervals over pictures. “Found” is the share of a class's pixels that were recognised, "
        "“right” the share of what was said to be of the class that is."
    )
    header = ("class", *columns, "of all pixels")
    dots = _dots(records, [(names[k], float(columns["IoU"][k])) for k in order])
    return join([note(text), dots, table(header, rows, numeric=range(1, len(header)))])


def _percent(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f} %" if math.isfinite(value) else "–"


def _dots(records: RunRecords, values: list[tuple[str, float]]) -> Html:
    ends = {name: _interval(records, name) for name, _ in values}
    dots = [Dot(value=value, low=ends[name][0], high=ends[name][1]) for name, value in values]
    axis = dot_axis(dots, "miou")
    lines = [
        element(
            "div",
            element("span", name, class_="name"),
            track(dot, axis, "miou", "trial"),
            element("span", f"{value:.3f}" if math.isfinite(value) else "–", class_="value"),
            class_="dotrow trial",
        )
        for (name, value), dot in zip(values, dots, strict=True)
    ]
    last = element("div", element("span"), ruler(axis), element("span"), class_="dotrow")
    return element("div", *lines, last, class_="dots")


def _interval(records: RunRecords, name: str) -> tuple[float, float]:
    """The ends of the interval of a class's IoU on the part that was evaluated; NaN where there are none."""
    metric = PREFIX + name
    if records.verb == "fit":
        score = records.final.test.get(metric) if records.final else None
        return (score.low, score.high) if score is not None else (math.nan, math.nan)
    found: dict[str, Any] = (records.result.get("out_of_fold") or {}).get(metric) or {}
    return as_number(found.get("low")), as_number(found.get("high"))
