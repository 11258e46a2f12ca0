"""Optuna without its log lines: what a search does is said by its run, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Runs a block with Optuna's log at ERROR and gives the caller's level back afterwards.

    Example:
        >>> before = optuna.logging.get_verbosity()
        >>> with quiet_optuna():
        ...     _ = optuna.create_study()
        >>> optuna.logging.get_verbosity() == before
        True
    """
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
