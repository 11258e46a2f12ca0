"""Schedules of the learning rate, each with a value a member for every number.

A schedule multiplies the learning rate that the optimiser was built with by a factor of the step. It is a
function of the step alone (`Plateau` excepted, which reads scores): nothing accumulates, so that a resumed or a
shrunken stack goes on exactly. Here is their base; a family a file: `schedule_steps.py`, `schedule_cosine.py`,
`schedule_plateau.py`; `schedule_catalog.py` has them by name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.optim.host_numbers import (
    COUNT,
    Numbers,
    Range,
    at_least,
    at_most,
    check_numbers,
    from_saved,
    keep_numbers,
    on_device,
    read_numbers,
    to_saved,
)
from tenfold.optim.optimizer import StackedOptimizer
from tenfold.stacking.layout import take_members


class Schedule:
    """Base of the schedules; a subclass gives `factor`.

    Args:
        optimizer: its groups' learning rates at this moment are the base.
        warmup_steps: over these steps the rate rises in a line to the first of the schedule proper, beginning with
            1 / (warmup_steps + 1) of it; a whole number >= 0, or one a member.
        numbers: of a subclass: the other options, checked; what is an array has the member axis in front.

    Attributes:
        num_steps: how often `step` was called; float64, shape (M,), once members have rested.
        base_lrs: each group's rate that the factor is applied to.
        numbers: the options, one number for all members or one a member.

    Raises:
        ValueError: the warm-up is negative, or not one number a member.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> class Harmonic(Schedule):
        ...     def factor(self, step):
        ...         return 1 / (1 + step)
        >>> stack = tenfold.stack([nn.Linear(2, 1) for _ in range(2)])
        >>> optimizer = tenfold.optim.SGD(stack.parameters(), lr=[1.0, 0.1])
        >>> schedule = Harmonic(optimizer)
        >>> optimizer.step(); schedule.step()
        >>> optimizer.param_groups[0]["lr"].tolist()
        [0.5, 0.05]
    """

    def __init__(self, optimizer: StackedOptimizer, *, warmup_steps: Any = 0, **numbers: Any) -> None:
        warmup = self._reader(optimizer)("warmup_steps", warmup_steps, COUNT)
        self.optimizer = optimizer
        self.numbers: dict[str, Any] = {"warmup_steps": warmup, **numbers}
        self.num_steps: Any = 0
        self.base_lrs = [group["lr"] for group in optimizer.param_groups]
        optimizer.stack.follow(self)
        self._apply()

    def factor(self, step: Numbers) -> Numbers:
        """What the base rate is multiplied with, for one member or for all.

        Args:
            step: steps since the warm-up, 0 is the first; shape () or, with a warm-up a member, (M,).

        Returns:
            The factor, shape () or (M,).
        """
        raise NotImplementedError

    @classmethod
    def _reader(cls, optimizer: StackedOptimizer) -> Callable[[str, Any, Range], Numbers]:
        """What reads an option: `read(name, value, range)`."""
        return partial(_read, cls.__name__, len(optimizer.stack))

    @classmethod
    def _total(cls, optimizer: StackedOptimizer, total_steps: Any, warmup_steps: Any, least: int = 1) -> Numbers:
        """Reads how many steps there are: at least so many after the warm-up."""
        read = cls._reader(optimizer)
        total, warmup = read("total_steps", total_steps, COUNT), read("warmup_steps", warmup_steps, COUNT)
        floor = warmup + (least - 1)
        words = f"> {floor:.0f} (warm-up included)" if np.ndim(floor) == 0 else "> warmup_steps of each member"
        check_numbers(cls.__name__, "total_steps", total, Range(words, lambda steps: steps > floor), got=total_steps)
        return total

    def _apply(self) -> None:
        warmup = self.numbers["warmup_steps"]
        rise = at_most((self.num_steps + 1) / (warmup + 1), 1.0)
        factor = on_device(rise * self.factor(at_least(self.num_steps - warmup, 0.0)), self.optimizer.stack.device)
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * factor

    def step(self) -> None:
        """Goes on to the next step; called after `optimizer.step()`."""
        self.num_steps += 1
        self._apply()

    def rest(self, places: Any) -> None:
        """Takes the last step back for members that sat it out.

        Args:
            places: of these members, int64, shape (K,); a list will do.
        """
        steps_M = np.zeros(len(self.optimizer.stack)) + self.num_steps
        steps_M[torch.as_tensor(places, dtype=torch.int64).cpu().numpy()] -= 1.0
        self.num_steps = steps_M
        self._apply()

    def keep(self, indices: Tensor) -> None:
        """Keeps the values of the members at these places; the stack calls it."""
        self.num_steps = keep_numbers(self.num_steps, indices)
        self.base_lrs = [take_members(lr, indices) if isinstance(lr, Tensor) else lr for lr in self.base_lrs]
        self.numbers = {name: keep_numbers(value, indices) for name, value in self.numbers.items()}

    def state_dict(self) -> dict[str, Any]:
        """The step, the base rates and the numbers."""
        return {
            "num_steps": to_saved(self.num_steps),
            "base_lrs": list(self.base_lrs),
            "numbers": {name: to_saved(value) for name, value in self.numbers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` gave for a schedule of this class and as many groups and members.

        Raises:
            ValueError: the state is of another schedule or of another number of groups or members.
        """
        name = f"{type(self).__name__}.load_state_dict"
        lengths = {len(v) for v in (*state["base_lrs"], *state["numbers"].values()) if isinstance(v, Tensor)}
        if set(state["numbers"]) != set(self.numbers) or len(state["base_lrs"]) != len(self.base_lrs):
            raise ValueError(
                f"{name}: state must be of a {type(self).__name__} of {len(self.base_lrs)} groups, got "
                f"{len(state['base_lrs'])} groups and the numbers {', '.join(state['numbers'])}. "
                "Build the schedule as the one that was saved."
            )
        if lengths - {len(self.optimizer.stack)}:
            raise ValueError(
                f"{name}: state must be of {len(self.optimizer.stack)} members, got {max(lengths)}. "
                "Build the stack of as many models, or keep() as many members first."
            )
        device = self.optimizer.stack.device
        self.num_steps = from_saved(state["num_steps"])
        self.base_lrs = [lr.to(device) if isinstance(lr, Tensor) else lr for lr in state["base_lrs"]]
        self.numbers = {name: from_saved(value) for name, value in state["numbers"].items()}
        self._apply()


def _read(owner: str, num_members: int, name: str, value: Any, allowed: Range) -> Numbers:
    return read_numbers(owner, name, value, num_members, allowed)
