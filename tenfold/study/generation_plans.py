"""What is decided before a search's trials train: which begin first, with whom they train, and in which form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tenfold.core.specs import InputSpec
from tenfold.diagnosis import inspect_module
from tenfold.study.budget import (
    REFIT_SHARE,
    TRAINING_SHARE,
    default_trials,
    fit_to_time,
)
from tenfold.study.generations import Generations, Told, told_of
from tenfold.study.question import Question
from tenfold.study.search_options import SearchOptions
from tenfold.train import MemberSpec, PlannedStack


def first_generation(
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
            question.space, options, question.metric.direction, trials=trials, epochs=epochs, warm=warm,
            steps=question.steps,
        )  # fmt: skip
        draws = generations.ask(generations.size(0))
        own = question.sharing(draws, stored) if question.shared is None else question
        own = replace(
            own, generations=generations, warm=warm, epochs=epochs, rungs=generations.rule.rungs(), draws=draws
        )
        if own.steps is not None and not own.steps.costs:
            own = replace(own, steps=replace(own.steps, costs=_costs(own)))
            assert own.steps is not None
            generations.climb_at(own.steps)
        return replace(own, specs=own.members_of(draws))

    question = opened(epochs)
    if stored:
        question.known.threads = stored["threads"]
        lines = [PlannedStack.from_json(line) for line in stored["plan_stacks"]]
        question.plan.extend(line for line in lines if max(line.places) < len(question.specs))
        question.known.remember(question.plan, question.specs)
        return question
    plan = plan_generation(question, question.specs, seconds_left)
    if options.time_s is not None and options.epochs is None and question.ladder is not None:
        question = opened(_ladder_epochs(question, plan, options, trials, seconds_left()))
        plan = plan_generation(question, question.specs, seconds_left)
    elif options.time_s is not None and options.epochs is None:
        share = len(question.draws) / trials
        _, affordable = fit_to_time(
            plan, question.specs, question.steps_per_epoch, seconds=share * seconds_left(), epochs=None,
            most_epochs=4 * epochs, reduction_factor=options.reduction_factor, refit=options.final == "refit",
        )  # fmt: skip
        question = opened(max(affordable, 1))
        plan = plan_generation(question, question.specs, seconds_left)
    question.plan.extend(plan)
    return question


def _costs(question: Question) -> tuple[float, ...]:
    """What an epoch on each step takes, of one on the last, by the FLOPs of the first trial."""
    assert question.steps is not None
    assert question.known.example is not None
    inputs = [tensor.cpu() for tensor in question.known.example(1)[:-1]]
    counts = []
    for step in range(len(question.steps.values)):
        model = question.first_of(question.draws[0].number, step).make_model().eval()
        seen = inspect_module(model, inputs, fields=False, memory=False)
        counts.append(max(seen.flops, 1))
    return tuple(count / counts[-1] for count in counts)


def _ladder_epochs(
    question: Question, plan: Sequence[PlannedStack], options: SearchOptions, trials: int, seconds: float
) -> int:
    """Epochs on each step that fit into a time, by the planner's measurements of the first generation."""
    ladder, draws = question.ladder, question.draws
    assert ladder is not None
    one = sum(
        line.quickest_seconds
        * question.steps_per_epoch(question.specs[place].config.recipe.batch_size)
        / (ladder.cost(question.specs[place].step) if ladder.anew else 1.0)
        for line in plan
        for place in line.places
    ) / len(draws)  # of a trial's epoch on the last step
    whole = ladder.ahead({drawn.number: 0 for drawn in draws}) / ladder.epochs * trials / len(draws)
    share = TRAINING_SHARE * (REFIT_SHARE if options.final == "refit" else 1.0)
    return max(1, min(int(seconds * share / max(one * whole, 1e-9)), 4 * question.epochs))


def default_search_trials(spec: InputSpec) -> int:
    """64 configurations, or 16 for photos."""
    return 64 if default_trials(spec) == 24 else 16


def plan_generation(
    question: Question, specs: Sequence[MemberSpec], seconds_left: Callable[[], float]
) -> list[PlannedStack]:
    """The plan of members that begin now; what was measured before is not measured again.

    On a ladder those stand together that are on the same step and began on the same one. Whether it is worth
    measuring what compiled steps save is decided as if the trials that are to come were like these.
    """
    assert question.generations is not None
    begin = max(len({spec.id.trial for spec in specs}), 1)
    to_come = max(question.generations.trials - question.generations.num_asked, 0)
    epochs = question.epochs / 3 * (begin + to_come) / begin  # most leave early
    plan: list[PlannedStack] = []
    alike: dict[tuple[int, int], list[int]] = {}
    for place, spec in enumerate(specs):
        alike.setdefault((spec.step, spec.begins_at), []).append(place)
    for places in alike.values():
        own = [specs[place] for place in places]

        def training_s(lines: Sequence[PlannedStack], own: Sequence[MemberSpec] = own) -> float:
            return min(question.training_s(lines, own, epochs), seconds_left())

        lines = question.known.plan(own, training_s=training_s)
        plan += [replace(line, places=tuple(places[place] for place in line.places)) for line in lines]
    return plan
