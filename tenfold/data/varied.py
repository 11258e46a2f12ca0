"""Augmented or fetched samples for many streams: each is made once, when a stream first needs it, by workers ahead.

Members of one augmentation seed see a sample changed alike in an epoch, at different steps. What was made is kept
until the epoch ends, where others need it again and it fits into memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tenfold.core.seeds import derive_seed
from tenfold.data.member_steps import Stretch
from tenfold.data.preparing import Job, Preparer
from tenfold.data.preprocessor import Tensors
from tenfold.data.scratch import memory_for_data

KEPT_BYTES = 4 << 30


@dataclass(frozen=True)
class Varied:
    """What streams see in one step.

    Attributes:
        tensors: samples, each of shape (n, ...), in memory.
        ids: for each stream the number of each of its samples, int64.
        present: the numbers of the samples in `tensors`, sorted; None when they lie in the order of their numbers.
    """

    tensors: Tensors
    ids: Sequence[np.ndarray]
    present: np.ndarray | None

    def take(self, ids: np.ndarray, device: Any) -> Tensors:
        """Samples by number, each tensor of shape (len(ids), ...)."""
        index = torch.from_numpy(ids if self.present is None else np.searchsorted(self.present, ids))
        return tuple(tensor.index_select(0, index).to(device) for tensor in self.tensors)


def varied_rows(
    preparer: Preparer,
    rows: Sequence[np.ndarray],
    seeds: Sequence[int],
    steps: Sequence[Stretch],
    batch_size: int,
    epoch: tuple[int, ...],
    row_bytes: int,
) -> Iterator[Varied]:
    """What the streams see in each step.

    Args:
        preparer: makes the samples.
        rows: for each of U streams its rows of the source, in order.
        seeds: for each the seed of its stream "augment".
        steps: stretches of one step each.
        batch_size: samples a step.
        epoch: its number, or nothing for samples that are the same in every epoch.
        row_bytes: of a sample, at most.
    """
    ids, owners, sources = _numbered(rows, seeds)
    needed = [_needed(step, ids, batch_size) for step in steps]
    keep = sum(map(len, needed)) > len(sources) and len(sources) * row_bytes <= min(KEPT_BYTES, memory_for_data())
    made = _new(needed, len(sources)) if keep else needed

    def job(number: int) -> Job:
        chosen = asked[number]
        keys = [
            derive_seed(owner, "augment", *epoch, row)
            for owner, row in zip(owners[chosen].tolist(), sources[chosen].tolist(), strict=True)
        ]
        return sources[chosen], keys

    asked = [chosen for chosen in made if len(chosen)]
    results = preparer.run(len(asked), job)
    kept: list[torch.Tensor] = []
    for chosen in made:
        found = next(results) if len(chosen) else ()
        if not keep:
            yield Varied(found, ids, chosen)
            continue
        kept = kept or [one.new_empty((len(sources), *one.shape[1:])) for one in found]
        index = torch.from_numpy(chosen)
        for whole, some in zip(kept, found, strict=False):
            whole.index_copy_(0, index, some)
        yield Varied(tuple(kept), ids, None)


def _numbered(rows: Sequence[np.ndarray], seeds: Sequence[int]) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """For each stream the numbers of its samples; the seed and the row of each number."""
    distinct, places = np.unique(np.array(seeds, dtype=object), return_inverse=True)
    span = 1 + max(int(some.max(initial=0)) for some in rows)
    codes = [some + span * int(place) for some, place in zip(rows, places, strict=True)]
    known, numbers = np.unique(np.concatenate(codes), return_inverse=True)
    ids = np.split(numbers, np.cumsum([len(some) for some in rows])[:-1])
    return ids, distinct[known // span], known % span


def _needed(step: Stretch, ids: Sequence[np.ndarray], batch_size: int) -> np.ndarray:
    return np.unique(np.concatenate([step.indices(ids, group, batch_size).reshape(-1) for group in step.groups]))


def _new(needed: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """Of what each step needs, what no step before it needed."""
    seen = np.zeros(count, dtype=bool)
    new = []
    for chosen in needed:
        new.append(chosen[~seen[chosen]])
        seen[chosen] = True
    return new
