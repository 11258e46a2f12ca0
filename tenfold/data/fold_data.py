"""A source resident in memory as every fold sees it: prepared by the statistics of that fold's training rows alone.

All folds get inputs of one shape, so that members of different folds can train in one stack.

Shapes: F folds, N rows of the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from tenfold.data.batches import DataPart
from tenfold.data.fitting import fit_preprocessor
from tenfold.data.folds import Folds
from tenfold.data.image_preprocessor import stays
from tenfold.data.preparing import Preparer
from tenfold.data.preprocessor import Preprocessor, Tensors
from tenfold.data.source import Source
from tenfold.data.table_preprocessor import TablePreprocessor
from tenfold.data.target_encoder import TargetEncoder

_MOST_PREPARED_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class FoldData:
    """One source, seen by F folds.

    Attributes:
        folds: the rows of each.
        preprocessors: F of them, fitted on each fold's training rows, with equal specs.
        encoders: F of them. Numbers are standardised by each fold's training rows; the names of classes are those of
            all rows that were cut, because members of one stack have outputs of one meaning.
        inputs: for each fold what its preprocessor's `transform` gave for all rows, each of shape (N, ...); pictures
            (or their places, where they stay in a file) are the very same tensor for all folds, and differ when a
            batch is prepared.
        targets: for each fold all targets encoded, shape (N, ...).
        workers: processes that prepare training batches ahead; None for as many as pay.
    """

    folds: Folds
    preprocessors: tuple[Preprocessor, ...]
    encoders: tuple[TargetEncoder, ...]
    inputs: tuple[Tensors, ...]
    targets: tuple[torch.Tensor, ...]
    workers: int | None = None

    @classmethod
    def of(
        cls,
        source: Source,
        folds: Folds,
        *,
        device: Any = "cpu",
        target_options: dict[str, Any] | None = None,
        workers: int | None = None,
        **options: Any,
    ) -> FoldData:
        """Fits each fold's preprocessing on its training rows, and applies it to all rows.

        Args:
            source: what was cut.
            folds: how.
            device: where the tensors lie.
            target_options: for `TargetEncoder.fit`.
            workers: processes that prepare training batches ahead; None for as many as pay.
            **options: for `fit_preprocessor`.

        Raises:
            InputError: the training rows of a fold hold one class, or one value, only.

        Example:
            >>> from tenfold.data import cut_folds, read
            >>> source = read("iris")
            >>> data = FoldData.of(source, cut_folds(source, 3, seed=0))
            >>> train = data.part(1, data.folds.train[1])
            >>> abs(train.inputs[0].mean().item()) < 1e-6
            True
        """
        preprocessors = fit_fold_preprocessors(source, folds, stay=stays(source.inputs, device), **options)
        encoders = fit_fold_encoders(source, folds, **(target_options or {}))
        transformed: list[Tensors] = []
        for preprocessor in preprocessors:
            same = transformed and not isinstance(preprocessor, TablePreprocessor)
            raw = transformed[0] if same else preprocessor.transform(source.inputs)
            transformed.append(tuple(tensor.to(device) for tensor in raw))
        targets = tuple(encoder.encode(source.targets).to(device) for encoder in encoders)
        return cls(
            folds=folds, preprocessors=preprocessors, encoders=encoders, inputs=tuple(transformed), targets=targets,
            workers=workers,
        )  # fmt: skip

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.targets[0].device

    @cached_property
    def preparer(self) -> Preparer:
        """The workers that all batches of these data share."""
        first = self.preprocessors[0]
        return Preparer(first, first.to_vary(self.inputs[0], self.targets[0]), workers=self.workers)

    @cached_property
    def prepared(self) -> tuple[Tensors, torch.Tensor] | None:
        """Inputs as a network takes them, and targets, a fold's rows after another's, each of shape (F * N, ...).

        None where they would be large, or are not all in memory.
        """
        features = self.preprocessors[0].spec
        row_bytes = 4 * features.num_features + 8 * len(features.cardinalities)
        num_rows = sum(map(len, self.targets))
        if not self.preprocessors[0].resident or row_bytes * num_rows > _MOST_PREPARED_BYTES:
            return None
        by_fold = [
            preprocessor.prepare_batch(tensors, False)
            for preprocessor, tensors in zip(self.preprocessors, self.inputs, strict=True)
        ]
        return tuple(torch.cat(own) for own in zip(*by_fold, strict=True)), torch.cat(self.targets)

    def part(self, fold: int, rows: np.ndarray) -> DataPart:
        """Some rows as one fold sees them, for a model that trains or is scored alone."""
        index = torch.from_numpy(np.asarray(rows, dtype=np.int64)).to(self.device)
        inputs = tuple(tensor.index_select(0, index) for tensor in self.inputs[fold])
        return DataPart(inputs, self.targets[fold].index_select(0, index), np.asarray(rows))


def fit_fold_preprocessors(source: Source, folds: Folds, **options: Any) -> tuple[Preprocessor, ...]:
    """A preprocessor for each fold, fitted on its training rows alone; all have equal specs.

    Args:
        source: what was cut.
        folds: how.
        **options: for `fit_preprocessor`.
    """
    fitted = [fit_preprocessor(source.inputs, rows, **options) for rows in folds.train]
    tables = [preprocessor for preprocessor in fitted if isinstance(preprocessor, TablePreprocessor)]
    return tuple(TablePreprocessor.of_one_width(tables) if tables else fitted)


def fit_fold_encoders(source: Source, folds: Folds, **options: Any) -> tuple[TargetEncoder, ...]:
    """An encoder for each fold: its own mean and spread of numbers, and the names of all classes.

    Args:
        source: what was cut.
        folds: how.
        **options: for `TargetEncoder.fit`.

    Raises:
        InputError: the training rows of a fold hold one class, or one value, only.
    """
    own = tuple(TargetEncoder.fit(source.targets, source.task, rows, **options) for rows in folds.train)
    if source.task == "regression":
        return own
    return (TargetEncoder.fit(source.targets, source.task, folds.rows, **options),) * len(folds)
