"""A chart as inline SVG: a frame with grid, ticks and labels, and marks that are cut off at its edges.

Drawn here rather than by a plotting library: a page with all its figures stays at a few hundred kB instead of
the 4.7 MB of plotly.js, opens at once, follows the reader's colour scheme through CSS, and needs no script to
be read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.report.axes import Axis
from tenfold.report.markup import Html, element, join

Ticks = list[tuple[float, str]]

LEFT, TOP, RIGHT, BOTTOM = 66.0, 14.0, 14.0, 46.0


def spans(width: float, height: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Start and stop, in pixels, of the horizontal and of the vertical axis of a chart of that size."""
    return (LEFT, width - RIGHT), (height - BOTTOM, TOP)


def chart(
    x: Axis,
    y: Axis,
    marks: Html,
    *,
    width: float,
    height: float,
    label: str,
    x_label: str,
    y_label: str,
    x_ticks: Ticks | None = None,
    y_ticks: Ticks | None = None,
    near: bool = False,
) -> Html:
    """A chart with its frame.

    Args:
        x: the horizontal axis, made with `spans(width, height)`.
        y: the vertical axis.
        marks: SVG in pixels.
        width: in pixels of the drawing, which scales with the page.
        height: as `width`.
        label: what the chart shows, for those who cannot see it.
        x_label: title of the horizontal axis.
        y_label: title of the vertical axis.
        x_ticks: ticks to use instead of the axis' own.
        y_ticks: as `x_ticks`.
        near: whether the page's script names the trial whose mark is nearest to the pointer.

    Returns:
        An `<svg>`.
    """
    (left, right), (bottom, top) = spans(width, height)
    inside = element(
        "svg",
        marks,
        x=left,
        y=top,
        width=right - left,
        height=bottom - top,
        viewBox=f"{left:g} {top:g} {right - left:g} {bottom - top:g}",
    )
    return element(
        "svg",
        _grid(
            [(float(x.place(value)), text) for value, text in (x.ticks() if x_ticks is None else x_ticks)],
            [(float(y.place(value)), text) for value, text in (y.ticks() if y_ticks is None else y_ticks)],
            width,
            height,
        ),
        element("text", x_label, x=(left + right) / 2, y=height - 6, class_="axis", text_anchor="middle"),
        _upright(y_label, (bottom + top) / 2),
        inside,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
        class_="chart near" if near else "chart",
    )


def _upright(text: str, middle: float) -> Html:
    return element(
        "text",
        text,
        x=0,
        y=0,
        class_="axis",
        text_anchor="middle",
        transform=f"translate(13 {middle:g}) rotate(-90)",
    )


def _grid(x_ticks: Ticks, y_ticks: Ticks, width: float, height: float) -> Html:
    """Grid lines, ticks and their labels; ticks come in pixels."""
    (left, right), (bottom, _) = spans(width, height)
    parts: list[Html] = []
    for at, text in y_ticks:
        parts.append(element("line", x1=left, x2=right, y1=at, y2=at, class_="grid"))
        parts.append(element("text", text, x=left - 7, y=at + 4, class_="tick", text_anchor="end"))
    for at, text in x_ticks:
        parts.append(element("line", x1=at, x2=at, y1=bottom, y2=bottom + 4, class_="grid"))
        parts.append(element("text", text, x=at, y=bottom + 18, class_="tick", text_anchor="middle"))
    parts.append(element("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="base"))
    return join(parts)


def polyline(xs: np.ndarray, ys: np.ndarray, **attributes: Any) -> Html | None:
    """A line through the points that are finite, or None for fewer than two of them.

    Args:
        xs: float, shape (P,), pixels.
        ys: float, shape (P,), pixels.
        attributes: of the element.
    """
    finite = np.isfinite(xs) & np.isfinite(ys)
    if finite.sum() < 2:
        return None
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(xs[finite], ys[finite], strict=True))
    return element("polyline", points=points, **attributes)


def dot(x: float, y: float, radius: float, **attributes: Any) -> Html | None:
    """A dot, or None where a coordinate is not finite."""
    if not (np.isfinite(x) and np.isfinite(y)):
        return None
    return element("circle", cx=round(float(x), 1), cy=round(float(y), 1), r=radius, **attributes)


def thin(count: int, limit: int) -> np.ndarray:
    """Indices of at most about `limit` of `count` points, first and last among them, evenly spread.

    Example:
        >>> thin(9, 3)
        array([0, 4, 8])
    """
    return np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64))


def legend(*entries: tuple[str, str]) -> Html:
    """The key to a chart: (class of the mark, what it means) each."""
    keys = [element("span", element("i", class_=f"key {kind}"), text) for kind, text in entries]
    return element("p", *keys, class_="legend")
