"""The leaderboard on the page: trials and baselines by their validation score, as dots with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.core.intervals import wilson
from tenfold.core.wording import plural
from tenfold.report.axes import Axis
from tenfold.report.dots import Dot, dot_axis, ruler, track
from tenfold.report.markup import Html, element, empty, note, section
from tenfold.report.ranking import TrialScore, sort_key
from tenfold.report.records import Baseline, RunRecords
from tenfold.report.wording import format_config, format_score, is_share, metric_words, searched

SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class _Row:
    name: str
    kind: str
    dot: Dot
    epochs: str
    config: str
    trial: int | None = None


def scoreboard(records: RunRecords, scores: Sequence[TrialScore]) -> Html:
    """The leaderboard; beyond the first dozen, trials that are not chosen are folded away."""
    if not scores and not records.baselines:
        return section("leaderboard", "Leaderboard", empty("No trial and no baseline has been recorded yet."))
    rows = [_trial_row(score, records) for score in scores]
    rows += [_baseline_row(baseline, records) for baseline in records.baselines]
    rows.sort(key=lambda row: sort_key(row.dot.value, records.maximize))
    first = [i for i, row in enumerate(rows) if i < SHOWN or row.kind in ("baseline", "chosen")]
    rest = [i for i in range(len(rows)) if i not in set(first)]
    axis = dot_axis([rows[i].dot for i in first], records.metric)
    has_far_dot = any(not axis.low <= row.dot.value <= axis.high for row in rows if np.isfinite(row.dot.value))
    parts: list[object] = [_explain(records, scores, has_far_dot), _board(rows, first, axis, records)]
    if rest:
        summary = element("summary", plural(len(rest), "more trial"))
        parts.append(element("details", summary, _board(rows, rest, axis, records)))
    return section("leaderboard", "Leaderboard", *parts)


def _explain(records: RunRecords, scores: Sequence[TrialScore], has_far_dot: bool) -> Html:
    metric, n = metric_words(records.metric), records.part_size("valid")
    where = f"on {plural(n, 'validation sample')}" if n else "on the validation part"
    text = f"{metric[0].upper()}{metric[1:]} {where}, each trial at its best epoch."
    if any(np.isfinite(score.spread) for score in scores):
        text += " Bars are ± one standard deviation over a trial's members."
    elif is_share(records.metric) and n:
        text += " Bars are 95 % Wilson intervals."
    text += " A pale dot lies beyond the axis." if has_far_dot else ""
    if len(scores) > 1:
        text += " The best of many is flattered by the choice: only the test part can score it honestly."
    return note(text)


def _trial_row(score: TrialScore, records: RunRecords) -> _Row:
    shown = searched([trial.config for trial in records.trials.values()])
    chosen = score.trial.number == records.chosen
    low, high = score.valid - score.spread, score.valid + score.spread
    if not np.isfinite(score.spread):
        low, high = _interval(score.valid, records)
    return _Row(
        name=score.trial.title,
        kind="chosen" if chosen else "left" if score.left_early else "trial",
        dot=Dot(value=score.valid, low=low, high=high),
        epochs=plural(score.epochs, "epoch") + score.ending,
        config=format_config({name: value for name, value in score.trial.config.items() if name in shown}),
        trial=score.trial.number,
    )


def _baseline_row(baseline: Baseline, records: RunRecords) -> _Row:
    value = baseline.valid.get(records.metric, float("nan"))
    low, high = _interval(value, records)
    return _Row(
        name=baseline.name,
        kind="baseline",
        dot=Dot(value=value, low=low, high=high),
        epochs="baseline",
        config="",
    )


def _interval(value: float, records: RunRecords) -> tuple[float, float]:
    if not is_share(records.metric):
        return float("nan"), float("nan")
    return wilson(value, records.part_size("valid"))


def _board(rows: Sequence[_Row], shown: Sequence[int], axis: Axis, records: RunRecords) -> Html:
    lines = [
        element(
            "div",
            element("span", str(i + 1), class_="rank"),
            element("span", rows[i].name, _badge(rows[i]), class_="name"),
            track(rows[i].dot, axis, records.metric, rows[i].kind),
            element("span", format_score(rows[i].dot.value, records.metric), class_="value"),
            element("span", rows[i].epochs, class_="epochs"),
            element("span", rows[i].config, class_="config"),
            class_=f"boardrow {rows[i].kind}",
            data_trial=rows[i].trial,
        )
        for i in shown
    ]
    last = element("div", element("span"), element("span"), ruler(axis), class_="boardrow")
    return element("div", *lines, last, class_="board")


def _badge(row: _Row) -> Html | None:
    return element("em", "chosen") if row.kind == "chosen" else None
