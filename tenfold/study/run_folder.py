"""The folder a question leaves on disk: made, locked, resumed or overwritten, and its `run.json`."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tenfold.core.errors import InputError, RunError
from tenfold.core.writing import SUFFIX, written_beside

SCHEMA = 1
_REMAINS = {".lock", "run.json" + SUFFIX}  # of a run that was killed before it had a run.json


class RunFolder:
    """A run folder that this process alone writes to.

    Attributes:
        path: the folder.
        info: what `run.json` holds.
    """

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path = path
        self.info = info
        self._lock = _lock(path)

    @classmethod
    def create(cls, out: str | Path | None, name: str, *, overwrite: bool) -> RunFolder:
        """A new folder: `out`, or `runs/<name>-<n>` with the first free number.

        Raises:
            RunError: `out` exists and overwrite was not asked for, or it holds something that is no run.
            InputError: it cannot be made.
        """
        try:
            return cls(_make_numbered(name) if out is None else _make(Path(out), overwrite), {"schema": SCHEMA})
        except OSError as error:
            raise InputError(
                f"--out: {out or 'runs'} cannot be made ({error.strerror}). Choose another place."
            ) from error

    @classmethod
    def open(cls, out: str | Path | None) -> RunFolder:
        """An existing folder, to go on with.

        Raises:
            RunError: there is no run.
        """
        if out is None:
            raise RunError("--resume: which run? Name its folder, such as --out runs/digits-1.")
        return cls(Path(out), read_info(Path(out)))

    def update(self, **entries: Any) -> None:
        """Changes entries of `run.json`; a crash leaves the old file or the new one."""
        self.info.update(entries)
        with written_beside(self.path / "run.json") as draft:
            draft.write_text(json.dumps(self.info, ensure_ascii=False, indent=1), encoding="utf-8")

    @property
    def records(self) -> Path:
        """The file of the run's own records."""
        return self.path / "records.jsonl"

    @property
    def checkpoint(self) -> Path:
        """The folder of the cohort's checkpoint."""
        return self.path / "checkpoint"

    @property
    def best(self) -> Path:
        """The folder of the final model."""
        return self.path / "best"

    def remove(self) -> None:
        """Takes the folder away again, when the run could not begin."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Lets other processes write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def check_source(argument: Any, folder: RunFolder) -> None:
    """Refuses to give a complete run as the answer to a question about other data, without reading them.

    Args:
        argument: the data that the run is resumed with; paths are compared by their last names, since folders move.
        folder: of the run.

    Raises:
        RunError: the run was begun with a source of another name.
    """
    begun_with = (folder.info.get("source") or {}).get("argument")
    now = str(argument) if isinstance(argument, str | Path) else None
    if begun_with is not None and now is not None and Path(begun_with).name != Path(now).name:
        raise RunError(
            f"--resume: the run in {folder.path} was begun with {begun_with!r}, got {now!r}. Name the same data, or "
            "begin a new run."
        )


def read_info(path: Path) -> dict[str, Any]:
    """What a run folder's `run.json` holds.

    Raises:
        RunError: there is no run, or it was made by a version with another schema.
    """
    file = path / "run.json"
    if not file.is_file():
        raise RunError(f"{path}: there is no run (run.json is missing). `tenfold fit` makes one.")
    try:
        info = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{file}: cannot be read ({error}). Restore it, or begin a new run.") from error
    if info.get("schema") != SCHEMA:
        raise RunError(f"{file}: has schema {info.get('schema')!r}, this version reads {SCHEMA}. Begin a new run.")
    return info


def refuse_place(out: str | Path | None, *, overwrite: bool) -> None:
    """Refuses a place where no run can be made, before any work is done for it.

    Raises:
        RunError: it exists and overwrite was not asked for, or it holds something that is no run.
        InputError: it may not be written to, or no folder can be made there.
    """
    path = Path("runs" if out is None else out)
    if out is not None and path.exists():
        if not overwrite:
            raise RunError(f"--out: {path} exists. Add --resume to go on with it or --overwrite to begin anew.")
        if not path.is_dir() or (set(_names(path)) - _REMAINS and not (path / "run.json").is_file()):
            raise RunError(f"--overwrite: {path} holds something that is not a run. Choose another --out.")
    above = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".tenfold-", dir=above))  # rights alone do not tell: see /proc
    except OSError as error:
        reasons = {errno.ENOTDIR: "is a file", errno.EACCES: "may not be written to"}
        reason = reasons.get(error.errno or 0, f"takes no folder: {error.strerror}")
        raise InputError(f"--out: {path} cannot be made ({above} {reason}). Choose another place.") from None


def _names(path: Path) -> list[str]:
    return [entry.name for entry in path.iterdir()]


def _make(path: Path, overwrite: bool) -> Path:
    refuse_place(path, overwrite=overwrite)
    if path.exists():
        os.close(lock) if (lock := _lock(path)) is not None else None
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


def _make_numbered(name: str) -> Path:
    """The first free `runs/<name>-<n>`; two processes never get the same one."""
    runs = Path("runs")
    runs.mkdir(exist_ok=True)
    safe = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
    number = 1
    while True:
        try:
            (runs / f"{safe}-{number}").mkdir()
            return runs / f"{safe}-{number}"
        except FileExistsError:
            number += 1


def _lock(path: Path) -> int | None:
    """Locks a folder for this process; the system lets go of it when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: no lock
        return None
    handle = os.open(path / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise RunError(
            f"{path}: another process is writing to this run. Wait for it, or choose another --out."
        ) from error
    return handle


def source_commit() -> str | None:
    """The commit of the directory the command was run in, or None."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
