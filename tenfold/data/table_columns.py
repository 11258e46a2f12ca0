"""The columns of a table, one at a time: from a DataFrame, or from a Parquet file too large to be one.

Of a large table at most one column is in memory as it was read. Cleaned columns are kept compact: numbers as float32
where each of them is one, text as numbers of categories; beyond what memory takes they lie in files (`scratch.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tenfold.core.errors import InputError
from tenfold.data.columns import called
from tenfold.data.scratch import gib, is_in_file, memory_for_data, roomy, scratch_folder

_NUMBER_BYTES, _TEXT_BYTES = 8, 60  # of a cell in a DataFrame
_ADVICE = "Choose fewer rows by --max-rows"


class TableColumns(ABC):
    """Columns as they were read.

    Attributes:
        names: of the columns, as the source has them.
        frame_bytes: what they take as a DataFrame, about.
    """

    names: list[Any]
    frame_bytes: int

    @abstractmethod
    def __len__(self) -> int:
        """How many rows."""

    @abstractmethod
    def column(self, place: int) -> pd.Series:
        """A column; its index counts the rows."""


class FrameColumns(TableColumns):
    """The columns of a DataFrame.

    Args:
        frame: any cells.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame.reset_index(drop=True)
        self.frame_bytes = int(frame.memory_usage(index=False).sum())
        self.names = list(frame.columns)

    def __len__(self) -> int:
        return len(self._frame)

    def column(self, place: int) -> pd.Series:
        """A column; its index counts the rows."""
        return self._frame.iloc[:, place]


class ParquetColumns(TableColumns):
    """The columns of a Parquet file, each read when it is asked for.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        from pyarrow import parquet

        self._path, self._parquet = path, parquet
        with parquet.ParquetFile(path) as file:
            self._schema, self._num_rows = file.schema_arrow, file.metadata.num_rows
        self.names = list(self._schema.empty_table().to_pandas().columns)
        index = (self._schema.pandas_metadata or {}).get("index_columns", [])
        self._stored = [name for name in self._schema.names if name not in index]
        sizes = [_TEXT_BYTES if self._is_text(name) else _NUMBER_BYTES for name in self._stored]
        self.frame_bytes = self._num_rows * sum(sizes)

    @property
    def alone(self) -> bool:
        """Whether columns can be told by their names, and so be read one at a time."""
        return len(set(self._schema.names)) == len(self._schema.names) and len(self._stored) == len(self.names)

    def __len__(self) -> int:
        return self._num_rows

    def column(self, place: int) -> pd.Series:
        """A column; its index counts the rows.

        Raises:
            InputError: its part of the file is torn.
        """
        name = self._stored[place]
        as_categories = [name] if self._is_text(name) else []
        try:
            table = self._parquet.read_table(self._path, columns=[name], read_dictionary=as_categories)
        except Exception as error:  # pyarrow raises its own family, and OSError
            why = " ".join(str(error).split())
            raise InputError(f"{self._path.name}: {called(name)} cannot be read ({why}). Copy it again.") from error
        # Of text pandas knows no more than the file does, and would make one string a row of it.
        return table.to_pandas(ignore_metadata=self._is_text(name)).iloc[:, 0].reset_index(drop=True)

    def _is_text(self, name: str) -> bool:
        return str(self._schema.field(name).type) in ("string", "large_string", "string_view")


@dataclass
class ColumnStore:
    """Cleaned columns, kept as they are or compact.

    Attributes:
        where: the source's name for messages.
        compact: whether numbers and texts are kept small, and in files where they would fill the memory.
        columns: by name.
        file_bytes: how much lies in files.
    """

    where: str
    compact: bool
    columns: dict[str, pd.Series] = field(default_factory=dict)
    file_bytes: int = 0

    def __post_init__(self) -> None:
        self._left = memory_for_data() if self.compact else 0

    def add(self, name: str, column: pd.Series) -> None:
        """Keeps a clean column: float64, or text as objects."""
        if not self.compact:
            self.columns[name] = column
        elif column.dtype == object:
            categories = pd.Categorical(column)
            codes = self._placed(name, categories.codes)
            self.columns[name] = pd.Series(pd.Categorical.from_codes(codes, dtype=categories.dtype), copy=False)
        else:
            self.columns[name] = pd.Series(self._placed(name, small_numbers(column.to_numpy())), copy=False)

    def _placed(self, name: str, values: np.ndarray) -> np.ndarray:
        what = f"{self.where}: {len(values):,} values of {called(name)}"
        placed = roomy(values.shape, values.dtype, what, _ADVICE, max(0, self._left))
        if is_in_file(placed):
            self.file_bytes += values.nbytes
            placed[:] = values
            return np.asarray(placed)
        self._left -= values.nbytes
        return values

    def frame(self) -> pd.DataFrame:
        """All of them, each where it lies."""
        return pd.DataFrame(self.columns, copy=False)

    @property
    def notes(self) -> list[str]:
        """A sentence where the table is read in this way."""
        if not self.compact:
            return []
        if not self.file_bytes:
            return ["table: large, its columns are kept compact (TENFOLD_DATA_MEMORY)"]
        limit = f"since data take at most {gib(memory_for_data())} of memory (TENFOLD_DATA_MEMORY, TMPDIR)"
        return [f"table: {gib(self.file_bytes)} of its columns in files in {scratch_folder()}, {limit}"]


def small_numbers(values: np.ndarray) -> np.ndarray:
    """Numbers as float32 where none of them changes by that, as they are otherwise.

    Args:
        values: float64, shape (N,).

    Example:
        >>> [small_numbers(np.array([value])).dtype.name for value in (0.5, np.nan, 2.0**24, 2.0**24 + 1)]
        ['float32', 'float32', 'float32', 'float64']
    """
    with np.errstate(over="ignore", under="ignore"):
        small = values.astype(np.float32)
    return small if np.array_equal(small, values, equal_nan=True) else values
