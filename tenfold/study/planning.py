"""Everything that is decided before training begins: trials, stacks, forms, threads, epochs and rungs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from tenfold.core.specs import InputSpec
from tenfold.core.task import Batch, MemberBatches, Metric
from tenfold.study.budget import (
    default_batch_size,
    default_epochs,
    default_trials,
    fit_to_time,
    halving_rungs,
)
from tenfold.study.generations import Generations, Told, told_of
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
from tenfold.study.selecting import FEWEST_FINALISTS
from tenfold.study.sharing import Shared, shared_by
from tenfold.study.trials import make_space, member_specs
from tenfold.tasks.supervised import SupervisedTask
from tenfold.train import CohortData, Judge, KnownPlans, MemberSpec, PlannedStack, ProgramShelf
from tenfold.tuning import Draw, Rung, Space, draw

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
        return len(self.specs) // max(len(self.draws), 1)

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
        return Judge(rule=self.generations.rule, direction=self.metric.direction, test_to_train=overlap)

    def members_of(self, draws: list[Draw]) -> list[MemberSpec]:
        """The members of some trials, as they train."""
        specs = self._whole_members(draws)
        return specs if self.shared is None else self.shared.rests_of(specs)

    def _whole_members(self, draws: list[Draw]) -> list[MemberSpec]:
        specs = member_specs(draws, self.networks, *self.input, self.task.info.values, self.options.seed)
        if self.folds is None:
            return specs
        assert isinstance(self.options, GridOptions)
        return [cell for one in specs for cell in cells(one, self.folds, self.options)]

    def steps_per_epoch(self, batch_size: int) -> int:
        """Batches of this size in one epoch, of the fold with the most rows."""
        if self.folds is not None:
            return max(steps_per_epoch(self.folds, fold, batch_size) for fold in range(len(self.folds.folds)))
        assert self.data.training is not None
        return self.data.training(batch_size).steps_per_epoch

    def total_steps(self, specs: Sequence[MemberSpec]) -> int | list[int]:
        """Steps to the end of training of a lane's members; one number where all have the same."""
        if self.folds is not None:
            return steps_of_each(self.folds, specs, self.epochs)
        return self.epochs * self.steps_per_epoch(specs[0].config.recipe.batch_size)

    def training_s(self, plan: Sequence[PlannedStack], specs: Sequence[MemberSpec], epochs: float) -> float:
        """How long members train as their steps come, about, each for so many epochs."""
        return epochs * sum(
            line.step_seconds * self.steps_per_epoch(specs[place].config.recipe.batch_size)
            for line in plan
            for place in line.places
        )

    def first_of(self, trial: int) -> MemberSpec:
        """The first member of a trial, with its whole network."""
        return self._whole_members([self.draws[trial]])[0]

    def _others_differ(self, shared: Shared) -> bool:
        """Whether trials that may come later would begin with another frozen part."""
        if not isinstance(self.options, SearchOptions):
            return False
        others = draw(self.space, _LOOKED_AT, seed=self.options.seed + 1)
        return not all(shared.is_of(spec) for spec in self._whole_members(others))

    def sharing(self, draws: list[Draw], stored: Mapping[str, Any] | None) -> Question:
        """The question on the features of a frozen first part that all these trials have, if there is one."""
        objectives = isinstance(self.options, SearchOptions) and self.options.objectives
        if self.folds is not None or objectives or self.known.example is None or self.options.no_sharing:
            return self
        specs = self._whole_members(draws)
        size = specs[0].config.recipe.batch_size
        shared = shared_by(specs, self.material, self.options.seed, self.known.example(size), stored)
        if shared is None:
            return self
        if stored is None and self._others_differ(shared):
            return self
        self.known.example = partial(_example, shared.data, None)
        return replace(self, shared=shared, data=shared.data)


