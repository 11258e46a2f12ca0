"""Learning curves of all trials: training loss and the validation metric, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tenfold.report.axes import Axis, fit_axis, wants_log
from tenfold.report.chart import chart, dot, legend, polyline, spans, thin
from tenfold.report.markup import Html, element, empty, figure, join, note, section
from tenfold.report.ranking import TrialScore
from tenfold.report.records import Curve, RunRecords
from tenfold.report.wording import is_share, metric_words

WIDTH, HEIGHT = 540.0, 330.0
MAX_POINTS = 160


def learning_curves(records: RunRecords, scores: Sequence[TrialScore]) -> Html:
    """Two charts over the epochs; trials that left are grey and end where they left."""
    if not records.curves:
        return section("curves", "Learning curves", empty("No epoch has been recorded yet."))
    kinds = {score.trial.number: _kind(score, records) for score in scores}
    metric = metric_words(records.metric)
    charts = [
        _curve_chart(records, kinds, lambda curve: curve.train_loss, "training loss", percent=False),
        _curve_chart(
            records,
            kinds,
            lambda curve: curve.valid.get(records.metric, np.full(len(curve.epochs), np.nan)),
            f"validation {metric}",
            percent=is_share(records.metric),
        ),
    ]
    return section(
        "curves",
        "Learning curves",
        note("One line a member. Point at a line to see its configuration, here and in every other figure."),
        _legend(set(kinds.values()), records),
        element("div", *charts, class_="grid2"),
    )


def _legend(kinds: set[str], records: RunRecords) -> Html:
    going_on = "trained to the end" if records.final else "still in the run"
    words = {"chosen": "chosen", "trial": going_on, "left": "left early"}
    return legend(*((kind, text) for kind, text in words.items() if kind in kinds))


def _kind(score: TrialScore, records: RunRecords) -> str:
    if score.trial.number == records.chosen:
        return "chosen"
    return "left" if score.left_early else "trial"


def _curve_chart(
    records: RunRecords,
    kinds: dict[int, str],
    pick: Callable[[Curve], np.ndarray],
    title: str,
    *,
    percent: bool,
) -> Html:
    curves = sorted(records.curves.values(), key=lambda curve: _paint_order(kinds.get(curve.trial, "left")))
    values = np.concatenate([pick(curve) for curve in curves])
    if not np.isfinite(values).any():
        return figure(empty(f"No epoch has a {title} that is a number."))
    across, up = spans(WIDTH, HEIGHT)
    x = fit_axis(
        np.concatenate([curve.epochs for curve in curves]),
        start=across[0],
        stop=across[1],
        whole=True,
        robust=False,
        pad=0.02,
    )
    log = not percent and wants_log(values)
    y = fit_axis(values, start=up[0], stop=up[1], log=log, percent=percent)
    drawing = chart(
        x,
        y,
        _lines(curves, kinds, pick, x, y),
        width=WIDTH,
        height=HEIGHT,
        label=f"{title} of every member by epoch",
        x_label="epoch",
        y_label=title + (" (log)" if log else ""),
        near=True,
    )
    return figure(drawing, _outside(values, y))


def _paint_order(kind: str) -> int:
    """Losers first, the chosen one on top."""
    return ("left", "trial", "chosen").index(kind)


def _lines(
    curves: Iterable[Curve], kinds: dict[int, str], pick: Callable[[Curve], np.ndarray], x: Axis, y: Axis
) -> Html:
    marks: list[Html | None] = []
    for curve in curves:
        kind = kinds.get(curve.trial, "left")
        few = thin(len(curve.epochs), MAX_POINTS)
        xs, ys = x.place(curve.epochs[few]), y.place(pick(curve)[few])
        marks.append(polyline(xs, ys, class_=f"curve {kind}", data_trial=curve.trial))
        finite = np.flatnonzero(np.isfinite(ys))
        if len(finite) and (kind == "left" or len(finite) == 1):
            end = finite[-1]
            marks.append(dot(xs[end], ys[end], 2.5, class_=f"end {kind}", data_trial=curve.trial))
    return join(marks)


def _outside(values: np.ndarray, y: Axis) -> str | None:
    """Says how many values the axis does not reach, so that a cut line is not mistaken for a missing one."""
    wild = int((~np.isfinite(values)).sum())
    beyond = int(((values < y.low) | (values > y.high)).sum())
    notes = []
    if beyond:
        notes.append(f"{beyond} of {len(values)} values lie beyond the axis")
    if wild:
        notes.append(f"{wild} of {len(values)} values are not a number")
    return "; ".join(notes).capitalize() + "." if notes else None
