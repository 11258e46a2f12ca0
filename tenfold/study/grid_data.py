"""The data of a question over folds and seeds: cut, prepared a fold, and handed to the members that see them.

M members, B samples of a batch
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.core.errors import InputError
from tenfold.core.records import MemberId
from tenfold.core.task import Batch, BatchProvider, MemberBatches, Metric
from tenfold.data import (
    Batches,
    Finding,
    FoldBatches,
    FoldData,
    FoldMember,
    Folds,
    MemberBatch,
    Source,
    cut_folds,
    cut_holdouts,
    split,
)
from tenfold.stacking import per_member
from tenfold.study.grid_options import GridOptions
from tenfold.study.honesty import look_at
from tenfold.study.material import (
    deciding_metric,
    encoder_options,
    every_epoch,
    input_bytes,
    scored_at_once,
    target_bytes,
    task_of,
    weights_for,
)
from tenfold.study.nested import nested_folds
from tenfold.tasks import Regression
from tenfold.tasks.supervised import SupervisedTask
from tenfold.train import CohortData, Lane, MemberSpec

KeptSteps = dict[tuple[int, ...], list[tuple[MemberBatch, ...]]]
"""Batches that members of these folds are scored on."""

_MOST_KEPT_BYTES = 1 << 25  # of batches that are scored on, for all lanes together


@dataclass(frozen=True, kw_only=True)
class GridData:
    """A source as the folds see it.

    Attributes:
        source: what was read.
        folds: its rows by fold.
        seen: inputs and targets, prepared a fold.
        test_rows: rows that no fold holds, touched once at the end.
        tasks: for each fold the task in its own units (a regression's mean and spread are the fold's), with every
            metric.
        epoch_tasks: likewise with the metrics that are worth scoring at every epoch.
        metric: the one that decides.
        findings: what makes scores say other than they seem to.
    """

    source: Source
    folds: Folds
    seen: FoldData
    test_rows: np.ndarray
    tasks: tuple[SupervisedTask, ...]
    epoch_tasks: tuple[SupervisedTask, ...]
    metric: Metric
    findings: tuple[Finding, ...] = ()

    @property
    def rows_to_train(self) -> float:
        """How many rows a fold trains on, in the mean."""
        return float(np.mean([len(rows) for rows in self.folds.train]))

    @property
    def test_to_train(self) -> float:
        """Rows scored on over rows trained on, in the mean of the folds."""
        return float(np.mean([len(rows) for rows in self.folds.valid])) / self.rows_to_train

    def fingerprint(self) -> str:
        """A short hash of inputs, targets and folds: a resumed run must work on the same data."""
        digest = hashlib.blake2b(digest_size=8)
        for piece in input_bytes(self.seen.inputs[0], self.seen.preprocessors[0]):
            digest.update(piece)
        digest.update(target_bytes(self.source))
        for rows in (*self.folds.train, *self.folds.valid, self.test_rows):
            digest.update(np.ascontiguousarray(rows).tobytes())
        return digest.hexdigest()


def prepare_grid(source: Source, options: GridOptions, device: torch.device) -> GridData:
    """Cuts a source into folds (or one training and one validation part), and prepares each.

    Raises:
        InputError: too few rows, groups or samples of a class, or an option that belongs to the other task.
    """
    parts = split(
        source, seed=options.seed, valid_fraction=options.valid_fraction, test_fraction=options.test_fraction
    )
    if options.folds is None and not len(parts.valid):
        raise InputError(f"{source.name}: no validation rows to score on. Raise --valid-fraction.")
    if "split" in options.varies:
        folds = _holdouts(source, options)
        parts = replace(parts, test=parts.test[:0])
    elif options.sizes is not None:
        folds = nested_folds(source, parts, options.sizes, options.seed)
    elif options.folds is None:
        folds = Folds(
            train=(parts.train,), valid=(parts.valid,), names=("the split",),
            rows=np.sort(np.concatenate([parts.train, parts.valid])), manner="split", how=parts.how,
        )  # fmt: skip
    else:
        rows = np.sort(np.concatenate([parts.train, parts.valid]))
        folds = cut_folds(
            source, options.folds, seed=options.seed, manner=options.manner, repeats=options.repeats, rows=rows
        )
    seen = FoldData.of(
        source, folds, device=device, target_options=encoder_options(source, options), workers=options.workers
    )
    weights = fold_weights(seen, options)
    tasks = tuple(task_of(encoder, options, class_weights=weights) for encoder in seen.encoders)
    metric = deciding_metric(tasks[0], options)
    names = every_epoch(tasks[0], metric)
    return GridData(
        source=source,
        folds=folds,
        seen=seen,
        test_rows=parts.test,
        tasks=tasks,
        epoch_tasks=tuple(task_of(encoder, options, names, weights) for encoder in seen.encoders),
        metric=metric,
        findings=look_at(source, parts if folds.manner == "split" or options.sizes else folds, options),
    )


def fold_weights(seen: FoldData, options: GridOptions) -> Tensor | None:
    """The weights that balance the classes, of each fold by its own training rows alone, shape (F, K); or None."""
    if not options.balanced:
        return None
    rows = [torch.from_numpy(train).to(seen.device) for train in seen.folds.train]
    found = [
        weights_for(encoder, targets.index_select(0, own), options)
        for encoder, targets, own in zip(seen.encoders, seen.targets, rows, strict=True)
    ]
    return torch.stack([weights for weights in found if weights is not None])


def _holdouts(source: Source, options: GridOptions) -> Folds:
    """A training and a validation part for each seed; no test part, which would be the same for all."""
    seeds = [options.seed + number for number in range(options.seeds)]
    cuts = cut_holdouts(source, seeds, valid_fraction=options.valid_fraction)
    return replace(cuts, notes=(*cuts.notes, "no test part: each seed is scored on rows of its own split (--vary)"))


def describe_folds(data: GridData) -> dict[str, Any] | None:
    """What `run.json` says of the folds; None for one validation part, also where each seed has its own."""
    folds = data.folds
    if folds.manner in ("split", "holdout"):
        return None
    return {
        "count": len(folds) // folds.repeats,
        "repeats": folds.repeats,
        "manner": folds.manner,
        "how": folds.how,
        "names": list(folds.names),
        "test_to_train": data.test_to_train,
    }


def on_training_rows(data: GridData) -> GridData:
    """The same data, where the rows that a fold scores on are those it trains on."""
    folds = replace(data.folds, valid=data.folds.train)
    return replace(data, folds=folds, seen=replace(data.seen, folds=folds))


class GridProvider(BatchProvider):
    """Training batches of a lane's members, each from its own fold, in its own order.

    Args:
        data: the folds.
        ids: the members, in the lane's order.
        batch_size: samples of a member's batch.
        options: which streams are a member's own.
    """

    def __init__(self, data: GridData, ids: Sequence[MemberId], batch_size: int, options: GridOptions) -> None:
        def seed_of(member: MemberId, stream: str) -> int:
            return member.seed if stream in options.varies else options.seed

        members = [FoldMember(fold=i.fold, order=seed_of(i, "order"), augment=seed_of(i, "augment")) for i in ids]
        self._batches = FoldBatches(data.seen, members, batch_size=batch_size)
        self.steps_per_epoch = self._batches.steps_per_epoch

    def epoch(self, epoch: int, stack: Any = None) -> Iterator[Batch | MemberBatches]:
        """Batches of (*inputs, targets), one a member."""
        num_members = len(self._batches.members)
        for step in self._batches.epoch(epoch):
            if len(step) == 1 and len(step[0].members) == num_members:
                yield _own_batch(step[0])
            else:
                yield MemberBatches(parts=[(group.members.tolist(), _own_batch(group)) for group in step])


def _own_batch(group: MemberBatch) -> Batch:
    """A batch of (*inputs, targets), one a member."""
    return (*map(per_member, group.inputs), per_member(group.targets))


def grid_cohort_data(data: GridData, options: GridOptions) -> CohortData:
    """What a cohort trains on and how its lanes are scored."""
    providers: dict[Any, GridProvider] = {}

    def training(batch_size: int, ids: Sequence[MemberId]) -> BatchProvider:
        key = (batch_size, tuple(ids))
        if key not in providers:
            providers[key] = GridProvider(data, ids, batch_size, options)
        return providers[key]

    kept: KeptSteps = {}
    return CohortData(
        training=None,
        validation=lambda members: (),
        own=training,
        scoring=lambda lane: score_lane(lane, data, tasks=data.epoch_tasks, kept=kept),
    )


def cells(spec: MemberSpec, data: GridData, options: GridOptions) -> list[MemberSpec]:
    """The members of one configuration: each fold, each seed."""
    if "split" in options.varies:
        places = [(seed, seed) for seed in range(options.seeds)]
    else:
        places = [(fold, seed) for fold in range(len(data.folds)) for seed in range(options.seeds)]
    return [_cell(spec, fold, options.seed + seed, options) for fold, seed in places]


def _cell(spec: MemberSpec, fold: int, seed: int, options: GridOptions) -> MemberSpec:
    values = dict(spec.config.task_values)
    if "weights_row" in values:
        values["weights_row"] = float(fold)
    return replace(
        spec,
        id=MemberId(trial=spec.id.trial, fold=fold, seed=seed),
        init_seed=None if "init" in options.varies else options.seed,
        config=replace(spec.config, task_values=values),
    )


def steps_of_each(data: GridData, specs: Sequence[MemberSpec], epochs: int) -> list[int]:
    """Steps of each member to the end of its training: folds may hold different numbers of rows."""
    return [epochs * steps_per_epoch(data, spec.id.fold, spec.config.recipe.batch_size) for spec in specs]


def steps_per_epoch(data: GridData, fold: int, batch_size: int) -> int:
    """Batches of this size in an epoch of one fold; as everywhere, a last batch of one sample is left out."""
    full, rest = divmod(len(data.folds.train[fold]), batch_size)
    return full + (rest > 1 or not full)


def score_lane(
    lane: Lane,
    data: GridData,
    rows: np.ndarray | None = None,
    *,
    tasks: Sequence[SupervisedTask] | None = None,
    kept: KeptSteps | None = None,
) -> dict[str, Tensor]:
    """Every metric of every member on the rows its fold scores on, float64, shape (M,).

    Args:
        lane: the members.
        data: the folds.
        rows: rows that all members are scored on instead, such as the test part.
        tasks: for each fold the task, which says the metrics; by default all metrics.
        kept: where small batches are kept, for who scores again and again.
    """
    return measure(lane.ids, *member_outputs(lane, data, rows, kept), data.tasks if tasks is None else tasks)


def member_outputs(
    lane: Lane, data: GridData, rows: np.ndarray | None = None, kept: KeptSteps | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """What each member says of the rows that its fold scores on, (N, ...), and their targets, (N,); M of each."""
    outputs: list[list[Tensor]] = [[] for _ in lane.ids]
    targets: list[list[Tensor]] = [[] for _ in lane.ids]
    for step in _scored_steps(lane, data, rows, {} if kept is None else kept):
        for group in step:
            places = None if len(group.members) == len(lane) else torch.from_numpy(group.members)
            (said,), _ = lane.predict([_own_batch(group)], places=places)
            for number, place in enumerate(group.members.tolist()):
                outputs[place].append(said[number])
                targets[place].append(group.targets[number])
    folds = data.folds.valid
    lengths = [len(folds[member.fold] if rows is None else rows) for member in lane.ids]
    said = [torch.cat(own)[:length] for own, length in zip(outputs, lengths, strict=True)]
    return said, [torch.cat(own)[:length] for own, length in zip(targets, lengths, strict=True)]


def _scored_steps(
    lane: Lane, data: GridData, rows: np.ndarray | None, kept: KeptSteps
) -> Iterable[tuple[MemberBatch, ...]]:
    """The batches that members are scored on, larger folds' and slightly smaller ones' of one size."""
    folds = tuple(member.fold for member in lane.ids)
    if rows is None and folds in kept:
        return kept[folds]
    spec = data.seen.preprocessors[0].spec
    members = [FoldMember(fold=fold, order=0, augment=0) for fold in folds]
    batches = FoldBatches(data.seen, members, batch_size=scored_at_once(len(lane), spec), augment=False)
    steps = batches.ordered(rows, padded=True)

    def num_bytes(folds: tuple[int, ...]) -> int:
        return 4 * spec.num_features * sum(len(data.folds.valid[fold]) for fold in folds)

    if rows is not None or num_bytes(folds) > _MOST_KEPT_BYTES:
        return steps
    kept[folds] = list(steps)
    while sum(map(num_bytes, kept)) > _MOST_KEPT_BYTES:
        del kept[next(iter(kept))]  # the oldest: who has left is scored no more
    return kept[folds]


def measure(
    ids: Sequence[MemberId], outputs: Sequence[Tensor], targets: Sequence[Tensor], tasks: Sequence[SupervisedTask]
) -> dict[str, Tensor]:
    """Every metric of every member, float64, shape (M,); members with equally many rows are measured together.

    Args:
        ids: the members.
        outputs: as `member_outputs` gives them.
        targets: likewise.
        tasks: for each fold the task, in whose units a regression is told.
    """
    alike: dict[Any, list[int]] = {}
    for place, member in enumerate(ids):
        own_units = member.fold if isinstance(tasks[0], Regression) else None
        alike.setdefault((len(targets[place]), own_units), []).append(place)
    values: dict[str, Tensor] = {}
    for places in alike.values():
        task = tasks[ids[places[0]].fold]
        with torch.no_grad():
            said, truth = torch.stack([outputs[i] for i in places]), torch.stack([targets[i] for i in places])
            found = task.measure(said, truth)
        for name, value in found.items():
            if name not in values:
                values[name] = torch.full((len(ids),), torch.nan, dtype=torch.float64, device=value.device)
            values[name][places] = value
    return values


def example_batch(data: GridData, batch_size: int) -> Batch:
    """A real training batch of the first fold, as one member sees it."""
    part = data.seen.part(0, data.folds.train[0])
    batches = Batches(part, data.seen.preprocessors[0], batch_size=batch_size, seed=0, augment=True)
    inputs, targets = next(iter(batches.epoch(0)))
    return (*inputs, targets)