def plan_question(
    material: Material,
    options: FitOptions,
    device: torch.device,
    *,
    stored: Mapping[str, Any] | None = None,
    seconds_left: Callable[[], float],
    note: Callable[[str], None],
    folds: GridData | None = None,
) -> Question:
    """Takes every decision, or reads those that a resumed run took.

    Args:
        material: the data.
        options: what was asked for.
        device: where training will be.
        stored: `run.json` of the run to go on with.
        seconds_left: of the time that the user gave.
        note: told what was decided.
        folds: the data as several folds see them; None for one member a trial.
    """
    question = framed(material, options, device, folds)
    if isinstance(options, SearchOptions):
        question = _first_generation(question, options, stored, seconds_left)
    else:
        question = _all_at_once(question, options, stored, seconds_left)
    if stored is None:
        _say(question, note)
    return question


def framed(material: Material, options: FitOptions, device: torch.device, folds: GridData | None = None) -> Question:
    """What follows from the data and the options alone."""
    task, metric = training_task(material, options)
    data, rows, spec = cohort_data(material, options.seed), len(material.train), material.preprocessor.spec
    if folds is not None:
        assert isinstance(options, GridOptions)
        task, data = folds.epoch_tasks[0], grid_cohort_data(folds, options)
        rows, spec = round(folds.rows_to_train), folds.seen.preprocessors[0].spec
    networks = choose_networks(options, spec)
    batch_size = options.batch_size or min(default_batch_size(rows, spec), rows)
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
        space=make_space(options, networks, batch_size),
        known=known,
        epochs=options.epochs or default_epochs(rows, batch_size, spec),
        folds=folds,
    )


def _example(data: CohortData, folds: GridData | None, batch_size: int) -> Batch:
    """A real training batch."""
    if folds is not None:
        return example_batch(folds, batch_size)
    assert data.training is not None
    batch = next(iter(data.training(batch_size).epoch(0, None)))
    assert not isinstance(batch, MemberBatches)
    return batch


def _all_at_once(
    question: Question,
    options: FitOptions,
    stored: Mapping[str, Any] | None,
    seconds_left: Callable[[], float],
) -> Question:
    """Random trials that begin together and are halved."""
    trials = stored["trials"] if stored else options.trials or default_trials(question.material.preprocessor.spec)
    draws = draw(question.space, trials, seed=options.seed)
    question = question.sharing(draws, stored)
    question = replace(question, draws=draws, specs=question.members_of(draws))
    if stored:
        rungs = tuple(Rung(**rung) for rung in stored["rungs"])
        question.plan.extend(PlannedStack.from_json(line) for line in stored["plan_stacks"])
        question.known.threads = stored["threads"]
        return replace(question, rungs=(rungs,), epochs=rungs[-1].resource)
    return _fitted_to_time(question, options, seconds_left)


def _fitted_to_time(question: Question, options: FitOptions, seconds_left: Callable[[], float]) -> Question:
    """Measures, and fits trials and epochs to the time where there is one."""
    default, keep = question.epochs, len(question.draws)
    plan = question.known.plan(
        question.specs, training_s=lambda plan: _training_seconds(question, plan, options, seconds_left)
    )
    epochs = default
    if options.time_s is not None:
        affordable, epochs = fit_to_time(
            plan,
            question.specs,
            question.steps_per_epoch,
            seconds=seconds_left(),
            epochs=options.epochs,
            most_epochs=4 * default,
            reduction_factor=options.reduction_factor,
            refit=options.final == "refit",
            fewest=_fewest(options),
        )
        keep = keep if options.trials else affordable
    return replace(
        question,
        draws=question.draws[:keep],
        specs=[spec for spec in question.specs if spec.id.trial < keep],
        plan=[line for line in (_only_first(line, keep * question.members_a_trial) for line in plan) if line],
        epochs=epochs,
        rungs=(halving_rungs(keep, epochs, options.reduction_factor, fewest=_fewest(options)),),
    )


