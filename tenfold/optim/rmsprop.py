"""Stacked RMSprop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.optim.adam_family import start_moments
from tenfold.optim.optimizer import Move, StackedOptimizer
from tenfold.optim.options import Group
from tenfold.optim.values import add_scaled, advance_, blend_square_, is_zero, spread


class RMSprop(StackedOptimizer):
    """Steps divided by the root of the mean of squared gradients; every number may be a value a member.

    Args:
        params: stacked parameters of one stack, or groups of them.
        lr: learning rate, >= 0.
        alpha: how slowly the means forget, in [0, 1).
        eps: added to the root, >= 0.
        weight_decay: L2 penalty, >= 0; the gradient grows by weight_decay times the parameter.
        momentum: of the divided gradients, in [0, 1); 0 switches it off.
        centered: whether to divide by the root of the gradient's variance instead.
        l1: L1 penalty, >= 0; the gradient grows by l1 times the parameter's sign.
        maximize: whether to climb.

    Raises:
        ValueError: a value out of its range.

    Example:
        >>> import tenfold, torch
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(3)])
        >>> optimizer = RMSprop(stack.parameters(), lr=[0.01, 0.001, 1e-4], momentum=0.9, centered=True)
        >>> loss_M = stack.each(lambda model, x: model(x).square().mean(), torch.ones(8, 4))
        >>> optimizer.zero_grad(); stack.backward(loss_M); optimizer.step()

    References:
        Tieleman, Hinton: Neural networks for machine learning, Coursera 2012, lecture 6.5; centred: Graves:
        Generating sequences with recurrent neural networks, 2013, equations 38-45. The update is
        torch.optim.RMSprop's.
    """

    _below_one = ("alpha", "momentum")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor | list[float] = 1e-2,
        alpha: float | Tensor | list[float] = 0.99,
        eps: float | Tensor | list[float] = 1e-8,
        weight_decay: float | Tensor | list[float] = 0.0,
        momentum: float | Tensor | list[float] = 0.0,
        centered: bool = False,
        *,
        l1: float | Tensor | list[float] = 0.0,
        maximize: bool = False,
    ) -> None:
        numbers = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "l1": l1, "momentum": momentum}
        super().__init__(params, numbers, {"centered": centered, "maximize": maximize})

    def _update(self, batch: Sequence[Move], group: Group) -> None:
        parameters, momentum = [move.parameter for move in batch], group["momentum"]
        directions = self._scratch(parameters, "directions")
        start_moments(batch, ("square", "mean") if group["centered"] else ("square",))
        for move, direction in zip(batch, directions, strict=True):
            _divide(direction, move, group)
        if not is_zero(momentum):
            start_moments(batch, ("velocity",))
            for move, direction in zip(batch, directions, strict=True):
                velocity = move.state["velocity"]
                add_scaled(direction, velocity, momentum, out=velocity)
            directions = [move.state["velocity"] for move in batch]
        advance_(parameters, directions, -group["lr"])


def _divide(direction: Tensor, move: Move, group: Group) -> None:
    """The gradient over the root of its mean square, or of its variance."""
    _, gradient, state = move
    alpha, square = group["alpha"], state["square"]
    blend_square_(square, gradient, alpha, direction)
    if group["centered"]:
        mean = state["mean"].lerp_(gradient, spread(1.0 - alpha, gradient))
        torch.addcmul(square, mean, mean, value=-1.0, out=direction).sqrt_()
    else:
        torch.sqrt(square, out=direction)
    direction.add_(spread(group["eps"], direction))
    torch.div(gradient, direction, out=direction)
