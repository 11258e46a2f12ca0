"""Which seeds train together: all of them at once, or a few at a time where a comparison looks in between.

A batch of seeds is a cohort of its own, planned once: its members differ from those of the first batch in their seed
alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tenfold.core.records import MemberId
from tenfold.study.comparing import LOOK_EVERY
from tenfold.study.grid_options import GridOptions
from tenfold.train import MemberSpec, PlannedStack


def seed_batches(options: GridOptions) -> list[range]:
    """The seeds of each batch, counted from 0.

    Example:
        >>> seed_batches(GridOptions(seeds=12, sequential=True))
        [range(0, 5), range(5, 10), range(10, 12)]
        >>> seed_batches(GridOptions(seeds=12))
        [range(0, 12)]
    """
    every = LOOK_EVERY if options.sequential else options.seeds
    return [range(begin, min(begin + every, options.seeds)) for begin in range(0, options.seeds, every)]


def members_of(
    specs: Sequence[MemberSpec], plan: Sequence[PlannedStack], seeds: range, options: GridOptions
) -> tuple[list[MemberSpec], list[PlannedStack]]:
    """The members of a batch, and the plan with their places.

    Args:
        specs: the members of the first batch, which has the most seeds.
        plan: of these.
        seeds: of the batch.
        options: the first seed, and whether each seed has a split, which is a fold, of its own.
    """
    kept = [place for place, spec in enumerate(specs) if spec.id.seed - options.seed < len(seeds)]
    fold_step = seeds.start if "split" in options.varies else 0
    own = [_moved(specs[place], seeds.start, fold_step) for place in kept]
    new_place = {place: number for number, place in enumerate(kept)}
    lines = [
        replace(line, places=tuple(new_place[place] for place in line.places if place in new_place)) for line in plan
    ]
    return own, [line for line in lines if line.places]


def _moved(spec: MemberSpec, seeds: int, folds: int) -> MemberSpec:
    values = dict(spec.config.task_values)
    if "weights_row" in values:
        values["weights_row"] += folds
    member = MemberId(trial=spec.id.trial, fold=spec.id.fold + folds, seed=spec.id.seed + seeds)
    return replace(spec, id=member, config=replace(spec.config, task_values=values))


def batch_of(state: Mapping[str, Any], batches: Sequence[range], options: GridOptions) -> int:
    """The number of the batch that a checkpoint is of."""
    seed = state["lanes"][0]["ids"][0][2] - options.seed
    return next(number for number, seeds in enumerate(batches) if seed in seeds)
