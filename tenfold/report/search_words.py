"""A search in words: verdicts with their numbers, what leaving early saved, and the winner to use elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.report.markup import Html, element, note, section
from tenfold.report.provenance import arguments_of, command_line, python_call
from tenfold.report.ranking import TrialScore
from tenfold.report.records import RunRecords
from tenfold.report.search_charts import best_line
from tenfold.report.wording import score_phrase

SHOWN = 12
KEPT = (
    "target", "task", "loss", "order", "quantiles", "header", "encoding", "image_size", "ignore", "max_rows",
    "metric", "group", "balanced", "no_checks", "folds", "seeds", "device",
)  # what cross-validation asks, too  # fmt: skip


def verdicts(records: RunRecords, scores: Sequence[TrialScore]) -> Html | None:
    """What is to be said of trials and ranges, the saving, and whether early scores could be trusted."""
    told: dict[str, Any] = records.run.get("insights") or {}
    each = list(told.get("verdicts") or [])
    lines = [best_line(records, scores), saved_line(told, records.ladder), str(told.get("proxy") or "")]
    shown = [element("p", line) for line in lines if line]
    if each:
        kinds = list(told.get("kinds") or each[:SHOWN])  # runs of before have no kinds
        shown.append(element("ul", *(element("li", sentence) for sentence in kinds)))
        items = [element("li", sentence) for sentence in each[:SHOWN]]
        more = [note(f"{len(each) - SHOWN} more in run.json.")] if len(each) > SHOWN else []
        shown.append(element("details", element("summary", "Trial by trial"), element("ul", *items), *more))
    return section("verdicts", "What is to be said of it", *shown) if shown else None


def saved_line(told: dict[str, Any], ladder: Mapping[str, Any] = {}) -> str:
    """What was trained, against training everybody to the end; on a ladder, in epochs of its last step.

    Example:
        >>> saved_line({"saved": {"trained": 300, "full": 1000}})
        '300 epochs were trained; training every trial to the end would have taken 1000: 70 % were saved.'
        >>> saved_line({"saved": {"trained": 1, "full": 1}})
        '1 epoch was trained; training every trial to the end would have taken as many: nothing was saved.'
        >>> saved_line({"saved": {"trained": 30, "full": 100}}, {"labels": ["1/3 of the rows", "all rows"]})
        'As much was trained as 30 epochs on all rows; training every trial so would have taken 100: 70 % were saved.'
    """
    saved = told.get("saved") or {}
    trained, full = saved.get("trained"), saved.get("full")
    if not trained or not full:
        return ""
    saved_words = f"{100 * (1 - trained / full):.0f} % were saved."
    if trained == full:
        saved_words, full = "nothing was saved.", "as many"
    elif trained > full:
        saved_words = f"{100 * (trained / full - 1):.0f} % more."
    if ladder:
        return (
            f"As much was trained as {_epochs(trained)} on {ladder['labels'][-1]}; training every trial so would "
            f"have taken {full}: {saved_words}"
        )
    was = "was" if trained == 1 else "were"
    return f"{_epochs(trained)} {was} trained; training every trial to the end would have taken {full}: {saved_words}"


def _epochs(count: float) -> str:
    return "1 epoch" if count == 1 else f"{count:.10g} epochs"


def winner(records: RunRecords, scores: Sequence[TrialScore]) -> Html | None:
    """The chosen configuration as a command and as Python, and why they give another score than the search's."""
    best = records.result.get("best")
    if not best:
        return None
    asked = winner_run(records.run, best)
    command, call = command_line(asked), python_call(asked)
    parts = [element("h3", "On the command line"), element("pre", command)] if command else []
    parts += [element("h3", "From Python"), element("pre", call)]
    chosen = next((score.valid for score in scores if score.trial.number == best["trial"]), math.nan)
    return section("winner", "The winner elsewhere", note(_otherwise(records, chosen)), *parts)


def _otherwise(records: RunRecords, chosen: float) -> str:
    """Why the winner, cross-validated, has another score than the one that it was chosen by."""
    epochs = (records.run.get("arguments") or {}).get("resource", "epochs")
    many = f", and the best of {len(records.trials)} trials" if len(records.trials) > 1 else ""
    began = "; it begins with new weights on all rows, without the steps before" if epochs == "data" else ""
    known = (
        f"the {score_phrase(chosen, records.metric)} that it was chosen by" if math.isfinite(chosen) else "its score"
    )
    return (
        f"The chosen configuration, cross-validated on the same data{began}. It may differ from {known}: that was "
        f"its best epoch on the validation part{many}, while cross-validation scores every row once, by weights of "
        "the last epoch that other rows and other random starts have led to."
    )


def winner_run(run: Mapping[str, Any], best: Mapping[str, Any]) -> dict[str, Any]:
    """What `command_line` and `python_call` take of the question that cross-validates a configuration.

    Args:
        run: of the search: what it says of data, metric, folds and device is kept.
        best: the chosen trial.

    Example:
        >>> best = {"network": "mlp", "config": {"network": "mlp", "lr": 0.01, "residual": False}}
        >>> run = {"source": {"argument": "my.csv"}, "epochs": 9, "arguments": {"target": "y", "trials": 8}}
        >>> command_line(winner_run(run, best))
        'tenfold cv my.csv --network mlp --config lr=0.01 --config residual=false --folds 5 --epochs 9 --target y'
    """
    given = arguments_of(run)
    kept = {name: given[name] for name in KEPT if name in given}
    config = {name: value for name, value in best["config"].items() if name != "network"}
    asked = {"network": [best["network"]], "config": config, "folds": 5, "epochs": run.get("epochs"), **kept}
    own = [name for name in run.get("own_networks") or [] if name == best["network"]]
    return {
        "verb": "cv",
        "source": run.get("source"),
        "seed": run.get("seed"),
        "own_networks": own,
        "arguments": asked,
    }
