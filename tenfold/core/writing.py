"""Files that are whole or not there: written beside, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".writing"


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Gives the path of a draft, which takes the file's place when the block ends, and goes when it fails.

    A killed process leaves the draft. What is no file, such as a pipe or `/dev/stdout`, is written to as it is.

    Args:
        path: the file; where it is a link, what it leads to is replaced.

    Raises:
        OSError: there is no room, or the folder may not be written to; it names `path`, and what was there is kept.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "answer.txt"
        >>> with written_beside(path) as draft:
        ...     _ = draft.write_text("42")
        >>> [entry.name for entry in path.parent.iterdir()]
        ['answer.txt']
    """
    if path.exists() and not path.is_file():
        yield path
        return
    whole = path.resolve()
    draft = whole.with_name(whole.name + SUFFIX)
    try:
        yield draft
        os.replace(draft, whole)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise
