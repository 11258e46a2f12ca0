"""A search in charts: how the best score grew, who left when and why, configurations as lines, forecasts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.core.wording import plural
from tenfold.report.axes import Axis, fit_axis
from tenfold.report.chart import chart, dot, legend, polyline, spans
from tenfold.report.markup import Html, element, empty, figure, join, note, section, table
from tenfold.report.ranking import TrialScore
from tenfold.report.records import DepartureRecord, RunRecords
from tenfold.report.slices import varied_parameters
from tenfold.report.wording import format_score, is_share, metric_words

WIDTH, HEIGHT = 1080.0, 300.0
SQUARE = (540.0, 400.0)  # where both axes are the same
HOW = {"complete": "came to the end", "left": "left", "sick": "diverged", "budget": "stopped with the search"}
SHOWN = 20
MAX_LINES = 256
MOST_NUMBERS = 6  # of trials beside a chart
UNITS = {"parameters": "parameters", "latency": "ms a sample"}  # of what a search weighs besides


def history(records: RunRecords, scores: Sequence[TrialScore]) -> Html:
    """Every trial's score in the order of the proposals, and the best so far."""
    title = "How the search went"
    known = {score.trial.number: score for score in scores if np.isfinite(score.valid)}
    if not known:
        return section("history", title, empty("No trial has a score yet."))
    numbers = np.array(sorted(known))
    values = np.array([known[number].valid for number in numbers])
    best = (np.maximum if records.maximize else np.minimum).accumulate(values)
    across, up = spans(WIDTH, HEIGHT)
    x = fit_axis(numbers, start=across[0], stop=across[1], whole=True, robust=False, pad=0.02)
    y = fit_axis(values, start=up[0], stop=up[1], percent=is_share(records.metric))
    ways = {record.trial: record.how for record in records.departures}
    marks = [
        polyline(np.repeat(x.place(numbers), 2)[1:], np.repeat(y.place(best), 2)[:-1], class_="curve chosen"),
        *(
            element("line", x1=float(at), x2=float(at), y1=up[0], y2=up[1], class_="grid")
            for at in x.place(np.array(records.generations) - 0.5)
        ),
        *(
            dot(
                float(x.place(number)), _inside(float(y.place(known[number].valid)), y), 3.5,
                class_=f"end {_kind(records, number, ways)}", data_trial=number,
            )
            for number in numbers.tolist()
        ),
    ]  # fmt: skip
    drawing = chart(
        x, y, join(marks), width=WIDTH, height=HEIGHT, label="score of every trial in the order of the proposals",
        x_label="trial", y_label=metric_words(records.metric), near=True,
    )  # fmt: skip
    text = [f"{records.run['search']}."] if records.run.get("search") else []
    text += ["Vertical lines stand where a generation begins."] if len(records.generations) > 1 else []
    text += ["Hollow dots left early."] if any(how != "complete" for how in ways.values()) else []
    return section("history", title, note(" ".join(text)), figure(drawing, class_="broad"))


def departures(records: RunRecords) -> Html:
    """How long each trial trained, and the reasons of those that left."""
    title = "Who left when, and why"
    if not records.departures:
        return section("halving", title, empty("Nobody has left yet."))
    rows = sorted(records.departures, key=lambda record: record.trial)
    if records.ladder:
        return _departures_by_step(records, rows)
    longest = max(record.epoch for record in rows)
    height = float(np.clip(60 + 5 * len(rows), 160, 900))
    across, up = spans(WIDTH, height)
    x = Axis(low=0, high=longest * 1.02, start=across[0], stop=across[1], whole=True)
    y = Axis(low=rows[-1].trial + 0.8, high=rows[0].trial - 0.8, start=up[0], stop=up[1], whole=True)
    marks: list[Html | None] = []
    for record in rows:
        kind = "chosen" if record.trial == records.chosen else "trial" if record.how == "complete" else "left"
        line, end = float(y.place(record.trial)), float(x.place(record.epoch))
        ends = np.array([float(x.place(0)), end])
        marks.append(polyline(ends, np.array([line, line]), class_=f"curve {kind}", data_trial=record.trial))
        marks.append(dot(end, line, 2.5, class_=f"end {kind}", data_trial=record.trial))
    drawing = chart(
        x, y, join(marks), width=WIDTH, height=height, label="epochs that every trial trained",
        x_label="epochs of its own", y_label="trial", y_ticks=_numbers(rows[0].trial, rows[-1].trial), near=True,
    )  # fmt: skip
    reasons = [(r.trial, r.epoch, HOW.get(r.how, r.how), r.reason) for r in rows if r.reason]
    return section(
        "halving", title, note(_counted(rows)), figure(drawing, class_="broad"), _listed(reasons, "epochs")
    )


