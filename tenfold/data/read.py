"""One door for every source: a path, a name, a DataFrame, arrays, a Dataset or DataLoaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tenfold.core.errors import InputError
from tenfold.data.arrays import array_source
from tenfold.data.bundled import SOURCES
from tenfold.data.datasets import dataset_source, is_dataset
from tenfold.data.files import exists, list_folder, missing, refuse_run
from tenfold.data.idx import find_idx, read_idx
from tenfold.data.image_folder import files_below, read_image_folder
from tenfold.data.inputs import ImageFileInputs, TableInputs
from tenfold.data.mask_codes import MaskCodes
from tenfold.data.mask_folder import find_scenes, no_scenes, read_mask_folder
from tenfold.data.npz import read_npz
from tenfold.data.pictures import PICTURE_SUFFIXES
from tenfold.data.source import SEGMENTATION, TASKS, Source
from tenfold.data.subset import draw_rows
from tenfold.data.tables import Draw, TargetColumns, is_table, read_table, read_table_folder, table_source


def read(
    argument: Any,
    *,
    target: TargetColumns = None,
    task: str | None = None,
    name: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    header: bool | None = None,
    group: str | int | None = None,
    encoding: str | None = None,
    ignore: int | Sequence[int] | None = None,
    codes: MaskCodes | None = None,
    max_rows: int | None = None,
    seed: int = 0,
    to_score: bool = False,
) -> Source:
    """Reads a source; what is inferred is said in its notes.

    Args:
        argument: a path or a bundled name; a DataFrame; a pair `(x, y)` of arrays, tensors or DataFrames; a dict
            with the keys of an `.npz`; a Dataset or DataLoader, or a tuple of two or three of them for training,
            validation and test.
        target: the target column's name, or its number from 0, or from -1 at the end; the last by default.
            Several are the labels of a multi-label task, in columns of 0 and 1.
        task: "classification", "regression", "multilabel" or "segmentation"; by default what the data look like.
        name: what runs are named after; by default the file's or folder's name.
        image_size: pixels to which picture files are resized: of a square's side, or height and width; by default
            from the pictures.
        header: whether a table's first row holds names; by default what it looks like.
        group: what belongs together and must not be cut: a column of a table, by name or number, or a pattern of
            picture files' names with the group in parentheses, such as "(patient[0-9]+)".
        encoding: of a table's text, as Python names it; by default what it looks like.
        ignore: values of masks that are no class; 255 is none either, unless masks hold 0 and 255 alone.
        codes: the classes of masks where they are known already, as those of a trained model.
        max_rows: of a larger source so many rows are taken, as `draw_rows` takes them; None for all. Of the others of
            class folders no picture is decoded, and of those of a table no more than a column is kept.
        seed: of the run, for the rows that are taken.
        to_score: whether a trained model is to be scored on it, so that one class alone will do.

    Raises:
        InputError: the data cannot be used; the sentence says why and how to mend it.
        TypeError: the argument is of a type that is no source.
        ValueError: an argument is out of range.

    Example:
        >>> source = read("iris")
        >>> source.task, len(source), source.inputs.frame.shape
        ('classification', 150, (150, 4))
        >>> read((np.zeros((4, 2)), np.array([0.5, 1.0, 1.5, 2.0]))).task
        'regression'
    """
    if task is not None and task not in TASKS:
        raise InputError(f"read: task must be one of {', '.join(TASKS)}, got {task!r}. Choose one.")
    values = None if ignore is None else [ignore] if isinstance(ignore, int) else list(ignore)
    draw = None if max_rows is None else partial(draw_rows, max_rows=max_rows, seed=seed)
    if isinstance(argument, str | Path):
        source = _read_path(
            argument, target=target, task=task, name=name, image_size=image_size,
            header=header, group=group, encoding=encoding, ignore=values, codes=codes, draw=draw,
        )  # fmt: skip
    elif task == SEGMENTATION:
        raise no_scenes(name or "data")
    else:
        source = _read_objects(argument, target=target, task=task, name=name or "data", group=group)
    if source.problem and not to_score:
        raise InputError(source.problem)
    if draw is not None:  # a source that was drawn while it was read is small enough already
        source = draw(source)
    _refuse_unused(source, target, image_size, group)
    if values is not None and source.codes is None:
        raise InputError(f"{source.name}: has no masks, got --ignore {values[0] if values else ''}. Leave it out.")
    if encoding is not None and not isinstance(source.inputs, TableInputs):
        raise InputError(f"{source.name}: is no table of text, got --encoding {encoding!r}. Leave it out.")
    return source


def _refuse_unused(
    source: Source, target: TargetColumns, image_size: int | tuple[int, int] | None, group: str | int | None
) -> None:
    if group is not None and source.groups is None:
        raise InputError(
            f"{source.name}: has neither columns nor file names to group by, got --group {group!r}. Leave it out."
        )
    chosen = isinstance(source.inputs, TableInputs) and source.inputs.target_name is not None
    if not chosen and target not in (None, source.target_name):
        raise InputError(
            f"{source.name}: has the one target {source.target_name!r}, got --target {target!r}. Leave it out."
        )
    if image_size is not None and not isinstance(source.inputs, ImageFileInputs):
        raise InputError(
            f"{source.name}: holds no picture files to resize, got --image-size {image_size!r}. Leave it out."
        )


def _read_objects(
    argument: Any, *, target: TargetColumns, task: str | None, name: str, group: str | int | None
) -> Source:
    if isinstance(argument, pd.DataFrame):
        return table_source(argument, target=target, task=task, name=name, where="DataFrame", group=group)
    if isinstance(argument, tuple | list) and argument and all(map(is_dataset, argument)):
        return dataset_source(argument, task=task, name=name)
    if is_dataset(argument):
        return dataset_source([argument], task=task, name=name)
    if isinstance(argument, Mapping):
        return read_npz(argument, task=task, name=name, where="dict")
    if isinstance(argument, tuple | list) and len(argument) == 2:
        return array_source(argument[0], argument[1], task=task, name=name)
    if isinstance(argument, np.ndarray | torch.Tensor):
        raise ValueError("read: arrays need targets, got x alone. Give a pair (x, y).")
    kind = f"{type(argument).__module__}.{type(argument).__name__}".removeprefix("builtins.")
    hint = "Call .to_pandas() on it." if hasattr(argument, "to_pandas") else "Give one of them."
    raise TypeError(
        "read: argument must be a path, a bundled name, a pandas DataFrame, a pair (x, y), a Dataset or a "
        f"DataLoader, got {kind}. {hint}"
    )


def _read_path(
    argument: str | Path,
    *,
    target: TargetColumns,
    task: str | None,
    name: str | None,
    image_size: int | tuple[int, int] | None,
    header: bool | None,
    group: str | int | None,
    encoding: str | None,
    ignore: Sequence[int] | None,
    codes: MaskCodes | None,
    draw: Draw | None,
) -> Source:
    path = Path(argument).expanduser()
    if not str(argument).strip():
        raise InputError("read: the source must be a path or a bundled name, got an empty text.")
    if not exists(path):
        if str(argument) in SOURCES and task == SEGMENTATION:
            raise no_scenes(argument)
        if str(argument) in SOURCES:
            source = SOURCES[str(argument)].load(target, task)
            return replace(source, name=name) if name else source
        raise missing(path, tuple(SOURCES))
    if path.is_dir():
        return _read_folder(
            path,
            target=target, task=task, name=name, image_size=image_size, header=header, group=group, encoding=encoding,
            ignore=ignore, codes=codes, draw=draw,
        )  # fmt: skip
    if task == SEGMENTATION:
        raise no_scenes(path)
    if path.suffix.lower() == ".npz":
        return read_npz(path, task=task, name=name or path.stem, where=path.name)
    if find_idx([path]):
        return read_idx(path.parent, [path], task=task, name=name)
    if path.suffix.lower() == ".npy":
        raise InputError(
            f"{path}: is one array, without targets. Save inputs and targets as x and y in an .npz file."
        )
    if path.suffix.lower() in PICTURE_SUFFIXES:
        raise InputError(f"{path}: is one picture; training needs a folder with a folder of pictures for each class.")
    return read_table(
        path, target=target, task=task, name=name, header=header, group=group, encoding=encoding, draw=draw
    )


def _read_folder(
    path: Path,
    *,
    target: TargetColumns,
    task: str | None,
    name: str | None,
    image_size: int | tuple[int, int] | None,
    header: bool | None,
    group: str | int | None,
    encoding: str | None,
    ignore: Sequence[int] | None,
    codes: MaskCodes | None,
    draw: Draw | None,
) -> Source:
    entries = list_folder(path)
    refuse_run(path)
    name = name or path.resolve().name
    if not entries:
        raise InputError(f"{path}: the folder is empty. Give a folder with a folder of pictures for each class.")
    pattern = None if group is None else str(group)
    scenes = find_scenes(path) if task in (None, SEGMENTATION) else None
    if scenes is not None:
        return read_mask_folder(scenes, image_size=image_size, name=name, group=pattern, ignore=ignore, codes=codes)
    if task == SEGMENTATION:
        raise no_scenes(path)
    if find_idx(entries):
        return read_idx(path, entries, task=task, name=name)
    folders = [entry for entry in entries if entry.is_dir()]
    tables = [entry for entry in entries if is_table(entry)]
    archives = [entry for entry in entries if entry.suffix.lower() == ".npz"]
    if tables and not folders:
        return read_table_folder(
            path, target=target, task=task, name=name, header=header, group=group, encoding=encoding, draw=draw
        )
    if len(archives) == 1 and not folders:
        return read_npz(archives[0], task=task, name=name, where=archives[0].name)
    try:
        return read_image_folder(path, image_size=image_size, task=task, name=name, group=pattern, draw=draw)
    except InputError:
        if folders and (below := _tables_alone(entries)):
            raise InputError(
                f"{path}: holds tables in its folders and no pictures. Name one of them, such as {below[0]}."
            ) from None
        raise


def _tables_alone(entries: Sequence[Path]) -> list[Path]:
    """The tables among these files and in these folders, where there are no pictures."""
    files = [file for entry in entries for file in (files_below(entry) if entry.is_dir() else [entry])]
    if any(file.suffix.lower() in PICTURE_SUFFIXES for file in files):
        return []
    return [file for file in files if is_table(file)]
