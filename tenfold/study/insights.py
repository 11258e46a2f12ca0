"""What a finished search tells besides its winner, as plain values for the report.

Verdicts in words, whether early scores could be trusted, what leaving early saved, and how good forecasts were.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.core.records import finite
from tenfold.report import RunRecords, load_run
from tenfold.report.courses import validation_loss
from tenfold.report.ranking import score_trials
from tenfold.statistics import rank_correlation
from tenfold.statistics.rank_correlation import FEWEST_PAIRS
from tenfold.study.question import Question
from tenfold.tuning import Course, Ladder, Verdict, by_kind, forecast, judge, on_the_edge

_MOST_FORECASTS = 24  # each takes some hundredths of a second
_FEWEST_EPOCHS = 6  # that forecasts begin from, and have before them


def insights(folder: Any, question: Question) -> dict[str, Any]:
    """All of it, for `run.json`.

    Args:
        folder: the run folder, with all epochs recorded.
        question: with all trials.
    """
    records = load_run(folder)
    full = question.epochs
    curves = {score.trial.number: list(score.course.values()) for score in score_trials(records)}
    ages = {trial: len(curve) for trial, curve in curves.items()}
    verdicts = verdicts_on(records, question)
    found: dict[str, Any] = {
        "kinds": [verdict.sentence for verdict in by_kind(verdicts, len(records.trials))],
        "verdicts": [verdict.sentence for verdict in verdicts],
        "saved": {
            "trained": _whole(sum(question.spent(*one) for one in ages.items()) * question.members_a_trial),
            "full": len(curves) * full * question.members_a_trial,
        },
    }
    if question.ladder is None:
        found["proxy"] = _proxy(curves, full)
        found["forecasts"] = _forecasts(curves, full, question.metric.direction)
    else:
        found["proxy"] = _proxy_of_steps(curves, question.ladder, question.metric.direction)
    return dict(finite(found))


def _whole(epochs: float) -> float:
    """Without a fraction where there is none."""
    return int(epochs) if epochs == int(epochs) else round(epochs, 1)


def verdicts_on(records: RunRecords, question: Question) -> list[Verdict]:
    """What is to be said of the space and of the trials, the space first; running trials are judged, too."""
    full = question.epochs
    scores = {score.trial.number: score.valid for score in score_trials(records)}
    configs = {number: trial.config for number, trial in records.trials.items()}
    said = on_the_edge(configs, scores, question.space, question.metric.direction)
    first: dict[int, Any] = {}
    for curve in records.curves.values():
        first.setdefault(curve.trial, curve)
    courses = []
    for number, curve in sorted(first.items()):
        loss = validation_loss(records, curve)
        begin = (len(curve.epochs) - 1) // full * full if question.ladder is not None else 0  # of its last step
        courses.append(
            Course(
                trial=number,
                train_loss=curve.train_loss[begin:].tolist(),
                valid_loss=() if loss is None else loss[begin:].tolist(),
                config=configs.get(number, {}),
                is_complete=len(curve.epochs) - begin >= full,
            )
        )
    return [*said, *judge(courses)]


def _proxy(curves: Mapping[int, Sequence[float]], full: int) -> str | None:
    """Whether scores after a third of the epochs rank trials as those at the end do."""
    cheap = max(1, full // 3)
    through = [curve for curve in curves.values() if len(curve) >= full]
    if full < 3 or not through:
        return None
    found = rank_correlation([curve[cheap - 1] for curve in through], [curve[full - 1] for curve in through])
    return f"After {cheap} of {full} epochs: {found.sentence}"


def _proxy_of_steps(curves: Mapping[int, Sequence[float]], ladder: Ladder, direction: str) -> str | None:
    """Whether scores on each step rank trials as those on the last one do, and as those on the next."""
    best = max if direction == "maximize" else min
    scores: dict[int, dict[int, float]] = {}
    for trial, curve in curves.items():
        for begin in range(0, len(curve) - ladder.epochs + 1, ladder.epochs):
            known = [score for score in curve[begin : begin + ladder.epochs] if math.isfinite(score)]
            scores.setdefault(ladder.step_of(trial, begin + 1), {})[trial] = best(known) if known else math.nan
    pairs = {(step, ladder.last) for step in range(ladder.last)} | {(step, step + 1) for step in range(ladder.last)}
    said = []
    for low, high in sorted(pairs, key=lambda pair: (pair[1] != ladder.last, pair)):
        both = scores.get(low, {}).keys() & scores.get(high, {}).keys()
        if not both or (high != ladder.last and len(both) < FEWEST_PAIRS):
            continue
        found = rank_correlation([scores[low][one] for one in both], [scores[high][one] for one in both])
        said.append(f"On {ladder.words(low)} against {ladder.words(high)}: {found.sentence}")
    return " ".join(said) or None


def _forecasts(curves: Mapping[int, Sequence[float]], full: int, direction: str) -> list[dict[str, float]]:
    """For trials that came to the end what was to be expected after a third of their epochs, and what came."""
    start = full // 3
    if start < _FEWEST_EPOCHS:
        return []
    through = {
        trial: curve
        for trial, curve in curves.items()
        if len(curve) >= full and all(math.isfinite(score) for score in curve)
    }
    found = []
    for trial, curve in list(through.items())[:_MOST_FORECASTS]:
        peers = [list(other[:start]) for number, other in curves.items() if number != trial and len(other) >= start]
        ahead = forecast(curve[:start], full, direction=direction, peers=peers)
        entry = {
            "trial": trial,
            "expected": ahead.mean,
            "low": ahead.low,
            "high": ahead.high,
            "came": curve[full - 1],
        }
        found.append(entry)
    return found
