"""Opening what the user named: every failure becomes one sentence, a near miss is offered."""

from __future__ import annotations

import json
from pathlib import Path

from tenfold.core.errors import InputError, did_you_mean


def read_bytes(path: Path, *, limit: int = -1) -> bytes:
    """The file's bytes, or its first `limit` ones.

    Raises:
        InputError: the file is missing, a folder, or not readable.
    """
    try:
        with open(path, "rb") as file:
            return file.read(limit)
    except FileNotFoundError:
        raise missing(path) from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder where a file was expected. Name a file in it.") from None
    except PermissionError:
        raise InputError(f"{path}: may not be read (permission denied). Change its rights.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error


def missing(path: Path, names: tuple[str, ...] = ()) -> InputError:
    """The error for a path that is not there, with the nearest of its siblings and of `names`.

    Example:
        >>> str(missing(Path("digitz"), ("digits", "iris")))
        "digitz: no such file or folder. Did you mean 'digits'?"
    """
    try:
        siblings = [entry.name for entry in path.absolute().parent.iterdir()]
    except OSError:
        return InputError(f"{path}: no such file or folder, and no folder '{path.parent}' either.")
    hint = did_you_mean(path.name, [*names, *siblings])
    return InputError(f"{path}: no such file or folder.{hint if 'Did you mean' in hint else ''}")


def list_folder(path: Path) -> list[Path]:
    """The folder's entries by name, hidden ones and those of desktop systems left out.

    Raises:
        InputError: the folder is missing or may not be read.
    """
    try:
        entries = sorted(path.iterdir())
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be listed ({error.strerror or error}). Change its rights.") from None
    return [entry for entry in entries if not is_hidden(entry)]


def is_hidden(path: Path) -> bool:
    """Whether a file is no data but a desktop system's or a tool's own."""
    return path.name.startswith((".", "__MACOSX")) or path.name.lower() in ("thumbs.db", "desktop.ini")


def exists(path: Path) -> bool:
    """Whether a path is there.

    Raises:
        InputError: the text can be no path, or a folder on the way may not be entered.
    """
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)[:80]!r}: cannot be looked up ({getattr(error, 'strerror', error)}).") from None


def refuse_run(path: Path) -> None:
    """Refuses the folder of a run where data are asked for.

    Raises:
        InputError: it is one; the sentence names what it was trained on.
    """
    if not ((path / "run.json").is_file() and (path / "records.jsonl").is_file()):
        return
    try:
        argument = json.loads((path / "run.json").read_text(encoding="utf-8"))["source"]["argument"]
    except (OSError, ValueError, KeyError, TypeError):
        argument = None
    hint = "data" if argument is None else f"what it was trained on, such as {argument}"
    raise InputError(f"{path}: is a run, which is no data. Give {hint}; `tenfold predict` and `evaluate` use runs.")
