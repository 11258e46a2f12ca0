"""Schedules along half a cosine: down once, down again and again, or up and down."""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.optim.host_numbers import (
    COUNT_FROM_1,
    POSITIVE,
    UNIT,
    WITHIN_UNIT,
    Numbers,
    Range,
    at_least,
    at_most,
    check_choice,
    choose,
)
from tenfold.optim.optimizer import StackedOptimizer
from tenfold.optim.schedule import Schedule

_RISES_OF_THREE_PHASES = Range("in (0, 0.5] with three phases", lambda rise: (rise > 0) & (rise <= 0.5))


class Cosine(Schedule):
    """Half a cosine from the base rate down to `final_factor` of it, then constant.

    Args:
        optimizer: the stacked optimiser.
        total_steps: steps from the first to the end of the curve, warm-up included, > warmup_steps, or one a member.
        warmup_steps: steps of linear warm-up, a whole number >= 0, or one a member.
        final_factor: what is left of the base rate at the end, in [0, 1], or one a member.

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
        total_steps: Any,
        *,
        warmup_steps: Any = 0,
        final_factor: Any = 0.0,
    ) -> None:
        numbers = {
            "total_steps": self._total(optimizer, total_steps, warmup_steps),
            "final_factor": self._reader(optimizer)("final_factor", final_factor, UNIT),
        }
        super().__init__(optimizer, warmup_steps=warmup_steps, **numbers)

    def factor(self, step: Numbers) -> Numbers:
        """Equation 5 with eta_max = 1."""
        progress = at_most(step / (self.numbers["total_steps"] - self.numbers["warmup_steps"]), 1.0)
        return _half_cosine(1.0, self.numbers["final_factor"], progress)


class CosineRestarts(Schedule):
    """Half a cosine from the base rate down to `final_factor` of it, and again from the base rate.

    Args:
        optimizer: the stacked optimiser.
        T_0: steps of the first curve, a whole number >= 1, or one a member.
        T_mult: each curve has so many times the steps of the one before, a whole number >= 1, or one a member.
        final_factor: what a curve falls to as a share of the base rate, in [0, 1], or one a member; torch's
            `eta_min` is this times the rate.
        warmup_steps: steps of linear warm-up, before the first curve.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(2, 1) for _ in range(2)])
        >>> optimizer = tenfold.optim.SGD(stack.parameters(), lr=1.0)
        >>> schedule = CosineRestarts(optimizer, T_0=[1, 2])
        >>> optimizer.step(); schedule.step()
        >>> optimizer.param_groups[0]["lr"].tolist()
        [1.0, 0.5]

    References:
        Loshchilov, Hutter: SGDR: stochastic gradient descent with warm restarts, ICLR 2017, section 3.
    """

    def __init__(
        self,
        optimizer: StackedOptimizer,
        T_0: Any,
        *,
        T_mult: Any = 1,
        final_factor: Any = 0.0,
        warmup_steps: Any = 0,
    ) -> None:
        read = self._reader(optimizer)
        numbers = {
            "T_0": read("T_0", T_0, COUNT_FROM_1),
            "T_mult": read("T_mult", T_mult, COUNT_FROM_1),
            "final_factor": read("final_factor", final_factor, UNIT),
        }
        super().__init__(optimizer, warmup_steps=warmup_steps, **numbers)

    def factor(self, step: Numbers) -> Numbers:
        """Equation 5 with eta_max = 1, within the curve that the step is in."""
        first, times = self.numbers["T_0"], self.numbers["T_mult"]
        growing = at_least(times, 2.0)  # for curves of one length the logarithm is not taken
        # the steps before curve n are T_0 (T_mult^n - 1) / (T_mult - 1); 1e-9 is more than rounding takes from a
        # whole number and less than a step is worth in the first 10^8
        curves = np.floor(np.log(step / first * (growing - 1.0) + 1.0) / np.log(growing) + 1e-9)
        into = step - first * (growing**curves - 1.0) / (growing - 1.0)
        progress = choose(times > 1.0, into / (first * growing**curves), step % first / first)
        return _half_cosine(1.0, self.numbers["final_factor"], progress)


class OneCycle(Schedule):
    """Up from base / div_factor to the base rate and down to nearly nothing.

    Args:
        optimizer: the stacked optimiser; its rate is the peak.
        total_steps: steps of the whole cycle, warm-up included, > warmup_steps + 1, or one a member.
        rise: the share of the steps that go up, in (0, 1), with three phases in (0, 0.5], or one a member.
        div_factor: the first rate is the peak over this, > 0, or one a member.
        final_div_factor: the last rate is the first over this, > 0, or one a member.
        anneal: "cosine" or "linear", the way up and down.
        three_phase: comes down to the first rate in as many steps as it went up, and then goes on to the last.
        warmup_steps: steps before the cycle, in a line to its first rate.

    The momentum stays as it is (torch's `cycle_momentum=False`).

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(2, 1) for _ in range(2)])
        >>> optimizer = tenfold.optim.SGD(stack.parameters(), lr=1.0)
        >>> schedule = OneCycle(optimizer, total_steps=10, div_factor=[4.0, 8.0])
        >>> optimizer.param_groups[0]["lr"].tolist()
        [0.25, 0.125]

    References:
        Smith, Topin: Super-convergence: very fast training of neural networks using large learning rates, 2018;
        values as torch.optim.lr_scheduler.OneCycleLR's.
    """

    def __init__(
        self,
        optimizer: StackedOptimizer,
        total_steps: Any,
        *,
        rise: Any = 0.3,
        div_factor: Any = 25.0,
        final_div_factor: Any = 1e4,
        anneal: str = "cosine",
        three_phase: bool = False,
        warmup_steps: Any = 0,
    ) -> None:
        check_choice("OneCycle", "anneal", anneal, ("cosine", "linear"))
        read = self._reader(optimizer)
        numbers = {
            "total_steps": self._total(optimizer, total_steps, warmup_steps, least=2),
            "rise": read("rise", rise, _RISES_OF_THREE_PHASES if three_phase else WITHIN_UNIT),
            "div_factor": read("div_factor", div_factor, POSITIVE),
            "final_div_factor": read("final_div_factor", final_div_factor, POSITIVE),
        }
        self.anneal, self.three_phase = anneal, three_phase
        super().__init__(optimizer, warmup_steps=warmup_steps, **numbers)

    def factor(self, step: Numbers) -> Numbers:
        """The rate at a step as a share of the peak."""
        steps = self.numbers["total_steps"] - self.numbers["warmup_steps"]
        peak, last = self.numbers["rise"] * steps - 1.0, steps - 1.0
        first = 1.0 / self.numbers["div_factor"]
        final = first / self.numbers["final_div_factor"]
        ends, heights = [peak, last], [first, 1.0, final]
        if self.three_phase:
            ends, heights = [peak, 2.0 * peak, last], [first, 1.0, first, final]
        factor = self._phase(step, 0.0, ends[0], heights[0], heights[1])
        for phase in range(1, len(ends)):
            later = self._phase(step, ends[phase - 1], ends[phase], heights[phase], heights[phase + 1])
            factor = choose(step > ends[phase - 1], later, factor)
        return factor

    def _phase(self, step: Numbers, start: Numbers, end: Numbers, low: Numbers, high: Numbers) -> Numbers:
        """From one height to another; a phase of no length is over at once."""
        length = end - start
        progress = choose(length > 0.0, at_most((step - start) / at_least(length, 1e-200), 1.0), 1.0)
        return _half_cosine(low, high, progress) if self.anneal == "cosine" else low + (high - low) * progress


def _half_cosine(start: Numbers, end: Numbers, progress: Numbers) -> Numbers:
    return end + (start - end) * 0.5 * (1.0 + np.cos(np.pi * progress))
