"""The trials of a run with their scores, and the leaderboard with baselines among them.

A trial's valid score is that of its best epoch; over several members (folds, seeds) it is their mean at the
epoch where that mean is best. An epoch counts once all members of the trial have finished it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tenfold.report.records import Baseline, Curve, RunRecords, Score, Trial
from tenfold.report.wording import printable

COLUMNS = (
    "rank",
    "kind",
    "name",
    "trial",
    "network",
    "valid",
    "spread",
    "members",
    "epochs",
    "best_epoch",
    "left_rung",
    "chosen",
    "test",
    "test_low",
    "test_high",
    "test_n",
)


@dataclass(frozen=True, kw_only=True)
class TrialScore:
    """How a trial did.

    Attributes:
        trial: the trial.
        valid: the metric on the validation part at the trial's best epoch (on a ladder, of its last step), NaN when
            it never had a number.
        best_epoch: that epoch, or None.
        spread: standard deviation over the members at that epoch, NaN for fewer than two.
        members: number of members that finished an epoch.
        epochs: epochs trained.
        left_rung: the rung at which it left, or None.
        course: the mean over members after each epoch that all have finished.
        left_early: whether it trains no more and did not come to the end, at a rung or by any other rule.
    """

    trial: Trial
    valid: float
    best_epoch: int | None
    spread: float
    members: int
    epochs: int
    left_rung: int | None
    course: dict[int, float]
    left_early: bool = False

    @property
    def ending(self) -> str:
        """Where it left, to be said after how long it trained; empty where it trained on."""
        return f", left at rung {self.left_rung}" if self.left_rung is not None else ", left early" * self.left_early


def score_trials(records: RunRecords) -> list[TrialScore]:
    """The scores of all trials, best first; trials without a number come last, ties go by trial number."""
    curves: defaultdict[int, list[Curve]] = defaultdict(list)
    for curve in records.curves.values():
        curves[curve.trial].append(curve)
    left = {trial: record.rung for record in reversed(records.rungs) for trial in record.left}
    early = {record.trial for record in records.departures if record.how != "complete"} | left.keys()
    scores = [
        replace(
            _score_trial(trial, curves[number], records.metric, records.maximize, left.get(number)),
            left_early=number in early,
        )
        for number, trial in records.trials.items()
    ]
    return sorted(scores, key=lambda score: (*sort_key(score.valid, records.maximize), score.trial.number))


def sort_key(value: float, maximize: bool) -> tuple[bool, float]:
    """A key that sorts the best score first and NaN last.

    Example:
        >>> sorted([0.2, float("nan"), 0.9], key=lambda value: sort_key(value, True))
        [0.9, 0.2, nan]
    """
    return (True, 0.0) if np.isnan(value) else (False, -value if maximize else value)


def _score_trial(
    trial: Trial, curves: Sequence[Curve], metric: str, maximize: bool, left_rung: int | None
) -> TrialScore:
    by_epoch: defaultdict[int, list[float]] = defaultdict(list)
    for curve in curves:
        values = curve.valid.get(metric, np.full(len(curve.epochs), np.nan))
        for epoch, value in zip(curve.epochs.tolist(), values.tolist(), strict=True):
            by_epoch[epoch].append(value)
    course = {e: float(np.mean(by_epoch[e])) for e in sorted(by_epoch) if len(by_epoch[e]) == len(curves)}
    begin = _begin_of_last_step(curves)
    finite = [epoch for epoch, value in course.items() if np.isfinite(value) and epoch >= begin]
    best = min(finite, key=lambda epoch: sort_key(course[epoch], maximize), default=None)
    return TrialScore(
        trial=trial,
        valid=course[best] if best is not None else float("nan"),
        best_epoch=best,
        spread=float(np.std(by_epoch[best], ddof=1)) if best is not None and len(curves) > 1 else float("nan"),
        members=len(curves),
        epochs=max(by_epoch, default=0),
        left_rung=left_rung,
        course=course,
    )


def _begin_of_last_step(curves: Sequence[Curve]) -> int:
    """The first epoch of the step that a trial trained on last: on a ladder each step is a training of its own."""
    stepped = [curve for curve in curves if curve.steps is not None]
    if not stepped:
        return 0
    return max(
        int(curve.epochs[curve.steps == curve.steps.max()].min()) for curve in stepped if curve.steps is not None
    )


def leaderboard(records: RunRecords) -> pd.DataFrame:
    """One row a trial, best first, with the baselines among the rows.

    Args:
        records: a run as `load_run` gives it.

    Returns:
        A frame with the columns `rank` (1 is best), `kind` ("trial" or "baseline"), `name`, `trial` (missing
        for a baseline), `network`, `valid` (the metric at the best epoch), `spread` (standard deviation over
        members), `members`, `epochs` (trained), `best_epoch`, `left_rung` (missing for those that were never
        sent away), `chosen`, `test`, `test_low`, `test_high`, `test_n` (only the chosen trial and the baselines
        have seen the test part), and `config_<name>` for every name in a configuration. `attrs` holds "metric"
        and "direction".
    """
    rows = [_trial_row(score, records) for score in score_trials(records)]
    rows += [_baseline_row(baseline, records) for baseline in records.baselines]
    rows.sort(key=lambda row: sort_key(row["valid"], records.maximize))
    rows = [{column: printable(v) if isinstance(v, str) else v for column, v in row.items()} for row in rows]
    names = list(dict.fromkeys(name for trial in records.trials.values() for name in trial.config))
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *(f"config_{name}" for name in names if name != "network")])
    frame["rank"] = range(1, len(frame) + 1)
    whole = [name for name in frame.columns if name.startswith("config_") and _is_whole(records, name)]
    for name in ("trial", "members", "epochs", "best_epoch", "left_rung", "test_n", *whole):
        frame[name] = frame[name].astype("Int64")
    frame["chosen"] = frame["chosen"].astype(bool)
    frame.attrs = {"metric": records.metric, "direction": "maximize" if records.maximize else "minimize"}
    return frame


def _is_whole(records: RunRecords, column: str) -> bool:
    name = column.removeprefix("config_")
    values = [trial.config[name] for trial in records.trials.values() if name in trial.config]
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def _trial_row(score: TrialScore, records: RunRecords) -> dict[str, Any]:
    chosen = score.trial.number == records.chosen
    row = {
        "kind": "trial",
        "name": score.trial.title,
        "trial": score.trial.number,
        "network": score.trial.network,
        "valid": score.valid,
        "spread": score.spread,
        "members": score.members,
        "epochs": score.epochs,
        "best_epoch": score.best_epoch,
        "left_rung": score.left_rung,
        "chosen": chosen,
        **{f"config_{name}": value for name, value in score.trial.config.items()},
    }
    return row | _test_columns(records.final.test if chosen and records.final else {}, records.metric)


def _baseline_row(baseline: Baseline, records: RunRecords) -> dict[str, Any]:
    row = {
        "kind": "baseline",
        "name": baseline.name,
        "valid": baseline.valid.get(records.metric, float("nan")),
        "spread": float("nan"),
        "chosen": False,
    }
    return row | _test_columns(baseline.test, records.metric)


def _test_columns(test: dict[str, Score], metric: str) -> dict[str, Any]:
    score = test.get(metric)
    if score is None:
        return {}
    return {"test": score.value, "test_low": score.low, "test_high": score.high, "test_n": score.n}
