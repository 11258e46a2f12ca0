"""Stacked NAdam."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.optim.adam_family import start_moments, update_moments
from tenfold.optim.optimizer import Move, StackedOptimizer
from tenfold.optim.options import Group
from tenfold.optim.values import Value, add_scaled, as_scalar_state, spread, to_the_power


class NAdam(StackedOptimizer):
    """Adam with Nesterov's momentum; every number may be a value a member.

    Args:
        params: stacked parameters of one stack, or groups of them.
        lr: learning rate, >= 0.
        betas: how slowly the means of the gradient and of its square forget, each in [0, 1).
        eps: added to the root of the second mean, >= 0.
        weight_decay: L2 penalty, >= 0; the gradient grows by weight_decay times the parameter.
        momentum_decay: how quickly the momentum rises to betas[0], >= 0.
        decoupled_weight_decay: whether the parameter shrinks by lr * weight_decay a step instead, as in `AdamW`.
        l1: L1 penalty, >= 0; the gradient grows by l1 times the parameter's sign.
        maximize: whether to climb.

    Raises:
        ValueError: a value out of its range.

    Example:
        >>> import tenfold, torch
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(3)])
        >>> optimizer = NAdam(stack.parameters(), lr=[0.01, 0.002, 0.001])
        >>> loss_M = stack.each(lambda model, x: model(x).square().mean(), torch.ones(8, 4))
        >>> optimizer.zero_grad(); stack.backward(loss_M); optimizer.step()

    References:
        Dozat: Incorporating Nesterov momentum into Adam, ICLR 2016 workshop, algorithm 2; the update is
        torch.optim.NAdam's, the rounding of its product of momenta included.
    """

    _below_one = ("betas",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor | list[float] = 2e-3,
        betas: tuple[float | Tensor | list[float], float | Tensor | list[float]] = (0.9, 0.999),
        eps: float | Tensor | list[float] = 1e-8,
        weight_decay: float | Tensor | list[float] = 0.0,
        momentum_decay: float | Tensor | list[float] = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        l1: float | Tensor | list[float] = 0.0,
        maximize: bool = False,
    ) -> None:
        numbers = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "l1": l1}
        flags = {"decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize}
        super().__init__(params, {**numbers, "momentum_decay": momentum_decay}, flags)

    def first_state(self, name: str, group: Group) -> Value:
        """Products begin at 1."""
        return 1.0 if name == "product" else 0.0

    def _update(self, batch: Sequence[Move], group: Group) -> None:
        parameters = [move.parameter for move in batch]
        directions, roots = self._scratch(parameters, "directions"), self._scratch(parameters, "roots")
        start_moments(batch)
        for move, direction, root in zip(batch, directions, roots, strict=True):
            _direction(direction, root, move, group)
        self._advance(parameters, directions, -group["lr"], group)


def _direction(direction: Tensor, root: Tensor, move: Move, group: Group) -> None:
    """The step for a rate of 1: (g (1 - mu_t) / (1 - prod_t) + m mu_t+1 / (1 - prod_t+1)) / (sqrt(v / c2) + eps)."""
    (beta1, beta2), steps, decay = group["betas"], move.state["steps"], group["momentum_decay"]
    momentum = beta1 * (1.0 - 0.5 * to_the_power(0.96, steps * decay))
    momentum_next = beta1 * (1.0 - 0.5 * to_the_power(0.96, (steps + 1) * decay))
    product = as_scalar_state(move.state.get("product", 1.0) * as_scalar_state(momentum))
    move.state["product"] = product
    mean, square = update_moments(move, group["betas"], root)
    correction2 = (1.0 - to_the_power(beta2, steps)) ** 0.5
    torch.sqrt(square, out=root).add_(spread(group["eps"] * correction2, root))
    torch.mul(mean, spread(correction2 * momentum_next / (1.0 - product * momentum_next), mean), out=direction)
    add_scaled(direction, move.gradient, correction2 * (1.0 - momentum) / (1.0 - product), out=direction)
    direction.div_(root)
