"""Who has a batch of which size in which step, when members have orders of different length; indices only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Stretch:
    """Consecutive steps in which every stream has a batch of one size.

    Attributes:
        first: the first step.
        last: the one after the last.
        sizes: samples of each stream in each of these steps, 0 for none, int64, shape (U,).
    """

    first: int
    last: int
    sizes: np.ndarray

    @property
    def groups(self) -> list[np.ndarray]:
        """The streams that have a batch, those of one size together, larger sizes first."""
        return [np.flatnonzero(self.sizes == size) for size in np.unique(self.sizes)[::-1] if size]

    def indices(self, orders: Sequence[np.ndarray], streams: np.ndarray, batch_size: int) -> np.ndarray:
        """What these streams see, int64 of shape (S, u, B).

        Args:
            orders: U index arrays.
            streams: u places of streams whose batches have one size.
            batch_size: of full batches.
        """
        size, steps = int(self.sizes[streams[0]]), self.last - self.first
        begin, end = self.first * batch_size, (self.last - 1) * batch_size + size
        return np.stack([orders[stream][begin:end].reshape(steps, size) for stream in streams], axis=1)


def stretches(lengths: Sequence[int], batch_size: int, longest: int) -> Iterator[Stretch]:
    """All steps of an epoch.

    Args:
        lengths: samples of each stream, U of them.
        batch_size: samples a step; a stream's last batch may be smaller.
        longest: steps a stretch may have.

    Example:
        >>> [(part.first, part.last, part.sizes.tolist()) for part in stretches([8, 7, 4], 4, longest=8)]
        [(0, 1, [4, 4, 4]), (1, 2, [4, 3, 0])]
    """
    samples = np.asarray(lengths)
    full, steps = samples // batch_size, -(-samples // batch_size)
    ends = sorted({0, *full.tolist(), *steps.tolist()})
    for begin, end in pairwise(ends):
        sizes = np.clip(samples - begin * batch_size, 0, batch_size)
        for first in range(begin, end, longest):
            yield Stretch(first, min(first + longest, end), sizes)
