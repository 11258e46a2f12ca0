"""What a look at the data can bring to light, in one shape for terminals, reports and tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Severity = Literal["note", "warning"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something in the data that can make a score say other than it seems to.

    Attributes:
        kind: "duplicates", "near-duplicates", "groups", "imbalance", "rare-classes", "shift" or "leakage".
        severity: "warning" when scores cannot be trusted as they are, "note" when it is worth knowing.
        sentence: what was found, how much of it, and what to do.
        number: how much, in the unit of the kind: rows, groups, a ratio, an AUC.
        rows: the samples concerned, rows of the source, int64.
        names: their file names, or the columns or classes concerned.
    """

    kind: str
    severity: Severity
    sentence: str
    number: float
    rows: np.ndarray = field(default_factory=lambda: np.array([], np.int64))
    names: tuple[str, ...] = ()
