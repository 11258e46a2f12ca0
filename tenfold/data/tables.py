"""Tables: files of text or Parquet, folders of them, and DataFrames, to a Source."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tenfold.core.errors import InputError
from tenfold.core.machine import available_memory_bytes
from tenfold.data.columns import (
    as_text,
    called,
    clean_cells,
    column_notes,
    find_column,
    is_nameless,
    leave_out,
    no_inputs_left,
    unique_names,
    why_useless,
)
from tenfold.data.delimited import parse_delimited
from tenfold.data.encodings import decode_text
from tenfold.data.files import list_folder, read_bytes
from tenfold.data.inputs import Inputs, TableInputs
from tenfold.data.scratch import gib, memory_for_data
from tenfold.data.source import Source
from tenfold.data.table_columns import ColumnStore, FrameColumns, ParquetColumns, TableColumns
from tenfold.data.target_encoder import MULTI_LABEL, SEPARATOR
from tenfold.data.targets import Target, clean_label_sets, clean_target

PARQUET_SUFFIXES = (".parquet", ".pq")
TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".data", ".test", *PARQUET_SUFFIXES)
_PART_WORDS = {"train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid",
               "dev": "valid", "test": "test"}  # fmt: skip


TargetColumns = str | int | Sequence[str | int] | None
Draw = Callable[[Source], Source]


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """A table as it came from a file.

    Attributes:
        frame: cells as parsed.
        header: whether column names came with it.
        notes: a sentence for each inference.
    """

    frame: pd.DataFrame
    header: bool
    notes: tuple[str, ...] = ()


def is_table(path: Path) -> bool:
    """Whether a file is named like a table, `.gz` allowed."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in TABLE_SUFFIXES


def load_table(
    path: Path, *, header: bool | None = None, known: frozenset[str] = frozenset(), encoding: str | None = None
) -> RawTable:
    """A table from a file of text (`.gz` too) or Parquet.

    Args:
        path: the file.
        header: whether the first row holds names; None looks.
        known: column names that a header would hold, when they are known from training.
        encoding: of the text, as Python names it; None looks.

    Raises:
        InputError: the file cannot be read or is no table.
    """
    if path.suffix.lower() in (".xlsx", ".xls", ".ods"):
        raise InputError(f"{path.name}: spreadsheets are not read. Export the table as CSV.")
    if path.suffix.lower() in PARQUET_SUFFIXES:
        return RawTable(frame=_load_parquet(path), header=True)
    where = path.name
    _refuse_larger_text(path)
    text, decoded = decode_text(unzip(read_bytes(path), where), where, encoding)
    frame, has_names, dialect = parse_delimited(text, where, header=header, known=known)
    names = "the first row names the columns" if has_names else "no header, columns are numbered from 0"
    guessed = [flag for flag, said in (("--encoding", encoding), ("--header", header)) if said is None]
    notes = [f"table: {dialect.words}, {decoded}, {names}" + (f" ({', '.join(guessed)})" if guessed else "")]
    return RawTable(frame=frame, header=has_names, notes=tuple(notes))


def _refuse_larger_text(path: Path) -> None:
    """Text is held twice, as bytes and as characters, before a cell is read."""
    size = path.stat().st_size if path.is_file() else 0
    if 2 * size > (free := available_memory_bytes()):
        raise InputError(
            f"{path.name}: its {gib(size)} of text need twice as much memory, of which {gib(free)} are free. Save it "
            "as Parquet, which is read column by column."
        )


