"""A search in words: verdicts with their numbers, what leaving early saved, and the winner to use elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.report.markup import Html, element, note, section
from tenfold.report.ranking import TrialScore
from tenfold.report.records import RunRecords
from tenfold.report.search_charts import best_line

SHOWN = 12


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
        more = [note(f"{len(each) - SHOWN} more are in run.json.")] if len(each) > SHOWN else []
        shown.append(element("details", element("summary", "Trial by trial"), element("ul", *items), *more))
    return section("verdicts", "What is to be said of it", *shown) if shown else None


def saved_line(told: dict[str, Any], ladder: Mapping[str, Any] = {}) -> str:
    """What was trained, against training everybody to the end; on a ladder, in epochs of its last step.

    Example:
        >>> saved_line({"saved": {"trained": 300, "full": 1000}})
        '300 epochs were trained; training every trial to the end would have taken 1000: 70 % were saved.'
        >>> saved_line({"saved": {"trained": 30, "full": 100}}, {"labels": ["1/3 of the rows", "all rows"]})
        'As much was trained as 30 epochs on all rows; training every trial so would have taken 100: 70 % were saved.'
    """
    saved = told.get("saved") or {}
    trained, full = saved.get("trained"), saved.get("full")
    if not trained or not full:
        return ""
    saved_words = f"{100 * (1 - trained / full):.0f} % were saved."
    if trained > full:
        saved_words = f"{100 * (trained / full - 1):.0f} % more."
    if ladder:
        return (
            f"As much was trained as {trained} epochs on {ladder['labels'][-1]}; training every trial so would have "
            f"taken {full}: {saved_words}"
        )
    return f"{trained} epochs were trained; training every trial to the end would have taken {full}: {saved_words}"


def winner(records: RunRecords) -> Html | None:
    """The chosen configuration as a command and as Python."""
    best = records.result.get("best")
    if not best:
        return None
    command, call = winner_command(records.run, best), winner_call(records.run, best)
    parts = [element("h3", "On the command line"), element("pre", command)] if command else []
    parts += [element("h3", "From Python"), element("pre", call)]
    text = "The chosen configuration, cross-validated: the score that it was chosen by flatters it a little."
    return section("winner", "The winner elsewhere", note(text), *parts)


def winner_command(run: dict[str, Any], best: dict[str, Any]) -> str | None:
    """The command that cross-validates a configuration; None where the data were an object in memory.

    Example:
        >>> best = {"network": "mlp", "config": {"network": "mlp", "lr": 0.01}}
        >>> winner_command({"source": {"argument": "digits"}}, best)
        'tenfold cv digits --network mlp --config lr=0.01'
    """
    source = run.get("source") or {}
    if not isinstance(source.get("argument"), str) or source.get("kind") == "dataset":
        return None
    words = ["tenfold", "cv", source["argument"], "--network", str(best["network"])]
    for name, value in best["config"].items():
        if name != "network":
            words += ["--config", f"{name}={value}"]
    return shlex.join(words)


def winner_call(run: dict[str, Any], best: dict[str, Any]) -> str:
    """The same from Python.

    Example:
        >>> best = {"network": "mlp", "config": {"network": "mlp", "lr": 0.01}}
        >>> print(winner_call({"source": {"argument": "digits"}}, best))
        import tenfold
        <BLANKLINE>
        run = tenfold.cross_validate('mlp', 'digits', config={'lr': 0.01})
    """
    argument = (run.get("source") or {}).get("argument")
    data = repr(argument) if isinstance(argument, str) else "data"
    config = {name: value for name, value in best["config"].items() if name != "network"}
    return f"import tenfold\n\nrun = tenfold.cross_validate({best['network']!r}, {data}, config={config!r})"
