"""How a contract trains: an optimiser and a schedule, as they are stacked and as PyTorch has them alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from tenfold.optim import AdamW, Schedule, StackedOptimizer


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An optimiser, its options and a schedule, in two forms that must agree.

    Attributes:
        stacked: the stacked optimiser's class.
        plain: the class that trains one model alone; it takes the same options.
        options: a list holds one value a member (members beyond its end take its values in turn again), anything
            else holds for all; `betas` is a pair of such.
        schedule: makes the schedule of a stacked optimiser.
        plain_schedule: makes the same schedule for a plain optimiser.
        reads_scores: both schedules' `step` takes the loss, a member's own, smaller is better.
        clip_norm: each member's gradient is clipped to this norm.
        loss_scale: the first scale of a `LossScaler`, against torch.amp.GradScaler; None trains without one.

    Example:
        >>> Recipe(options={"lr": [0.1, 0.2], "eps": 1e-8}).options_of(1)
        {'lr': 0.2, 'eps': 1e-08}
    """

    stacked: type[StackedOptimizer] = AdamW
    plain: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW
    options: Mapping[str, Any] = field(default_factory=lambda: {"lr": [1e-2, 3e-3, 1e-3], "weight_decay": 0.1})
    schedule: Callable[[StackedOptimizer], Schedule] | None = None
    plain_schedule: Callable[[torch.optim.Optimizer], Any] | None = None
    reads_scores: bool = False
    clip_norm: float | None = None
    loss_scale: float | None = None

    def __post_init__(self) -> None:
        if (self.schedule is None) != (self.plain_schedule is None):
            raise ValueError("Recipe: schedule and plain_schedule must be given both or neither.")

    def options_of(self, member: int) -> dict[str, Any]:
        """The options as plain numbers, for one member."""
        return {name: _of_member(value, member) for name, value in self.options.items()}

    def options_for(self, members: list[int]) -> dict[str, Any]:
        """The options with one value for each of these members where there is one a member."""
        return {name: _of_members(value, members) for name, value in self.options.items()}


def _of_member(value: Any, member: int) -> Any:
    if isinstance(value, tuple):
        return tuple(_of_member(part, member) for part in value)
    return value[member % len(value)] if isinstance(value, list) else value


def _of_members(value: Any, members: list[int]) -> Any:
    if isinstance(value, tuple):
        return tuple(_of_members(part, members) for part in value)
    return [_of_member(value, member) for member in members] if isinstance(value, list) else value
