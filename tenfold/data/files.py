"""Opening what the user named: every failure becomes one sentence, a near miss is offered."""

from __future__ import annotations

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
