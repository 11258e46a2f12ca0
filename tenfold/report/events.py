"""What befell trainings on the way: those that fell sick, those that stopped early, and memory that ran out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenfold.core.wording import plural
from tenfold.report.markup import Html, element, note, section, table
from tenfold.report.records import RunRecords

SHOWN = 20

Event = Mapping[str, Any]


def events_line(records: RunRecords) -> str:
    """How many trainings fell sick and why, how many stopped, and whether memory ran out; empty where none did.

    Args:
        records: a run.
    """
    sick, stopped, splits = (_of(records, kind) for kind in ("sick", "stopped", "split"))
    facts = []
    if sick:
        first = sick[0]
        facts.append(
            f"{plural(len(sick), 'training')} fell sick (the first: {_who(records, first)} at step {first['step']}, "
            f"{first['cause']})"
        )
    if stopped:
        facts.append(f"{plural(len(stopped), 'training')} stopped early, their patience at an end")
    if splits:
        pieces = max(int(event["pieces"]) for event in splits)
        facts.append(f"memory ran out, and steps were taken in up to {pieces} pieces")
    return f"{'; '.join(facts)}." if facts else ""


def events(records: RunRecords) -> Html | None:
    """The section on what befell trainings; None where nothing did."""
    line = events_line(records)
    if not line:
        return None
    rows = [
        (_who(records, event), event["epoch"], _words(event)) for event in records.events if event["kind"] != "split"
    ]
    rows += [
        (plural(len(event["trials"]), "trial"), event["epoch"], _words(event))
        for event in records.events
        if event["kind"] == "split"
    ]
    more = note(f"{len(rows) - SHOWN} more in records.jsonl.") if len(rows) > SHOWN else None
    text = element("p", f"{line[0].upper()}{line[1:]}", class_="verdict warn" if _of(records, "sick") else "verdict")
    return section("events", "What befell trainings", text, table(("training", "epoch", "what"), rows[:SHOWN]), more)


def _of(records: RunRecords, kind: str) -> list[Event]:
    return [event for event in records.events if event["kind"] == kind]


def _words(event: Event) -> str:
    if event["kind"] == "sick":
        return f"fell sick at step {event['step']}: {event['cause']}"
    if event["kind"] == "stopped":
        return f"stopped; its best epoch is {event['best_epoch']}"
    return f"memory ran out: steps in {event['pieces']} pieces"


def _who(records: RunRecords, event: Event) -> str:
    """A training by trial and, where there are several, by fold and seed."""
    trial = records.trials.get(int(event["trial"]))
    text = trial.title if trial else f"trial {event['trial']}"
    folds = {fold for _, fold, _ in records.curves}
    seeds = {seed for _, _, seed in records.curves}
    text += f", fold {int(event.get('fold') or 0) + 1}" if len(folds) > 1 else ""
    return text + (f", seed {event.get('seed')}" if len(seeds) > 1 else "")
