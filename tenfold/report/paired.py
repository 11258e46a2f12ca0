"""A comparison on the page: paired scores of the methods, and each difference with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.core.wording import plural
from tenfold.report.axes import Axis, fit_axis
from tenfold.report.chart import chart, dot, polyline, spans
from tenfold.report.dots import Dot, ruler, track
from tenfold.report.markup import Html, element, empty, figure, join, note, section, table
from tenfold.report.members import member_key, ranked
from tenfold.report.outcome import difference_words, leader_first, looks_words
from tenfold.report.records import RunRecords
from tenfold.report.wording import (
    as_number,
    format_difference,
    format_p,
    format_score,
    is_share,
    metric_words,
)

WIDTH = 640.0
HEIGHT = 360.0
MAX_LINES = 200
SERIES = 6


def methods(records: RunRecords) -> Html:
    """The section on the methods: a line joins the scores of the same fold and seed."""
    title, found = "Paired scores", records.result.get("comparison") or {}
    order = ranked(records, found.get("methods") or _unranked(records))
    units = _paired_units(records, [int(method["trial"]) for method in order])
    if not units:
        return section("members", title, empty("No member has been scored yet."))
    part = str(found.get("part") or "valid")
    return section(
        "members",
        title,
        note(_explain(records, len(units), part)),
        element("div", _chart(records, order, units, part), _table(records, order), class_="grid2 wide-left"),
    )


def differences(records: RunRecords) -> Html:
    """The section on the differences: interval, probability and verdict of each pair."""
    title, found = "Differences", records.result.get("comparison") or {}
    pairs = [leader_first(pair, records.result) for pair in found.get("pairs") or []]
    if not pairs:
        return section("differences", title, empty("The methods have not been compared yet."))
    return section(
        "differences", title, note(_rule(found, pairs)), _bars(records, pairs), _pair_table(records, found, pairs)
    )


def _unranked(records: RunRecords) -> list[dict[str, Any]]:
    return [{"trial": number, "name": trial.title} for number, trial in records.trials.items()]


def series_of(records: RunRecords, trial: int) -> str:
    """The class that gives a method its colour."""
    return f"s{list(records.trials).index(trial) % SERIES}" if trial in records.trials else "s0"


def _paired_units(records: RunRecords, trials: Sequence[int]) -> list[tuple[int, int]]:
    """The (fold, seed) that all methods have a record of."""
    seen = [{(s.fold, s.seed) for s in records.scores if s.trial == trial} for trial in trials]
    return sorted(set.intersection(*seen)) if seen else []


def _explain(records: RunRecords, count: int, part: str) -> str:
    where = "on the test part" if part == "test" else "on the rows left out" if _has_folds(records) else ""
    where = where or "on the validation part"
    unit = "fold and seed" if _has_folds(records) else "seed"
    return (
        f"{plural(count, 'pair')} of {metric_words(records.metric)} {where}. A line joins the trainings of the same "
        f"{unit}: they saw the same rows in the same order. Rings are means."
    )


def _has_folds(records: RunRecords) -> bool:
    return len({score.fold for score in records.scores}) > 1


def _chart(records: RunRecords, order: Sequence[dict[str, Any]], units: Sequence[tuple[int, int]], part: str) -> Html:
    across, up = spans(WIDTH, HEIGHT)
    scores = {(s.trial, s.fold, s.seed): s.score(records.metric, part) for s in records.scores}
    trials = [int(method["trial"]) for method in order]
    values_UT = np.array([[scores[trial, *unit] for trial in trials] for unit in units])
    x = Axis(low=-0.4, high=len(trials) - 0.6, start=across[0], stop=across[1])
    y = fit_axis(values_UT, start=up[0], stop=up[1], percent=is_share(records.metric))
    drawing = chart(
        x,
        y,
        _marks(records, trials, units, values_UT, x, y),
        width=WIDTH,
        height=HEIGHT,
        label=f"{metric_words(records.metric)} of every method, paired by fold and seed",
        x_label="method",
        y_label="",
        x_ticks=[(float(i), _short(str(m["name"]), max(4, 60 // len(order)))) for i, m in enumerate(order)],
        near=True,
    )
    outside = int(((values_UT < y.low) | (values_UT > y.high)).sum())
    lost = int((~np.isfinite(values_UT)).sum())
    notes = [f"{outside} of {values_UT.size} scores lie beyond the axis."] if outside else []
    notes += [f"{plural(lost, 'training')} diverged."] if lost else []
    return figure(drawing, " ".join(notes) or None)


def _marks(
    records: RunRecords,
    trials: Sequence[int],
    units: Sequence[tuple[int, int]],
    values_UT: np.ndarray,
    x: Axis,
    y: Axis,
) -> Html:
    """Lines first, dots over them, means on top."""
    xs, ys_UT = x.place(np.arange(len(trials))), y.place(values_UT)
    lines = [polyline(xs, ys, class_="curve left") for ys in ys_UT[:MAX_LINES]]
    dots = [
        dot(xs[t], ys_UT[u, t], 3.5, class_=f"end {series_of(records, trial)}", data_trial=member_key(trial, *unit))
        for u, unit in enumerate(units)
        for t, trial in enumerate(trials)
    ]
    known = np.isfinite(values_UT)
    sums, counts = np.where(known, values_UT, 0).sum(axis=0), known.sum(axis=0)
    means = y.place(np.divide(sums, counts, out=np.full(len(trials), math.nan), where=counts > 0))
    rings = [dot(xs[t], means[t], 7, class_="ring") for t in range(len(trials))]
    return join([*lines, *dots, *rings])


def _short(word: str, letters: int) -> str:
    return word if len(word) <= letters else word[: letters - 1] + "…"


def _table(records: RunRecords, order: Sequence[dict[str, Any]]) -> Html:
    rows = []
    for method in order:
        std = as_number(method.get("std"))
        spread = f" ± {format_difference(std, records.metric, signed=False)}" if math.isfinite(std) else ""
        key = element("i", class_=f"key {series_of(records, int(method['trial']))}")
        lost = int(method.get("diverged") or 0)
        rows.append(
            (
                join([key, str(method["name"])]),
                format_score(as_number(method.get("mean")), records.metric) + spread,
                method.get("n", ""),
                lost or "",
            )
        )
    return element("div", table(("method", "mean ± std", "n", "diverged"), rows, numeric=(1, 2, 3)))


def _rule(found: dict[str, Any], pairs: Sequence[dict[str, Any]]) -> str:
    level = as_number(found.get("level") or 0.95)
    text = f"Bars are {100 * level:g} % intervals of each difference alone; strong ones are shown to be real. "
    if len(pairs) > 1:
        text += (
            "The verdicts stand on p-values with Holm's correction: of all verdicts together, the probability of any "
            f"false one is at most {100 * (1 - level):.3g} %. "
        )
    if looks := looks_words(found):
        text += f"{looks[0].upper()}{looks[1:]}. "
    tests = list(dict.fromkeys(TESTS.get(str(pair.get("test")), "") for pair in pairs))
    return (text + " ".join(test for test in tests if test)).strip()


TESTS = {
    "paired t": "The test is the paired t-test over seeds.",
    "corrected resampled t": (
        "The test is the corrected resampled t-test, as folds share rows in training: a plain t-test would find "
        "too many winners."
    ),
    "anytime t": "The test is one that may be asked after every seed, and this one was.",
    "sign": "Where trainings diverged or all differences are equal, the exact sign test decides.",
    "none": "Where trainings diverged on folds, nothing can be said.",
}


def _bars(records: RunRecords, pairs: Sequence[dict[str, Any]]) -> Html:
    scale = 100.0 if is_share(records.metric) else 1.0  # of shares in points
    numbers = [[scale * as_number(pair.get(name)) for name in ("difference", "low", "high")] for pair in pairs]
    axis = fit_axis([*np.ravel(numbers), 0.0], start=0.0, stop=100.0, robust=False, pad=0.08)
    zero = element("i", class_="zero", style=f"left:{float(axis.place(0.0)):.2f}%")
    rows = []
    for pair, (value, low, high) in zip(pairs, numbers, strict=True):
        kind = "chosen" if pair.get("winner") else "left"
        name = element("span", f"{pair['a']} − {pair['b']}", class_="name")
        bar = track(Dot(value=value, low=low, high=high), axis, "", kind)
        told = element("span", format_difference(value / scale, records.metric), class_="value")
        rows.append(element("div", name, element("div", zero, bar, class_="over"), told, class_=f"dotrow {kind}"))
    unit = "points" if is_share(records.metric) else metric_words(records.metric)
    foot = element("span", f"{unit}, {'more' if records.maximize else 'less'} is better", class_="note")
    last = element("div", foot, ruler(axis), element("span"), class_="dotrow")
    return element("div", *rows, last, class_="dots wide-value")


def _pair_table(records: RunRecords, found: dict[str, Any], pairs: Sequence[dict[str, Any]]) -> Html:
    level = as_number(found.get("level") or 0.95)
    rows = [
        (
            f"{pair['a']} − {pair['b']}",
            _verdict(pair),
            difference_words({**pair, "p_adjusted": None}, records.metric, level),
            _p_words(pair),
            _chance(pair),
            _more(pair),
        )
        for pair in pairs
    ]
    header = ("pair", "verdict", "difference", "p", "first is better in", "seeds to go")
    return table(header, rows, wide=True)


def _verdict(pair: dict[str, Any]) -> Html | str:
    if pair.get("winner"):
        return element("b", f"{pair['winner']} is better")
    return "no difference shown"


def _p_words(pair: dict[str, Any]) -> str:
    p, adjusted = as_number(pair.get("p")), as_number(pair.get("p_adjusted"))
    if math.isnan(adjusted):
        return "–"
    alone = f" ({_bare(p)} alone)" if p != adjusted else ""
    return _bare(adjusted) + alone


def _bare(p: float) -> str:
    return format_p(p).removeprefix("p ").removeprefix("= ")


def _chance(pair: dict[str, Any]) -> str:
    share, low, high = (as_number(pair.get(name)) for name in ("a_better", "a_better_low", "a_better_high"))
    if math.isnan(share):
        return "–"
    return f"{100 * share:.0f} % of trainings ({100 * low:.0f} to {100 * high:.0f} %)"


def _more(pair: dict[str, Any]) -> str:
    if pair.get("winner"):
        return "shown"
    if pair.get("test") == "corrected resampled t":
        return "seeds hardly help; other data would"
    if pair.get("test") in ("sign", "none"):
        return "–"
    more = pair.get("more_seeds")
    return "more than 10,000" if more is None else f"about {more}, if it is what it seems"
