"""Schedules of the learning rate, each a value a member where it matters.

A schedule multiplies the learning rate that the optimiser was built with by a factor of the step. It is a
function of the step alone: nothing accumulates, so a resumed or a shrunken stack goes on exactly.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from tenfold.optim.optimizer import StackedOptimizer
from tenfold.stacking.layout import take_members


class Schedule:
    """Base of the schedules; a subclass gives `factor`, which is also the whole of the warm-up's end.

    Args:
        optimizer: its groups' learning rates at this moment are the base.
        warmup_steps: the rate rises in a line over these steps, from 1 / (warmup_steps + 1) of the base.

    Raises:
        ValueError: negative warm-up.
    """

    def __init__(self, optimizer: StackedOptimizer, *, warmup_steps: int = 0) -> None:
        if warmup_steps < 0:
            raise ValueError(f"{type(self).__name__}: warmup_steps must be >= 0, got {warmup_steps}.")
        self.optimizer = optimizer
        self.warmup_steps = warmup_steps
        self.num_steps = 0
        self.base_lrs = [group["lr"] for group in optimizer.param_groups]
        optimizer.stack.follow(self)
        self._apply()

    def factor(self, step: int) -> float | Tensor:
        """What the base rate is multiplied with at a step after the warm-up (step 0 is the first)."""
        raise NotImplementedError

    def _factor_now(self) -> float | Tensor:
        if self.num_steps < self.warmup_steps:
            return (self.num_steps + 1) / (self.warmup_steps + 1)
        return self.factor(self.num_steps - self.warmup_steps)

    def _apply(self) -> None:
        factor = self._factor_now()
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * factor

    def step(self) -> None:
        """Goes on to the next step; called after `optimizer.step()`."""
        self.num_steps += 1
        self._apply()

    def keep(self, indices: Tensor) -> None:
        """Keeps the values of the members at these places; the stack calls it."""
        self.base_lrs = [take_members(lr, indices) if isinstance(lr, Tensor) else lr for lr in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """The step and the base rates."""
        return {"num_steps": self.num_steps, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` gave."""
        self.num_steps, self.base_lrs = state["num_steps"], list(state["base_lrs"])
        self._apply()


class Constant(Schedule):
    """The base rate, after the warm-up if there is one."""

    def factor(self, step: int) -> float:
        """Always 1."""
        return 1.0


class Cosine(Schedule):
    """Half a cosine from the base rate down to `final_factor` of it, then constant.

    Args:
        optimizer: the stacked optimiser.
        total_steps: steps from the first to the end of the curve, warm-up included, > warmup_steps.
        warmup_steps: steps of linear warm-up.
        final_factor: what is left of the base rate at the end, in [0, 1].

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(2, 1) for _ in range(2)])
        >>> optimizer = tenfold.optim.SGD(stack.parameters(), lr=[1.0, 0.1])
        >>> schedule = Cosine(optimizer, total_steps=4)
        >>> optimizer.step(); schedule.step(); optimizer.step(); schedule.step()
        >>> optimizer.param_groups[0]["lr"].tolist()
        [0.5, 0.05]

    References:
        Loshchilov, Hutter: SGDR: stochastic gradient descent with warm restarts, ICLR 2017, equation 5.
    """

    def __init__(
        self,
        optimizer: StackedOptimizer,
        total_steps: int,
        *,
        warmup_steps: int = 0,
        final_factor: float = 0.0,
    ) -> None:
        _check_total(self, total_steps, warmup_steps)
        if not 0.0 <= final_factor <= 1.0:
            raise ValueError(f"Cosine: final_factor must be in [0, 1], got {final_factor!r}.")
        self.total_steps, self.final_factor = total_steps, final_factor
        super().__init__(optimizer, warmup_steps=warmup_steps)

    def factor(self, step: int) -> float:
        """Equation 5 with eta_max = 1."""
        progress = min(step / (self.total_steps - self.warmup_steps), 1.0)
        return self.final_factor + (1.0 - self.final_factor) * 0.5 * (1.0 + math.cos(math.pi * progress))


class OneCycle(Schedule):
    """Up from base / div_factor to the base rate and down to nearly nothing, both along half a cosine.

    Args:
        optimizer: the stacked optimiser; its rate is the peak.
        total_steps: steps of the whole cycle, > 1.
        rise: the share of the steps that go up, in (0, 1).
        div_factor: the first rate is the peak over this.
        final_div_factor: the last rate is the first over this.

    References:
        Smith, Topin: Super-convergence: very fast training of neural networks using large learning rates, 2018;
        values as torch.optim.lr_scheduler.OneCycleLR's.
    """

    def __init__(
        self,
        optimizer: StackedOptimizer,
        total_steps: int,
        *,
        rise: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        _check_total(self, total_steps, 1)
        if not 0.0 < rise < 1.0:
            raise ValueError(f"OneCycle: rise must be in (0, 1), got {rise!r}.")
        if not (div_factor > 0.0 and final_div_factor > 0.0):
            raise ValueError(
                f"OneCycle: div_factor and final_div_factor must be > 0, got {div_factor!r} and {final_div_factor!r}."
            )
        self.total_steps, self.rise = total_steps, rise
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """The rate at a step as a share of the peak."""
        peak = self.rise * self.total_steps - 1
        last = self.total_steps - 1
        first = 1.0 / self.div_factor
        if step <= peak:
            return _half_cosine(first, 1.0, step / peak) if peak > 0 else 1.0
        return _half_cosine(1.0, first / self.final_div_factor, min((step - peak) / (last - peak), 1.0))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


def _check_total(schedule: Schedule, total_steps: int, floor: int) -> None:
    if total_steps <= floor:
        raise ValueError(
            f"{type(schedule).__name__}: total_steps must be > {floor} (warm-up included), got {total_steps}."
        )
