"""Stacked stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from tenfold.optim.optimizer import Group, Move, StackedOptimizer, is_zero, spread


class SGD(StackedOptimizer):
    """Stochastic gradient descent; every option but `nesterov` may be a value a member.

    Args:
        params: stacked parameters of one stack, or groups of them.
        lr: learning rate, >= 0.
        momentum: in [0, 1); 0 switches it off.
        weight_decay: L2 penalty, >= 0; the gradient grows by weight_decay times the parameter.
        nesterov: whether to look ahead along the momentum.

    Example:
        >>> import tenfold, torch
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(3)])
        >>> optimizer = SGD(stack.parameters(), lr=[0.1, 0.01, 0.001], momentum=0.9)
        >>> loss_M = stack.each(lambda model, x: model(x).square().mean(), torch.ones(8, 4))
        >>> optimizer.zero_grad(); stack.backward(loss_M); optimizer.step()

    References:
        Sutskever et al.: On the importance of initialization and momentum in deep learning, ICML 2013; the update
        is torch.optim.SGD's, with dampening 0.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor | list[float] = 1e-3,
        momentum: float | Tensor | list[float] = 0.0,
        weight_decay: float | Tensor | list[float] = 0.0,
        nesterov: bool = False,
    ) -> None:
        options: dict[str, Any] = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, options)

    def _update(self, moves: Sequence[Move], group: Group) -> None:
        for parameter, gradient, state in moves:
            if not is_zero(group["weight_decay"]):
                gradient = gradient + parameter * spread(group["weight_decay"], parameter)
            if not is_zero(group["momentum"]):
                momentum = spread(group["momentum"], parameter)
                velocity = state.get("velocity")
                velocity = gradient.clone() if velocity is None else velocity.mul_(momentum).add_(gradient)
                state["velocity"] = velocity
                gradient = gradient + velocity * momentum if group["nesterov"] else velocity
            parameter.sub_(gradient * spread(group["lr"], parameter))
