"""IDX files, the format of MNIST and its kin, packed or not.

References:
    Y. LeCun, C. Cortes, C. Burges, The MNIST database, "The IDX file format".
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tenfold.core.errors import InputError
from tenfold.data.arrays import array_source
from tenfold.data.files import read_bytes
from tenfold.data.source import PARTS, Source
from tenfold.data.tables import unzip

_IMAGES = re.compile(r"(?P<stem>.*?)-?images[-._]idx\d-ubyte(\.gz)?", re.IGNORECASE)
_LABELS = re.compile(r"(?P<stem>.*?)-?labels[-._]idx\d-ubyte(\.gz)?", re.IGNORECASE)
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PART_WORDS = {"train": "train", "t10k": "test", "test": "test", "valid": "valid", "val": "valid"}


def find_idx(paths: Iterable[Path]) -> dict[str, Path]:
    """Files of pictures in IDX form, by what stands before "images" in their names."""
    matches = {path: _IMAGES.fullmatch(path.name) for path in paths}
    return {match["stem"]: path for path, match in matches.items() if match}


def read_idx(folder: Path, paths: Iterable[Path], *, task: str | None, name: str | None) -> Source:
    """A Source from the pairs of pictures and labels among these files of a folder.

    Raises:
        InputError: a labels file is missing, a file is torn, or pictures and labels do not fit.
    """
    labels = {match["stem"]: path for path in sorted(folder.iterdir()) if (match := _LABELS.fullmatch(path.name))}
    images: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    parts: list[str] = []
    for stem, path in find_idx(paths).items():
        if stem not in labels:
            raise InputError(f"{path.name}: the labels are missing beside it. Add '{stem}-labels-idx1-ubyte'.")
        pictures, classes = load_idx(path), load_idx(labels[stem])
        if len(pictures) != len(classes) or classes.ndim != 1:
            raise InputError(
                f"{path.name}: holds {len(pictures)} pictures, {labels[stem].name} holds labels of shape "
                f"{classes.shape}. Give one label for each picture."
            )
        if images and pictures.shape[1:] != images[0].shape[1:]:
            raise InputError(
                f"{path.name}: pictures have shape {pictures.shape[1:]}, others {images[0].shape[1:]}. Use one size."
            )
        images.append(pictures)
        targets.append(classes)
        parts += [_part(stem, path)] * len(classes)
    one = len(set(parts)) == 1
    return array_source(
        images[0] if len(images) == 1 else np.concatenate(images),
        np.concatenate(targets).astype(np.int64),
        task=task,
        name=name or folder.resolve().name,
        parts=None if one else np.array(parts),
    )


def _part(stem: str, path: Path) -> str:
    words = [word for word in re.split(r"[^a-z0-9]+", stem.lower()) if word in _PART_WORDS]
    if words:
        return _PART_WORDS[words[-1]]
    if not stem:
        return "train"
    raise InputError(f"{path.name}: cannot tell its part. Name it train-, valid- or t10k-images ({PARTS}).")


def load_idx(path: Path) -> np.ndarray:
    """The array of one file, `.gz` unpacked.

    Raises:
        InputError: the file is no IDX file, or shorter or longer than its header says.
    """
    data = unzip(read_bytes(path), path.name)
    if len(data) < 4 or data[:2] != b"\x00\x00" or data[2] not in _DTYPES or not 1 <= data[3] <= 4:
        raise InputError(f"{path.name}: is no IDX file (its first four bytes are {data[:4].hex(' ') or 'missing'}).")
    start, dtype = 4 + 4 * data[3], np.dtype(_DTYPES[data[2]])
    shape = struct.unpack(f">{data[3]}I", data[4:start].ljust(start - 4, b"\0"))
    expected = math.prod(shape) * dtype.itemsize
    if len(data) - start != expected:
        raise InputError(
            f"{path.name}: is torn, its header says {expected} bytes of shape {shape}, got "
            f"{max(len(data) - start, 0)}. Copy the file again."
        )
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
