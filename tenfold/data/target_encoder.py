"""Targets to what a loss takes, and predictions back to what the user wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tenfold.core.errors import InputError
from tenfold.data.source import TASKS


class TargetEncoder:
    """Class indices, or standardised numbers.

    Args:
        task: "classification" or "regression".
        classes: the labels in the order of their indices; None for regression.
        mean: of the training targets; 0 for classification.
        std: of the training targets; 1 for classification.

    Example:
        >>> encoder = TargetEncoder.fit(np.array(["b", "a", "b"]), "classification", np.arange(3))
        >>> encoder.classes, encoder.encode(np.array(["b"])).tolist(), encoder.decode(np.array([0])).tolist()
        (('a', 'b'), [1], ['a'])
    """

    def __init__(
        self, *, task: str, classes: tuple[str | int, ...] | None = None, mean: float = 0.0, std: float = 1.0
    ) -> None:
        self.task, self.classes, self.mean, self.std = task, classes, mean, std

    @classmethod
    def fit(cls, raw_targets: np.ndarray, task: str, rows: np.ndarray) -> TargetEncoder:
        """An encoder from the targets of these training rows alone.

        Raises:
            ValueError: the task is unknown.
            InputError: there is one class, or one value, only.
        """
        if task not in TASKS:
            raise ValueError(f"TargetEncoder: task must be one of {TASKS}, got {task!r}. Choose one of them.")
        values = np.asarray(raw_targets)[rows]
        distinct = np.unique(values)
        if len(distinct) < 2:
            raise InputError(f"target: the training rows hold {distinct.tolist()} only, there is nothing to learn.")
        if task == "classification":
            return cls(task=task, classes=tuple(distinct.tolist()))
        return cls(task=task, mean=float(values.mean()), std=float(values.std()))

    @property
    def num_outputs(self) -> int:
        """How many outputs a network needs: one a class, or one."""
        return len(self.classes) if self.classes else 1

    def encode(self, raw: np.ndarray) -> torch.Tensor:
        """Class indices, int64 of shape (B,), or standardised targets, float32 of shape (B,).

        Raises:
            InputError: a label is no class of the training rows.
        """
        raw = np.asarray(raw)
        if self.classes is None:
            return torch.from_numpy(((raw.astype(np.float64) - self.mean) / self.std).astype(np.float32))
        known = np.array(self.classes)
        if known.dtype.kind != raw.dtype.kind and {known.dtype.kind, raw.dtype.kind} & set("UO"):
            raw, known = raw.astype(str), known.astype(str)
        order = np.argsort(known)
        places = order[np.searchsorted(known, raw, sorter=order).clip(max=len(known) - 1)]
        wrong = np.flatnonzero(known[places] != raw)
        if len(wrong):
            raise InputError(
                f"target: class {raw[wrong[0]].item()!r} does not occur in the training rows "
                f"({len(wrong)} such rows). Move some of them to training, or remove them."
            )
        return torch.from_numpy(places.astype(np.int64))

    def decode(self, encoded: Any) -> np.ndarray:
        """Labels of class indices, or values in raw units, shape (B,)."""
        values = np.asarray(encoded)
        if self.classes is None:
            return values.astype(np.float64) * self.std + self.mean
        return np.array(self.classes)[values]

    def to_json(self) -> dict[str, Any]:
        """This encoder as plain JSON types."""
        classes = None if self.classes is None else list(self.classes)
        return {"task": self.task, "classes": classes, "mean": self.mean, "std": self.std}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> TargetEncoder:
        """The encoder that `to_json` wrote."""
        classes = None if record["classes"] is None else tuple(record["classes"])
        return cls(task=record["task"], classes=classes, mean=record["mean"], std=record["std"])
