"""The look at the data that a question takes before it trains: said, and kept with the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenfold.data import Finding, Folds, Source, Split, examine
from tenfold.study.options import FitOptions

MOST_SAMPLES = 100


def look_at(source: Source, cut: Split | Folds, options: FitOptions) -> tuple[Finding, ...]:
    """What `tenfold.data.examine` finds; nothing where the options say `no_checks`."""
    return () if options.no_checks else examine(source, cut, seed=options.seed)


def findings_to_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings as `run.json` keeps them: of each at most 100 samples, by row and name.

    Example:
        >>> findings_to_json([Finding(kind="imbalance", severity="note", sentence="...", number=12.0)])[0]["number"]
        12.0
    """
    return [
        {
            "kind": finding.kind,
            "severity": finding.severity,
            "sentence": finding.sentence,
            "number": float(finding.number),
            "rows": finding.rows[:MOST_SAMPLES].tolist(),
            "names": list(finding.names[:MOST_SAMPLES]),
        }
        for finding in findings
    ]
