"""Schedules that fall in steps, geometrically, or in a line; and the one that stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from tenfold.optim.host_numbers import AT_LEAST_0, COUNT, COUNT_FROM_1, Numbers, at_most, check_numbers
from tenfold.optim.optimizer import StackedOptimizer
from tenfold.optim.schedule import Schedule


class Constant(Schedule):
    """The base rate, after the warm-up if there is one.

    Args:
        optimizer: the stacked optimiser.
        warmup_steps: steps of linear warm-up, a whole number >= 0, or one a member.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(2, 1) for _ in range(2)])
        >>> schedule = Constant(tenfold.optim.SGD(stack.parameters(), lr=0.8), warmup_steps=[3, 0])
        >>> schedule.optimizer.param_groups[0]["lr"].tolist()
        [0.2, 0.8]
    """

    def factor(self, step: Numbers) -> Numbers:
        """Always 1."""
        return 1.0


class Step(Schedule):
    """The rate is multiplied by `gamma` every `step_size` steps.

    Args:
        optimizer: the stacked optimiser.
        step_size: steps between two falls, a whole number >= 1, or one a member.
        gamma: >= 0, or one a member.
        warmup_steps: steps of linear warm-up, which do not count for `step_size`.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(2, 1) for _ in range(2)])
        >>> optimizer = tenfold.optim.SGD(stack.parameters(), lr=1.0)
        >>> schedule = Step(optimizer, step_size=[1, 2], gamma=0.5)
        >>> optimizer.step(); schedule.step()
        >>> optimizer.param_groups[0]["lr"].tolist()
        [0.5, 1.0]

    References:
        torch.optim.lr_scheduler.StepLR.
    """

    def __init__(
        self, optimizer: StackedOptimizer, step_size: Any, *, gamma: Any = 0.1, warmup_steps: Any = 0
    ) -> None:
        read = self._reader(optimizer)
        numbers = {"step_size": read("step_size", step_size, COUNT_FROM_1), "gamma": read("gamma", gamma, AT_LEAST_0)}
        super().__init__(optimizer, warmup_steps=warmup_steps, **numbers)

    def factor(self, step: Numbers) -> Numbers:
        """Gamma to the power of the falls so far."""
        return self.numbers["gamma"] ** (step // self.numbers["step_size"])


class MultiStep(Schedule):
    """The rate is multiplied by `gamma` at each of the milestones.

    Args:
        optimizer: the stacked optimiser.
        milestones: steps after the warm-up, whole numbers >= 0 in any order; one that is there twice counts twice.
            One list for all members, or a list of M lists, which may be of different lengths.
        gamma: >= 0, or one a member.
        warmup_steps: steps of linear warm-up.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(2, 1) for _ in range(2)])
        >>> optimizer = tenfold.optim.SGD(stack.parameters(), lr=1.0)
        >>> schedule = MultiStep(optimizer, [[1], [2, 4]], gamma=0.5)
        >>> optimizer.step(); schedule.step()
        >>> optimizer.param_groups[0]["lr"].tolist()
        [0.5, 1.0]

    References:
        torch.optim.lr_scheduler.MultiStepLR.
    """

    def __init__(
        self, optimizer: StackedOptimizer, milestones: Any, *, gamma: Any = 0.1, warmup_steps: Any = 0
    ) -> None:
        numbers = {
            "milestones": _read_milestones(milestones, len(optimizer.stack)),
            "gamma": self._reader(optimizer)("gamma", gamma, AT_LEAST_0),
        }
        super().__init__(optimizer, warmup_steps=warmup_steps, **numbers)

    def factor(self, step: Numbers) -> Numbers:
        """Gamma to the power of the milestones that are reached."""
        reached = np.asarray(self.numbers["milestones"]) <= np.expand_dims(step, -1)
        return self.numbers["gamma"] ** reached.sum(axis=-1)


def _read_milestones(milestones: Any, num_members: int) -> Any:
    """A tuple of numbers for all members, or shape (M, K), rows filled up with infinity."""
    rows = milestones.tolist() if isinstance(milestones, Tensor | np.ndarray) else milestones
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise TypeError(f"MultiStep: milestones must be a list of steps or one a member, got {milestones!r}.")
    each = bool(rows) and all(isinstance(row, Sequence | Tensor | np.ndarray) for row in rows)
    if each and len(rows) != num_members:
        raise ValueError(f"MultiStep: milestones must be one list or one a member, {num_members}, got {len(rows)}.")
    lists = [np.array(row, dtype=np.float64) for row in (rows if each else [rows])]
    for steps in lists:
        check_numbers("MultiStep", "milestones", steps, COUNT, got=milestones)
    if not each:
        return tuple(lists[0].tolist())
    filled = np.full((num_members, max(map(len, lists))), np.inf)
    for row, steps in zip(filled, lists, strict=True):
        row[: len(steps)] = steps
    return filled


class Exponential(Schedule):
    """The rate is multiplied by `gamma` every step.

    Args:
        optimizer: the stacked optimiser.
        gamma: >= 0, or one a member.
        warmup_steps: steps of linear warm-up.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(2, 1) for _ in range(2)])
        >>> optimizer = tenfold.optim.SGD(stack.parameters(), lr=1.0)
        >>> schedule = Exponential(optimizer, gamma=[0.5, 0.25])
        >>> optimizer.step(); schedule.step()
        >>> optimizer.param_groups[0]["lr"].tolist()
        [0.5, 0.25]

    References:
        torch.optim.lr_scheduler.ExponentialLR.
    """

    def __init__(self, optimizer: StackedOptimizer, gamma: Any, *, warmup_steps: Any = 0) -> None:
        gamma = self._reader(optimizer)("gamma", gamma, AT_LEAST_0)
        super().__init__(optimizer, warmup_steps=warmup_steps, gamma=gamma)

    def factor(self, step: Numbers) -> Numbers:
        """Gamma to the power of the step."""
        return self.numbers["gamma"] ** step


class Linear(Schedule):
    """In a line from `start_factor` of the base rate to `end_factor` of it, then constant.

    Args:
        optimizer: the stacked optimiser.
        total_steps: steps from the first to the end of the line, warm-up included, > warmup_steps, or one a member.
        start_factor: >= 0, or one a member.
        end_factor: >= 0, or one a member.
        warmup_steps: steps of linear warm-up.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(2, 1) for _ in range(2)])
        >>> optimizer = tenfold.optim.SGD(stack.parameters(), lr=1.0)
        >>> schedule = Linear(optimizer, total_steps=2, end_factor=[0.0, 0.5])
        >>> optimizer.step(); schedule.step()
        >>> optimizer.param_groups[0]["lr"].tolist()
        [0.5, 0.75]

    References:
        torch.optim.lr_scheduler.LinearLR.
    """

    def __init__(
        self,
        optimizer: StackedOptimizer,
        total_steps: Any,
        *,
        start_factor: Any = 1.0,
        end_factor: Any = 0.0,
        warmup_steps: Any = 0,
    ) -> None:
        read = self._reader(optimizer)
        numbers = {
            "total_steps": self._total(optimizer, total_steps, warmup_steps),
            "start_factor": read("start_factor", start_factor, AT_LEAST_0),
            "end_factor": read("end_factor", end_factor, AT_LEAST_0),
        }
        super().__init__(optimizer, warmup_steps=warmup_steps, **numbers)

    def factor(self, step: Numbers) -> Numbers:
        """From the one factor to the other."""
        progress = at_most(step / (self.numbers["total_steps"] - self.numbers["warmup_steps"]), 1.0)
        start, end = self.numbers["start_factor"], self.numbers["end_factor"]
        return start + (end - start) * progress
