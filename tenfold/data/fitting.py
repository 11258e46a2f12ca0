"""The preprocessor for inputs of any kind, fitted, or read back from JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.core.registry import Registry
from tenfold.data.datasets import DatasetPreprocessor
from tenfold.data.image_preprocessor import ImagePreprocessor
from tenfold.data.inputs import DatasetInputs, Inputs, TableInputs
from tenfold.data.preprocessor import Preprocessor
from tenfold.data.table_preprocessor import TablePreprocessor

_KINDS: Registry[type[Preprocessor]] = Registry("preprocessor")
_KINDS.add("table", TablePreprocessor)
_KINDS.add("image", ImagePreprocessor)
_KINDS.add("dataset", DatasetPreprocessor)


def fit_preprocessor(inputs: Inputs, rows: np.ndarray, **options: Any) -> Preprocessor:
    """A preprocessor for these inputs, with statistics of the training rows alone.

    Args:
        inputs: all rows of a source.
        rows: the training rows, int64.
        **options: as the kind's `fit` takes them.

    Example:
        >>> from tenfold.data import read
        >>> fit_preprocessor(read("digits").inputs, np.arange(100)).spec
        InputSpec(kind='image', shape=(1, 8, 8), cardinalities=(), dense=False)
    """
    if isinstance(inputs, TableInputs):
        return TablePreprocessor.fit(inputs, rows, **options)
    if isinstance(inputs, DatasetInputs):
        return DatasetPreprocessor.fit(inputs, rows, **options)
    return ImagePreprocessor.fit(inputs, rows, **options)  # type: ignore[arg-type]


def preprocessor_from_json(record: dict[str, Any]) -> Preprocessor:
    """The preprocessor whose `to_json` wrote this record.

    Raises:
        InputError: the record's kind is unknown.

    Example:
        >>> from tenfold.data import read
        >>> fitted = fit_preprocessor(read("iris").inputs, np.arange(100))
        >>> preprocessor_from_json(fitted.to_json()).spec == fitted.spec
        True
    """
    return _KINDS[record["kind"]].from_json(record)