def unzip(data: bytes, where: str) -> bytes:
    """The bytes, unpacked if they are gzip's.

    Raises:
        InputError: the archive is torn.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{where}: the gzip archive is torn ({error}). Copy the file again.") from error


def _load_parquet(path: Path) -> pd.DataFrame:
    read_bytes(path, limit=4)
    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise InputError(f"{path.name}: Parquet needs pyarrow. Run `pip install 'tenfold[parquet]'`.") from error
    except Exception as error:  # pyarrow raises its own family, and OSError
        raise InputError(f"{path.name}: this is no readable Parquet file ({error}).") from error


def read_table(
    path: Path,
    *,
    target: TargetColumns,
    task: str | None,
    name: str | None,
    header: bool | None,
    group: str | int | None = None,
    encoding: str | None = None,
    draw: Draw | None = None,
) -> Source:
    """A Source from one table file; arguments as in `read`, and `draw` as in `table_source`.

    Raises:
        InputError: the file, the target or the columns cannot be used.
    """
    large = _large_parquet(path)
    raw = RawTable(frame=pd.DataFrame(), header=True) if large else load_table(path, header=header, encoding=encoding)
    return table_source(
        large or raw.frame,
        target=target, task=task, name=name or stem(path), where=path.name, notes=raw.notes, group=group, draw=draw,
    )  # fmt: skip


def _large_parquet(path: Path) -> ParquetColumns | None:
    """The columns of a Parquet file that would fill the memory as a DataFrame."""
    if path.suffix.lower() not in PARQUET_SUFFIXES:
        return None
    try:
        columns = ParquetColumns(path)
    except Exception:  # whoever reads it whole says what is wrong
        return None
    return columns if columns.alone and len(columns) and columns.frame_bytes > memory_for_data() else None


def read_table_folder(
    folder: Path,
    *,
    target: TargetColumns,
    task: str | None,
    name: str | None,
    header: bool | None,
    group: str | int | None = None,
    encoding: str | None = None,
    draw: Draw | None = None,
) -> Source:
    """A Source from a folder with one table, or with tables named train, valid and test.

    Raises:
        InputError: it cannot be told which tables to take, or they do not fit together.
    """
    paths = [path for path in list_folder(folder) if path.is_file() and is_table(path)]
    if len(paths) == 1:
        return read_table(
            paths[0],
            target=target, task=task, name=name or folder.name, header=header, group=group, encoding=encoding,
            draw=draw,
        )  # fmt: skip
    parts = {part_of(path): path for path in paths}
    if None in parts or len(parts) < len(paths) or "train" not in parts:
        shown = ", ".join(path.name for path in paths[:6]) + (", ..." if len(paths) > 6 else "")
        raise InputError(
            f"{folder}: holds {len(paths)} tables ({shown}). Name one of them, or call them train, valid and test."
        )
    tables = {str(part): load_table(path, header=header, encoding=encoding) for part, path in parts.items()}
    train = tables["train"]
    names, _ = unique_names(list(train.frame.columns))
    position = _positions(target, names, folder.name)[0]
    frames: list[pd.DataFrame] = []
    labels: list[str] = []
    notes = list(train.notes)
    for part, table in tables.items():
        frame = _aligned(table, names, part, parts[part].name)
        if frame is None:
            notes.append(f"{parts[part].name}: not used, it has no target {called(names[position])}")
            continue
        if part != "train":
            frame = _without_dots(frame, frames[0] if part != "train" and frames else train.frame, position)
        frames.append(frame)
        labels += [part] * len(frame)
    joined = pd.concat(frames, ignore_index=True)
    return table_source(
        joined,
        target=target, task=task, name=name or folder.name, where=folder.name,
        notes=tuple(notes), parts=np.array(labels), group=group, draw=draw,
    )  # fmt: skip


def stem(path: Path) -> str:
    """The file's name without its suffixes, or the whole name when nothing else is left."""
    name = path.name
    for _ in path.suffixes[-2:]:
        name = name.rsplit(".", 1)[0]
    return name or path.name


def part_of(path: Path) -> str | None:
    """The part that a file's name tells, such as "train" for `adult-train.csv` or "test" for `adult.test`."""
    words = re.split(r"[^a-z]+", path.name.lower())
    found = {_PART_WORDS[word] for word in words if word in _PART_WORDS}
    if not found and path.suffix == ".data":
        return "train"
    return found.pop() if len(found) == 1 else None


def _aligned(table: RawTable, names: list[str], part: str, where: str) -> pd.DataFrame | None:
    """The table under the training table's names, or None when only the target is missing."""
    own, _ = unique_names(list(table.frame.columns))
    frame = table.frame.set_axis(own, axis=1)
    if part == "train" or (not table.header and len(own) == len(names)):
        return frame.set_axis(names, axis=1)
    if set(names) <= set(own):
        return frame[names]
    missing = [name for name in names if name not in own]
    if len(missing) == 1 or (not table.header and len(own) == len(names) - 1):
        return None
    raise InputError(
        f"{where}: its columns differ from those of the training table, missing are "
        f"{', '.join(map(repr, missing[:5]))}. Give both the same columns."
    )


