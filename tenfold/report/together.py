"""What it brought to let several networks predict together: a sentence, and on the page who counts how much.

Both read "ensemble" of the answer in `run.json`, which `tenfold.study.gains` makes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tenfold.core.wording import plural
from tenfold.report.markup import Html, element, join, table
from tenfold.report.records import RunRecords
from tenfold.report.wording import as_number, format_difference, format_score, metric_words

HOW = {
    "average": "{networks} predict together, by their mean",
    "vote": "{networks} predict together, a vote each",
    "ensemble": "{networks} of {trials} predict together, by a weighted mean",
}


def together_line(result: Mapping[str, Any]) -> str:
    """How many networks predict together, and what they gain over the best of them alone; empty of one alone.

    Args:
        result: the answer of a run.

    Example:
        >>> gain = {"metric": "rmse", "value": -1.5, "low": -2.9, "high": -0.1, "n": 88, "single": 54.6}
        >>> told = {"how": "average", "networks": 3, "trials": [6], "gain": gain}
        >>> together_line({"direction": "minimize", "ensemble": told})[:80]
        '3 networks predict together, by their mean: RMSE -1.5 against the best of them a'
    """
    told = result.get("ensemble")
    if not told:
        return ""
    counts = {"networks": plural(int(told["networks"]), "network"), "trials": plural(len(told["trials"]), "trial")}
    text = HOW[told["how"]].format(**counts)
    gain = told.get("gain")
    if not gain:
        return f"{text}; without a test part their gain is unknown."
    metric, low, high = str(gain["metric"]), as_number(gain["low"]), as_number(gain["high"])
    ends = f"{format_difference(low, metric).removesuffix(' points')} to {format_difference(high, metric)}"
    difference = format_difference(as_number(gain["value"]), metric)
    single = format_score(as_number(gain["single"]), metric)
    return (
        f"{text}: {metric_words(metric)} {difference} against the best of them alone ({single}) on the test part "
        f"(95 % interval {ends}, n = {gain['n']}), {_verdict(low, high, str(result['direction']))}."
    )


def together_parts(records: RunRecords) -> Html | None:
    """The sentence and, where they differ, the weights of the trials; None of one network alone."""
    result = records.result
    line = together_line(result)
    if not line:
        return None
    weights = (result["ensemble"] or {}).get("weights") or {}
    rows = [(_title(records, trial), f"{100 * float(share):.1f} %") for trial, share in _falling(weights)]
    shown = None
    if len(rows) > 1:
        shown = element("details", element("summary", "Weights"), table(("trial", "weight"), rows, numeric=(1,)))
    return join([element("p", line, class_="lead"), shown])


def _verdict(low: float, high: float, direction: str) -> str:
    if math.isnan(low + high):
        return "which says nothing"
    better, worse = (low > 0, high < 0) if direction == "maximize" else (high < 0, low > 0)
    return "a gain" if better else "a loss" if worse else "so no gain is shown"


def _falling(weights: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(weights.items(), key=lambda pair: (-pair[1], int(pair[0])))


def _title(records: RunRecords, trial: str) -> str:
    known = records.trials.get(int(trial))
    return known.title if known else f"trial {trial}"
