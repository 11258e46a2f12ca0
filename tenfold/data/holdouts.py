"""One cut into training and validation rows for each seed: folds for a replication that varies the split as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tenfold.data.folds import Folds
from tenfold.data.source import Source
from tenfold.data.splitting import split


def cut_holdouts(
    source: Source, seeds: Sequence[int], *, valid_fraction: float = 0.2, rows: np.ndarray | None = None
) -> Folds:
    """A training and a validation part for each seed, as `split` cuts them.

    Args:
        source: what to cut; parts that it came with are not regarded, groups are.
        seeds: one a cut.
        valid_fraction: share of the rows, in (0, 1).
        rows: the rows to cut, int64; by default all. Leave test rows out.

    Raises:
        ValueError: there are no seeds, or the fraction is out of range.
        InputError: as `split` raises it.

    Example:
        >>> from tenfold.data import read
        >>> cuts = cut_holdouts(read("iris"), [3, 4])
        >>> cuts.names, [len(rows) for rows in cuts.valid], cuts.complete
        (('split of seed 3', 'split of seed 4'), [30, 30], False)
    """
    if not len(seeds):
        raise ValueError("cut_holdouts: seeds must hold at least one, got none. Give a seed for each cut.")
    if not 0 < valid_fraction < 1:
        raise ValueError(f"cut_holdouts: valid_fraction must be in (0, 1), got {valid_fraction!r}. 0.2 is common.")
    kept = np.arange(len(source)) if rows is None else np.sort(np.asarray(rows, dtype=np.int64))
    whole = replace(source.take(kept), parts=None)
    cuts = [split(whole, seed=seed, valid_fraction=valid_fraction, test_fraction=0.0) for seed in seeds]
    return Folds(
        train=tuple(kept[cut.train] for cut in cuts),
        valid=tuple(kept[cut.valid] for cut in cuts),
        names=tuple(f"split of seed {seed}" for seed in seeds),
        rows=kept,
        manner="holdout",
        how=f"{len(cuts)} cuts, each {cuts[0].how}",
    )