def _without_dots(frame: pd.DataFrame, train: pd.DataFrame, position: int) -> pd.DataFrame:
    """Labels without a closing dot, when that makes them the training labels (as in UCI's adult.test)."""
    column = frame.iloc[:, position]
    if pd.api.types.is_numeric_dtype(column.dtype):
        return frame
    known = set(train.iloc[:, position].dropna().astype(str).str.strip())
    bare = column.astype(object).map(lambda value: str(value).strip().removesuffix("."), na_action="ignore")
    if set(bare.dropna()) <= known and not set(column.dropna().astype(str).str.strip()) <= known:
        frame = frame.copy()
        frame.isetitem(position, bare)
    return frame


def table_source(
    table: pd.DataFrame | TableColumns,
    *,
    target: TargetColumns,
    task: str | None,
    name: str,
    where: str,
    notes: tuple[str, ...] = (),
    parts: np.ndarray | None = None,
    group: str | int | None = None,
    draw: Draw | None = None,
) -> Source:
    """A Source from a table that holds inputs and target.

    Args:
        table: any cells, one row a sample; a DataFrame, or columns that are read one at a time. Those that
            would fill the memory are kept compact.
        target: column name, number, or None for the last column; several are labels, in columns of 0 and 1.
        task: as in `read`.
        name: the source's name.
        where: what to call the source in messages.
        notes: what was inferred so far.
        parts: the part of each row, or None.
        group: name or number of the column that says what belongs together; it is no input then.
        draw: takes some of the rows; None takes all. Columns are judged by all rows.

    Raises:
        InputError: no rows, fewer than two columns, no such target or group, a target or columns of no use.
    """
    columns = FrameColumns(table) if isinstance(table, pd.DataFrame) else table
    if not len(columns):
        raise InputError(f"{where}: the table has no rows. Give at least a few.")
    names, renamed = unique_names(columns.names)
    names, dropped = _without_empty_tail(columns, names)
    if len(names) < 2:
        raise InputError(
            f"{where}: the table has one column, {names[0]!r}: a target and at least one input column are "
            "needed. Check the separator."
        )
    positions = _positions(target, names, where)
    chosen = [names[position] for position in positions]
    target_name, said = SEPARATOR.join(chosen), "last column; --target" if target is None else "--target"
    found = _target(
        pd.concat([columns.column(place) for place in positions], axis=1, keys=chosen), task, target_name, where
    )
    groups, apart, group_notes = _groups(columns, names, found.kept, group, positions, where)
    words = called(chosen[0]) if len(chosen) == 1 else "columns " + ", ".join(map(repr, chosen))
    source = Source(
        name=name,
        kind="table",
        inputs=_Unread(found.kept),
        targets=found.values,
        task=found.task,
        target_name=target_name,
        parts=None if parts is None else parts[found.kept],
        groups=groups,
        rows=numbers_of(found.kept, len(columns)),
        notes=(*notes, *renamed, *dropped, f"target: {words} ({said})", *found.notes, *group_notes),
        problem=found.problem,
    )
    drawn = source if draw is None else draw(source)
    store = ColumnStore(where, compact=columns.frame_bytes > memory_for_data())
    inputs = {place: name for place, name in enumerate(names) if place not in positions and name not in apart}
    places = None if drawn is source else np.searchsorted(found.kept, drawn.row_numbers(np.arange(len(drawn))))
    left_notes = _read_inputs(columns, inputs, found.kept, places, store)
    return replace(
        drawn,
        inputs=TableInputs(store.frame(), tuple(names), target_name, where),
        notes=(*source.notes, *left_notes, *store.notes, *drawn.notes[len(source.notes) :]),
    )


def numbers_of(kept: np.ndarray, count: int) -> np.ndarray | None:
    """The numbers of rows that were kept, for a Source; None where that is all of them."""
    return kept if len(kept) < count else None


@dataclass(frozen=True)
class _Unread(Inputs):
    """The rows of a table whose inputs are not read yet, int64 of shape (N,)."""

    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: np.ndarray) -> _Unread:
        return _Unread(self.rows[np.asarray(rows)])


