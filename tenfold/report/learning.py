"""The page of a learning curve or a width curve: training against validation, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from tenfold.report.axes import fit_axis
from tenfold.report.chart import chart, dot, legend, polyline, spans
from tenfold.report.markup import Html, element, empty, figure, join, note, section, table
from tenfold.report.records import RunRecords
from tenfold.report.wording import as_number, format_difference, format_score, is_share, metric_words, score_phrase

WIDTH, HEIGHT = 720.0, 380.0
Result = Mapping[str, Any]


def curve_sentence(result: Result) -> str:
    """The verdict with its numbers, in one or two sentences.

    Args:
        result: of a learning curve or a width curve.
    """
    curve, metric = result["curve"], result["metric"]
    if not curve["verdict"]:
        return str(curve["advice"])
    last = curve["points"][-1]
    text = f"{str(curve['verdict']).capitalize()}."
    reached = f"{score_phrase(as_number(last['valid']['mean']), metric)} on the validation part"
    if result["verb"] == "learning-curve":
        text += f" {last['at']:g} rows give {reached}"
    else:
        text += f" {curve['over']} {last['at']:g} gives {reached}"
    told = [f"{_subject(result, one)} would give {_gain(one, metric)}" for one in curve["remedies"][:1]]
    return "; ".join([text, *told]) + f". Training is {_gap_words(as_number(curve['gap']), metric)}."


def _gap_words(gap: float, metric: str) -> str:
    return f"{'worse' if gap < 0 else 'better'} by {format_difference(abs(gap), metric, signed=False)}"


def _subject(result: Result, remedy: Mapping[str, Any]) -> str:
    return "twice the data" if result["verb"] == "learning-curve" else str(remedy["name"])


def _gain(remedy: Mapping[str, Any], metric: str) -> str:
    low, high = as_number(remedy["low"]), as_number(remedy["high"])
    ends = "" if math.isnan(low + high) else f" [{format_difference(low, metric)}, {format_difference(high, metric)}]"
    return format_difference(as_number(remedy["gain"]), metric).removesuffix(" points") + (
        f" points{ends.replace(' points', '')}" if is_share(metric) else ends
    )


def learning_answer(records: RunRecords) -> Html:
    """The headline, and whether there is something to do."""
    result = records.result
    if not result:
        return element("section", element("h1", "This run has no answer yet."), id="answer", class_="answer")
    curve = result["curve"]
    kind = "verdict" if curve["verdict"] == "fine" else "verdict warn"
    seeds = max(int(point["valid"]["n"]) for point in curve["points"])
    text = (
        f"Points are means over {seeds} seeds. A remedy is named when it promises more than "
        f"{'half a point' if is_share(records.metric) else 'two percent of the score'} and its interval leaves out "
        "zero, or, though nothing measured it, when training is far better than validation."
    )
    return element(
        "section",
        element("h1", str(result["sentence"])),
        element("p", str(curve["verdict"] or "no verdict"), class_=kind),
        element("p", text, class_="lead"),
        id="answer",
        class_="answer",
    )


def learning_chart(records: RunRecords) -> Html:
    """Training and validation scores against size or width, with every seed as a dot, and as a table."""
    title = "Training against validation"
    curve = (records.result or {}).get("curve")
    if not curve:
        return section("curves", title, empty("No score has been recorded yet."))
    return section(
        "curves",
        title,
        legend(("train", "training part"), ("valid", "validation part")),
        figure(_drawing(records, curve)),
        _point_table(records, curve),
        _remedy_table(records, curve),
        note("Training scores are those of the final weights on the rows they were trained on."),
    )


def _drawing(records: RunRecords, curve: Mapping[str, Any]) -> Html:
    at = np.asarray(curve["at"], dtype=np.float64)
    tables = {part: np.array(curve[part], dtype=np.float64) for part in ("train", "valid")}
    across, up = spans(WIDTH, HEIGHT)
    log = at[-1] / at[0] > 4
    x = fit_axis(at, start=across[0], stop=across[1], log=log, robust=False, pad=0.04)
    both = np.concatenate([tables["train"], tables["valid"]])
    y = fit_axis(both, start=up[0], stop=up[1], percent=is_share(records.metric), robust=False)
    marks: list[Html | None] = []
    for part, values in tables.items():
        places = x.place(at)
        for number in range(values.shape[1]):
            heights = y.place(values[:, number])
            fill = "fill: var(--baseline)" if part == "train" else "fill: var(--chosen)"
            marks += [dot(a, b, 2.6, class_="end", style=fill) for a, b in zip(places, heights, strict=True)]
        known = np.isfinite(values)
        means = np.where(known, values, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        means[~known.any(axis=1)] = np.nan
        marks.append(polyline(places, y.place(means), class_=f"curve mean {part}"))
    return chart(
        x,
        y,
        join(marks),
        width=WIDTH,
        height=HEIGHT,
        label=f"{metric_words(records.metric)} against {curve['over']}",
        x_label=f"{curve['over']}{' (log)' if log else ''}",
        y_label=metric_words(records.metric),
        x_ticks=[(float(value), f"{value:g}") for value in at],
    )


def _cell(spread: Mapping[str, Any], metric: str) -> str:
    std = as_number(spread["std"])
    more = "" if math.isnan(std) else f" ± {format_difference(std, metric, signed=False)}"
    return format_score(as_number(spread["mean"]), metric) + more


def _point_table(records: RunRecords, curve: Mapping[str, Any]) -> Html:
    rows = [
        (
            f"{one['at']:g}",
            _cell(one["train"], records.metric),
            _cell(one["valid"], records.metric),
            one["valid"]["n"],
        )
        for one in curve["points"]
    ]
    return table((curve["over"], "training", "validation", "seeds"), rows, numeric=(0, 1, 2, 3))


def _remedy_table(records: RunRecords, curve: Mapping[str, Any]) -> Html:
    rows = [(one["name"], _gain(one, records.metric), one["basis"]) for one in curve["remedies"]]
    return table(("", "expected gain [95 % interval]", "from"), rows, numeric=(1,))


def render_curve(result: Result) -> Table:
    """The points as a table for `rich`, at most 80 columns wide."""
    curve, metric = result["curve"], result["metric"]
    shown = Table(box=None, width=80, pad_edge=False, header_style="bold")
    for name in (curve["over"], f"training {metric_words(metric)}", f"validation {metric_words(metric)}", "seeds"):
        shown.add_column(name, justify="right")
    for one in curve["points"]:
        cells = (_cell(one[part], metric) for part in ("train", "valid"))
        shown.add_row(f"{one['at']:g}", *cells, str(one["valid"]["n"]))
    return shown
