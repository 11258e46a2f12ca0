"""Stacked Adadelta."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.optim.adam_family import start_moments
from tenfold.optim.optimizer import Move, StackedOptimizer
from tenfold.optim.options import Group
from tenfold.optim.values import advance_, blend_square_, spread


class Adadelta(StackedOptimizer):
    """Steps as large as earlier steps were, by the mean of their squares; every number may be a value a member.

    Args:
        params: stacked parameters of one stack, or groups of them.
        lr: factor of the step, >= 0.
        rho: how slowly both means forget, in [0, 1).
        eps: added to both means, >= 0; where the first steps come from.
        weight_decay: L2 penalty, >= 0; the gradient grows by weight_decay times the parameter.
        l1: L1 penalty, >= 0; the gradient grows by l1 times the parameter's sign.
        maximize: whether to climb.

    Raises:
        ValueError: a value out of its range.

    Example:
        >>> import tenfold, torch
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(3)])
        >>> optimizer = Adadelta(stack.parameters(), rho=[0.9, 0.95, 0.99])
        >>> loss_M = stack.each(lambda model, x: model(x).square().mean(), torch.ones(8, 4))
        >>> optimizer.zero_grad(); stack.backward(loss_M); optimizer.step()

    References:
        Zeiler: ADADELTA: an adaptive learning rate method, 2012, algorithm 1; the update is torch.optim.Adadelta's.
    """

    _below_one = ("rho",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor | list[float] = 1.0,
        rho: float | Tensor | list[float] = 0.9,
        eps: float | Tensor | list[float] = 1e-6,
        weight_decay: float | Tensor | list[float] = 0.0,
        *,
        l1: float | Tensor | list[float] = 0.0,
        maximize: bool = False,
    ) -> None:
        numbers = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "l1": l1}
        super().__init__(params, numbers, {"maximize": maximize})

    def _update(self, batch: Sequence[Move], group: Group) -> None:
        parameters, rho = [move.parameter for move in batch], group["rho"]
        directions, roots = self._scratch(parameters, "directions"), self._scratch(parameters, "roots")
        start_moments(batch, ("square", "square_of_steps"))
        for (_, gradient, state), direction, root in zip(batch, directions, roots, strict=True):
            eps = spread(group["eps"], direction)
            blend_square_(state["square"], gradient, rho, root)
            torch.add(state["square"], eps, out=root).sqrt_()
            torch.add(state["square_of_steps"], eps, out=direction).sqrt_().div_(root).mul_(gradient)
            blend_square_(state["square_of_steps"], direction, rho, root)
        advance_(parameters, directions, -group["lr"])
