"""Stacked RAdam."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.optim.adam_family import can_fuse, fused_directions, start_moments, update_moments
from tenfold.optim.optimizer import Move, StackedOptimizer
from tenfold.optim.options import Group
from tenfold.optim.values import Value, spread, to_the_power
from tenfold.stacking.layout import per_member_shape

_SURE = 5.0  # the second mean is used when it is worth an average longer than this


class RAdam(StackedOptimizer):
    """Adam that steps by the gradient's mean alone while the mean of its square is unsure.

    Every number may be a value a member; each member is rectified from its own step on.

    Args:
        params: stacked parameters of one stack, or groups of them.
        lr: learning rate, >= 0.
        betas: how slowly the means of the gradient and of its square forget, each in [0, 1).
        eps: added to the root of the second mean, >= 0.
        weight_decay: L2 penalty, >= 0; the gradient grows by weight_decay times the parameter.
        decoupled_weight_decay: whether the parameter shrinks by lr * weight_decay a step instead, as in `AdamW`.
        l1: L1 penalty, >= 0; the gradient grows by l1 times the parameter's sign.
        maximize: whether to climb.

    Raises:
        ValueError: a value out of its range.

    Example:
        >>> import tenfold, torch
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(3)])
        >>> optimizer = RAdam(stack.parameters(), lr=[0.01, 0.001, 0.001], betas=(0.9, [0.999, 0.999, 0.99]))
        >>> loss_M = stack.each(lambda model, x: model(x).square().mean(), torch.ones(8, 4))
        >>> optimizer.zero_grad(); stack.backward(loss_M); optimizer.step()

    References:
        Liu et al.: On the variance of the adaptive learning rate and beyond, ICLR 2020, algorithm 2; as in
        torch.optim, with the bound of 5 and with eps.
    """

    _below_one = ("betas",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor | list[float] = 1e-3,
        betas: tuple[float | Tensor | list[float], float | Tensor | list[float]] = (0.9, 0.999),
        eps: float | Tensor | list[float] = 1e-8,
        weight_decay: float | Tensor | list[float] = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        l1: float | Tensor | list[float] = 0.0,
        maximize: bool = False,
    ) -> None:
        numbers = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "l1": l1}
        flags = {"decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize}
        super().__init__(params, numbers, flags)

    def _update(self, batch: Sequence[Move], group: Group) -> None:
        parameters, beta2, steps = [move.parameter for move in batch], group["betas"][1], batch[0].state["steps"]
        directions, rate = self._scratch(parameters, "directions"), group["lr"]
        start_moments(batch)
        if can_fuse(batch, group) and _length(beta2, steps) > _SURE:
            # Adam's step, where eps stands beside the root of the corrected mean
            eps = group["eps"] / (1.0 - to_the_power(beta2, steps)) ** 0.5
            fused_directions(directions, batch, group, eps=eps, amsgrad=False)
            rate = rate * _rectification(beta2, steps)
        else:
            for move, direction in zip(batch, directions, strict=True):
                _direction(direction, move, group)
        self._advance(parameters, directions, rate, group)


def _direction(direction: Tensor, move: Move, group: Group) -> None:
    """The update for a rate of 1: -m / c1, times r sqrt(c2) / (sqrt(v) + eps) for members that are sure of v."""
    (beta1, beta2), steps = group["betas"], move.state["steps"]
    mean, square = update_moments(move, group["betas"], direction)
    correction1, correction2 = 1.0 - to_the_power(beta1, steps), (1.0 - to_the_power(beta2, steps)) ** 0.5
    length = _length(beta2, steps)
    if not isinstance(length, Tensor) and length <= _SURE:
        torch.mul(mean, spread(-1.0 / correction1, mean), out=direction)
        return
    factor = correction2 * _rectification(beta2, steps)
    torch.sqrt(square, out=direction).add_(spread(group["eps"], square))
    if isinstance(length, Tensor):
        unsure = length <= _SURE
        direction.masked_fill_(per_member_shape(unsure, direction), 1.0)
        factor = torch.where(unsure, 1.0, factor)
    torch.div(mean, direction, out=direction).mul_(spread(-factor / correction1, mean))


def _length(beta2: Value, steps: Value) -> Value:
    """The length of the simple moving average that the second mean is worth by now, rho_t."""
    return _longest(beta2) - 2.0 * steps * to_the_power(beta2, steps) / (1.0 - to_the_power(beta2, steps))


def _longest(beta2: Value) -> Value:
    return 2.0 / (1.0 - beta2) - 1.0


def _rectification(beta2: Value, steps: Value) -> Any:
    """The factor r_t of those that are sure; of others it means nothing."""
    length, longest = _length(beta2, steps), _longest(beta2)
    return ((length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)) ** 0.5
