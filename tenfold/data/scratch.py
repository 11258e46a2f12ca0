"""Arrays that do not fit into memory: in a file without a name, mapped, so that they read as any other.

The file is taken off its folder as soon as it is made, where the system allows that (POSIX): it goes when the process
ends, however it ends. Its room is claimed at once, so that a full disk is an error here and not a signal later.

Measured on one core with 20,000 pictures of 3x146x146 in the file: a batch of 32 takes 0.2 to 0.3 ms where the system
has its pages in memory (0.1 ms from an array in memory), and 2 ms where none is, against 7 to 9 ms without announcing
the rows.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.core.errors import InputError
from tenfold.core.machine import available_memory_bytes

MEMORY_SHARE = 0.25  # of what is free; parts of the data, batches and models want room, too
_TIGHT_SHARE = 0.7  # where there is no disk to go to
_DISK_SHARE = 0.95
_ON_DISK = Path("/var/tmp")  # /tmp often lies in memory
_LIMIT = "TENFOLD_DATA_MEMORY"


def memory_for_data() -> int:
    """How many bytes one source may take in memory: `TENFOLD_DATA_MEMORY`, else a quarter of what is free.

    Raises:
        InputError: the variable is no number of bytes.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, TENFOLD_DATA_MEMORY="2e9"):
        ...     memory_for_data()
        2000000000
    """
    own = os.environ.get(_LIMIT)
    if not own:
        return int(MEMORY_SHARE * available_memory_bytes())
    try:
        limit = int(float(own))
    except (ValueError, OverflowError):
        limit = -1
    if limit < 0:
        raise InputError(f"{_LIMIT}: must be a number of bytes >= 0, got {own!r}. Set it to 2e9, or take it away.")
    return limit


def scratch_folder() -> Path:
    """Where such files lie: `TMPDIR`, else `/var/tmp`, else the system's folder for temporary files.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, TMPDIR="/data/scratch"):
        ...     scratch_folder().name
        'scratch'
    """
    own = os.environ.get("TMPDIR")
    if own:
        return Path(own)
    return _ON_DISK if os.access(_ON_DISK, os.W_OK) else Path(tempfile.gettempdir())


def roomy(shape: tuple[int, ...], dtype: Any, what: str, advice: str, limit: int | None = None) -> np.ndarray:
    """An array to fill: in memory where it takes no more than it may, in a file otherwise.

    Where there is no room for the file it is in memory all the same, if it just fits and `TENFOLD_DATA_MEMORY` is
    not set.

    Args:
        shape: its shape.
        dtype: of its numbers.
        what: what it will hold, such as "pictures: 10 of 8x8"; for messages.
        advice: what makes it smaller, such as "Choose a smaller --image-size"; for messages.
        limit: bytes that it may take in memory; None for `memory_for_data`.

    Raises:
        InputError: there is no room on the disk either.

    Example:
        >>> roomy((2, 3), np.uint8, "pictures", "Take fewer").shape
        (2, 3)
    """
    needed = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    limit = memory_for_data() if limit is None else limit
    if needed <= limit:
        return np.empty(shape, dtype)
    what = f"{what} need {gib(needed)}, more than the {gib(limit)} of memory that data may take"
    try:
        return _file_array(shape, dtype, needed, what, advice)
    except InputError:
        if os.environ.get(_LIMIT) or needed > _TIGHT_SHARE * available_memory_bytes():
            raise
        return np.empty(shape, dtype)


def _file_array(shape: tuple[int, ...], dtype: Any, needed: int, what: str, advice: str) -> np.memmap:
    folder = scratch_folder()
    advice = f"{advice}, or set TMPDIR to a folder on a disk with more room."
    if _lies_in_memory(folder):
        raise InputError(f"{what}, and {folder} lies in memory, too. {advice}")
    try:
        free = shutil.disk_usage(folder).free
        if needed > _DISK_SHARE * free:
            raise InputError(f"{what}, and {gib(free)} are free in {folder}. {advice}")
        with tempfile.TemporaryFile(prefix="tenfold-", dir=folder) as file:
            _claim(file, needed)
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(f"{what}, and no file can be made in {folder} ({reason}). {advice}") from error


def _claim(file: Any, num_bytes: int) -> None:
    """Makes a file so long and its room its own: writing to a map whose disk is full would kill the process."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, num_bytes)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    file.truncate(num_bytes)


def _lies_in_memory(folder: Path) -> bool:
    """Whether a folder's files take memory, as far as the system tells."""
    with contextlib.suppress(OSError):
        device = folder.stat().st_dev
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, point, kind, *_ = line.split(" ")
            if kind in ("tmpfs", "ramfs"):
                with contextlib.suppress(OSError):
                    if Path(point).stat().st_dev == device:
                        return True
    return False


def is_in_file(array: np.ndarray) -> bool:
    """Whether `roomy` put an array, or what this is a view of, into a file; a user's own map has a file of a name."""
    return _pages_of(array) is not None


def _pages_of(array: np.ndarray) -> mmap.mmap | None:
    if not isinstance(array, np.memmap) or array.filename is not None:
        return None
    return getattr(array, "_mmap", None)  # None of copies


def whereabouts(array: np.ndarray, what: str) -> list[str]:
    """A sentence on an array that lies in a file, such as "pictures: 12.3 GiB ..."; none on others."""
    if not is_in_file(array):
        return []
    limit = f"since data take at most {gib(memory_for_data())} of memory ({_LIMIT}, TMPDIR)"
    return [f"{what}: {gib(array.nbytes)} decoded to a file in {scratch_folder()}, {limit}"]


def gib(num_bytes: int) -> str:
    """Bytes in words.

    Example:
        >>> gib(3 << 29), gib(5 << 20)
        ('1.5 GiB', '5.0 MiB')
    """
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 1 << 29 else f"{num_bytes / 2**20:.1f} MiB"


def gather(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of an array, copied into memory; a file's are announced before the first is waited for.

    Args:
        array: shape (N, ...).
        rows: their numbers, int64 of shape (n,).

    Returns:
        Shape (n, ...).

    Example:
        >>> gather(np.arange(6).reshape(3, 2), np.array([2, 0])).tolist()
        [[4, 5], [0, 1]]
    """
    pages = _pages_of(array)
    if pages is not None and hasattr(mmap, "MADV_WILLNEED"):
        _announce(pages, array.nbytes // max(1, len(array)), rows)
    return np.asarray(array)[rows]


def _announce(pages: mmap.mmap, row_bytes: int, rows: np.ndarray) -> None:
    """Tells the system which pages are read next, so that it reads them side by side."""
    for row in rows.tolist():
        first = row * row_bytes
        start = first - first % mmap.PAGESIZE
        pages.madvise(mmap.MADV_WILLNEED, start, min(first + row_bytes, len(pages)) - start)


def keep_rows(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows of an array, moved to its front and nothing copied besides: the array itself is spoilt.

    Args:
        array: shape (N, ...).
        rows: their numbers, ascending, int64 of shape (n,).

    Returns:
        A view of the array, shape (n, ...).

    Example:
        >>> keep_rows(np.arange(6).reshape(3, 2), np.array([0, 2])).tolist()
        [[0, 1], [4, 5]]
    """
    for place, row in enumerate(rows.tolist()):
        if place != row:
            array[place] = array[row]
    return array[: len(rows)]
