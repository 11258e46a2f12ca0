"""What mattered: the validation score against each hyper-parameter, and how much each explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.wording import plural
from tenfold.report.axes import Axis, fit_axis
from tenfold.report.chart import Ticks, chart, dot, spans
from tenfold.report.importance import MIN_TRIALS, Importance, rate_importance
from tenfold.report.markup import Html, element, empty, figure, join, note, section, table
from tenfold.report.ranking import TrialScore
from tenfold.report.records import RunRecords
from tenfold.report.wording import format_value, is_share, metric_words

WIDTH, HEIGHT = 360.0, 240.0
EXPLAINED_ENOUGH = 0.1


@dataclass(frozen=True, kw_only=True)
class _Parameter:
    """A hyper-parameter that varies; `choices` are its words in order, empty for a number."""

    name: str
    log: bool
    choices: tuple[str, ...]


def slices(records: RunRecords, scores: Sequence[TrialScore]) -> Html:
    """One chart a hyper-parameter, the important ones first; a sentence instead for fewer than 8 trials."""
    title = "What mattered"
    scored = [score for score in scores if np.isfinite(score.valid)]
    space = _space_table(records)
    if len(scored) < MIN_TRIALS:
        count = plural(len(scored), "trial") if scored else "No trial"
        few = f"{count} with a score: at least {MIN_TRIALS} are needed to tell what a hyper-parameter does."
        return section("slices", title, empty(few), space)
    parameters = _varied(records, scored)
    if not parameters:
        return section("slices", title, empty("No hyper-parameter was varied."), space)
    found = rate_importance(scored, [parameter.name for parameter in parameters])
    if found:
        parameters.sort(key=lambda parameter: -found.shares[parameter.name])
    y_values = np.array([score.valid for score in scored])
    up = spans(WIDTH, HEIGHT)[1]
    y = fit_axis(y_values, start=up[0], stop=up[1], percent=is_share(records.metric))
    charts = [_slice(records, scored, parameter, y, found) for parameter in parameters]
    return section(
        "slices", title, note(_explain(found, len(scored))), element("div", *charts, class_="grid3"), space
    )


def _explain(found: Importance | None, count: int) -> str:
    text = f"Each dot is a trial at its best epoch (n = {count}); hollow dots left early. "
    if found is None:
        return text + "The trials do not differ enough at an equal number of epochs to rate the hyper-parameters."
    text += (
        f"Importance: a random forest was asked to predict the order of {found.num_trials} trials after "
        f"epoch {found.epoch}, which nearly all of them reached; on trials held out it explains "
        f"{100 * max(found.explained, 0):.0f} % of the variance of the ranks. "
    )
    if not found.explained > EXPLAINED_ENOUGH:
        return text + "That is next to nothing: do not read an order into these charts."
    return text + (
        "A hyper-parameter's number is its share of that. It holds for the ranges searched here, for early "
        "epochs and for this many trials; it is a hint where to look, not a measurement."
    )


def _varied(records: RunRecords, scores: Sequence[TrialScore]) -> list[_Parameter]:
    """The hyper-parameters with more than one value, network first, in the order of the space."""
    space = {str(entry.get("name")): entry for entry in records.run.get("space") or []}
    seen = dict.fromkeys(name for score in scores for name in score.trial.config)
    names = ["network", *(n for n in space if n in seen), *(n for n in seen if n not in space)]
    parameters = []
    for name in dict.fromkeys(names):
        values = _values(scores, name)
        if len({format_value(value) for _, value in values}) < 2:
            continue
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for _, v in values)
        words = () if numeric and not space.get(name, {}).get("choices") else _words(values, space.get(name, {}))
        parameters.append(_Parameter(name=name, log=bool(space.get(name, {}).get("log")), choices=words))
    return parameters


def varied_parameters(records: RunRecords, scores: Sequence[TrialScore]) -> list[tuple[str, bool]]:
    """The hyper-parameters with more than one value, each with whether it is on a log scale."""
    return [(parameter.name, parameter.log) for parameter in _varied(records, scores)]


def _words(values: Sequence[tuple[TrialScore, Any]], entry: dict[str, Any]) -> tuple[str, ...]:
    seen = {format_value(value) for _, value in values}
    ordered = [word for choice in entry.get("choices") or () if (word := format_value(choice)) in seen]
    return tuple(dict.fromkeys([*ordered, *sorted(seen)]))


def _values(scores: Sequence[TrialScore], name: str) -> list[tuple[TrialScore, Any]]:
    """The trials that have the hyper-parameter, with its value."""
    if name == "network":
        return [(score, score.trial.network) for score in scores]
    return [(score, score.trial.config[name]) for score in scores if name in score.trial.config]


def _slice(
    records: RunRecords,
    scores: Sequence[TrialScore],
    parameter: _Parameter,
    y: Axis,
    found: Importance | None,
) -> Html:
    values = _values(scores, parameter.name)
    x, places, ticks = _across(parameter, values)
    order = sorted(range(len(values)), key=lambda i: values[i][0].trial.number == records.chosen)
    marks = [_mark(values[i][0], places[i], y, records.chosen) for i in order]
    share = found.shares[parameter.name] if found and found.explained > EXPLAINED_ENOUGH else None
    heading = element("h3", parameter.name, element("span", f"importance {share:.2f}") if share is not None else None)
    drawing = chart(
        x,
        y,
        join(marks),
        width=WIDTH,
        height=HEIGHT,
        label=f"validation {metric_words(records.metric)} against {parameter.name}",
        x_label=parameter.name + (" (log)" if x.log else ""),
        y_label=metric_words(records.metric),
        x_ticks=ticks,
        near=True,
    )
    return element("div", heading, figure(drawing))


def _across(parameter: _Parameter, values: Sequence[tuple[TrialScore, Any]]) -> tuple[Axis, np.ndarray, Ticks | None]:
    """The horizontal axis, the values in pixels and the ticks; words are spread a little around their place."""
    start, stop = spans(WIDTH, HEIGHT)[0]
    if not parameter.choices:
        numbers = np.array([float(value) for _, value in values])
        whole = all(isinstance(value, int) for _, value in values)
        x = fit_axis(numbers, start=start, stop=stop, log=parameter.log, whole=whole, robust=False)
        return x, x.place(numbers), x.ticks(4)
    count = len(parameter.choices)
    x = Axis(low=-0.5, high=count - 0.5, start=start, stop=stop)
    golden = 0.6180339887
    spread = np.array([(score.trial.number * golden) % 1 - 0.5 for score, _ in values]) * 0.5
    codes = np.array([parameter.choices.index(format_value(value)) for _, value in values])
    letters = max(4, int(44 / count))
    ticks = [(float(i), _cut(word, letters)) for i, word in enumerate(parameter.choices)]
    return x, x.place(codes + spread), ticks


def _cut(word: str, letters: int) -> str:
    return word if len(word) <= letters else word[: letters - 1] + "…"


def _mark(score: TrialScore, x: float, y: Axis, chosen: int | None) -> Html | None:
    number = score.trial.number
    kind = "chosen" if number == chosen else "hollow" if score.left_early else "trial"
    at = float(np.clip(y.place(score.valid), min(y.start, y.stop), max(y.start, y.stop)))
    return dot(x, at, 5 if kind == "chosen" else 3.5, class_=f"end {kind}", data_trial=number)


def _space_table(records: RunRecords) -> Html | None:
    """What was searched, with the reasons."""
    rows = [
        (entry.get("name"), _range(entry), _condition(entry.get("when")), entry.get("reason") or "")
        for entry in records.run.get("space") or []
    ]
    if not rows:
        return None
    return element(
        "details",
        element("summary", "The space searched"),
        table(("name", "values", "only when", "why"), rows),
    )


def _range(entry: dict[str, Any]) -> str:
    if entry.get("choices"):
        return ", ".join(format_value(choice) for choice in entry["choices"])
    if entry.get("low") is None or entry.get("high") is None:
        return format_value(entry.get("value"))
    text = f"{format_value(entry['low'])} to {format_value(entry['high'])}"
    if entry.get("step") is not None:
        text += f" in steps of {format_value(entry['step'])}"
    return text + (", log" if entry.get("log") else "")


def _condition(when: dict[str, Any] | None) -> str:
    wanted = {name: v if isinstance(v, list | tuple) else [v] for name, v in (when or {}).items()}
    return ", ".join(f"{name} is {' or '.join(map(format_value, values))}" for name, values in wanted.items())
