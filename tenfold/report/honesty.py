"""What the data hold that makes scores say other than they seem to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenfold.report.markup import Html, element, note, section, table
from tenfold.report.records import RunRecords

SHOWN = 12


def honesty(records: RunRecords) -> Html | None:
    """The section on the look at the data; None for a run that did not look."""
    findings = records.run.get("honesty")
    if findings is None or (records.run.get("arguments") or {}).get("no_checks"):
        return None
    looked = "Looked for: copies in two parts, columns that give the target away, groups cut in two, rare classes, "
    parts = [note(looked + "parts that differ.")]
    if not findings:
        parts.append(element("p", "Nothing was found.", class_="verdict"))
        return section("honesty", "Honesty", *parts)
    for finding in findings:
        warns = finding["severity"] == "warning"
        sentence = finding["sentence"][:1].upper() + finding["sentence"][1:]
        parts.append(element("p", sentence, class_="verdict warn" if warns else "verdict"))
        parts += _samples(finding)
    return section("honesty", "Honesty", *parts)


def _samples(finding: Mapping[str, Any]) -> list[Html]:
    """The first of the samples concerned, by row and, where they have one, by name."""
    rows, names = finding["rows"][:SHOWN], finding["names"][:SHOWN]
    if not rows:
        return []
    if len(finding["names"]) != len(finding["rows"]):
        return [note("Rows of the source, counted from 0: ", ", ".join(map(str, rows)), _and_more(finding))]
    return [table(["row", "sample"], zip(rows, names, strict=True), numeric=[0]), note(_and_more(finding))]


def _and_more(finding: Mapping[str, Any]) -> str:
    return ", and more." if len(finding["rows"]) > SHOWN else "."
