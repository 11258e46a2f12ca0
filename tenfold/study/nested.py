"""Training sets of several sizes, the smaller ones parts of the larger, with one validation part for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tenfold.core.errors import InputError
from tenfold.data import Folds, Source, Split, interleaved

FEWEST = 4


def nested_folds(source: Source, parts: Split, sizes: Sequence[float], seed: int) -> Folds:
    """A fold for each size.

    Args:
        source: what was split.
        parts: its training and validation rows.
        sizes: shares of the training rows, in (0, 1], or counts above 1.
        seed: of the order in which rows come in.

    Raises:
        InputError: fewer than four different sizes, or one that is no share and no count of the training rows.
    """
    total = len(parts.train)
    counts = [round(size * total) if size <= 1 else round(size) for size in sizes]
    if (
        any(not 2 <= count <= total for count in counts)
        or len(set(counts)) < FEWEST
        or len(set(counts)) < len(counts)
    ):
        raise InputError(
            f"--sizes must be {FEWEST} or more different shares in (0, 1] or counts from 2 to {total}, "
            f"got {list(sizes)!r}. Leave it out for 1/16 to all rows."
        )
    labels = source.targets[parts.train] if source.task == "classification" else np.zeros(total)
    rows = parts.train[interleaved(np.asarray(labels), seed)]
    counts.sort()
    return Folds(
        train=tuple(np.sort(rows[:count]) for count in counts),
        valid=(parts.valid,) * len(counts),
        names=tuple(f"{count} rows" for count in counts),
        rows=np.sort(np.concatenate([parts.train, parts.valid])),
        manner="own",
        how=f"{', '.join(map(str, counts))} of {total} training rows, the smaller parts of the larger",
    )
