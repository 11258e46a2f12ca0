"""Targets to what a loss takes, and predictions back to what the user wrote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from tenfold.core.errors import InputError, did_you_mean
from tenfold.data.mask_codes import MaskCodes
from tenfold.data.source import SEGMENTATION, TASKS

MULTI_LABEL = "multilabel"
SEPARATOR = ";"  # between the labels of a sample, as clean_label_sets writes them


class TargetEncoder:
    """Class indices, rows of 0 and 1, standardised numbers, or masks of places of classes.

    Args:
        task: "classification", "multilabel", "regression" or "segmentation".
        classes: the labels in the order of their indices; None but for classification and segmentation.
        ordered: whether the classes stand in an order that matters.
        labels: the labels in the order of their columns; None but for multi-label targets.
        mean: of the training targets; 0 but for regression.
        std: of the training targets; 1 but for regression.
        quantiles: levels that a regression predicts; none for the mean.
        codes: which value of a mask stands for which class; None but for segmentation.

    Example:
        >>> encoder = TargetEncoder.fit(np.array(["b", "a", "b"]), "classification", np.arange(3))
        >>> encoder.classes, encoder.encode(np.array(["b"])).tolist(), encoder.decode(np.array([0])).tolist()
        (('a', 'b'), [1], ['a'])
        >>> encoder = TargetEncoder.fit(np.array(["b;a", "", "b"]), "multilabel", np.arange(3))
        >>> encoder.encode(np.array(["b", "a;b"])).tolist(), encoder.decode(np.array([[1, 1], [0, 0]])).tolist()
        ([[0.0, 1.0], [1.0, 1.0]], ['a;b', ''])
    """

    def __init__(
        self,
        *,
        task: str,
        classes: tuple[str | int, ...] | None = None,
        ordered: bool = False,
        labels: tuple[str, ...] | None = None,
        mean: float = 0.0,
        std: float = 1.0,
        quantiles: tuple[float, ...] = (),
        codes: MaskCodes | None = None,
    ) -> None:
        self.task, self.classes, self.ordered, self.labels = task, classes, ordered, labels
        self.mean, self.std, self.quantiles, self.codes = mean, std, quantiles, codes

    @classmethod
    def fit(
        cls,
        raw_targets: np.ndarray,
        task: str,
        rows: np.ndarray,
        *,
        order: Sequence[str | int] | None = None,
        quantiles: Sequence[float] = (),
        codes: MaskCodes | None = None,
    ) -> TargetEncoder:
        """An encoder from the targets of these training rows alone.

        Args:
            raw_targets: class labels, sets of labels joined by ";", or numbers, shape (N,); or masks, (N, H, W).
            task: "classification", "multilabel", "regression" or "segmentation".
            rows: of the training part.
            order: the classes in an order that matters, such as ("low", "middle", "high"); those that the training
                rows lack are left out. None for classes without one.
            quantiles: levels that a regression shall predict.
            codes: the classes of masks, which a segmentation needs.

        Raises:
            ValueError: the task is unknown, an order or quantiles are for another one, or codes are missing.
            InputError: there is one class, label set or value only, or a class that the order lacks.
        """
        if task not in TASKS:
            raise ValueError(f"TargetEncoder: task must be one of {TASKS}, got {task!r}. Choose one of them.")
        for name, given, owner in (("order", order, "classification"), ("quantiles", quantiles, "regression")):
            if given and task != owner:
                raise ValueError(f"TargetEncoder: {name} must be left out, the task is {task}. It is for {owner}.")
        values = np.asarray(raw_targets)[rows]
        distinct = np.unique(values)
        if task == SEGMENTATION:
            if codes is None:
                raise ValueError("TargetEncoder: codes must be given for a segmentation. Take those of the source.")
            distinct = np.intersect1d(distinct, codes.values)
        if len(distinct) < 2:
            raise InputError(f"target: the training rows hold {distinct.tolist()} only, there is nothing to learn.")
        if task == SEGMENTATION and codes is not None:
            return cls(task=task, classes=codes.names, codes=codes)
        if task == MULTI_LABEL:
            labels = sorted({label for one in distinct.tolist() for label in _split(one)})
            return cls(task=task, labels=tuple(labels))
        if task == "classification":
            classes = tuple(distinct.tolist()) if order is None else _in_order(distinct.tolist(), order)
            return cls(task=task, classes=classes, ordered=order is not None)
        return cls(task=task, mean=float(values.mean()), std=float(values.std()), quantiles=tuple(quantiles))

    @property
    def num_outputs(self) -> int:
        """How many outputs a network needs: one a class, a label or a quantile, or one."""
        return len(self.classes or self.labels or self.quantiles or (self.mean,))

    def encode(self, raw: np.ndarray) -> torch.Tensor:
        """Class indices, int64 of shape (B,); labels, float32 of shape (B, L); standardised numbers, float64, (B,).

        Numbers keep the digits of the raw ones, which metrics are told in; a loss rounds them to its outputs' type.
        Of masks places of classes, or 255 where there is no label, uint8 of shape (B, H, W).

        Raises:
            InputError: a class or label does not occur in the training rows.
        """
        raw = np.asarray(raw)
        if self.codes is not None:
            return torch.from_numpy(self.codes.encode(raw))
        if self.labels is not None:
            return _multi_hot(raw, self.labels)
        if self.classes is None:
            return torch.from_numpy((raw.astype(np.float64) - self.mean) / self.std)
        known = np.array(self.classes)
        if known.dtype.kind != raw.dtype.kind and {known.dtype.kind, raw.dtype.kind} & set("UO"):
            raw, known = raw.astype(str), known.astype(str)
        order = np.argsort(known)
        places = order[np.searchsorted(known, raw, sorter=order).clip(max=len(known) - 1)]
        wrong = np.flatnonzero(known[places] != raw)
        if len(wrong):
            raise _unknown("class", raw[wrong[0]].item(), len(wrong), known.tolist())
        return torch.from_numpy(places.astype(np.int64))

    def decode(self, encoded: Any) -> np.ndarray:
        """Labels of class indices, shape (B,); of rows of 0 and 1 joined by ";", shape (B,); or values in raw units.

        Args:
            encoded: int of shape (B,); 0 and 1 of shape (B, L); standardised values, shape (B,) or (B, Q); or places
                of classes, shape (B, H, W), which become the values of masks, uint8.
        """
        values = np.asarray(encoded)
        if self.codes is not None:
            return self.codes.decode(values)
        if self.labels is not None:
            names = np.array(self.labels)
            return np.array([SEPARATOR.join(names[row > 0]) for row in values], dtype=np.str_)
        if self.classes is None:
            return values.astype(np.float64) * self.std + self.mean
        return np.array(self.classes)[values]

    def to_json(self) -> dict[str, Any]:
        """This encoder as plain JSON types."""
        return {
            "task": self.task,
            "classes": None if self.classes is None else list(self.classes),
            "ordered": self.ordered,
            "labels": None if self.labels is None else list(self.labels),
            "mean": self.mean,
            "std": self.std,
            "quantiles": list(self.quantiles),
            "codes": None if self.codes is None else self.codes.to_json(),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> TargetEncoder:
        """The encoder that `to_json` wrote, also before it knew of order, labels, quantiles and masks."""
        labels, codes = record.get("labels"), record.get("codes")
        return cls(
            task=record["task"],
            classes=None if record["classes"] is None else tuple(record["classes"]),
            ordered=record.get("ordered", False),
            labels=None if labels is None else tuple(labels),
            mean=record["mean"],
            std=record["std"],
            quantiles=tuple(record.get("quantiles", ())),
            codes=None if codes is None else MaskCodes.from_json(codes),
        )


def _split(joined: str) -> list[str]:
    return joined.split(SEPARATOR) if joined else []


def _in_order(classes: list[str | int], order: Sequence[str | int]) -> tuple[str | int, ...]:
    """The classes in the order given, whose entries may be text where the classes are numbers."""
    places = {str(name): place for place, name in enumerate(order)}
    for label in classes:
        if str(label) not in places:
            raise InputError(
                f"target: class {label!r} must have its place in the order, got {list(order)!r}."
                f"{did_you_mean(str(label), places)}"
            )
    return tuple(sorted(classes, key=lambda label: places[str(label)]))


def _multi_hot(raw: np.ndarray, labels: tuple[str, ...]) -> torch.Tensor:
    places = {label: place for place, label in enumerate(labels)}
    encoded = np.zeros((len(raw), len(labels)), dtype=np.float32)
    unknown = []
    for row, joined in enumerate(raw.tolist()):
        for label in _split(joined):
            if label in places:
                encoded[row, places[label]] = 1
            else:
                unknown.append(label)
    if unknown:
        raise _unknown("label", unknown[0], len(unknown), labels)
    return torch.from_numpy(encoded)


def _unknown(noun: str, value: Any, count: int, known: Iterable[Any]) -> InputError:
    rows = "1 row holds" if count == 1 else f"{count} rows hold"
    return InputError(
        f"target: {noun} {value!r} does not occur in the training rows ({rows} such a {noun})."
        f"{did_you_mean(str(value), map(str, known))} Rename or remove these, or train on some of them."
    )
