"""The run's own records: append-only facts, one JSON object a line, the truth that a resumed run starts from.

Facts hold nothing that depends on the clock, so that an interrupted and resumed run ends with the very bytes of
an undisturbed one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.core.errors import RunError


@dataclass(frozen=True, kw_only=True, order=True)
class MemberId:
    """One model in training: a trial, on one fold, from one seed.

    Attributes:
        trial: number of the configuration, >= 0.
        fold: number of the fold, >= 0.
        seed: the seed of the member's streams.
    """

    trial: int
    fold: int = 0
    seed: int = 0

    def to_json(self) -> dict[str, int]:
        """The three numbers by name."""
        return {"trial": self.trial, "fold": self.fold, "seed": self.seed}


class RecordLog:
    """An append-only file of JSON lines.

    Lines are written at once and reach the disk at `sync`. A line torn by a crash is dropped when the log is
    opened again.

    Args:
        path: the file; made when it is missing.
        keep_bytes: cut the file back to this length first: what came after the last checkpoint is done again, and
            so it is written again.

    Raises:
        RunError: the file is shorter than that: records were lost.
    """

    def __init__(self, path: Path, *, keep_bytes: int | None = None) -> None:
        self.path = path
        whole = path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
        if keep_bytes is not None and keep_bytes > whole:
            raise RunError(
                f"{path}: must hold the {keep_bytes} bytes of the checkpoint, got {whole}: records were lost. "
                "Restore it, or delete the folder checkpoint/ beside it to train anew."
            )
        self._file = open(path, "ab")  # noqa: SIM115 - open for the run's whole life, closed by close()
        self._file.truncate(whole if keep_bytes is None else keep_bytes)
        self._file.seek(0, os.SEEK_END)

    def append(self, kind: str, **facts: Any) -> None:
        """Writes one record; numbers that JSON does not know (NaN, infinities) are written as null."""
        line = json.dumps({"kind": kind, **finite(facts)}, ensure_ascii=False, allow_nan=False)
        self._file.write(line.encode() + b"\n")

    def sync(self) -> int:
        """Brings everything to the disk, and returns the file's length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Syncs and closes the file."""
        if not self._file.closed:
            self.sync()
            self._file.close()


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a log in order; a torn last line is passed over."""
    if not path.exists():
        return
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def finite(value: Any) -> Any:
    """The value as JSON knows it: NaN and infinities as None, tuples as lists, keys as text; to any depth.

    Example:
        >>> finite({"low": float("nan"), "n": (1, 2.5)})
        {'low': None, 'n': [1, 2.5]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