def _read_inputs(
    columns: TableColumns, names: dict[int, str], kept: np.ndarray, drawn: np.ndarray | None, store: ColumnStore
) -> list[str]:
    """Cleans one column after the other, puts the useful ones into a store, and says which are left out."""
    whole = len(kept) == len(columns)
    notes = []
    for place, name in names.items():
        column = columns.column(place) if whole else columns.column(place).iloc[kept]
        column = clean_cells(column.to_frame(name), store.where)[name]
        reason = why_useless(column, name, len(names))
        said = column_notes(name, column, reason)
        if reason is None:
            column = column.reset_index(drop=True)
            store.add(name, column if drawn is None else column.iloc[drawn].reset_index(drop=True))
        notes += said
    if not store.columns:
        raise no_inputs_left(notes, store.where)
    return notes


def _positions(target: TargetColumns, names: Sequence[str], where: str) -> list[int]:
    """Of the target columns, each once."""
    if isinstance(target, str | int) or target is None:
        return [find_column(target, names, where)]
    found = [find_column(one, names, where) for one in target]
    if not found or len(set(found)) < len(found):
        raise InputError(f"{where}: --target must name different columns, got {list(target)!r}. Name each once.")
    return found


def _target(columns: pd.DataFrame, task: str | None, name: str, where: str) -> Target:
    """One column, or several of 0 and 1 that are labels."""
    if len(columns.columns) == 1:
        return clean_target(columns.iloc[:, 0], name=name, task=task, where=where)
    if task not in (None, MULTI_LABEL):
        raise InputError(
            f"{where}: several targets are the labels of a multi-label task, got --task {task}. "
            "Name one target, or leave --task out."
        )
    return clean_label_sets(columns, name=name, where=where)


def _groups(
    columns: TableColumns,
    names: Sequence[str],
    kept: np.ndarray,
    group: str | int | None,
    targets: Sequence[int],
    where: str,
) -> tuple[np.ndarray | None, list[str], list[str]]:
    """The group of each row as text, the columns that are no inputs for it, and a note."""
    if group is None:
        return None, [], []
    position = find_column(group, names, where, "group")
    name = names[position]
    if position in targets:
        raise InputError(f"{where}: --group {name!r} is the target. Choose another column.")
    labels = as_text(columns.column(position).iloc[kept])
    missing = labels.isna().to_numpy()
    if missing.any():
        raise InputError(
            f"{where}: {called(name)} names no group in {int(missing.sum())} of {len(kept)} rows, first in row "
            f"{labels.index[missing][0]} (counted from 0). Fill it in, or remove these rows."
        )
    groups = labels.to_numpy(str)
    note = f"groups: {len(np.unique(groups))} by {called(name)}, which is no input then (--group)"
    return groups, [name], [note]


def _without_empty_tail(columns: TableColumns, names: list[str]) -> tuple[list[str], list[str]]:
    """Names without empty last columns that have none, which a separator at the end of each line makes."""
    notes = []
    while len(names) > 1 and is_nameless(names[-1]) and bool(columns.column(len(names) - 1).isna().all()):
        notes.append(f"{called(names[-1])}: left out, it is empty")
        names = names[:-1]
    return names, notes


def features_source(features: Any, targets: Any, *, task: str | None, name: str, parts: np.ndarray | None) -> Source:
    """A Source from features, shape (N, D), or a DataFrame, and targets that came apart, shape (N,).

    Raises:
        InputError: a target or columns of no use.
    """
    frame = features if isinstance(features, pd.DataFrame) else pd.DataFrame(features)
    names, renamed = unique_names(list(frame.columns))
    found = clean_target(targets, name="target", task=task, where=name)
    cleaned = clean_cells(frame.set_axis(names, axis=1).reset_index(drop=True).iloc[found.kept], name)
    inputs, left_notes = leave_out(cleaned.reset_index(drop=True), name)
    return Source(
        name=name,
        kind="table",
        inputs=TableInputs(inputs, tuple(names), where=name),
        targets=found.values,
        task=found.task,
        parts=None if parts is None else parts[found.kept],
        rows=numbers_of(found.kept, len(frame)),
        notes=(*renamed, *found.notes, *left_notes),
        problem=found.problem,
    )
