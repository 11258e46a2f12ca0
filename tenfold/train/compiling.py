"""Whether compiling a cohort's steps pays: measured where there is enough to train, decided for each stretch.

Compiling takes seconds and may save more than half of a step. A plan that promises long training is measured with its
steps compiled too; from one rung to the next a lane's steps are compiled if that saves more than compiling takes.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from tenfold.core.machine import available_memory_bytes
from tenfold.core.task import Batch, Task
from tenfold.optim import CompileFallbackWarning
from tenfold.stacking import SerialFallbackWarning
from tenfold.train.lane import Lane, ProgramShelf
from tenfold.train.plan import MemberSpec, PlannedStack
from tenfold.train.planner import MEMORY_SHARE, build_lane, predict_memory_bytes, time_steps

_WORTH_MEASURING_S = 60.0  # of training as it comes: compiling takes about 10 s and saves about half
_MOST_MERGED = 64  # serial members that are tried as one program


class _Costs(NamedTuple):
    """Seconds of a member's step as it comes and compiled, and of compiling."""

    step: float
    compiled: float
    compiling: float

    def total(self, member_steps: float) -> float:
        return member_steps * self.compiled + self.compiling


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
        if share_s < _WORTH_MEASURING_S:
            measured += lines
            continue
        member_steps = share_s / lines[0].step_seconds
        measured += _measured(lines, specs, task, example, device, member_steps, programs)
    return measured


def _measured(
    lines: Sequence[PlannedStack],
    specs: Sequence[MemberSpec],
    task: Task,
    example: Callable[[int], Batch],
    device: torch.device,
    member_steps: float,
    programs: ProgramShelf,
) -> list[PlannedStack]:
    """The lines with what compiled steps cost; one line for all where serial members do better as one program."""
    batch = example(specs[lines[0].places[0]].config.recipe.batch_size)

    def probe(places: Sequence[int], form: str) -> _Costs | None:
        return _probe([specs[place] for place in places], task, batch, form, device, programs)

    own = probe(lines[0].places, lines[0].form)
    together = tuple(place for line in lines for place in line.places)
    merged = None
    if lines[0].form == "serial" and 1 < len(together) <= _MOST_MERGED:
        peak_bytes, _ = predict_memory_bytes(specs[together[0]], len(together), task, batch, device)
        if peak_bytes <= MEMORY_SHARE * available_memory_bytes(device):
            merged = probe(together, "stacked")
    if merged and (own is None or merged.total(member_steps) < own.total(member_steps)):
        line = replace(lines[0], places=together, form="stacked", step_seconds=merged.step)
        return [_with_costs(line, merged)]
    if own is None:
        return list(lines)
    return [_with_costs(line, own) for line in lines]


def _with_costs(line: PlannedStack, costs: _Costs) -> PlannedStack:
    reason = f"{line.reason}; {costs.compiled * 1e3:.2f} ms compiled, which took {costs.compiling:.0f} s"
    return replace(line, reason=reason, compiled_seconds=costs.compiled, compile_seconds=costs.compiling)


def _probe(
    specs: Sequence[MemberSpec],
    task: Task,
    batch: Batch,
    form: str,
    device: torch.device,
    programs: ProgramShelf,
) -> _Costs | None:
    """Measures a lane of these members; None where its steps cannot be compiled."""
    lane = build_lane(
        specs, task, form=form, device=device, total_steps=1000, direction="minimize", programs=programs
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileFallbackWarning)
        warnings.simplefilter("ignore", SerialFallbackWarning)
        lane.train_step(batch)
        step_s = time_steps(lane, batch) / len(specs)
        lane.compile()
        began = time.perf_counter()
        lane.train_step(batch)
        compiling_s = time.perf_counter() - began
        if lane.fallback is not None:
            return None
        return _Costs(step_s, time_steps(lane, batch) / len(specs), compiling_s)


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
            lane.compile(line.form == "compiled" or line.pays_to_compile(member_steps))