def _counted(rows: Sequence[DepartureRecord]) -> str:
    """How many left in which way."""
    counts = {how: sum(record.how == how for record in rows) for how in HOW}
    told = ", ".join(f"{count} {HOW[how]}" for how, count in counts.items() if count)
    return f"{plural(len(rows), 'trial')}: {told}."


def _listed(reasons: Sequence[tuple[Any, ...]], resource: str) -> Html | None:
    """The reasons as a table that unfolds."""
    if not reasons:
        return None
    more = note(f"{len(reasons) - SHOWN} more in records.jsonl.") if len(reasons) > SHOWN else None
    shown = table(("trial", resource, "", "why"), reasons[:SHOWN], numeric=(0, 1), wide=True)
    return element("details", element("summary", "The reasons"), shown, more)


def _departures_by_step(records: RunRecords, rows: Sequence[DepartureRecord]) -> Html:
    """The ladder: which steps each trial took, from where it began to where it left."""
    labels, each = list(records.ladder["labels"]), int(records.ladder["epochs"])
    height = float(np.clip(60 + 5 * len(rows), 160, 900))
    across, up = spans(WIDTH, height)
    x = Axis(low=-0.3, high=len(labels) - 0.7, start=across[0], stop=across[1], whole=True)
    y = Axis(low=rows[-1].trial + 0.8, high=rows[0].trial - 0.8, start=up[0], stop=up[1], whole=True)
    marks: list[Html | None] = []
    for record in rows:
        kind = "chosen" if record.trial == records.chosen else "trial" if record.how == "complete" else "left"
        first = record.step - max(record.epoch - 1, 0) // each
        at, line = x.place(np.arange(first, record.step + 1)), float(y.place(record.trial))
        marks.append(polyline(at, np.full(len(at), line), class_=f"curve {kind}", data_trial=record.trial))
        marks += [dot(float(one), line, 2.5, class_=f"end {kind}", data_trial=record.trial) for one in at]
    drawing = chart(
        x, y, join(marks), width=WIDTH, height=height, label="steps that every trial took",
        x_label=f"trained {plural(each, 'epoch')} on", y_label="trial",
        y_ticks=_numbers(rows[0].trial, rows[-1].trial),
        x_ticks=[(float(step), label) for step, label in enumerate(labels)], near=True,
    )  # fmt: skip
    reasons = [(r.trial, labels[r.step], HOW.get(r.how, r.how), r.reason) for r in rows if r.reason]
    text = f"{_counted(rows)} The {records.ladder.get('said') or 'steps'}."
    title = "Who climbed how far, and why others left"
    return section("halving", title, note(text), figure(drawing, class_="broad"), _listed(reasons, "left on"))


def parallel(records: RunRecords, scores: Sequence[TrialScore]) -> Html | None:
    """Each configuration as a line across its values and its score; the best third is drawn strong."""
    known = [score for score in scores if np.isfinite(score.valid)][:MAX_LINES]
    names = [name for name, _ in varied_parameters(records, known)]
    if len(known) < 3 or not names:
        return None
    across, up = spans(WIDTH, HEIGHT)
    columns = [_column([score.trial.config.get(name, score.trial.network) for score in known], up) for name in names]
    values = np.array([score.valid for score in known])
    columns.append(fit_axis(values, start=up[0], stop=up[1], percent=is_share(records.metric)).place(values))
    x = Axis(low=-0.3, high=len(columns) - 0.7, start=across[0], stop=across[1])
    y = Axis(low=0.0, high=1.0, start=up[0], stop=up[1], percent=True)
    places = x.place(np.arange(len(columns)))
    lines = []
    for place in reversed(range(len(known))):
        number = known[place].trial.number
        kind = "chosen" if number == records.chosen else "trial" if place < len(known) / 3 else "left"
        heights = np.array([column[place] for column in columns])
        lines.append(polyline(places, heights, class_=f"curve {kind}", data_trial=number))
    ticks = [(float(place), name[:14]) for place, name in enumerate([*names, metric_words(records.metric)])]
    drawing = chart(
        x, y, join(lines), width=WIDTH, height=HEIGHT, label="configurations as lines", x_label="",
        y_label="place in the range", x_ticks=ticks, y_ticks=[(0.0, "low"), (1.0, "high")], near=True,
    )  # fmt: skip
    text = "Each line is a trial; on every axis its value's place in the order of those that were tried, low to high."
    return section("parallel", "Configurations side by side", note(text), figure(drawing, class_="broad"))


