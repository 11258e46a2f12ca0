"""What a source became once it was read: raw inputs, raw targets, the task, and a sentence for each inference."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tenfold.data.inputs import Inputs
from tenfold.data.mask_codes import MaskCodes

PARTS = ("train", "valid", "test")
SEGMENTATION = "segmentation"
TASKS = ("classification", "regression", "multilabel", SEGMENTATION)


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used.

    Attributes:
        path: the file, relative to the source.
        reason: why, in a few words.
    """

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data source, read but not yet split, encoded or normalised.

    Attributes:
        name: what runs are named after, such as "digits".
        kind: "table", "image" or "dataset".
        inputs: raw inputs of N samples.
        targets: class labels (str or int), sets of labels joined by ";", or float64 values, shape (N,); or masks,
            uint8, shape (N, H, W).
        task: "classification", "regression", "multilabel" or "segmentation".
        target_name: the target column's name, or "target"; several joined by ";".
        parts: "train", "valid" or "test" for each row, shape (N,), or None when the source came in one piece.
        groups: what belongs together, such as a patient; one label a row, shape (N,), or None. A group is never cut.
        codes: which value of a mask stands for which class; None but for masks.
        skipped: files that could not be used.
        notes: one sentence for each inference; it names the flag that overrules it.
        rows: the rows' numbers in what was read, int64, shape (N,), rising, where only some were taken; else None.
        problem: why nothing can be learned from it, so that a model can be scored on it at most; empty where
            something can.
    """

    name: str
    kind: str
    inputs: Inputs
    targets: np.ndarray
    task: str
    target_name: str = "target"
    parts: np.ndarray | None = None
    groups: np.ndarray | None = None
    codes: MaskCodes | None = None
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    rows: np.ndarray | None = None
    problem: str = ""

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise ValueError(
                f"Source: inputs and targets must have one length, got {len(self.inputs)} and "
                f"{len(self.targets)}. Give one target for each input."
            )
        if self.task not in TASKS:
            raise ValueError(f"Source: task must be one of {TASKS}, got {self.task!r}. Choose one of them.")

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: np.ndarray) -> Source:
        """A source of these rows alone, in this order.

        Example:
            >>> from tenfold.data import read
            >>> len(read("iris").take(np.arange(0, 150, 3)))
            50
        """
        rows = np.asarray(rows)
        return replace(
            self,
            inputs=self.inputs.take(rows),
            targets=self.targets[rows],
            parts=None if self.parts is None else self.parts[rows],
            groups=None if self.groups is None else self.groups[rows],
            rows=self.row_numbers(rows) if self.rows is not None else None,
        )

    def row_numbers(self, rows: np.ndarray) -> np.ndarray:
        """The numbers of rows in what the user gave, counted from 0, int64 of the same shape."""
        return rows if self.rows is None else self.rows[rows]
