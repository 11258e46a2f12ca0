"""A part of a large source that stands for the whole: rows drawn at random, with classes and parts in proportion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tenfold.core.errors import InputError
from tenfold.core.seeds import generator
from tenfold.data.source import PARTS, Source

FIRST = 2
"""Rows of each class in each part that come before all others: a split needs one on either side."""


def draw_rows(source: Source, max_rows: int, seed: int) -> Source:
    """A source of at most so many rows, in the order in which they stand; it remembers their numbers.

    The parts that the source came with, and the classes in each, keep their proportions, except that two rows of each
    class in each part are kept where there are so many. Fewer rows are a part of more. A source from which nothing
    can be learned stays whole, so that its own problem is said.

    Args:
        source: what was read.
        max_rows: at least 2.
        seed: of the run.

    Raises:
        InputError: fewer rows than classes.

    Example:
        >>> from tenfold.data import read
        >>> few = draw_rows(read("iris"), 30, seed=0)
        >>> np.unique(few.targets, return_counts=True)[1].tolist(), len(few.rows)
        ([10, 10, 10], 30)
    """
    if len(source) <= max_rows or source.problem:
        return source
    labels = np.unique(source.targets, return_inverse=True)[1] if source.task == "classification" else None
    strata = np.zeros(len(source), np.int64) if labels is None else labels
    if source.parts is not None:
        strata = strata * len(PARTS) + np.unique(source.parts, return_inverse=True)[1]
    least = len(np.unique(strata))
    if max_rows < least:
        raise InputError(
            f"--max-rows must be at least {least} for {source.name}, one for each class in each part, "
            f"got {max_rows}. Raise it."
        )
    rows = np.sort(interleaved(strata, seed, first=FIRST)[:max_rows])
    how = "with classes in proportion" if labels is not None else "at random"
    note = f"{len(rows):,} of {len(source):,} rows, drawn {how} (--max-rows)"
    return replace(source.take(rows), rows=source.row_numbers(rows), notes=(*source.notes, note))


def interleaved(labels: np.ndarray, seed: int, *, first: int = 1) -> np.ndarray:
    """An order of rows in which every beginning has the classes nearly in proportion, each as soon as may be.

    Args:
        labels: of the rows, shape (N,).
        seed: of the run.
        first: rows of each class that come before all others.

    Returns:
        A permutation, int64, shape (N,).

    Example:
        >>> order = interleaved(np.array([0] * 8 + [1] * 2), seed=0)
        >>> sorted(np.array([0] * 8 + [1] * 2)[order[:2]].tolist())
        [0, 1]
    """
    shuffled = generator(seed, "split", 1).permutation(len(labels))
    place = np.empty(len(labels))
    for name in dict.fromkeys(labels.tolist()):
        own = shuffled[labels[shuffled] == name]
        ranks = np.arange(len(own))
        place[own] = np.where(ranks < first, 0, ranks / len(own))
    return shuffled[np.argsort(place[shuffled], kind="stable")]


def num_of(fraction: float, count: int) -> int:
    """How many of `count` rows a fraction of them is, at least 1.

    Example:
        >>> num_of(1 / 9, 100), num_of(1e-9, 100)
        (11, 1)
    """
    return max(1, round(fraction * count))
