"""Several networks side by side: score against FLOPs, time and parameters, as a table and as one HTML file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from tenfold.core.errors import InputError
from tenfold.core.writing import written_beside
from tenfold.report.axes import fit_axis, wants_log
from tenfold.report.chart import chart, dot, spans
from tenfold.report.markup import Html, element, figure, join, note, raw, section, table
from tenfold.report.wording import format_bytes, format_score, format_seconds, is_share, metric_words, printable

_WIDTH, _HEIGHT = 620.0, 300.0
_LETTER = 6.2  # width of a letter in a chart, in pixels


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """One network among others.

    Attributes:
        name: what it is called.
        parameters: of the network.
        flops: of one sample forward, two a multiply-add, without biases.
        activation_bytes: that one sample keeps for the backward pass.
        seconds: of one sample forward, on this machine.
        score: of its run; NaN where it comes from none.
        metric: of the score; the empty string without one.
        direction: "maximize" or "minimize".
    """

    name: str
    parameters: int
    flops: int
    activation_bytes: int
    seconds: float
    score: float = math.nan
    metric: str = ""
    direction: str = "maximize"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types; a score that is not known is null."""
        return {**vars(self), "score": self.score if math.isfinite(self.score) else None}


COSTS: tuple[tuple[str, Callable[[CostRow], float]], ...] = (
    ("FLOPs a sample", lambda row: row.flops),
    ("milliseconds a sample", lambda row: 1e3 * row.seconds),
    ("parameters", lambda row: row.parameters),
)


def render_costs(rows: Sequence[CostRow]) -> Table:
    """The table for a terminal of 80 columns.

    Args:
        rows: one a network.
    """
    shown = Table(box=None, width=80, pad_edge=False, header_style="bold")
    shown.add_column("network", ratio=1, overflow="fold")
    for title in _titles(rows)[1:]:
        shown.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(*(Text(cell) for cell in _cells(row, rows)))
    return shown


def write_costs(rows: Sequence[CostRow], path: str | Path) -> Path:
    """Writes table and plots as one HTML file that opens without a network.

    Args:
        rows: one a network.
        path: of an .html file, replaced if it exists.

    Raises:
        InputError: the path has another ending, or cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() != ".html":
        raise InputError(f"--plot: must be an .html file, got {str(path)!r}. Name it costs.html.")
    style = resources.files("tenfold.report").joinpath("page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", "networks side by side · tenfold"),
        element("style", raw(style)),
    )
    page = element("html", head, element("body", element("main", costs_section(rows))), lang="en")
    try:
        with written_beside(path) as draft:
            draft.write_text("<!doctype html>\n" + page + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--plot: {path} cannot be written ({error.strerror}). Choose another place.") from error
    return path


def costs_section(rows: Sequence[CostRow]) -> Html:
    """The table, and a plot for each kind of cost."""
    known = [row for row in rows if math.isfinite(row.score)]
    metrics = {row.metric for row in known}
    words = "The score of each run against what its network costs; up and to the left is better."
    if known and known[0].direction == "minimize":
        words = "The score of each run against what its network costs; down and to the left is better."
    if not known:
        words = "Time against what each network costs."
    if len(metrics) > 1:
        words = f"The runs have different metrics ({', '.join(sorted(metrics))}), so that scores are not compared."
        known = []
    plots = [
        figure(_plot(known or rows, title, cost, scored=bool(known)), title)
        for title, cost in COSTS
        if known or title != COSTS[1][0]
    ]
    numeric = range(1, len(_titles(rows)))
    body = table(_titles(rows), [_cells(row, rows) for row in rows], numeric=numeric)
    return section("costs", "Networks side by side", note(words), body, join(plots))


def _plot(rows: Sequence[CostRow], title: str, cost: Callable[[CostRow], float], *, scored: bool) -> Html:
    (left, right), (bottom, top) = spans(_WIDTH, _HEIGHT)
    costs = [float(cost(row)) for row in rows]
    heights = [row.score if scored else 1e3 * row.seconds for row in rows]
    x = fit_axis(costs, start=left, stop=right, log=wants_log(costs), robust=False, pad=0.12)
    share = scored and is_share(rows[0].metric)
    y = fit_axis(heights, start=bottom, stop=top, robust=False, percent=share, log=not scored and wants_log(heights))
    marks = []
    for row, along, height in zip(rows, x.place(costs), y.place(heights), strict=True):
        marks.append(dot(along, height, 5, class_="end chosen"))
        half = _LETTER * len(row.name) / 2
        middle = float(np.clip(along, left + half, right - half)) if right - left > 2 * half else (left + right) / 2
        above = float(height) - 9 if height > top + 16 else float(height) + 18
        marks.append(element("text", row.name, x=middle, y=above, class_="tick", text_anchor="middle"))
    y_label = metric_words(rows[0].metric) if scored else "milliseconds a sample"
    return chart(
        x, y, join(marks), width=_WIDTH, height=_HEIGHT, label=f"{y_label} against {title}", x_label=title,
        y_label=y_label, x_ticks=[(value, short(value)) for value, _ in x.ticks()],
    )  # fmt: skip


def short(value: float) -> str:
    """A count with a letter for its size.

    Example:
        >>> short(2e9), short(1500.0), short(0.5), short(20.0)
        ('2 G', '1.5 k', '0.5', '20')
    """
    for letter, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def _titles(rows: Sequence[CostRow]) -> list[str]:
    metrics = {row.metric for row in rows if row.metric}
    titles = ["network", "parameters", "FLOPs", "kept", "time"]
    return [*titles, metric_words(metrics.pop()) if len(metrics) == 1 else "score"] if metrics else titles


def _cells(row: CostRow, rows: Sequence[CostRow]) -> list[str]:
    cells = [
        printable(row.name),
        f"{row.parameters:,}",
        short(row.flops),
        format_bytes(row.activation_bytes),
        format_small_seconds(row.seconds),
    ]
    return [*cells, format_score(row.score, row.metric)] if any(r.metric for r in rows) else cells


def format_small_seconds(seconds: float) -> str:
    """A duration that may be less than a millisecond.

    Example:
        >>> format_small_seconds(0.000123), format_small_seconds(0.0421)
        ('0.123 ms', '42 ms')
    """
    return f"{1e3 * seconds:.3g} ms" if seconds < 0.01 else format_seconds(seconds)
