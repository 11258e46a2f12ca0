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


def quickest_plan(
    specs: Sequence[MemberSpec],
    task: Task,
    example: Callable[[int], Batch] | None,
    *,
    device: torch.device,
    form: FormChoice = "auto",
    threads: int | None = None,
) -> tuple[list[PlannedStack], int]:
    """Plans with torch's present number of threads and with one, and takes the plan that promises to be quicker.

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
    counts = [threads] if threads else [present, 1] if choice else [present]
    plans = {}
    for count in counts:
        with num_threads(count):
            plans[count] = plan_stacks(specs, task, example, device=device, form=form)
    best = min(plans, key=lambda count: sum(len(line.places) * line.step_seconds for line in plans[count]))
    return plans[best], best
