"""The folder where tenfold keeps what it found out about this machine, from run to run."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """`TENFOLD_CACHE`, else `XDG_CACHE_HOME/tenfold`, else `~/.cache/tenfold`.

    Nothing in it is needed: what is missing is found out anew.

    Raises:
        RuntimeError: the user has no home folder.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, TENFOLD_CACHE="cache"):
        ...     cache_folder().name
        'cache'
    """
    own = os.environ.get("TENFOLD_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenfold"


def keep_in_cache(name: str, content: bytes) -> None:
    """Writes a file of the folder, whole or not at all; whoever reads it meanwhile sees the old one.

    What cannot be written is not kept.
    """
    with contextlib.suppress(OSError, RuntimeError):  # the last where there is no home
        path = cache_folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{name}")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(beside, path)
        except OSError:
            Path(beside).unlink(missing_ok=True)
