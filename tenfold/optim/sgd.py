"""Stacked stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.optim.optimizer import Move, StackedOptimizer
from tenfold.optim.options import Group
from tenfold.optim.values import Value, add_scaled, advance_, at_most, is_zero, spread


class SGD(StackedOptimizer):
    """Stochastic gradient descent; every number may be a value a member.

    Args:
        params: stacked parameters of one stack, or groups of them.
        lr: learning rate, >= 0.
        momentum: in [0, 1); 0 switches it off.
        dampening: from the second step on the gradient enters the momentum times 1 - dampening; >= 0.
        weight_decay: L2 penalty, >= 0; the gradient grows by weight_decay times the parameter.
        nesterov: whether to look ahead along the momentum; needs momentum, and no dampening.
        l1: L1 penalty, >= 0; the gradient grows by l1 times the parameter's sign.
        maximize: whether to climb.

    Raises:
        ValueError: a value out of its range; `nesterov` without momentum or with dampening.

    Example:
        >>> import tenfold, torch
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(3)])
        >>> optimizer = SGD(stack.parameters(), lr=[0.1, 0.01, 0.001], momentum=0.9)
        >>> loss_M = stack.each(lambda model, x: model(x).square().mean(), torch.ones(8, 4))
        >>> optimizer.zero_grad(); stack.backward(loss_M); optimizer.step()

    References:
        Sutskever et al.: On the importance of initialization and momentum in deep learning, ICML 2013; the update
        is torch.optim.SGD's.
    """

    _below_one = ("momentum",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor | list[float] = 1e-3,
        momentum: float | Tensor | list[float] = 0.0,
        dampening: float | Tensor | list[float] = 0.0,
        weight_decay: float | Tensor | list[float] = 0.0,
        nesterov: bool = False,
        *,
        l1: float | Tensor | list[float] = 0.0,
        maximize: bool = False,
    ) -> None:
        numbers = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "l1": l1}
        super().__init__(params, numbers, {"nesterov": nesterov, "maximize": maximize})
        for group in self.param_groups:
            if group["nesterov"] and (is_zero(group["momentum"]) or not is_zero(group["dampening"])):
                raise ValueError(
                    f"SGD: nesterov must have momentum > 0 and dampening 0, got {group['momentum']!r} and "
                    f"{group['dampening']!r}. momentum=0.9 is common."
                )

    def _update(self, batch: Sequence[Move], group: Group) -> None:
        parameters, momentum = [move.parameter for move in batch], group["momentum"]
        directions = [move.gradient for move in batch]
        if not is_zero(momentum):
            directions = [_velocity(move, momentum, group["dampening"]) for move in batch]
        if group["nesterov"]:
            ahead = self._scratch(parameters, "directions")
            for move, velocity, direction in zip(batch, directions, ahead, strict=True):
                add_scaled(move.gradient, velocity, momentum, out=direction)
            directions = ahead
        advance_(parameters, directions, -group["lr"])


def _velocity(move: Move, momentum: Value, dampening: Value) -> Tensor:
    """Velocity = momentum * velocity + (1 - dampening) * gradient; the first is the gradient."""
    _, gradient, state = move
    if "velocity" not in state:
        state["velocity"] = gradient.clone()
    elif is_zero(dampening):
        add_scaled(gradient, state["velocity"], momentum, out=state["velocity"])
    else:
        if isinstance(momentum, Tensor):  # a member without momentum has no dampening either
            dampening = torch.where(momentum > 0.0, dampening, torch.zeros_like(momentum))
        weight = 1.0 - dampening * at_most(state["steps"] - 1.0, 1.0)
        velocity = state["velocity"].mul_(spread(momentum, gradient))
        add_scaled(velocity, gradient, weight, out=velocity)
    return state["velocity"]
