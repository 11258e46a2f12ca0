"""Whether what runs is being traced into a program: rules then give operators that a compiler can take apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TRACED: ContextVar[bool] = ContextVar("traced", default=False)


@contextmanager
def tracing() -> Iterator[None]:
    """Marks what runs within the block as traced."""
    token = _TRACED.set(True)
    try:
        yield
    finally:
        _TRACED.reset(token)


def is_traced() -> bool:
    """Whether a program is being traced.

    Example:
        >>> with tracing():
        ...     is_traced()
        True
        >>> is_traced()
        False
    """
    return _TRACED.get()
