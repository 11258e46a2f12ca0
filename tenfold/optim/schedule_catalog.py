"""The schedules by name, each over a number of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.registry import Registry
from tenfold.optim.optimizer import StackedOptimizer
from tenfold.optim.schedule import Schedule
from tenfold.optim.schedule_cosine import Cosine, CosineRestarts, OneCycle
from tenfold.optim.schedule_plateau import Plateau
from tenfold.optim.schedule_steps import Constant, Exponential, Linear, MultiStep, Step

Build = Callable[[StackedOptimizer, Any, Any], Schedule]


@dataclass(frozen=True, kw_only=True)
class ScheduleEntry:
    """A schedule, and its usual form over a number of steps.

    Attributes:
        schedule: the class.
        build: `(optimizer, total_steps, warmup_steps) -> schedule`; the warm-up is part of the steps. Each is a
            number, or one a member, shape (M,).
        reads_scores: whether `step` wants each member's score after an evaluation.
    """

    schedule: type[Schedule]
    build: Build
    reads_scores: bool = False


SCHEDULES: Registry[ScheduleEntry] = Registry("schedule")


def _add(name: str, schedule: type[Schedule], build: Build, *, reads_scores: bool = False) -> None:
    SCHEDULES.add(name, ScheduleEntry(schedule=schedule, build=build, reads_scores=reads_scores))


def _steps(optimizer: StackedOptimizer, total: Any, warmup: Any) -> Schedule:
    """A tenth of the rate after each third."""
    return Step(optimizer, np.maximum(np.ceil((total - warmup) / 3), 1), gamma=0.1, warmup_steps=warmup)


def _milestones(optimizer: StackedOptimizer, total: Any, warmup: Any) -> Schedule:
    """A tenth of the rate after half and after three quarters: He et al., CVPR 2016, section 4.2."""
    milestones = np.stack([(total - warmup) // 2, (total - warmup) * 3 // 4], axis=-1)
    return MultiStep(optimizer, milestones, gamma=0.1, warmup_steps=warmup)


def _exponential(optimizer: StackedOptimizer, total: Any, warmup: Any) -> Schedule:
    """A hundredth of the rate at the end."""
    return Exponential(optimizer, 0.01 ** (1 / np.maximum(total - warmup, 1)), warmup_steps=warmup)


def _restarts(optimizer: StackedOptimizer, total: Any, warmup: Any) -> Schedule:
    """Three curves, each twice as long as the one before: 1 + 2 + 4 parts."""
    return CosineRestarts(optimizer, np.maximum(np.ceil((total - warmup) / 7), 1), T_mult=2, warmup_steps=warmup)


_add("constant", Constant, lambda optimizer, total, warmup: Constant(optimizer, warmup_steps=warmup))
_add("step", Step, _steps)
_add("multistep", MultiStep, _milestones)
_add("exponential", Exponential, _exponential)
_add("cosine", Cosine, lambda optimizer, total, warmup: Cosine(optimizer, total, warmup_steps=warmup))
_add("cosine_restarts", CosineRestarts, _restarts)
_add("onecycle", OneCycle, lambda optimizer, total, warmup: OneCycle(optimizer, total, warmup_steps=warmup))
_add("linear", Linear, lambda optimizer, total, warmup: Linear(optimizer, total, warmup_steps=warmup))
_add(
    "plateau",
    Plateau,
    lambda optimizer, total, warmup: Plateau(optimizer, warmup_steps=warmup),
    reads_scores=True,
)
