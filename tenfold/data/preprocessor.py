"""What stands between raw inputs and a network: fitted on training rows alone, kept as JSON beside the weights.

Shapes: N rows, B batch, C channels, H height, W width, D numbers, L categorical columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tenfold.core.specs import InputSpec
from tenfold.data.inputs import Inputs

Tensors = tuple[torch.Tensor, ...]


class Preprocessor(ABC):
    """Raw inputs to model inputs, in two steps: `transform` once for all rows, `prepare_batch` for each batch.

    Attributes:
        spec: what a network receives.
        augments: whether training batches differ from evaluation batches by random changes.
        resident: whether `transform` yields the samples themselves; if not, `prepare_batch` fetches them.
        moves_targets: whether `vary` changes targets along with inputs, as a crop does with a mask: they are then the
            last of its tensors.
    """

    spec: InputSpec
    augments: bool = False
    resident: bool = True
    moves_targets: bool = False

    @classmethod
    @abstractmethod
    def fit(cls, inputs: Any, rows: np.ndarray, **options: Any) -> Preprocessor:
        """A preprocessor with statistics of these rows alone, int64 of shape (n,)."""

    @abstractmethod
    def transform(self, inputs: Any) -> Tensors:
        """All rows in a form that is small in memory (pictures may stay uint8), each tensor of shape (N, ...)."""

    def transform_rows(self, inputs: Inputs, rows: np.ndarray) -> Tensors:
        """What `transform` makes of some rows, int64 of shape (n,), each tensor of shape (n, ...)."""
        return self.transform(inputs.take(rows))

    def fetched(self, tensors: Tensors) -> Tensors:
        """The samples that a slice of what `transform` gave stands for, each of shape (B, ...), as they are stored.

        They are the slice itself unless samples lie in a file and `transform` gave their places in it.
        """
        return tensors

    def to_vary(self, inputs: Tensors, targets: torch.Tensor) -> Tensors:
        """What `vary` takes: the inputs, and the targets where it moves them along."""
        return (*inputs, targets) if self.moves_targets else inputs

    def vary(self, tensors: Tensors, keys: Sequence[int]) -> Tensors:
        """The costly and random part of a training batch, before `prepare_batch`: workers do it ahead.

        Args:
            tensors: a slice of what `to_vary` gave, each of shape (B, ...), in memory.
            keys: B seeds, one a sample; equal keys give equal bits.

        Returns:
            What `prepare_batch` takes: pictures augmented, or samples fetched; and behind it the targets, if moved.
        """
        return tensors

    def prepare_batch(self, tensors: Tensors, train: bool, keys: Sequence[int] | None = None) -> Tensors:
        """Model inputs from a slice of what `transform` gave.

        Args:
            tensors: each of shape (B, ...).
            train: whether to augment, if this preprocessor does.
            keys: B seeds, one a sample; needed when augmenting.

        Returns:
            Float32 (and int64 codes), each of shape (B, ...), on the device of `tensors`.
        """
        return tensors

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """This preprocessor as plain JSON types, with a "kind" that `preprocessor_from_json` knows."""

    @classmethod
    @abstractmethod
    def from_json(cls, record: dict[str, Any]) -> Preprocessor:
        """The preprocessor that `to_json` wrote."""


def refuse_inputs(preprocessor: str, inputs: Inputs) -> TypeError:
    """The error for inputs of a kind that a preprocessor does not take."""
    return TypeError(f"{preprocessor}: cannot take {type(inputs).__name__}. Give inputs like those of training.")
