"""A question with every decision taken: what it is made of, and what follows from data and options alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from tenfold.core.specs import InputSpec
from tenfold.core.task import Batch, MemberBatches, Metric
from tenfold.study.budget import (
    default_batch_size,
    default_epochs,
)
from tenfold.study.generations import Generations, Told
from tenfold.study.grid_data import (
    GridData,
    cells,
    example_batch,
    grid_cohort_data,
    steps_of_each,
    steps_per_epoch,
)
from tenfold.study.grid_options import GridOptions
from tenfold.study.material import Material, cohort_data, training_task
from tenfold.study.options import FitOptions, Network, choose_networks
from tenfold.study.search_options import SearchOptions
from tenfold.study.sharing import Shared, shared_by
from tenfold.study.steps import Steps, make_steps
from tenfold.study.trials import make_member, make_space
from tenfold.tasks.supervised import SupervisedTask
from tenfold.train import CohortData, Judge, KnownPlans, MemberSpec, PlannedStack, ProgramShelf
from tenfold.tuning import Draw, Ladder, Rung, Space, draw

_LOOKED_AT = 8  # trials of a search that are looked at besides, before it is said what all of them share


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question with every decision taken, ready to train; a search adds trials to it while it trains.

    Attributes:
        material: the data.
        options: what was asked for.
        data: their batches.
        task: what is learned, with the metrics of every epoch.
        metric: what decides.
        networks: by name.
        space: what is searched.
        draws: the trials.
        specs: the members, those of a trial in a row.
        plan: which members train together, in which form.
        known: what was measured, for members that come later.
        epochs: of a trial that is never stopped.
        rungs: when the trials of a bracket leave, for each bracket.
        folds: the data as several folds see them, or one fold with several seeds; None for one member a trial.
        generations: of a search, what asks for trials.
        warm: of a search, trials of an earlier run that its sampler is told of.
        shared: the frozen first part of the members' networks, where they all have the same.
        steps: of a search over data or scale, what trials climb; None where the resource is epochs.
    """

    material: Material
    options: FitOptions
    data: CohortData
    task: SupervisedTask
    metric: Metric
    networks: Mapping[str, Network]
    space: Space
    known: KnownPlans
    draws: list[Draw] = field(default_factory=list)
    specs: list[MemberSpec] = field(default_factory=list)
    plan: list[PlannedStack] = field(default_factory=list)
    epochs: int = 0
    rungs: tuple[tuple[Rung, ...], ...] = ()
    folds: GridData | None = None
    generations: Generations | None = None
    warm: Sequence[Told] = ()
    shared: Shared | None = None
    steps: Steps | None = None

    @property
    def own_networks(self) -> frozenset[str]:
        """Names of the networks that are the user's own."""
        return frozenset(name for name, network in self.networks.items() if not isinstance(network, str))

    @property
    def threads(self) -> int:
        """CPU threads to train with."""
        return self.known.threads or torch.get_num_threads()

    @property
    def programs(self) -> ProgramShelf:
        """Steps that planning compiled to measure them, for the cohort to train with."""
        return self.known.programs

    @property
    def members_a_trial(self) -> int:
        """Folds times seeds."""
        return len({spec.id for spec in self.specs}) // max(len(self.draws), 1)

    @property
    def ladder(self) -> Ladder | None:
        """The steps under the rule that says who climbs; None where the resource is epochs."""
        return None if self.generations is None else self.generations.ladder

    @property
    def input(self) -> tuple[InputSpec, int]:
        """What networks get, and how many outputs they give."""
        if self.folds is None:
            return self.material.preprocessor.spec, self.material.encoder.num_outputs
        return self.folds.seen.preprocessors[0].spec, self.folds.seen.encoders[0].num_outputs

    @property
    def rows(self) -> int:
        """How many rows a member trains on."""
        return len(self.material.train) if self.folds is None else round(self.folds.rows_to_train)

    @property
    def judge(self) -> Judge:
        """Who leaves."""
        overlap = None if self.folds is None else self.folds.test_to_train
        if self.generations is None:
            return Judge.of_rungs(self.rungs[0], self.metric.direction, test_to_train=overlap)
        return Judge(
            rule=self.generations.rule, direction=self.metric.direction, test_to_train=overlap, ladder=self.ladder
        )

    def members_of(self, draws: list[Draw], step: int | None = None) -> list[MemberSpec]:
        """The members of some trials as they train: on a step of the ladder, or on the one that each begins with."""
        specs = self._whole_members(draws, step)
        return specs if self.shared is None else self.shared.rests_of(specs)

    def _on_step(self, drawn: Draw, step: int | None) -> MemberSpec:
        """The member of a trial as it trains on a step; None is the one that it begins with."""
        config, place, before = drawn.config, 0, 0
        if self.steps is not None and self.ladder is not None:
            first = self.ladder.first_step(drawn.number)
            place = first if step is None else step
            config, before = self.steps.config_on(place, config, self.networks), (place - first) * self.ladder.epochs
        name, networks = config["network"], self.networks
        networks = networks if name == drawn.config["network"] else {name: name}  # a smaller one of the family
        spec = make_member(drawn.number, config, networks, *self.input, self.task.info.values, self.options.seed)
        return replace(spec, step=place, begins_at=before)

    def _whole_members(self, draws: list[Draw], step: int | None = None) -> list[MemberSpec]:
        specs = [self._on_step(drawn, step) for drawn in draws]
        if self.folds is None:
            return specs
        assert isinstance(self.options, GridOptions)
        return [cell for one in specs for cell in cells(one, self.folds, self.options)]

    def steps_per_epoch(self, batch_size: int, step: int = -1) -> int:
        """Batches of this size in one epoch on a step of the ladder, of the fold with the most rows."""
        if self.folds is not None:
            return max(steps_per_epoch(self.folds, fold, batch_size) for fold in range(len(self.folds.folds)))
        assert self.data.training is not None
        more = {"step": step} if self.data.by_step else {}
        return self.data.training(batch_size, **more).steps_per_epoch

    def total_steps(self, specs: Sequence[MemberSpec]) -> int | list[int]:
        """Steps to the end of training of a lane's members; one number where all have the same."""
        if self.folds is not None:
            return steps_of_each(self.folds, specs, self.epochs)
        return self.epochs * self.steps_per_epoch(specs[0].config.recipe.batch_size, specs[0].step)

    def spent(self, trial: int, epochs: int) -> float:
        """So many epochs of a trial's own, counted in epochs at the full resource."""
        return float(epochs) if self.ladder is None else self.ladder.spent(trial, epochs)

    def training_s(self, plan: Sequence[PlannedStack], specs: Sequence[MemberSpec], epochs: float) -> float:
        """How long members train as their steps come, about, each for so many epochs."""
        return epochs * sum(
            line.step_seconds * self.steps_per_epoch(specs[place].config.recipe.batch_size)
            for line in plan
            for place in line.places
        )

    def first_of(self, trial: int, step: int | None = None) -> MemberSpec:
        """The first member of a trial, with its whole network; on a step of the ladder, or on the last one."""
        step = self.ladder.last if self.ladder is not None and step is None else step
        return self._whole_members([self.draws[trial]], step)[0]

    def _others_differ(self, shared: Shared) -> bool:
        """Whether trials that may come later would begin with another frozen part."""
        if not isinstance(self.options, SearchOptions):
            return False
        others = draw(self.space, _LOOKED_AT, seed=self.options.seed + 1)
        seen = Counter(_network_of(whole) for whole, _ in shared.known.values())  # by two, so of more than one seed
        return not all(seen[_network_of(spec)] > 1 or shared.is_of(spec) for spec in self._whole_members(others))

    def sharing(self, draws: list[Draw], stored: Mapping[str, Any] | None) -> Question:
        """The question on the features of a frozen first part that all these trials have, if there is one."""
        objectives = isinstance(self.options, SearchOptions) and self.options.objectives
        scaled = self.steps is not None and self.steps.resource == "scale"  # each step is another network
        apart = scaled or self.options.no_sharing
        if self.folds is not None or objectives or apart or self.known.example is None:
            return self
        specs = self._whole_members(draws)
        size = specs[0].config.recipe.batch_size
        fractions = () if self.steps is None else self.steps.values
        shared = shared_by(specs, self.material, self.options.seed, self.known.example(size), stored, fractions)
        if shared is None:
            return self
        if stored is None and self._others_differ(shared):
            return self
        self.known.example = partial(_example, shared.data, None)
        return replace(self, shared=shared, data=shared.data)


