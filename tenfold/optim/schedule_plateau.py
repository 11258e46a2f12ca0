"""The schedule that reads scores: the rate falls when a member's score no longer improves."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.optim.host_numbers import AT_LEAST_0, BELOW_1, COUNT, Numbers, check_choice, on_device, read_scores
from tenfold.optim.optimizer import StackedOptimizer
from tenfold.optim.schedule import Schedule


class Plateau(Schedule):
    """A member's rate is multiplied by `factor` after more than `patience` scores in a row without improvement.

    `step(score_M)` is called after each evaluation. `step()` without scores moves the warm-up on, after each
    `optimizer.step()` as with every other schedule; without a warm-up it does nothing.

    Args:
        optimizer: the stacked optimiser.
        mode: "min" when smaller scores are better, "max" when larger ones are.
        factor: in [0, 1), or one a member.
        patience: scores without improvement that are borne, a whole number >= 0, or one a member.
        threshold: how much better an improvement is, >= 0, or one a member.
        threshold_mode: "rel" when the threshold is a share of the best score, "abs" when it is a difference.
        cooldown: scores after a fall that do not count, a whole number >= 0, or one a member.
        min_lr: no rate falls below this, >= 0, or one a member.
        eps: a fall by no more than this is left out, >= 0, or one a member.
        warmup_steps: steps of linear warm-up.

    A NaN is no improvement, and changes nothing for other members.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(2, 1) for _ in range(2)])
        >>> optimizer = tenfold.optim.SGD(stack.parameters(), lr=1.0)
        >>> schedule = Plateau(optimizer, factor=0.5, patience=0)
        >>> schedule.step([3.0, 3.0]); schedule.step([2.0, 3.0])
        >>> optimizer.param_groups[0]["lr"].tolist()
        [1.0, 0.5]

    References:
        torch.optim.lr_scheduler.ReduceLROnPlateau.
    """

    def __init__(
        self,
        optimizer: StackedOptimizer,
        *,
        mode: str = "min",
        factor: Any = 0.1,
        patience: Any = 10,
        threshold: Any = 1e-4,
        threshold_mode: str = "rel",
        cooldown: Any = 0,
        min_lr: Any = 0.0,
        eps: Any = 1e-8,
        warmup_steps: Any = 0,
    ) -> None:
        check_choice("Plateau", "mode", mode, ("min", "max"))
        check_choice("Plateau", "threshold_mode", threshold_mode, ("rel", "abs"))
        read, num_members = self._reader(optimizer), len(optimizer.stack)
        self.mode, self.threshold_mode = mode, threshold_mode
        super().__init__(
            optimizer,
            warmup_steps=warmup_steps,
            factor=read("factor", factor, BELOW_1),
            patience=read("patience", patience, COUNT),
            threshold=read("threshold", threshold, AT_LEAST_0),
            cooldown=read("cooldown", cooldown, COUNT),
            min_lr=read("min_lr", min_lr, AT_LEAST_0),
            eps=read("eps", eps, AT_LEAST_0),
            best=np.full(num_members, np.inf if mode == "min" else -np.inf),
            bad=np.zeros(num_members),
            cooling=np.zeros(num_members),
        )

    def factor(self, step: Numbers) -> Numbers:
        """Always 1: what has fallen are the base rates."""
        return 1.0

    def step(self, score_M: Any = None) -> None:
        """Moves the warm-up on; or, given scores, lowers the rates of members that no longer improve.

        Args:
            score_M: each member's score, float, shape (M,).

        Raises:
            ValueError: not one score a member.
        """
        if score_M is None:
            super().step()
            return
        falls_M = self._judge(read_scores("Plateau.step", score_M, len(self.optimizer.stack)))
        if falls_M.any():
            self.base_lrs = [self._lowered(lr, falls_M) for lr in self.base_lrs]
            self._apply()

    def _judge(self, score_M: Any) -> Any:
        """Takes the scores down, and says whose rates fall."""
        numbers = self.numbers
        better_M = self._is_better(score_M)
        numbers["best"] = np.where(better_M, score_M, numbers["best"])
        bad_M = np.where(better_M | (numbers["cooling"] > 0), 0.0, numbers["bad"] + 1.0)
        falls_M = bad_M > numbers["patience"]
        numbers["cooling"] = np.where(falls_M, numbers["cooldown"], np.maximum(numbers["cooling"] - 1.0, 0.0))
        numbers["bad"] = np.where(falls_M, 0.0, bad_M)
        return falls_M

    def _is_better(self, score_M: Any) -> Any:
        best_M, threshold = self.numbers["best"], self.numbers["threshold"]
        sign = 1.0 if self.mode == "max" else -1.0
        with np.errstate(invalid="ignore"):  # infinity times a threshold of 1 is no number: nothing is better
            bound_M = best_M * (1.0 + sign * threshold) if self.threshold_mode == "rel" else best_M + sign * threshold
        return score_M > bound_M if self.mode == "max" else score_M < bound_M

    def _lowered(self, lr: float | Tensor, falls_M: Any) -> Tensor:
        device = self.optimizer.stack.device
        lr_M = lr if isinstance(lr, Tensor) else torch.full(falls_M.shape, lr, dtype=torch.float64, device=device)
        factor, least, eps = (on_device(self.numbers[name], device) for name in ("factor", "min_lr", "eps"))
        new_M = torch.maximum(lr_M * factor, torch.as_tensor(least, dtype=lr_M.dtype, device=device))
        return torch.where(torch.from_numpy(falls_M).to(device) & (lr_M - new_M > eps), new_M, lr_M)
