"""Who stays at a rung beside the best: trials of several folds or seeds, not clearly worse than the last one kept.

One unlucky fold can push a good trial below the line; the paired test over folds tells bad luck from a bad trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tenfold.core.records import MemberId
from tenfold.statistics import clearly_worse

BOUND = 2


def spared(
    standing: Mapping[MemberId, float],
    kept: Sequence[int],
    others: Sequence[int],
    *,
    direction: str,
    test_to_train: float | None = None,
) -> list[int]:
    """The trials that stay although they are not among the best, best first.

    With one member a trial nobody is spared, and a trial of which a member diverged is not. At most as many are as
    were kept, so that a rung never keeps more than twice its size.

    Args:
        standing: each member's score; NaN where it diverged.
        kept: the trials that the rung keeps, best first.
        others: the other trials, best first.
        direction: "maximize" or "minimize".
        test_to_train: rows of a fold's scored part / rows of its training part; None for 1 / (F - 1).

    Example:
        >>> scores = {0: (0.91, 0.92, 0.90, 0.93), 1: (0.92, 0.91, 0.91, 0.60), 2: (0.51, 0.50, 0.52, 0.53)}
        >>> standing = {MemberId(trial=t, fold=f): s for t, row in scores.items() for f, s in enumerate(row)}
        >>> spared(standing, [0], [1, 2], direction="maximize")
        [1]
    """
    tables = {trial: table for trial, table in _tables(standing).items() if np.isfinite(table).all()}
    if not kept or kept[-1] not in tables or tables[kept[-1]].size < 2:
        return []
    stay: list[int] = []
    for trial in (other for other in others if other in tables):
        if len(stay) == (BOUND - 1) * len(kept):
            break
        pair = np.stack([tables[kept[-1]], tables[trial]])
        overlap = test_to_train if pair.shape[1] > 1 else None
        if not clearly_worse(pair, direction=direction, test_to_train=overlap):
            stay.append(trial)
    return stay


def _tables(standing: Mapping[MemberId, float]) -> dict[int, np.ndarray]:
    """For each trial its scores, shape (F, S); all trials have the same folds and seeds."""
    folds = sorted({member.fold for member in standing})
    seeds = sorted({member.seed for member in standing})
    tables: dict[int, np.ndarray] = {}
    for member, score in standing.items():
        table = tables.setdefault(member.trial, np.full((len(folds), len(seeds)), np.nan))
        table[folds.index(member.fold), seeds.index(member.seed)] = score
    return tables
