"""The answer of a cross-validation, a replication or a comparison, first on its page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tenfold.core.wording import plural
from tenfold.report.answer import test_dots, tiles
from tenfold.report.markup import Html, element
from tenfold.report.records import RunRecords
from tenfold.report.together import together_line
from tenfold.report.wording import as_number, format_score, metric_words, score_phrase

STATES = {
    "running": "This run is still going on",
    "interrupted": "This run was interrupted",
    "failed": "This run failed",
}
HOW = {
    ("cv", "best"): "The run keeps the model of its best fold",
    ("cv", "refit"): "The run keeps a model that was trained anew on all rows",
    ("cv", "average"): "The run keeps one model that averages the predictions of all folds",
    ("cv", "vote"): "The run keeps one model that takes a vote of all folds",
    ("replicate", "best"): "The run keeps the model of the best seed",
    ("replicate", "average"): "The run keeps one model that averages the predictions of all seeds",
    ("replicate", "vote"): "The run keeps one model that takes a vote of all seeds",
}


def trust_answer(records: RunRecords) -> Html:
    """The headline, of which randomness it speaks, and which model was kept."""
    result = records.result
    lines: list[object] = [element("h1", trust_headline(records).replace(" %", "\u00a0%"))]
    if result:
        lines += [_verdict(records, result), element("p", *_remarks(records, result), class_="lead")]
    elif records.status == "interrupted":
        resume = element("code", f"--resume --out {records.folder}")
        lines.append(element("p", "The same command with ", resume, " continues it.", class_="lead"))
    return element("section", *lines, test_dots(records), tiles(records), id="answer", class_="answer")


def trust_headline(records: RunRecords) -> str:
    """The answer in one sentence, or the state of a run that has none yet."""
    sentence = records.result.get("sentence")
    if sentence:
        return str(sentence)
    state = STATES.get(records.status, "This run has no answer")
    begun = len(records.curves)
    if not begun:
        return f"{state}: no member has finished an epoch."
    furthest = max(int(curve.epochs[-1]) for curve in records.curves.values())
    return f"{state}: {plural(begun, 'member')} in training, {plural(furthest, 'epoch')} recorded, no answer yet."


def _verdict(records: RunRecords, result: dict[str, Any]) -> Html | None:
    """What stands in the way of trusting the number, or how many differences are shown."""
    if records.verb == "compare":
        return _shown((result.get("comparison") or {}).get("pairs") or [])
    valid = result.get("valid") or {}
    if not valid.get("diverged"):
        return None
    low, high = as_number(valid.get("diverged_low")), as_number(valid.get("diverged_high"))
    text = f"{100 * low:.0f} to {100 * high:.0f} % of such trainings diverge (95 % interval)."
    return element("p", text, class_="verdict warn")


def _shown(pairs: Sequence[dict[str, Any]]) -> Html | None:
    if len(pairs) == 1:
        more = pairs[0].get("more_seeds") if pairs[0].get("test") in ("paired t", "anytime t") else None
        text = f"If the difference is what it seems, about {plural(int(more or 0), 'more seed')} would show it."
        return element("p", text, class_="verdict warn") if more else None
    count = sum(pair.get("winner") is not None for pair in pairs)
    kind = "verdict" if count == len(pairs) else "verdict warn"
    return element("p", f"{count} of {plural(len(pairs), 'difference')} shown to be real.", class_=kind)


def _remarks(records: RunRecords, result: dict[str, Any]) -> list[str]:
    valid = result.get("valid") or {}
    about = (result.get("comparison") or {}).get("speaks_of") or valid.get("speaks_of")
    sentences = [f"The numbers speak of {about}." if about else ""]
    sentences += [_out_of_fold(records, result), _on_test(records, result)]
    sentences.append(together_line(result))
    kept = HOW.get((records.verb, str((records.run.get("arguments") or {}).get("final"))))
    sentences.append(f"{kept}." if kept else "")
    return [" ".join(sentence for sentence in sentences if sentence)]


def _on_test(records: RunRecords, result: dict[str, Any]) -> str:
    """Of a cross-validation what its models do on the test part; the other verbs say it in their headline."""
    value = as_number((result.get("test") or {}).get("mean"))
    if records.verb != "cv" or math.isnan(value):
        return ""
    return f"On the test part they reach {score_phrase(value, records.metric)} on average."


def _out_of_fold(records: RunRecords, result: dict[str, Any]) -> str:
    score = (result.get("out_of_fold") or {}).get(records.metric)
    if not score:
        return ""
    value = format_score(as_number(score.get("value")), records.metric)
    n = f" on {plural(int(score['n']), 'sample')}" if score.get("n") else ""
    return f"All out-of-fold predictions together: {metric_words(records.metric)} {value}{n}."
