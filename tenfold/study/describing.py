"""What every `run.json` says alike: the source, the plan, the versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tenfold.core.machine import versions
from tenfold.data import Source
from tenfold.study.run_folder import source_commit
from tenfold.train import MemberSpec, PlannedStack


def describe_source(source: Source, argument: Any) -> dict[str, Any]:
    """Where the data came from, and what was inferred and skipped."""
    return {
        "name": source.name,
        "kind": source.kind,
        "argument": str(argument) if isinstance(argument, str | Path) else None,
        "path": _whole_path(argument),
        "rows": len(source),
        "notes": list(source.notes),
        "skipped": [{"file": item.path, "reason": item.reason} for item in source.skipped],
    }


def _whole_path(argument: Any) -> str | None:
    """Where a file or folder lies, for whoever asks again from another folder; None of bundled names and objects."""
    if not isinstance(argument, str | Path):
        return None
    path = Path(argument).expanduser()
    return str(path.absolute()) if path.exists() else None


def describe_plan(plan: Sequence[PlannedStack], specs: Sequence[MemberSpec], threads: int) -> dict[str, Any]:
    """The planner's choices, for a reader ("plan") and for a resumed run ("plan_stacks", "threads")."""
    lines = [
        {
            "stack": number,
            "network": specs[line.places[0]].label.split(" ")[0],
            "structure": line.label,
            "members": len(line.places),
            "parameters": line.parameters,
            "form": line.form,
            "reason": line.reason,
        }
        for number, line in enumerate(plan)
    ]
    return {"plan": lines, "threads": threads, "plan_stacks": [line.to_json() for line in plan]}


def plan_sentences(plan: Sequence[PlannedStack]) -> list[str]:
    """The planner's choices, said while it works; what is alike is said once, with all its members."""
    counts: Counter[str] = Counter()
    for line in plan:
        counts[f"{line.label}, {line.form}: {line.reason} (--form)"] += len(line.places)
    return [f"{count} x {line}" for line, count in counts.items()]


def describe_code() -> dict[str, Any]:
    """Versions of tenfold and of what it stands on, and the commit if it runs from its source."""
    try:
        own = metadata.version("tenfold")
    except metadata.PackageNotFoundError:
        own = "not installed"
    return {"versions": {"tenfold": own, **versions()}, "commit": source_commit()}
