"""Everything that is decided before training begins: trials, stacks, forms, threads, epochs and rungs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from tenfold.core.wording import plural
from tenfold.study.budget import (
    default_trials,
    fit_to_time,
    halving_rungs,
)
from tenfold.study.describing import plan_sentences
from tenfold.study.generation_plans import first_generation
from tenfold.study.grid_data import (
    GridData,
)
from tenfold.study.material import Material
from tenfold.study.options import FitOptions
from tenfold.study.question import Question, framed
from tenfold.study.search_options import SearchOptions
from tenfold.study.selecting import FEWEST_FINALISTS
from tenfold.train import Judge, PlannedStack
from tenfold.tuning import Rung, draw


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
    question = framed(material, options, device, folds, stored)
    if isinstance(options, SearchOptions):
        question = first_generation(question, options, stored, seconds_left)
    else:
        question = _all_at_once(question, options, stored, seconds_left)
    if stored is None:
        _say(question, note)
    return question


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


def _say(question: Question, note: Callable[[str], None]) -> None:
    members, generations = question.members_a_trial, question.generations
    trials = len(question.draws) if generations is None else generations.trials
    each = f", each on {members} folds and seeds" if members > 1 else ""
    note(
        f"search: {plural(trials, 'trial')} of {' and '.join(question.networks)}{each}, "
        f"at most {plural(question.epochs, 'epoch')}, {plural(question.threads, 'thread')} "
        "(--trials, --epochs, --time, --network, --threads)"
    )
    if question.shared is not None:
        note(question.shared.describe())
    if generations is not None:
        note(f"{generations.describe()} (--sampler, --halving, --resource, --population)")
    if question.steps is not None:
        note(f"{question.steps.describe(question.epochs, question.rows)} (--steps, --epochs)")
    for line in plan_sentences(question.plan):
        note(line)
