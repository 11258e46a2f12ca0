"""Raw inputs, addressable by row: a table, an array of pictures, picture files, or a user's data set.

Shapes: N rows, C channels, H height, W width. Nothing here is fitted or normalised; that is the preprocessor's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd


class Inputs(ABC):
    """Raw inputs of N samples."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, rows: np.ndarray) -> Inputs:
        """The samples of these row numbers, int64 of shape (n,), in this order."""


@dataclass(frozen=True)
class TableInputs(Inputs):
    """The input columns of a table.

    Attributes:
        frame: one row a sample, without the target and the columns that were left out; numbers as float64, the
            rest as text with NaN where a value is missing; of tables too large for that (`table_columns.py`) numbers
            as float32 where that changes none, text as categories.
        columns: all columns of the source in its order, target and left-out ones included, so that a later table
            without a header can be read by position.
        target_name: the target's name among `columns`, or None when the targets came apart.
        where: what to call the table in messages.

    Example:
        >>> TableInputs(pd.DataFrame({"age": [1.0, 2.0, 3.0]})).take(np.array([2, 0])).frame["age"].tolist()
        [3.0, 1.0]
    """

    frame: pd.DataFrame
    columns: tuple[str, ...] = ()
    target_name: str | None = None
    where: str = "table"

    def __post_init__(self) -> None:
        if not self.columns:
            object.__setattr__(self, "columns", tuple(str(column) for column in self.frame.columns))

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: np.ndarray) -> TableInputs:
        """The samples of these rows; the index starts anew at 0."""
        frame = self.frame.iloc[np.asarray(rows)].reset_index(drop=True)
        return replace(self, frame=frame)


@dataclass(frozen=True)
class ArrayInputs(Inputs):
    """Pictures in memory.

    Attributes:
        images: uint8 or float32, shape (N, C, H, W).
        scale: what float pictures were divided by: 255 where they went to 255, else 1.
    """

    images: np.ndarray
    scale: float = 1.0

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: np.ndarray) -> ArrayInputs:
        """The samples of these rows, copied."""
        return ArrayInputs(self.images[np.asarray(rows)], self.scale)


@dataclass(frozen=True)
class PictureFormat:
    """The shape in which picture files are decoded, stored and shown to a network.

    Attributes:
        channels: 1 (grey) or 3 (red, green, blue).
        height: what the network receives, in pixels.
        width: what the network receives, in pixels.
        margin: stored size over shown size; above 1 there is room for random crops.
        dense: whether every pixel has a target: pictures are squeezed into the size whole, not cut to proportions.

    Example:
        >>> PictureFormat(channels=3, height=224, width=224, margin=8 / 7).stored
        (256, 256)
    """

    channels: int
    height: int
    width: int
    margin: float = 1.0
    dense: bool = False

    @property
    def stored(self) -> tuple[int, int]:
        """Height and width of the decoded pictures."""
        return round(self.height * self.margin), round(self.width * self.margin)


@dataclass(frozen=True)
class ImageFileInputs(Inputs):
    """Pictures from files, decoded once.

    Attributes:
        paths: N paths, as shown to the user.
        pixels: uint8, shape (P, C, H, W) with P >= N, shared by all that were taken from one reading; a memory map
            of a file (`scratch.py`) where they would fill the memory.
        format: how `pixels` were made.
        rows: int64, shape (N,), where each sample lies in `pixels`; by default each in its own place.
    """

    paths: tuple[str, ...]
    pixels: np.ndarray
    format: PictureFormat
    rows: np.ndarray = field(default_factory=lambda: np.array([], np.int64))

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.paths):
            object.__setattr__(self, "rows", np.arange(len(self.paths)))

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: np.ndarray) -> ImageFileInputs:
        """The samples of these rows; the pixels are shared, not copied."""
        rows = np.asarray(rows)
        paths = tuple(self.paths[row] for row in rows)
        return ImageFileInputs(paths, self.pixels, self.format, self.rows[rows])


@dataclass(frozen=True)
class DatasetInputs(Inputs):
    """A user's map-style data set, or the part of it that `rows` names.

    Attributes:
        dataset: anything with `__len__` and `__getitem__(int) -> (input, ..., target)`.
        rows: int64, shape (N,), positions in `dataset`.
        samples: the input tensors, each of shape (P, ...), when the data set is not random and fits into memory.
    """

    dataset: Any
    rows: np.ndarray
    samples: Sequence[Any] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: np.ndarray) -> DatasetInputs:
        """The samples of these rows; the data set is shared."""
        return DatasetInputs(self.dataset, self.rows[np.asarray(rows)], self.samples)
