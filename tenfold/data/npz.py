"""NumPy archives: the arrays found by the names people give them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.core.errors import InputError
from tenfold.data.arrays import array_source, as_array
from tenfold.data.files import read_bytes
from tenfold.data.source import PARTS, Source

# Names of inputs and targets, lower case; the first pair that is there counts.
_PAIRS = (
    ("x", "y"), ("images", "labels"), ("data", "target"), ("data", "targets"), ("data", "labels"),
    ("features", "targets"), ("features", "labels"), ("inputs", "targets"), ("inputs", "labels"), ("x", "labels"),
    ("arr_0", "arr_1"),
)  # fmt: skip
_PART_NAMES = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, or the one of an `.npy` file as "x"; pickled objects are refused.

    Raises:
        InputError: the file cannot be read, is torn, or holds Python objects.
    """
    read_bytes(path, limit=4)
    try:
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return {"x": loaded} if isinstance(loaded, np.ndarray) else {key: loaded[key] for key in loaded.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path.name}: cannot be read as NumPy arrays ({error}). Save plain arrays.") from error


def read_npz(source: Path | Mapping[str, Any], *, task: str | None, name: str, where: str) -> Source:
    """A Source from an archive, or from a dict with the same keys.

    Taken are x and y, images and labels, data and target and such like, or the same with `_train`, `_valid`, `_test`
    before or after.

    Args:
        source: the archive's path, or arrays by name.
        task: as in `read`.
        name: the source's name.
        where: what to call it in messages.

    Raises:
        InputError: no names that are known, or arrays that do not fit.

    Example:
        >>> read_npz({"X": np.eye(4), "y": [0, 1, 0, 1]}, task=None, name="eye", where="dict").task
        'classification'
    """
    arrays = load_npz(source) if isinstance(source, Path) else dict(source)
    found = {part: pair for part in PARTS if (pair := _find_pair(list(arrays), part))}
    if "train" not in found:
        pair = _find_pair(list(arrays), None)
        if pair is None:
            shown = ", ".join(map(repr, arrays)) or "none"
            raise InputError(f"{where}: no inputs and targets found among the arrays {shown}. Call them x and y.")
        inputs, targets = (_usable(arrays[key], key, where) for key in pair)
        return _noted(array_source(inputs, targets, task=task, name=name), pair)
    inputs, targets = (
        [_usable(arrays[found[part][side]], found[part][side], where) for part in found] for side in (0, 1)
    )
    for part, x, y in zip(found, inputs, targets, strict=True):
        if len(x) != len(y) or x.shape[1:] != inputs[0].shape[1:] or y.shape[1:] != targets[0].shape[1:]:
            raise InputError(
                f"{where}: arrays of the {part} part do not fit, got shapes {x.shape} and {y.shape} beside "
                f"{inputs[0].shape} and {targets[0].shape}. Give one target a sample, and samples of one shape."
            )
    parts = np.repeat(list(found), [len(y) for y in targets])
    joined = array_source(np.concatenate(inputs), np.concatenate(targets), task=task, name=name, parts=parts)
    return _noted(joined, found["train"])


def find_inputs(arrays: Mapping[str, np.ndarray], where: str) -> np.ndarray:
    """The inputs for prediction: of a known name, of the test part if there are parts, or the only array.

    Raises:
        InputError: it cannot be told which array holds the inputs.
    """
    folded = {key.lower(): key for key in arrays}
    for part in ("test", None):
        for name, _ in _PAIRS:
            for candidate in _spellings(name, part):
                if candidate in folded:
                    return _usable(arrays[folded[candidate]], folded[candidate], where)
    if len(arrays) == 1:
        key = next(iter(arrays))
        return _usable(arrays[key], key, where)
    raise InputError(f"{where}: no inputs found among the arrays {', '.join(map(repr, arrays))}. Call them x.")


def _usable(values: Any, key: str, where: str) -> Any:
    """An array of numbers or text; whoever gave a file gets its name in the sentence."""
    try:
        array = as_array(values, key)
    except TypeError as error:
        raise InputError(f"{where}: {str(error).removeprefix('read: ')}") from error
    if np.asarray(array).dtype.kind == "V":
        raise InputError(
            f"{where}: {key} must be a plain array, got records of {array.dtype.names}. Give their columns."
        )
    return array


def _find_pair(keys: list[str], part: str | None) -> tuple[str, str] | None:
    folded = {key.lower(): key for key in keys}
    for names in _PAIRS:
        options = [_spellings(name, part) for name in names]
        for x_key, y_key in zip(*options, strict=True):
            if x_key in folded and y_key in folded:
                return folded[x_key], folded[y_key]
    return None


def _spellings(name: str, part: str | None) -> list[str]:
    if part is None:
        return [name]
    return [text for word in _PART_NAMES[part] for text in (f"{name}_{word}", f"{word}_{name}", f"{name}{word}")]


def _noted(source: Source, pair: tuple[str, str]) -> Source:
    return replace(source, notes=(f"arrays: inputs {pair[0]!r}, targets {pair[1]!r}", *source.notes))
