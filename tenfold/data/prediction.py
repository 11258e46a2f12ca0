"""Raw inputs for prediction: like a source, but without targets, and with a label for each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tenfold.core.errors import InputError
from tenfold.data.arrays import as_array, as_images
from tenfold.data.bundled import SOURCES
from tenfold.data.columns import unique_names
from tenfold.data.datasets import DatasetPreprocessor, fetch, is_dataset, map_style
from tenfold.data.files import exists, list_folder, missing, refuse_run
from tenfold.data.idx import find_idx, load_idx
from tenfold.data.image_folder import files_below
from tenfold.data.image_preprocessor import ImagePreprocessor
from tenfold.data.inputs import DatasetInputs, ImageFileInputs, Inputs, TableInputs
from tenfold.data.mask_folder import find_scenes
from tenfold.data.npz import find_inputs, load_npz
from tenfold.data.pictures import PICTURE_SUFFIXES, Header, decode_pictures, in_threads, read_header
from tenfold.data.preprocessor import Preprocessor
from tenfold.data.source import Skipped
from tenfold.data.table_preprocessor import TablePreprocessor
from tenfold.data.tables import load_table


@dataclass(frozen=True, kw_only=True)
class RawInputs:
    """Inputs to predict on.

    Attributes:
        inputs: N samples, as the preprocessor takes them.
        labels: for each sample its path, or its row number from 0, as text.
        skipped: files that could not be read.
        notes: a sentence for each inference.
        sizes: height and width of each picture in its file, where every pixel is predicted; empty otherwise.
    """

    inputs: Inputs
    labels: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def read_inputs(
    argument: Any, preprocessor: Preprocessor, *, header: bool | None = None, encoding: str | None = None
) -> RawInputs:
    """Reads what a trained model shall predict on; targets may be there and are not used.

    Args:
        argument: for tables a file, DataFrame or array of shape (N, D); for pictures a file, a folder (flat or of
            class folders), an IDX file, an `.npz` or `.npy`, or an array of one or of N pictures; a Dataset or
            DataLoader; the name of a bundled set.
        preprocessor: the trained model's, which knows what is needed.
        header: whether a table's first row holds names; by default what it looks like.
        encoding: of a table's text, as Python names it; by default what it looks like.

    Raises:
        InputError: the inputs cannot be read or do not fit the model.

    Example:
        >>> from tenfold.data import fit_preprocessor, read
        >>> preprocessor = fit_preprocessor(read("iris").inputs, np.arange(150))
        >>> read_inputs(np.zeros((2, 4)), preprocessor).labels
        ('0', '1')
    """
    if isinstance(argument, str | Path):
        path = Path(argument).expanduser()
        if exists(path):
            return _from_path(path, preprocessor, header, encoding)
        if str(argument) in SOURCES:
            inputs = SOURCES[str(argument)].load(None, None).inputs
            if isinstance(inputs, TableInputs) != isinstance(preprocessor, TablePreprocessor):
                kinds = ("pictures", "a table")
                held, wanted = kinds if isinstance(preprocessor, TablePreprocessor) else kinds[::-1]
                raise InputError(f"{argument}: holds {held}, the model takes {wanted}. Give inputs like its own.")
            return _numbered(inputs.frame if isinstance(inputs, TableInputs) else inputs, preprocessor)
        raise missing(path, tuple(SOURCES))
    if is_dataset(argument):
        return _from_dataset(argument, preprocessor)
    if isinstance(argument, Mapping):
        argument = find_inputs(argument, "dict")
    return _numbered(argument, preprocessor)


def _from_path(path: Path, preprocessor: Preprocessor, header: bool | None, encoding: str | None) -> RawInputs:
    refuse_run(path)
    if path.suffix.lower() in (".npz", ".npy"):
        return _numbered(find_inputs(load_npz(path), path.name), preprocessor)
    if isinstance(preprocessor, TablePreprocessor):
        raw = load_table(path, header=header, known=frozenset(preprocessor.used), encoding=encoding)
        frame = _named(raw.frame, raw.header, preprocessor, path.name)
        return RawInputs(inputs=TableInputs(frame, where=path.name), labels=_numbers(frame), notes=raw.notes)
    if isinstance(preprocessor, ImagePreprocessor):
        arrays = find_idx([path] if path.is_file() else list_folder(path))
        if arrays:
            return _numbered(np.concatenate([load_idx(file) for file in arrays.values()]), preprocessor)
        return _from_pictures(path, preprocessor)
    raise InputError(
        f"{path}: the model was trained on a data set of the user's own. Give it such a one to predict on."
    )


def _from_pictures(path: Path, preprocessor: ImagePreprocessor) -> RawInputs:
    root = path if path.is_dir() else path.parent
    scenes = find_scenes(path) if path.is_dir() and preprocessor.spec.dense else None
    if scenes is not None:
        root, paths = scenes.root, [pair.picture for pair in scenes.pairs]
    else:
        paths = [path] if path.is_file() else [p for p in files_below(path) if p.suffix.lower() in PICTURE_SUFFIXES]
    names = [entry.relative_to(root).as_posix() for entry in paths]
    if not paths:
        raise InputError(f"{path}: holds no pictures. Give a folder of pictures ({', '.join(PICTURE_SUFFIXES)}).")
    pixels, good, skipped = decode_pictures(paths, preprocessor.format, names)
    if not len(good):
        raise InputError(
            f"{path}: none of {len(paths)} files is a readable picture: {skipped[0].path} {skipped[0].reason}."
        )
    labels = tuple(names[position] for position in good)
    inputs = ImageFileInputs(labels, pixels, preprocessor.format)
    sizes: tuple[tuple[int, int], ...] = ()
    if preprocessor.spec.dense:
        headers = in_threads(read_header, [paths[position] for position in good])
        sizes = tuple((header.height, header.width) for header in headers if isinstance(header, Header))
    return RawInputs(inputs=inputs, labels=labels, skipped=tuple(skipped), sizes=sizes)


def _numbered(values: Any, preprocessor: Preprocessor) -> RawInputs:
    """Inputs from a DataFrame or an array; rows are known by their numbers."""
    if isinstance(values, Inputs):
        return RawInputs(inputs=values, labels=_numbers(values))
    values = as_array(values, "x")
    if isinstance(preprocessor, TablePreprocessor):
        named = isinstance(values, pd.DataFrame)
        if np.ndim(values) > 2:
            raise InputError(
                f"x: holds arrays of shape {np.shape(values)}, the model takes a table of shape (N, D). Give inputs "
                "like its own."
            )
        frame = values if named else pd.DataFrame(np.atleast_2d(values) if len(preprocessor.used) > 1 else values)
        frame = _named(frame, named, preprocessor, "x")
        return RawInputs(inputs=TableInputs(frame, where="x"), labels=_numbers(frame))
    if isinstance(preprocessor, DatasetPreprocessor):
        return _from_dataset([(row, 0) for row in values], preprocessor)
    shape = preprocessor.spec.shape
    if values.ndim == 2 and values.shape != shape[1:] and values.shape[1] == preprocessor.spec.num_features:
        values = values.reshape(-1, *shape)  # one picture a row, as scikit-learn keeps them
    if values.ndim == 2 or (values.ndim == 3 and shape[0] > 1):
        values = values[None]
    scale = preprocessor.scale if isinstance(preprocessor, ImagePreprocessor) else None
    images, notes = as_images(_fitting_layout(values, preprocessor), "x", scale=scale)
    return RawInputs(inputs=images, labels=_numbers(images), notes=tuple(notes))


def _fitting_layout(values: np.ndarray, preprocessor: Preprocessor) -> np.ndarray:
    """Pictures with the axis that holds as many channels as in training put where `as_images` looks for it."""
    channels = preprocessor.spec.shape[0]
    if values.ndim == 4 and values.shape[1] != channels and values.shape[3] == channels:
        return np.moveaxis(values, 3, 1)
    return values


def _numbers(values: Any) -> tuple[str, ...]:
    return tuple(map(str, range(len(values))))


def _named(frame: pd.DataFrame, header: bool, preprocessor: TablePreprocessor, where: str) -> pd.DataFrame:
    """The frame under the names of training: its own if it has them, else by position."""
    if not len(frame):
        raise InputError(f"{where}: no rows. Give at least one.")
    names, _ = unique_names(list(frame.columns))
    if header and set(preprocessor.used) & set(names):
        frame = frame.set_axis(names, axis=1).reset_index(drop=True)
        preprocessor.check_columns(frame, where)
        return frame
    columns = list(preprocessor.columns)
    inputs = [name for name in columns if name not in preprocessor.target_names]
    for candidate in (inputs, columns, list(preprocessor.used)):
        if len(candidate) == len(names):
            return frame.set_axis(candidate, axis=1).reset_index(drop=True)
    raise InputError(
        f"{where}: has {len(names)} columns, the model was trained on {len(inputs)} ({', '.join(inputs[:5])}"
        f"{', ...' if len(inputs) > 5 else ''}). Give the same columns, or a header."
    )


def _from_dataset(dataset: Any, preprocessor: Preprocessor) -> RawInputs:
    dataset = map_style(dataset, "data set")
    inputs: Inputs = DatasetInputs(dataset, np.arange(len(dataset)))
    if not isinstance(preprocessor, DatasetPreprocessor):
        samples = [fetch(dataset, row, 0)[0][0].numpy() for row in range(len(dataset))]
        return _numbered(np.stack(samples), preprocessor)
    return RawInputs(inputs=inputs, labels=_numbers(inputs))
