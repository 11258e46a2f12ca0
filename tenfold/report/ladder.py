"""The halving, drawn as a ladder: at each rung the trials by rank, those that went on joined by lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tenfold.core.wording import plural
from tenfold.report.axes import Axis
from tenfold.report.chart import chart, dot, polyline, spans
from tenfold.report.markup import Html, element, empty, figure, join, note, section, table
from tenfold.report.ranking import TrialScore, sort_key
from tenfold.report.records import RunRecords
from tenfold.report.wording import format_score

WIDTH = 560.0


def ladder(records: RunRecords, scores: Sequence[TrialScore]) -> Html:
    """Who left when: a chart of ranks at the rungs, and the rungs as a table."""
    title = "Who left when"
    if not records.rungs:
        planned = records.run.get("rungs")
        if planned and records.status in ("running", "interrupted"):
            return section("halving", title, empty("The run has not reached its first rung yet."))
        return section("halving", title, empty("Nobody left: every trial was trained to its end."))
    text = (
        "At each rung the trials are compared after the same number of epochs; the best go on, the others "
        "leave and free their place."
    )
    parts = element("div", _chart(records, scores), _rung_table(records), class_="grid2 wide-left")
    return section("halving", title, note(text), parts)


def _ranks(scores: Mapping[int, float], maximize: bool) -> dict[int, int]:
    order = sorted(scores, key=lambda trial: (*sort_key(scores[trial], maximize), trial))
    return {trial: rank for rank, trial in enumerate(order, start=1)}


def _chart(records: RunRecords, scores: Sequence[TrialScore]) -> Html:
    ranks = [_ranks(rung.scores, records.maximize) for rung in records.rungs]
    ticks = [(float(i), f"epoch {rung.epoch}") for i, rung in enumerate(records.rungs)]
    last = records.rungs[-1]
    end = {s.trial.number: s.valid for s in scores if s.trial.number in last.kept and s.epochs > last.epoch}
    if end:
        ranks.append(_ranks(end, records.maximize))
        ticks.append((float(len(ticks)), "best epoch"))
    most = max((len(rung) for rung in ranks), default=1)
    height = float(np.clip(60 + 5.5 * most, 200, 480))
    across, up = spans(WIDTH, height)
    x = Axis(low=-0.3, high=len(ranks) - 0.7, start=across[0], stop=across[1], whole=True)
    y = Axis(low=max(most, 2) + 0.8, high=0.2, start=up[0], stop=up[1], whole=True)
    drawing = chart(
        x,
        y,
        _marks(records, ranks, x, y),
        width=WIDTH,
        height=height,
        label="rank of every trial at every rung",
        x_label="compared after",
        y_label="rank",
        x_ticks=ticks,
        y_ticks=_rank_ticks(most),
        near=True,
    )
    return figure(drawing)


def _rank_ticks(most: int) -> list[tuple[float, str]]:
    ranks = np.unique(np.linspace(1, max(1, most), 5).round().astype(int))
    return [(float(rank), str(rank)) for rank in ranks]


def _marks(records: RunRecords, ranks: list[dict[int, int]], x: Axis, y: Axis) -> Html:
    trials = sorted({trial for rung in ranks for trial in rung}, key=lambda trial: trial == records.chosen)
    left = {trial for rung in records.rungs for trial in rung.left}
    radius = float(np.clip((y.start - y.stop) / (2.6 * max(y.low, 2)), 1.6, 5))
    lines, dots = [], []
    for trial in trials:
        places = [(i, rung[trial]) for i, rung in enumerate(ranks) if trial in rung]
        kind = "chosen" if trial == records.chosen else "left" if trial in left else "trial"
        xs, ys = x.place([place[0] for place in places]), y.place([place[1] for place in places])
        lines.append(polyline(xs, ys, class_=f"curve {kind}", data_trial=trial))
        for i, (at_x, at_y) in enumerate(zip(xs, ys, strict=True)):
            here = kind if kind != "left" or i == len(places) - 1 else "trial"
            dots.append(dot(at_x, at_y, radius, class_=f"end {here}", data_trial=trial))
    return join([*lines, *dots])


def _rung_table(records: RunRecords) -> Html:
    rows = []
    for rung in records.rungs:
        order = sorted(_ranks(rung.scores, records.maximize).items(), key=lambda entry: entry[1])
        best = format_score(rung.scores[order[0][0]], records.metric) if order else ""
        lost = sum(not np.isfinite(score) for score in rung.scores.values())
        left = plural(len(rung.left), "trial") + (f", {lost} without a number" if lost else "")
        rows.append((rung.rung, rung.epoch, len(rung.scores), len(rung.kept), left, best))
    header = ("rung", "epoch", "compared", "went on", "left", "best there")
    return element("div", table(header, rows, numeric=(0, 1, 2, 3, 5)))
