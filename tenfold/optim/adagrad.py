"""Stacked Adagrad."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.optim.optimizer import Move, StackedOptimizer
from tenfold.optim.options import Group
from tenfold.optim.values import Value, advance_, spread


class Adagrad(StackedOptimizer):
    """Steps divided by the root of the sum of all squared gradients; every number may be a value a member.

    Args:
        params: stacked parameters of one stack, or groups of them.
        lr: learning rate, >= 0.
        lr_decay: the rate of step t, from 0, is lr / (1 + t * lr_decay); >= 0.
        weight_decay: L2 penalty, >= 0; the gradient grows by weight_decay times the parameter.
        initial_accumulator_value: where the sums begin, >= 0; read when a parameter first moves.
        eps: added to the root, >= 0.
        l1: L1 penalty, >= 0; the gradient grows by l1 times the parameter's sign.
        maximize: whether to climb.

    Raises:
        ValueError: a value out of its range.

    Example:
        >>> import tenfold, torch
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(3)])
        >>> optimizer = Adagrad(stack.parameters(), lr=[0.1, 0.01, 0.001], lr_decay=1e-3)
        >>> loss_M = stack.each(lambda model, x: model(x).square().mean(), torch.ones(8, 4))
        >>> optimizer.zero_grad(); stack.backward(loss_M); optimizer.step()

    References:
        Duchi, Hazan, Singer: Adaptive subgradient methods for online learning and stochastic optimization, JMLR 12,
        2011, figure 1 (diagonal); the update is torch.optim.Adagrad's.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor | list[float] = 1e-2,
        lr_decay: float | Tensor | list[float] = 0.0,
        weight_decay: float | Tensor | list[float] = 0.0,
        initial_accumulator_value: float | Tensor | list[float] = 0.0,
        eps: float | Tensor | list[float] = 1e-10,
        *,
        l1: float | Tensor | list[float] = 0.0,
        maximize: bool = False,
    ) -> None:
        numbers = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps, "l1": l1}
        numbers["initial_accumulator_value"] = initial_accumulator_value
        super().__init__(params, numbers, {"maximize": maximize})

    def first_state(self, name: str, group: Group) -> Value:
        """Sums begin at the initial value."""
        return group["initial_accumulator_value"] if name == "sum" else 0.0

    def _update(self, batch: Sequence[Move], group: Group) -> None:
        parameters = [move.parameter for move in batch]
        directions = self._scratch(parameters, "directions")
        for (parameter, gradient, state), direction in zip(batch, directions, strict=True):
            if "sum" not in state:
                start = spread(group["initial_accumulator_value"], parameter)
                state["sum"] = torch.zeros_like(parameter).add_(start)
            total = state["sum"].addcmul_(gradient, gradient)
            torch.sqrt(total, out=direction).add_(spread(group["eps"], direction))
            torch.div(gradient, direction, out=direction)
            decay = 1.0 + (state["steps"] - 1) * group["lr_decay"]
            advance_([parameter], [direction], -group["lr"] / decay)
