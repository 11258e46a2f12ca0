"""How many threads a cohort should train with: all of them, or one, whichever is quicker here and now.

Small steps gain little from a second thread, and where other processes keep the cores busy, threads that wait for
each other cost far more than they bring: with three other processes on two cores, one search took 48 s with one
thread and 480 s with two (measured once each).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from tenfold.core.machine import num_threads
from tenfold.core.task import Batch, Task
from tenfold.train.plan import FormChoice, MemberSpec, PlannedStack
from tenfold.train.planner import plan_stacks

_LONG_STEP_S = 0.1  # of a member: its operators keep all threads busy; to measure them on one is a third of planning


def quickest_plan(
    specs: Sequence[MemberSpec],
    task: Task,
    example: Callable[[int], Batch] | None,
    *,
    device: torch.device,
    form: FormChoice = "auto",
    threads: int | None = None,
) -> tuple[list[PlannedStack], int]:
    """Plans with torch's present number of threads, and with one if that may be quicker; takes the quicker plan.

    One thread is tried on the members of the structure that takes longest, unless their steps are long; if it is no
    quicker there, it is not tried on the others.

    Args:
        specs: the members; this and the rest as `plan_stacks` takes them.
        task: what they learn.
        example: a real training batch for a batch size.
        device: where they train; only the CPU's threads are chosen.
        form: "auto" measures; the others insist.
        threads: insist on this number.

    Returns:
        The plan and the number of threads to train with.
    """
    present = torch.get_num_threads()
    choice = device.type == "cpu" and present > 1 and form != "side-by-side"

    def planned(count: int, own: Sequence[MemberSpec]) -> list[PlannedStack]:
        with num_threads(count):
            return plan_stacks(own, task, example, device=device, form=form)

    first = threads or present
    plan = planned(first, specs)
    if threads or not choice:
        return plan, first
    longest = _longest(plan)
    if _seconds(longest) > _LONG_STEP_S * sum(len(line.places) for line in longest):
        return plan, first
    alone = planned(1, [specs[place] for place in sorted(place for line in longest for place in line.places)])
    if _seconds(alone) >= _seconds(longest):
        return plan, first
    single = alone if len(longest) == len(plan) else planned(1, specs)
    return (single, 1) if _seconds(single) < _seconds(plan) else (plan, first)


def _longest(plan: Sequence[PlannedStack]) -> list[PlannedStack]:
    """The lines of the network whose members take longest, all together."""
    kinds: dict[tuple[str, int], list[PlannedStack]] = {}
    for line in plan:
        kinds.setdefault((line.label, line.parameters), []).append(line)
    return max(kinds.values(), key=_seconds)


def _seconds(plan: Sequence[PlannedStack]) -> float:
    return sum(len(line.places) * line.step_seconds for line in plan)