def forecasts(records: RunRecords) -> Html | None:
    """What was to be expected of trials after a third of their epochs, against what came."""
    told: list[dict[str, Any]] = list((records.run.get("insights") or {}).get("forecasts") or [])
    told = [entry for entry in told if None not in entry.values()]
    if not told:
        return None
    inside = sum(entry["low"] <= entry["came"] <= entry["high"] for entry in told)
    across, up = spans(*SQUARE)
    expected = np.array([[entry["low"], entry["expected"], entry["high"]] for entry in told])
    came = np.array([entry["came"] for entry in told])
    share = is_share(records.metric)
    both = np.append(expected, came)  # one range on both axes, so that the line is the diagonal
    x = fit_axis(both, start=across[0], stop=across[1], percent=share)
    y = fit_axis(both, start=up[0], stop=up[1], percent=share)
    marks: list[Html | None] = []
    for entry, low, high in zip(told, y.place(expected[:, 0]), y.place(expected[:, 2]), strict=True):
        at = float(x.place(entry["came"]))
        marks.append(element("line", x1=at, x2=at, y1=float(low), y2=float(high), class_="whisker trial"))
        marks.append(
            dot(at, float(y.place(entry["expected"])), 3.5, class_="end trial", data_trial=int(entry["trial"]))
        )
    ends = np.array([x.low, x.high])
    marks.append(polyline(x.place(ends), y.place(ends), class_="curve reference"))
    drawing = chart(
        x, y, join(marks), width=SQUARE[0], height=SQUARE[1], label="forecast against outcome", x_label="what came",
        y_label="what was expected", near=True,
    )  # fmt: skip
    text = (
        f"Expected after a third of the epochs by curves fitted to what was known then, with 90 % intervals: "
        f"{inside} of {plural(len(told), 'outcome')} {'lies' if inside == 1 else 'lie'} within. On the dashed line "
        "what came is what was expected."
    )
    return section(
        "forecasts",
        "Forecast against outcome",
        note(text),
        element("div", figure(drawing), class_="grid2"),
        legend(("trial", "a trial")),
    )


def _numbers(first: int, last: int) -> list[tuple[float, str]]:
    """Some trial numbers from first on, at equal distances: where trials stand close, their names stay apart."""
    numbers = range(first, last + 1, max(1, math.ceil((last - first + 1) / MOST_NUMBERS)))
    return [(float(number), str(number)) for number in numbers]


def _kind(records: RunRecords, number: int, ways: dict[int, str]) -> str:
    if number == records.chosen:
        return "chosen"
    return "trial" if ways.get(number, "complete") == "complete" else "hollow"


def _inside(pixel: float, axis: Axis) -> float:
    return float(np.clip(pixel, min(axis.start, axis.stop), max(axis.start, axis.stop)))


def _column(values: Sequence[Any], up: tuple[float, float]) -> np.ndarray:
    """Pixels of values by their rank among those that differ: it shows numbers on any scale, and words."""
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    order = sorted(set(values)) if numeric else sorted({str(value) for value in values})
    keys = list(values) if numeric else [str(value) for value in values]
    ranks = np.array([order.index(key) for key in keys], dtype=np.float64)
    return Axis(low=0.0, high=max(len(order) - 1, 1), start=up[0] - 6, stop=up[1] + 6).place(ranks)


def best_line(records: RunRecords, scores: Sequence[TrialScore]) -> str:
    """The front of several objectives in words; empty where there is one objective."""
    front = records.result.get("front") or []
    words = []
    for point in front:
        values = [_said(records, name, value) for name, value in point.items() if name != "trial"]
        words.append(f"#{point['trial']} ({', '.join(values)})")
    return "Nothing beats these in everything: " + "; ".join(words) + "." if words else ""


def _said(records: RunRecords, name: str, value: float) -> str:
    if name == records.metric:
        return format_score(value, name)
    return f"{f'{value:,.0f}' if name == 'parameters' else f'{value:.3g}'} {UNITS.get(name, name)}"