def _network_of(spec: MemberSpec) -> tuple[str, tuple[str, ...]]:
    """What decides, besides its seed, about the network that a member begins with and what of it is frozen."""
    return spec.label, spec.config.recipe.freeze


def framed(
    material: Material,
    options: FitOptions,
    device: torch.device,
    folds: GridData | None = None,
    stored: Mapping[str, Any] | None = None,
) -> Question:
    """What follows from the data and the options alone."""
    task, metric = training_task(material, options)
    rows, spec = len(material.train), material.preprocessor.spec
    if folds is not None:
        task, rows, spec = folds.epoch_tasks[0], round(folds.rows_to_train), folds.seen.preprocessors[0].spec
    networks = choose_networks(options, spec)
    batch_size = options.batch_size or min(default_batch_size(rows, spec), rows)
    space = make_space(options, networks, batch_size)
    steps = None
    if stored is not None:
        steps = Steps.from_json(stored["ladder"]) if stored.get("ladder") else None
    elif isinstance(options, SearchOptions):
        steps = make_steps(options, networks, space, spec, rows)
    if folds is None:
        fractions = steps.values if steps is not None and steps.resource == "data" else ()
        data = cohort_data(material, options.seed, fractions=fractions)
    else:
        assert isinstance(options, GridOptions)
        data = grid_cohort_data(folds, options)
    known = KnownPlans(
        task=task,
        example=partial(_example, data, folds),
        device=device,
        form=options.form,  # type: ignore[arg-type]
        threads=options.threads,
    )
    return Question(
        material=material,
        options=options,
        data=data,
        task=task,
        metric=metric,
        networks=networks,
        space=space,
        known=known,
        epochs=options.epochs or default_epochs(rows, batch_size, spec),
        folds=folds,
        steps=steps,
    )


def _example(data: CohortData, folds: GridData | None, batch_size: int) -> Batch:
    """A real training batch."""
    if folds is not None:
        return example_batch(folds, batch_size)
    assert data.training is not None
    batch = next(iter(data.training(batch_size).epoch(0, None)))
    assert not isinstance(batch, MemberBatches)
    return batch
