"""Python's and NumPy's global random numbers, as a member draws them.

They have one state for the whole process: a model that draws from them runs one member after another, each from a
state of its own that follows from its stream.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from tenfold.stacking.rules import OneByOneError

DRAWN = (
    "the model or the function draws from Python's or NumPy's random numbers, and all members would get the same "
    "(torch.rand and the like have one for each)"
)


@contextmanager
def refusing_draws() -> Iterator[None]:
    """A block that may not draw from Python's or NumPy's generators; they stay as they were if it does or fails.

    Raises:
        OneByOneError: it has drawn.
    """
    python, numpy, before = random.getstate(), np.random.get_state(legacy=False), state_now()
    draws = True
    try:
        yield
        draws = state_now() != before
    finally:
        if draws:
            random.setstate(python)
            np.random.set_state(numpy)
    if draws:
        raise OneByOneError(DRAWN)


def state_now() -> bytes:
    """The state of both generators; takes some 50 microseconds."""
    return pickle.dumps((random.getstate(), np.random.get_state(legacy=False)))


@contextmanager
def drawing_from(seed: int) -> Iterator[Callable[[], bool]]:
    """Seeds both generators for a block and puts them back.

    Gives a function that tells whether they were used; asking is the last thing to do, for it seeds them again.

    Args:
        seed: any integer >= 0.

    Example:
        >>> with drawing_from(1) as used:
        ...     number = random.random()
        ...     used()
        True
    """
    python, numpy = random.getstate(), np.random.get_state(legacy=False)

    def start() -> None:
        random.seed(seed)
        np.random.seed(seed % (1 << 32))

    def used() -> bool:
        now = state_now()
        start()
        return now != state_now()

    start()
    try:
        yield used
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
