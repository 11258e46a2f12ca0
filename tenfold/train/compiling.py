"""Whether compiling a cohort's steps pays: measured where there is enough to train, decided for each stretch.

Compiling takes seconds and may save more than half of a step. A plan that promises long training is measured with its
steps compiled too, unless this machine has measured the like before; from one rung to the next a lane's steps are
compiled if that saves more than compiling takes.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch

from tenfold.core.machine import available_memory_bytes
from tenfold.core.task import Batch, Task
from tenfold.optim import CompileFallbackWarning
from tenfold.stacking import SerialFallbackWarning
from tenfold.train.known_costs import StepCosts, correct_costs, cost_key, keep_costs, known_costs, note_compiled
from tenfold.train.lane import Lane, ProgramShelf
from tenfold.train.plan import MemberSpec, PlannedStack, block_members_of
from tenfold.train.planner import MEMORY_SHARE, build_lane, predict_memory_bytes, time_steps

_WORTH_MEASURING_S = 30.0  # of training as it comes: compiling takes about 10 s and saves about half
_LEAST_STEPS = 10  # of an epoch that says what a step takes
STEPS_TO_REPLAY = 30  # steps ahead from which recording one pays: it takes as long as some 15 save
_MOST_MERGED = 64  # serial members that are tried as one program


def with_compiled_steps(
    plan: Sequence[PlannedStack],
    specs: Sequence[MemberSpec],
    task: Task,
    example: Callable[[int], Batch],
    *,
    device: torch.device,
    training_s: float,
    programs: ProgramShelf,
) -> list[PlannedStack]:
    """Measures compiled steps for those lines of a plan that will train long enough.

    Lines that run one by one are measured as one compiled program, too: compiled convolutions of many members are
    quick where the general form is slow.

    Args:
        plan: as `plan_stacks` gave it.
        specs: the members.
        task: what they learn.
        example: a real training batch for a batch size.
        device: where they train.
        training_s: seconds that the whole plan would train as it comes.
        programs: where compiled steps are put, so that the cohort finds them.

    Returns:
        The plan, with compiled times where they were measured.
    """
    groups: dict[object, list[PlannedStack]] = {}
    for line in plan:
        program = specs[line.places[0]].config.recipe.program
        groups.setdefault((line.label, line.parameters, line.form, program), []).append(line)
    total = sum(len(line.places) * line.step_seconds for line in plan)
    measured = []
    for lines in groups.values():
        member_seconds = sum(len(line.places) * line.step_seconds for line in lines)
        share_s = training_s * member_seconds / total if total > 0 else 0.0
        if share_s <= 0:
            measured += lines
            continue
        member_steps = share_s / lines[0].step_seconds
        may_measure = share_s >= _WORTH_MEASURING_S
        measured += _with_compiled(lines, specs, task, example, device, member_steps, may_measure, programs)
    return measured


def _with_compiled(
    lines: Sequence[PlannedStack],
    specs: Sequence[MemberSpec],
    task: Task,
    example: Callable[[int], Batch],
    device: torch.device,
    member_steps: float,
    may_measure: bool,
    programs: ProgramShelf,
) -> list[PlannedStack]:
    """The lines with what compiled steps cost; one line for all where serial members do better as one program."""
    first = specs[lines[0].places[0]]
    batch = example(first.config.recipe.batch_size)
    as_it_comes = member_steps * lines[0].step_seconds

    def with_costs(places: tuple[int, ...], form: str) -> PlannedStack | None:
        """These members as a line with costs; None where they are not known, and not to be measured."""
        key = cost_key(first, form, batch, device)
        costs = known_costs(key, len(places), or_nearly=lines[0].block_members is not None)
        if costs is None and may_measure:
            costs = _probe([specs[place] for place in places], task, batch, form, device, programs)
            if costs is not None:
                keep_costs(key, len(places), costs)
        if costs is None:
            return None
        own = replace(lines[0], places=places, form=form, step_seconds=costs.step)
        return _with_costs(own, costs, key)

    def seconds(line: PlannedStack) -> float:
        """What the whole training takes, compiled where that pays."""
        takes = line.seconds_to_compile(len(line.places))
        return min(member_steps * line.step_seconds, member_steps * line.compiled_seconds + takes)

    beside = lines[0].form == "side-by-side"  # compiled programs hold Python's lock, and run one at a time
    own = None if beside else with_costs(lines[0].places, lines[0].form)
    together = tuple(place for line in lines for place in line.places)
    if (beside or lines[0].form == "serial") and 1 < len(together) <= _MOST_MERGED:
        peak_bytes, _ = predict_memory_bytes(first, len(together), task, batch, device)
        if peak_bytes <= MEMORY_SHARE * available_memory_bytes(device):
            merged = with_costs(together, "stacked")
            if merged is not None and seconds(merged) < (as_it_comes if own is None else seconds(own)):
                return [merged]
    if own is None:
        return list(lines)
    return [replace(own, places=line.places) for line in lines]


def _with_costs(line: PlannedStack, costs: StepCosts, key: str) -> PlannedStack:
    took = f"{costs.anew:.1f} s the first time, {costs.again:.1f} s again"
    return replace(
        line,
        reason=f"{line.reason}; {costs.compiled * 1e3:.2f} ms compiled, which takes {took}",
        compiled_seconds=costs.compiled,
        compile_seconds=costs.anew,
        again_seconds=costs.again,
        compiled_before=costs.counts,
        costs_key=key,
    )


def _probe(
    specs: Sequence[MemberSpec],
    task: Task,
    batch: Batch,
    form: str,
    device: torch.device,
    programs: ProgramShelf,
) -> StepCosts | None:
    """Measures a lane of these members; None where its steps cannot be compiled."""

    def compiled_lane(shelf: ProgramShelf) -> tuple[Lane, float, float]:
        """A lane, the seconds of its step as it comes, and what compiling it took."""
        lane = build_lane(
            specs, task, form=form, device=device, total_steps=1000, direction="minimize", programs=shelf
        )
        lane.replay()  # as the cohort does where nothing is compiled
        lane.train_step(batch)
        step_s = time_steps(lane, batch)
        lane.compile(block_members=block_members_of(step_s / len(specs)))
        began = time.perf_counter()
        lane.train_step(batch)
        return lane, step_s, time.perf_counter() - began

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileFallbackWarning)
        warnings.simplefilter("ignore", SerialFallbackWarning)
        lane, step_s, anew_s = compiled_lane(programs)
        if lane.fallback is not None:
            return None
        compiled_s = time_steps(lane, batch)
        _, _, again_s = compiled_lane({})
    return StepCosts(step_s / len(specs), compiled_s / len(specs), anew_s, again_s, (len(specs),))


def note_real_seconds(lane: Lane, steps: int, seconds: float) -> None:
    """Corrects what this machine keeps of a lane's costs by an epoch that it has just trained.

    Args:
        lane: alone with the machine in that epoch, in which nothing was compiled.
        steps: of the epoch.
        seconds: that it took.
    """
    if lane.line is not None and lane.line.costs_key and steps >= _LEAST_STEPS:
        correct_costs(lane.line.costs_key, len(lane), seconds / steps / len(lane), compiled=lane.is_compiled)


def compile_where_it_pays(lanes: Iterable[Lane], steps_ahead: Callable[[Lane], int]) -> None:
    """Decides for each lane whether its steps are compiled in the stretch that lies ahead.

    Lanes that were planned alike share a program, and compiling is paid once.

    Args:
        lanes: in training.
        steps_ahead: how many steps a lane takes before the next decision.
    """
    alike: dict[object, list[Lane]] = {}
    for lane in lanes:
        if lane.line is not None:
            alike.setdefault((lane.line.label, lane.line.form, lane.recipe.program), []).append(lane)
    for group in alike.values():
        member_steps = sum(len(lane) * steps_ahead(lane) for lane in group)
        line = group[0].line
        assert line is not None
        for lane in group:
            compiled = line.form == "compiled" or line.pays_to_compile(member_steps, len(lane))
            if compiled and line.costs_key and len(lane) not in line.compiled_before:
                note_compiled(line.costs_key, len(lane))
            lane.compile(compiled, block_members=line.block_members)
