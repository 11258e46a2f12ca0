"""What the run cost, and how the planner chose to train it."""

from __future__ import annotations

from typing import Any

from tenfold.report.markup import Html, element, empty, join, note, section, table
from tenfold.report.records import RunRecords
from tenfold.report.wording import format_bytes, format_seconds


def cost(records: RunRecords) -> Html:
    """Timings as bars, and the stacks with the planner's reasons."""
    return section("cost", "Time and plan", _timings(records), _plan(records))


def _timings(records: RunRecords) -> Html:
    timings = records.run.get("timings") or {}
    seconds = {name: float(s) for name, s in timings.items() if isinstance(s, int | float) and s == s}
    if not seconds:
        return empty("No timings have been recorded yet.")
    longest = max(*seconds.values(), 1e-9)
    rows = [
        element(
            "div",
            element("span", name.replace("_", " "), class_="name"),
            element("div", element("i", class_="fill", style=f"width:{100 * s / longest:.1f}%"), class_="track"),
            element("span", format_seconds(s), class_="value"),
            class_="dotrow",
        )
        for name, s in seconds.items()
    ]
    return join([element("div", *rows, class_="dots"), _peak(records)])


def _peak(records: RunRecords) -> Html | None:
    peak = records.run.get("peak_memory_bytes")
    return note(f"Peak memory: {format_bytes(float(peak))}.") if isinstance(peak, int | float) and peak > 0 else None


def _plan(records: RunRecords) -> Html:
    plan = records.run.get("plan") or []
    heading = element("h3", "The planner's choices")
    if not plan:
        return join([heading, empty("The planner has not decided anything yet.")])
    text = "Members of one structure stand in one stack and are trained as one program; the others train alone."
    header = ("stack", "network", "structure", "parameters", "members", "form", "why")
    return join([heading, note(text), table(header, [_stack(entry) for entry in plan], numeric=(0, 3, 4), wide=True)])


def _stack(entry: dict[str, Any]) -> tuple[object, ...]:
    parameters = entry.get("parameters")
    return (
        entry.get("stack", ""),
        entry.get("network", ""),
        entry.get("structure", ""),
        f"{parameters:,}".replace(",", " ") if isinstance(parameters, int) else "",
        entry.get("members", ""),
        entry.get("form", ""),
        entry.get("reason", ""),
    )
