"""Scores as dots with their intervals, one row a model, drawn with boxes so that text keeps its size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.report.axes import Axis, fit_axis
from tenfold.report.markup import Html, element
from tenfold.report.wording import format_score, is_share


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A value with an optional interval: `low` and `high` are NaN without one."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


def dot_axis(dots: Sequence[Dot], metric: str) -> Axis:
    """The axis of all rows of one figure, in percent of the track's width; shares stay within [0, 1]."""
    ends = np.array([[dot.value, dot.low, dot.high] for dot in dots], dtype=np.float64).reshape(-1)
    axis = fit_axis(ends, start=0.0, stop=100.0, percent=is_share(metric), pad=0.06)
    if not is_share(metric) or axis.low >= axis.high:
        return axis
    low, high = max(axis.low, 0.0), min(axis.high, 1.0)
    return Axis(low=low, high=high + 0.005 if high == 1 else high, start=0.0, stop=100.0, percent=True)


def track(dot: Dot, axis: Axis, metric: str, kind: str) -> Html:
    """One dot with its interval on a track; values beyond the axis are set at its edge.

    Args:
        dot: the value.
        axis: from `dot_axis`.
        metric: for the text that a pointer shows.
        kind: class of the dot: "chosen", "baseline", "left" or "trial".
    """
    if not math.isfinite(dot.value):
        return element("div", class_="track")
    parts = []
    if math.isfinite(dot.low) and math.isfinite(dot.high):
        low, high = (float(x) for x in np.clip(axis.place([dot.low, dot.high]), 0, 100))
        parts.append(element("i", class_=f"span {kind}", style=f"left:{low:.2f}%;width:{high - low:.2f}%"))
    at = float(axis.place(dot.value))
    beyond = "" if 0 <= at <= 100 else " beyond"
    parts.append(element("b", class_=f"dot {kind}{beyond}", style=f"left:{np.clip(at, 0, 100):.2f}%"))
    return element("div", *parts, class_="track", title=format_score(dot.value, metric))


def swarm(values: Sequence[float], axis: Axis, metric: str, kind: str) -> Html:
    """Several dots on one track, those that are no number left out.

    Args:
        values: one a dot.
        axis: from `dot_axis`.
        metric: for the text that a pointer shows.
        kind: class of the dots.
    """
    places = np.clip(axis.place(np.asarray(values, dtype=np.float64)), 0, 100)
    dots = [
        element("b", class_=f"dot {kind} many", style=f"left:{place:.2f}%", title=format_score(value, metric))
        for value, place in zip(values, places.tolist(), strict=True)
        if math.isfinite(value)
    ]
    return element("div", *dots, class_="track")


def ruler(axis: Axis) -> Html:
    """The axis' ticks, to stand below or above the tracks."""
    ticks = [
        element("span", label, style=f"left:{float(axis.place(value)):.2f}%")
        for value, label in axis.ticks(4)
        if 2 <= float(axis.place(value)) <= 98
    ]
    return element("div", *ticks, class_="ruler")
