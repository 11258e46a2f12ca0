"""What the data hold that makes scores say other than they seem to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tenfold.report.markup import Html, element, note, section, table
from tenfold.report.pictures import sheet
from tenfold.report.records import RunRecords

SHOWN = 12


def honesty(records: RunRecords) -> Html | None:
    """The section on the look at the data; None for a run that did not look."""
    findings = records.run.get("honesty")
    if findings is None or (records.run.get("arguments") or {}).get("no_checks"):
        return None
    looked = "Looked for: copies and near-copies in two parts, columns that give the target away, groups cut in two, "
    parts = [note(looked + "rare classes, parts that differ.")]
    if not findings:
        parts.append(element("p", "Nothing was found.", class_="verdict"))
        return section("honesty", "Honesty", *parts)
    for number, finding in enumerate(findings):
        warns = finding["severity"] == "warning"
        sentence = finding["sentence"][:1].upper() + finding["sentence"][1:]
        parts.append(element("p", sentence, class_="verdict warn" if warns else "verdict"))
        parts += _pictures(records, number, finding) or _samples(finding)
    return section("honesty", "Honesty", *parts)


def _pictures(records: RunRecords, number: int, finding: Mapping[str, Any]) -> list[Html]:
    """The first of the samples concerned where they are pictures; near-copies stand beside one another."""
    pictures = records.honesty.get(f"pictures-{number}")
    if pictures is None or not len(pictures):
        return []
    captions = [str(caption) for caption in records.honesty.get(f"captions-{number}", [])]
    more = f"; {len(pictures)} of {len(finding['rows'])} are shown" if len(finding["rows"]) > len(pictures) else ""
    if finding["kind"] != "near-duplicates":
        return [note(f"The first of them{more}."), sheet(pictures, captions)]
    told = [" and ".join(pair) for pair in zip(captions[::2], captions[1::2], strict=True)]
    return [note(f"In pairs, the nearest first{more}."), sheet(_side_by_side(pictures), told)]


def _side_by_side(pictures: np.ndarray) -> np.ndarray:
    """Pictures two by two, with a white line between: from shape (2n, C, H, W) to (n, C, H, 2W + line)."""
    line = np.full((*pictures[::2].shape[:-1], max(1, pictures.shape[-1] // 16)), 255, np.uint8)
    return np.concatenate([pictures[::2], line, pictures[1::2]], axis=-1)


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
