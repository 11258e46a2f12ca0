"""The first thing on the page: which model was chosen, how good it is, and whether it beats a simple one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tenfold.core.wording import plural
from tenfold.report.dots import Dot, dot_axis, ruler, track
from tenfold.report.markup import Html, element, join
from tenfold.report.ranking import TrialScore, sort_key
from tenfold.report.records import Baseline, Final, RunRecords, Score
from tenfold.report.together import together_parts
from tenfold.report.wording import format_interval, format_score, format_seconds, score_phrase

HOW = {
    "best": "The model keeps the weights of its best epoch{epoch}.",
    "refit": "The model was trained anew with the chosen configuration on the training and validation parts{epoch}.",
    "average": "The model averages the predictions of its networks.",
    "vote": "The model takes a vote of its networks.",
    "ensemble": "The model averages the predictions of the trials that do best together on the validation part, "
    "with weights.",
}


def answer(records: RunRecords, scores: Sequence[TrialScore]) -> Html:
    """The headline, what it rests on, and the test scores of model and baselines beside one another."""
    lines: list[object] = [element("h1", headline(records, scores))]
    verdict = _verdict(records)
    if verdict is not None:
        lines.append(verdict)
    if records.final:
        lines.append(element("p", _how(records, records.final), class_="lead"))
        lines.append(together_parts(records))
    elif records.status == "interrupted":
        resume = element("code", f"--resume --out {records.folder}")
        lines.append(element("p", "The same command with ", resume, " continues it.", class_="lead"))
    return element("section", *lines, test_dots(records), tiles(records), id="answer", class_="answer")


def headline(records: RunRecords, scores: Sequence[TrialScore]) -> str:
    """The answer in one sentence.

    Args:
        records: the run.
        scores: its trials, best first.
    """
    if records.final:
        return _final_headline(records, records.final)
    state = {
        "running": "This run is still going on",
        "interrupted": "This run was interrupted",
        "failed": "This run failed",
    }.get(records.status, "This run has not chosen a model")
    if not scores or not math.isfinite(scores[0].valid):
        return f"{state}: no trial has a score yet."
    best = scores[0]
    return (
        f"{state}: the best of {plural(len(scores), 'trial')} so far is {_model(records, best.trial.number)} "
        f"with {score_phrase(best.valid, records.metric)} on the validation part; the test part is untouched."
    )


def _final_headline(records: RunRecords, final: Final) -> str:
    model = _model(records, final.trial)
    test = final.test.get(records.metric)
    if test is None or not math.isfinite(test.value):
        valid = final.valid.get(records.metric, math.nan)
        if not math.isfinite(valid):
            return f"{model} was chosen, but it has no score that is a number."
        return (
            f"{model} was chosen with {score_phrase(valid, records.metric)} on the validation part; as that "
            "part guided the choice, expect a little less on new samples. There is no test score."
        )
    reached = score_phrase(test.value, records.metric)
    text = f"{model} reaches {reached} on {_samples(test)}{_bracket(test, records)}"
    best = best_baseline(records)
    if best is None:
        return text + "."
    score = best.test[records.metric]
    return (
        f"{text}; the best baseline, {best.name}, reaches {format_score(score.value, records.metric)}"
        f"{_bracket(score, records)}."
    )


def _samples(score: Score) -> str:
    return f"{plural(score.n, 'test sample')} it has never seen" if score.n else "test samples it has never seen"


def _bracket(score: Score, records: RunRecords) -> str:
    interval = format_interval(score, records.metric)
    return f" ({interval})" if interval else ""


def _model(records: RunRecords, number: int | None) -> str:
    trial = records.trials.get(number) if number is not None else None
    if trial is None:
        return "The chosen model" if number is None else f"Trial {number}"
    return trial.title


def best_baseline(records: RunRecords) -> Baseline | None:
    """The baseline with the best test score, or None when none has one."""
    scored = [
        baseline
        for baseline in records.baselines
        if records.metric in baseline.test and math.isfinite(baseline.test[records.metric].value)
    ]
    return min(scored, key=lambda b: sort_key(b.test[records.metric].value, records.maximize), default=None)


def _verdict(records: RunRecords) -> Html | None:
    """Whether the model is worth having beside the best baseline, said without embellishment."""
    best = best_baseline(records)
    test = records.final.test.get(records.metric) if records.final else None
    if best is None or test is None or not math.isfinite(test.value):
        return None
    other = best.test[records.metric]
    gain = (test.value - other.value) * (1 if records.maximize else -1)
    known = test.has_interval and other.has_interval
    apart = known and (test.low > other.high or test.high < other.low)
    if gain < 0 and (apart or not known):
        text = f"The baseline {best.name} does better on the same samples: prefer it, or search further."
        return element("p", text, class_="verdict warn")
    if not known:
        return None
    if apart:
        text = f"The intervals of the model and of {best.name} do not overlap: the model is better on such data."
        return element("p", text, class_="verdict")
    text = (
        f"The intervals of the model and of {best.name} overlap: this test part alone does not settle which of "
        "the two is better."
    )
    return element("p", text, class_="verdict warn")


def _how(records: RunRecords, final: Final) -> str:
    count = len(records.trials)
    parts = [f"Chosen among {count} trials by the validation part alone." if count > 1 else "The only trial."]
    epoch = f" (epoch {final.epoch})" if final.epoch is not None else ""
    how = HOW.get(final.how)
    parts.append(how.format(epoch=epoch) if how else f"How the final model was made: {final.how}{epoch}.")
    return " ".join(parts)


def test_dots(records: RunRecords) -> Html | None:
    """Model and baselines on the test part, best first."""
    rows: list[tuple[str, Score, str]] = [
        (baseline.name, baseline.test[records.metric], "baseline")
        for baseline in records.baselines
        if records.metric in baseline.test
    ]
    if records.final and records.metric in records.final.test:
        rows.append((_model(records, records.final.trial), records.final.test[records.metric], "chosen"))
    if not rows:
        return None
    rows.sort(key=lambda row: sort_key(row[1].value, records.maximize))
    dots = [Dot(value=score.value, low=score.low, high=score.high) for _, score, _ in rows]
    axis = dot_axis(dots, records.metric)
    lines = [
        element(
            "div",
            element("span", name, class_="name"),
            track(dot, axis, records.metric, kind),
            element("span", format_score(score.value, records.metric), class_="value"),
            class_=f"dotrow {kind}",
        )
        for (name, score, kind), dot in zip(rows, dots, strict=True)
    ]
    last = element("div", element("span"), ruler(axis), element("span"), class_="dotrow")
    return element("div", *lines, last, class_="dots")


def tiles(records: RunRecords) -> Html:
    """The size of the run in a few numbers."""
    result = records.run.get("result") or {}
    trained = sum(len(curve.epochs) for curve in records.curves.values())
    timings = [s for s in (records.run.get("timings") or {}).values() if isinstance(s, int | float)]
    seconds = result.get("seconds") or (sum(timings) if timings else None)
    tiles = [
        ("methods" if records.verb == "compare" else "trials", str(len(records.trials))),
        ("members", str(result.get("members") or len(records.curves))),
        (_trained_in(records), f"{result.get('epochs_trained') or trained:g}"),
        ("time", format_seconds(float(seconds)) if seconds is not None else None),
        ("device", records.run.get("device")),
    ]
    shown = [element("div", element("dt", name), element("dd", value)) for name, value in tiles if value]
    return element("dl", join(shown), class_="tiles")


def _trained_in(records: RunRecords) -> str:
    """What trained epochs are counted in: on a ladder those of cheaper steps count for what they cost."""
    return f"epochs trained, counted on {records.ladder['labels'][-1]}" if records.ladder else "epochs trained"
