"""Everything that is decided before training begins: trials, stacks, forms, threads, epochs and rungs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from tenfold.core.task import Batch, MemberBatches, Metric
from tenfold.study.budget import (
    default_batch_size,
    default_epochs,
    default_trials,
    fit_to_time,
    halving_rungs,
    member_epochs,
)
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
from tenfold.study.selecting import FEWEST_FINALISTS
from tenfold.study.trials import make_space, member_specs
from tenfold.tasks.supervised import SupervisedTask
from tenfold.train import (
    CohortData,
    MemberSpec,
    PlannedStack,
    ProgramShelf,
    num_threads,
    quickest_plan,
    with_compiled_steps,
)
from tenfold.tuning import Draw, Rung, Space, draw


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question with every decision taken, ready to train.

    Attributes:
        material: the data.
        data: their batches.
        task: what is learned, with the metrics of every epoch.
        metric: what decides.
        networks: by name.
        space: what was drawn from.
        draws: the trials.
        specs: the members, those of a trial in a row.
        plan: which members train together, in which form.
        threads: CPU threads to train with.
        rungs: when trials leave.
        programs: steps that planning compiled to measure them, for the cohort to train with.
        folds: the data as several folds see them, or one fold with several seeds; None for one member a trial.
    """

    material: Material
    data: CohortData
    task: SupervisedTask
    metric: Metric
    networks: Mapping[str, Network]
    space: Space
    draws: list[Draw]
    specs: list[MemberSpec]
    plan: list[PlannedStack]
    threads: int
    rungs: tuple[Rung, ...]
    programs: ProgramShelf = field(default_factory=dict)
    folds: GridData | None = None

    @property
    def own_networks(self) -> frozenset[str]:
        """Names of the networks that are the user's own."""
        return frozenset(name for name, network in self.networks.items() if not isinstance(network, str))

    def steps_per_epoch(self, batch_size: int) -> int:
        """Batches of this size in one epoch, of the fold with the most rows."""
        if self.folds is not None:
            return max(steps_per_epoch(self.folds, fold, batch_size) for fold in range(len(self.folds.folds)))
        assert self.data.training is not None
        return self.data.training(batch_size).steps_per_epoch

    def total_steps(self, specs: Sequence[MemberSpec], epochs: int) -> int | list[int]:
        """Steps to the end of training of a lane's members; one number where all have the same."""
        if self.folds is not None:
            return steps_of_each(self.folds, specs, epochs)
        return epochs * self.steps_per_epoch(specs[0].config.recipe.batch_size)

    def first_of(self, trial: int) -> MemberSpec:
        """The first member of a trial."""
        return next(spec for spec in self.specs if spec.id.trial == trial)


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
    task, metric = training_task(material, options)
    spec, num_outputs, rows = material.preprocessor.spec, material.encoder.num_outputs, len(material.train)
    data = cohort_data(material, options.seed)
    if folds is not None:
        assert isinstance(options, GridOptions)
        task, data = folds.epoch_tasks[0], grid_cohort_data(folds, options)
        spec, num_outputs = folds.seen.preprocessors[0].spec, folds.seen.encoders[0].num_outputs
        rows = round(folds.rows_to_train)
    networks = choose_networks(options, spec)
    batch_size = options.batch_size or min(default_batch_size(rows), rows)
    space = make_space(options, networks, batch_size)
    num_trials = stored["trials"] if stored else options.trials or default_trials(spec)
    draws = draw(space, num_trials, seed=options.seed)
    specs = member_specs(draws, networks, spec, num_outputs, task.info.values, options.seed)
    if folds is not None:
        assert isinstance(options, GridOptions)
        specs = [cell for one in specs for cell in cells(one, folds, options)]
    question = Question(
        material=material,
        data=data,
        task=task,
        metric=metric,
        networks=networks,
        space=space,
        draws=draws,
        specs=specs,
        plan=[],
        threads=1,
        rungs=(),
        folds=folds,
    )
    if stored:
        plan = [PlannedStack.from_json(line) for line in stored["plan_stacks"]]
        rungs = tuple(Rung(**rung) for rung in stored["rungs"])
        return replace(question, plan=plan, threads=stored["threads"], rungs=rungs)
    question = _decide(question, options, device, batch_size, seconds_left)
    _say(question, note)
    return question


def _decide(
    question: Question, options: FitOptions, device: torch.device, batch_size: int, seconds_left: Callable[[], float]
) -> Question:
    """Measures, and fits trials and epochs to the time where there is one."""

    def example(batch_size: int) -> Batch:
        if question.folds is not None:
            return example_batch(question.folds, batch_size)
        assert question.data.training is not None
        batch = next(iter(question.data.training(batch_size).epoch(0, None)))
        assert not isinstance(batch, MemberBatches)
        return batch

    plan, threads = quickest_plan(
        question.specs,
        question.task,
        example,
        device=device,
        form=options.form,  # type: ignore[arg-type]
        threads=options.threads,
    )
    rows = len(question.material.train) if question.folds is None else round(question.folds.rows_to_train)
    default = default_epochs(rows, batch_size, question.material.preprocessor.spec)
    epochs, keep = options.epochs or default, len(question.draws)
    if options.form == "auto":
        training_s = _training_seconds(question, plan, epochs, options, seconds_left)
        with num_threads(threads):
            plan = with_compiled_steps(
                plan,
                question.specs,
                question.task,
                example,
                device=device,
                training_s=training_s,
                programs=question.programs,
            )
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
    members = len(question.specs) // len(question.draws)
    return replace(
        question,
        draws=question.draws[:keep],
        specs=[spec for spec in question.specs if spec.id.trial < keep],
        plan=[line for line in (_only_first(line, keep * members) for line in plan) if line is not None],
        threads=threads,
        rungs=halving_rungs(keep, epochs, options.reduction_factor, fewest=_fewest(options)),
    )


def _training_seconds(
    question: Question,
    plan: Sequence[PlannedStack],
    epochs: int,
    options: FitOptions,
    seconds_left: Callable[[], float],
) -> float:
    """How long the plan will train as it comes, about."""
    epoch_s = [
        line.step_seconds * question.steps_per_epoch(question.specs[place].config.recipe.batch_size)
        for line in plan
        for place in line.places
    ]
    trials = len(question.draws)
    rungs = halving_rungs(trials, epochs, options.reduction_factor, fewest=_fewest(options))
    needed = member_epochs(rungs, trials) * sum(epoch_s) / trials
    if options.time_s is None:
        return needed
    return min(needed, seconds_left()) if options.epochs else seconds_left()  # epochs fill the time


def _fewest(options: FitOptions) -> int:
    """Trials that train to the end whatever the halving says."""
    return FEWEST_FINALISTS if options.final == "ensemble" else 1


def _only_first(line: PlannedStack, count: int) -> PlannedStack | None:
    places = tuple(place for place in line.places if place < count)
    return replace(line, places=places) if places else None


def _say(question: Question, note: Callable[[str], None]) -> None:
    members = len(question.specs) // len(question.draws)
    each = f", each on {members} folds and seeds" if members > 1 else ""
    note(
        f"search: {len(question.draws)} trials of {' and '.join(question.networks)}{each}, at most "
        f"{question.rungs[-1].resource} epochs, {question.threads} "
        f"thread{'s' if question.threads != 1 else ''} "
        "(--trials, --epochs, --time, --network, --threads)"
    )
    for line in question.plan:
        note(f"{len(line.places)} x {line.label}, {line.form}: {line.reason} (--form)")
