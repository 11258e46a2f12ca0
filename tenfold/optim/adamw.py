"""Stacked AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tenfold.optim.optimizer import Group, StackedOptimizer, State, spread


class AdamW(StackedOptimizer):
    """Adam with decoupled weight decay; every option may be a value a member.

    Args:
        params: stacked parameters of one stack, or groups of them.
        lr: learning rate, >= 0.
        betas: how slowly the means of the gradient and of its square forget, each in [0, 1).
        eps: added to the root of the second mean, >= 0.
        weight_decay: the parameter shrinks by lr times this a step, >= 0.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(3)])
        >>> optimizer = AdamW(stack.parameters(), lr=torch.logspace(-4, -2, 3))
        >>> loss_M = stack.each(lambda model, x: model(x).square().mean(), torch.ones(8, 4))
        >>> optimizer.zero_grad(); stack.backward(loss_M); optimizer.step()

    References:
        Loshchilov, Hutter: Decoupled weight decay regularization, ICLR 2019, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor | list[float] = 1e-3,
        betas: tuple[float | Tensor | list[float], float | Tensor | list[float]] = (0.9, 0.999),
        eps: float | Tensor | list[float] = 1e-8,
        weight_decay: float | Tensor | list[float] = 1e-2,
    ) -> None:
        options: dict[str, Any] = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, options)

    def _update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        if "mean" not in state:
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        mean, square = state["mean"], state["square"]
        beta1, beta2 = group["betas"]
        _blend(mean, gradient, 1.0 - beta1)
        square.mul_(spread(beta2, square))
        _add_square(square, gradient, 1.0 - beta2)
        # lr m / c1 / (sqrt(v / c2) + eps)  =  (lr sqrt(c2) / c1) m / (sqrt(v) + eps sqrt(c2)): one pass less
        correction1, correction2 = 1.0 - beta1 ** state["steps"], (1.0 - beta2 ** state["steps"]) ** 0.5
        denominator = square.sqrt().add_(spread(group["eps"] * correction2, square))
        direction = torch.div(mean, denominator, out=denominator)
        parameter.mul_(spread(1.0 - group["lr"] * group["weight_decay"], parameter))
        parameter.sub_(direction.mul_(spread(group["lr"] * correction2 / correction1, parameter)))


def _blend(mean: Tensor, gradient: Tensor, weight: Any) -> None:
    mean.lerp_(gradient, spread(weight, mean))


def _add_square(square: Tensor, gradient: Tensor, weight: Any) -> None:
    if isinstance(weight, Tensor):
        square.add_(gradient.square().mul_(spread(weight, square)))
    else:
        square.addcmul_(gradient, gradient, value=weight)
