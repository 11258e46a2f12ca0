"""The errors tenfold raises for states a caller may want to catch, and the helper that offers near misses.

Wrong arguments raise plain `ValueError` or `TypeError`. Every message says where and what, what was expected
and what came, and how to mend it, in one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TenfoldError(Exception):
    """Base of all errors that tenfold raises on purpose."""


class InputError(TenfoldError, ValueError):
    """The user's data or command cannot be used as it is: a missing file, a constant target, a torn image."""


class StackError(TenfoldError, ValueError):
    """Models that cannot stand in one stack; the message names the first difference and the way out."""


class RunError(TenfoldError):
    """A run folder is not in the state the call needs: it exists already, is unfinished, or was made otherwise."""


class OutOfMemoryError(TenfoldError, MemoryError):
    """The work does not fit into memory even at its smallest; the message says what was needed and what there is."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no room: Python's own, or PyTorch's for one of its devices.

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate ..."))
        True
    """
    # by its name: this floor does without torch; and the CPU's allocator raises a plain RuntimeError
    is_torchs = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return isinstance(error, MemoryError) or is_torchs or "allocate memory" in str(error)


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Returns `" Did you mean 'resnet18'?"` for a near miss, or the list of choices when nothing is near.

    Args:
        name: what the user wrote.
        choices: what would have been accepted.

    Returns:
        A sentence that begins with a space, ready to be appended to an error message.

    Example:
        >>> did_you_mean("resnet-18", ["lenet", "resnet18"])
        " Did you mean 'resnet18'?"
        >>> did_you_mean("zebra", ["lenet", "resnet18"])
        " Choose from 'lenet', 'resnet18'."
    """
    known = sorted(choices)
    folded = {choice.lower(): choice for choice in known}
    near = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{folded[near[0]]}'?"
    shown = ", ".join(f"'{choice}'" for choice in known[:20])
    more = f" and {len(known) - 20} more" if len(known) > 20 else ""
    return f" Choose from {shown}{more}." if known else ""
