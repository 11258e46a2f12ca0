"""The look at the data that a question takes before it trains: said, and kept with the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.data import ArrayInputs, Finding, Folds, ImageFileInputs, Source, Split, examine
from tenfold.study.options import FitOptions

MOST_SAMPLES = 100
MOST_PICTURES = 12


def look_at(source: Source, cut: Split | Folds, options: FitOptions) -> tuple[Finding, ...]:
    """What `tenfold.data.examine` finds; nothing where the options say `no_checks`."""
    return () if options.no_checks else examine(source, cut, seed=options.seed)


def findings_to_json(findings: Sequence[Finding], source: Source) -> list[dict[str, Any]]:
    """Findings as `run.json` keeps them: of each at most 100 samples, by row and name.

    Example:
        >>> from tenfold.data import read
        >>> found = Finding(kind="imbalance", severity="note", sentence="...", number=12.0)
        >>> findings_to_json([found], read("iris"))[0]["number"]
        12.0
    """
    return [
        {
            "kind": finding.kind,
            "severity": finding.severity,
            "sentence": finding.sentence,
            "number": float(finding.number),
            "rows": source.row_numbers(finding.rows[:MOST_SAMPLES]).tolist(),
            "names": list(finding.names[:MOST_SAMPLES]),
        }
        for finding in findings
    ]


def save_samples(folder: Path, findings: Sequence[Finding], source: Source) -> None:
    """Writes `honesty.npz` where samples are pictures: the first twelve of each finding, for the report.

    Arrays: of the finding number k "pictures-k", uint8 of shape (n, C, H, W), and "captions-k".

    Args:
        folder: the run folder.
        findings: those of the run.
        source: what was looked at.
    """
    arrays: dict[str, np.ndarray] = {}
    for number, finding in enumerate(findings):
        rows = finding.rows[:MOST_PICTURES]
        pictures = _pictures(source, rows)
        if pictures is not None and len(rows):
            arrays[f"pictures-{number}"] = pictures
            arrays[f"captions-{number}"] = np.array([_caption(source, row) for row in rows.tolist()], dtype=np.str_)
    if arrays:
        np.savez_compressed(folder / "honesty.npz", **arrays)  # type: ignore[arg-type]


def _pictures(source: Source, rows: np.ndarray) -> np.ndarray | None:
    inputs = source.inputs
    if isinstance(inputs, ImageFileInputs):
        return inputs.pixels[inputs.rows[rows]]
    if not isinstance(inputs, ArrayInputs):
        return None
    images = inputs.images[rows]
    return images if images.dtype == np.uint8 else (images * 255).clip(0, 255).round().astype(np.uint8)


def _caption(source: Source, row: int) -> str:
    inputs = source.inputs
    name = inputs.paths[row] if isinstance(inputs, ImageFileInputs) else f"row {source.row_numbers(np.array(row))}"
    return name if source.targets.ndim > 1 else f"{name}: {source.targets[row]}"
