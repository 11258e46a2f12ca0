"""Batches of features in place of samples, for members that share the first, frozen part of their networks.

Shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch

from tenfold.core.machine import available_memory_bytes
from tenfold.data.batches import DataPart
from tenfold.data.preprocessor import Preprocessor, Tensors

MEMORY_SHARE = 0.25  # of what is free, for the features of a part
CHUNK_SAMPLES = 256  # prepared at once on the way to their features


class FeaturePreprocessor(Preprocessor):
    """Another preprocessor's batches, and what a function makes of them.

    Args:
        inner: prepares what the function gets.
        features: gives the features of some samples: tensors of shape (B, ...) in, one of shape (B, ...) out.
    """

    def __init__(self, inner: Preprocessor, features: Callable[..., torch.Tensor]) -> None:
        self.spec, self.augments, self.resident = inner.spec, inner.augments, inner.resident
        self.moves_targets = inner.moves_targets
        self._inner, self._features = inner, features

    @classmethod
    def fit(cls, inputs: Any, rows: np.ndarray, **options: Any) -> Self:
        """There is nothing to fit.

        Raises:
            TypeError: always.
        """
        raise TypeError("FeaturePreprocessor: is made of a preprocessor and a network, not fitted to rows.")

    def transform(self, inputs: Any) -> Tensors:
        """As the inner one does."""
        return self._inner.transform(inputs)

    def transform_rows(self, inputs: Any, rows: np.ndarray) -> Tensors:
        """As the inner one does."""
        return self._inner.transform_rows(inputs, rows)

    def fetched(self, tensors: Tensors) -> Tensors:
        """As the inner one does."""
        return self._inner.fetched(tensors)

    def vary(self, tensors: Tensors, keys: Sequence[int]) -> Tensors:
        """As the inner one does."""
        return self._inner.vary(tensors, keys)

    def prepare_batch(self, tensors: Tensors, train: bool, keys: Sequence[int] | None = None) -> Tensors:
        """The features of a batch, float, shape (B, ...)."""
        return (self._features(*self._inner.prepare_batch(tensors, train, keys)),)

    def to_json(self) -> dict[str, Any]:
        """Of the inner one: the network is not its business."""
        return self._inner.to_json()

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """There is nothing to read.

        Raises:
            TypeError: always.
        """
        raise TypeError("FeaturePreprocessor: is made of a preprocessor and a network, not read from a file.")


class PreparedFeatures(FeaturePreprocessor):
    """Features that are in memory already."""

    def __init__(self, inner: Preprocessor) -> None:
        super().__init__(inner, lambda *tensors: tensors[0])
        self.augments, self.resident, self.moves_targets = False, True, False

    def prepare_batch(self, tensors: Tensors, train: bool, keys: Sequence[int] | None = None) -> Tensors:
        """The features as they are."""
        return tensors


def feature_part(
    part: DataPart, preprocessor: Preprocessor, features: Callable[..., torch.Tensor], *, vary: bool
) -> tuple[DataPart, Preprocessor]:
    """A part as members see it who share a frozen prefix: the features of all samples, computed once if they can be.

    Args:
        part: what the samples are.
        preprocessor: what prepares them.
        features: their features, as in `FeaturePreprocessor`.
        vary: whether batches of the part are augmented, if the preprocessor does; features are then computed batch by
            batch, as they are where all of them would take much of the memory.

    Returns:
        The part and the preprocessor for `Batches`.
    """
    if (vary and preprocessor.augments) or not preprocessor.resident:
        return part, FeaturePreprocessor(preprocessor, features)
    one = features(*preprocessor.prepare_batch(tuple(tensor[:1] for tensor in part.inputs), False))
    if 2 * one.nbytes * len(part) > MEMORY_SHARE * available_memory_bytes(one.device):
        return part, FeaturePreprocessor(preprocessor, features)
    chunks = zip(*(tensor.split(CHUNK_SAMPLES) for tensor in part.inputs), strict=True)
    parts = [features(*preprocessor.prepare_batch(chunk, False)) for chunk in chunks]
    return DataPart((torch.cat(parts),), part.targets, part.rows), PreparedFeatures(preprocessor)
