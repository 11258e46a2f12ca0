"""The scores of folds and seeds as dots, under their mean and its intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.core.wording import plural
from tenfold.report.axes import Axis
from tenfold.report.dots import Dot, dot_axis, ruler, swarm, track
from tenfold.report.markup import Html, element, empty, join, note, section, table
from tenfold.report.outcome import PARTS, interval_of, over_words
from tenfold.report.ranking import sort_key
from tenfold.report.records import MemberScore, RunRecords
from tenfold.report.wording import as_number, format_difference, format_score, metric_words

OPEN = 24


def member_key(trial: int, fold: int, seed: int) -> str:
    """What the page's script calls a member."""
    return f"{trial}-{fold}-{seed}"


def fold_name(records: RunRecords, fold: int) -> str:
    """The name of a fold: its group, or its number counted from 1."""
    names = (records.run.get("folds") or {}).get("names") or []
    return str(names[fold]) if 0 <= fold < len(names) else f"fold {fold + 1}"


def members(records: RunRecords) -> Html:
    """The section on folds (of a cross-validation) or seeds (of a replication)."""
    by_fold = records.verb == "cv"
    anchor, title = ("members", "Every fold" if by_fold else "Every seed")
    own = [score for score in records.scores if score.trial == records.best_trial]
    if not own:
        return section(anchor, title, empty("No member has been scored yet."))
    part = "test" if not by_fold and records.result.get("test") else "valid"
    values = [score.score(records.metric, part) for score in own]
    summary = records.result.get(part) or {}
    heads = _heads(records, summary)
    axis = dot_axis([*(Dot(value=value) for value in values), *(dot for _, dot, _ in heads)], records.metric)
    rows = _member_rows(records, own, part, axis)
    last = element("div", element("span"), ruler(axis), element("span"), class_="dotrow")
    heading = [_head_row(head, axis, records.metric) for head in heads]
    top = element("div", *heading, _all(values, axis, records), last, class_="dots")
    each = element("div", *rows, last, class_="dots")
    if len(rows) > OPEN:
        each = element("details", element("summary", plural(len(rows), "fold" if by_fold else "seed")), each)
    return section(anchor, title, _explain(records, part, summary), top, each, _metrics(records))


def _explain(records: RunRecords, part: str, summary: dict[str, Any]) -> Html:
    metric = metric_words(records.metric)
    where = "on the rows that each fold leaves out" if records.verb == "cv" else f"on the {PARTS[part]} part"
    text = f"{metric[0].upper()}{metric[1:]} {where}. "
    if math.isfinite(as_number(summary.get("low"))):
        level = 100 * as_number(summary.get("level") or 0.95)
        text += f"Bars are {level:g} % intervals: of the expected score, and of the score of one more training."
        if records.verb == "cv":
            text += " They allow for the rows that folds share in training."
    return note(text)


def _heads(records: RunRecords, summary: dict[str, Any]) -> list[tuple[str, Dot, str]]:
    """The rows on top: mean with its interval, and the interval of one more training."""
    if not math.isfinite(as_number(summary.get("mean"))):
        return []
    mean, more = interval_of(summary), interval_of(summary, "next_")
    heads = [("mean", Dot(value=mean.value, low=mean.low, high=mean.high), "chosen")]
    if more.has_interval:
        heads.append(("one more training", Dot(value=more.value, low=more.low, high=more.high), "left"))
    return heads


def _head_row(head: tuple[str, Dot, str], axis: Axis, metric: str) -> Html:
    name, dot, kind = head
    value = format_score(dot.value, metric) if kind == "chosen" else ""
    return _row(name, track(dot, axis, metric, kind), value, kind)


def _all(values: Sequence[float], axis: Axis, records: RunRecords) -> Html:
    name = over_words(records.result) if records.result else plural(len(values), "training")
    return _row(name, swarm(values, axis, records.metric, "trial"), "", "trial")


def _row(name: str, drawing: Html, value: str, kind: str, key: str | None = None) -> Html:
    return element(
        "div",
        element("span", name, class_="name"),
        drawing,
        element("span", value, class_="value"),
        class_=f"dotrow {kind}",
        data_trial=key,
    )


def _member_rows(records: RunRecords, own: Sequence[MemberScore], part: str, axis: Axis) -> list[Html]:
    """One row a fold with the dots of its seeds, or one a seed."""
    by_fold = records.verb == "cv"
    groups: dict[int, list[MemberScore]] = {}
    for score in own:
        groups.setdefault(score.fold if by_fold else score.seed, []).append(score)
    rows = []
    for place, group in groups.items():
        values = [score.score(records.metric, part) for score in group]
        known = [value for value in values if math.isfinite(value)]
        name = fold_name(records, place) if by_fold else f"seed {place}"
        value = format_score(float(np.mean(known)), records.metric) if known else "diverged"
        key = member_key(group[0].trial, group[0].fold, group[0].seed) if len(group) == 1 else None
        rows.append(_row(name, swarm(values, axis, records.metric, "trial"), value, "trial", key))
    return rows


def _metrics(records: RunRecords) -> Html | None:
    """Every metric with its spread, the one that decides first."""
    found = records.result.get("metrics") or {}
    parts = [part for part in ("valid", "test") if found.get(part)]
    if not parts:
        return None
    names = list(dict.fromkeys(name for part in parts for name in found[part]))
    names.sort(key=lambda name: name != records.metric)
    rows = [[metric_words(name), *(_spread(found[part].get(name), name) for part in parts)] for name in names]
    header = ["metric", *(f"{PARTS[part]}, mean ± std" for part in parts)]
    return join([element("h3", "Every metric"), table(header, rows, numeric=range(1, len(header)))])


def _spread(entry: dict[str, Any] | None, metric: str) -> str:
    mean, std = as_number((entry or {}).get("mean")), as_number((entry or {}).get("std"))
    spread = f" ± {format_difference(std, metric, signed=False)}" if math.isfinite(std) else ""
    return format_score(mean, metric) + spread


def member_tips(records: RunRecords) -> dict[str, str]:
    """What the page's script shows for each member."""
    scores = {(score.trial, score.fold, score.seed): score for score in records.scores}
    return {
        member_key(*member): _tip(records, *member, scores.get(member))
        for member in sorted({*scores, *records.curves})
    }


def _tip(records: RunRecords, trial: int, fold: int, seed: int, score: MemberScore | None) -> str:
    title = [records.trials[trial].title] if trial in records.trials and len(records.trials) > 1 else []
    title += [fold_name(records, fold)] if records.run.get("folds") else []
    lines = [", ".join([*title, f"seed {seed}"])]
    if score is not None:
        for part in ("valid", "test"):
            value = score.score(records.metric, part)
            if part == "valid" or math.isfinite(value):
                lines.append(f"{PARTS[part]} {format_score(value, records.metric)}")
        lines += [f"weights of epoch {score.epoch}"] if score.epoch is not None else []
    return "\n".join(lines)


def ranked(records: RunRecords, methods: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Methods of a comparison, best mean first."""
    return sorted(methods, key=lambda method: sort_key(as_number(method.get("mean")), records.maximize))