def _training_seconds(
    question: Question, plan: Sequence[PlannedStack], options: FitOptions, seconds_left: Callable[[], float]
) -> float:
    """How long the plan will train as it comes, about."""
    trials = len(question.draws)
    rungs = halving_rungs(trials, question.epochs, options.reduction_factor, fewest=_fewest(options))
    judge = Judge.of_rungs(rungs, question.metric.direction)
    epochs = judge.ahead(dict.fromkeys(range(trials), 0)) / trials
    needed = question.training_s(plan, question.specs, epochs)
    if options.time_s is None:
        return needed
    return min(needed, seconds_left()) if options.epochs else seconds_left()  # epochs fill the time


def _fewest(options: FitOptions) -> int:
    """Trials that train to the end whatever the halving says."""
    return FEWEST_FINALISTS if options.final == "ensemble" else 1


def _only_first(line: PlannedStack, count: int) -> PlannedStack | None:
    places = tuple(place for place in line.places if place < count)
    return replace(line, places=places) if places else None


def _first_generation(
    question: Question,
    options: SearchOptions,
    stored: Mapping[str, Any] | None,
    seconds_left: Callable[[], float],
) -> Question:
    """The trials of a search that begin first; the others are asked for while these train."""
    trials = stored["trials"] if stored else options.trials or default_search_trials(question.input[0])
    epochs = stored["epochs"] if stored else question.epochs
    if stored:
        warm = [Told.from_json(record) for record in stored.get("warm_start", ())]
    else:
        warm = [] if options.warm_start is None else told_of(options.warm_start, question.metric.name)

    def opened(epochs: int) -> Question:
        generations = Generations(
            question.space, options, question.metric.direction, trials=trials, epochs=epochs, warm=warm
        )
        draws = generations.ask(generations.size(0))
        own = question.sharing(draws, stored) if question.shared is None else question
        return replace(
            own, generations=generations, warm=warm, epochs=epochs, rungs=generations.rule.rungs(),
            draws=draws, specs=own.members_of(draws),
        )  # fmt: skip

    question = opened(epochs)
    if stored:
        question.known.threads = stored["threads"]
        lines = [PlannedStack.from_json(line) for line in stored["plan_stacks"]]
        question.plan.extend(line for line in lines if max(line.places) < len(question.specs))
        question.known.remember(question.plan, question.specs)
        return question
    plan = plan_generation(question, question.specs)
    if options.time_s is not None and options.epochs is None:
        share = len(question.draws) / trials
        _, affordable = fit_to_time(
            plan, question.specs, question.steps_per_epoch, seconds=share * seconds_left(), epochs=None,
            most_epochs=4 * epochs, reduction_factor=options.reduction_factor, refit=options.final == "refit",
        )  # fmt: skip
        question = opened(max(affordable, 1))
        plan = plan_generation(question, question.specs)
    question.plan.extend(plan)
    return question


def default_search_trials(spec: InputSpec) -> int:
    """64 configurations, or 16 for photos."""
    return 64 if default_trials(spec) == 24 else 16


def plan_generation(question: Question, specs: Sequence[MemberSpec]) -> list[PlannedStack]:
    """The plan of a generation's members; what was measured before is not measured again."""
    epochs = question.epochs / 3  # most leave early

    def training_s(plan: Sequence[PlannedStack]) -> float:
        return question.training_s(plan, specs, epochs)

    return question.known.plan(specs, training_s=training_s)


def _say(question: Question, note: Callable[[str], None]) -> None:
    members, generations = question.members_a_trial, question.generations
    trials = f"{len(question.draws)}" if generations is None else f"{generations.trials}"
    each = f", each on {members} folds and seeds" if members > 1 else ""
    note(
        f"search: {trials} trials of {' and '.join(question.networks)}{each}, at most {question.epochs} epochs, "
        f"{question.threads} thread{'s' if question.threads != 1 else ''} "
        "(--trials, --epochs, --time, --network, --threads)"
    )
    if question.shared is not None:
        note(question.shared.describe())
    if generations is not None:
        note(f"{generations.describe()} (--sampler, --halving, --resource, --population)")
    for line in question.plan:
        note(f"{len(line.places)} x {line.label}, {line.form}: {line.reason} (--form)")
