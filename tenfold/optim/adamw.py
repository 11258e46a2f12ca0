"""Stacked AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.optim.optimizer import Group, Move, StackedOptimizer, State, spread
from tenfold.stacking.layout import per_member_shape

_FUSED_DTYPES = (torch.float32, torch.float64)
_BATCH_NUMBERS = 1 << 18  # 1 MB of float32: parameters up to this size together share their kernel calls


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

    def _update(self, moves: Sequence[Move], group: Group) -> None:
        lr, keep = group["lr"], 1.0 - group["lr"] * group["weight_decay"]
        for batch in _batches(moves):
            for parameter, _, state in batch:
                if "mean" not in state:
                    state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            parameters = [move.parameter for move in batch]
            directions = self._scratch(parameters)
            if _can_fuse(parameters[0], group):
                _fused_directions(directions, batch, group)
            else:
                for direction, move in zip(directions, batch, strict=True):
                    _direction(direction, move.gradient, move.state, group)
            torch._foreach_mul_(parameters, _for_each(keep, parameters))
            if isinstance(lr, Tensor):
                torch._foreach_addcmul_(parameters, directions, _for_each(lr, parameters))
            else:  # a number goes as it is: a float32 tensor of it would be off by 1e-8
                torch._foreach_add_(parameters, directions, alpha=lr)


def _for_each(value: Any, parameters: Sequence[Tensor]) -> Any:
    """A number as it is; values a member in the parameters' dtype, shaped to broadcast against each of them."""
    if not isinstance(value, Tensor):
        return value
    value_M = value.to(parameters[0].dtype)
    return [per_member_shape(value_M, parameter) for parameter in parameters]


def _batches(moves: Sequence[Move]) -> Iterator[list[Move]]:
    """Neighbours of one dtype and age, up to a size: small ones share their calls, large ones stay in the cache."""
    batch: list[Move] = []
    kind, numbers = None, 0
    for move in moves:
        own_kind, own_numbers = (move.parameter.dtype, move.state["steps"]), move.parameter.numel()
        if batch and (own_kind != kind or numbers + own_numbers > _BATCH_NUMBERS):
            yield batch
            batch, numbers = [], 0
        batch.append(move)
        kind, numbers = own_kind, numbers + own_numbers
    if batch:
        yield batch


def _can_fuse(parameter: Tensor, group: Group) -> bool:
    """Whether torch's own kernel gives the direction: it takes numbers, not values a member, for these options."""
    numbers = not any(isinstance(value, Tensor) for value in (*group["betas"], group["eps"]))
    return numbers and parameter.device.type in ("cpu", "cuda") and parameter.dtype in _FUSED_DTYPES


def _fused_directions(directions: list[Tensor], batch: Sequence[Move], group: Group) -> None:
    """The updates for a rate of 1 by the fused kernel, run on zeros; a third quicker than the passes below."""
    beta1, beta2 = group["betas"]
    torch._foreach_zero_(directions)
    steps = torch.full((), float(batch[0].state["steps"]), device=directions[0].device)
    torch._fused_adamw_(
        directions,
        [move.gradient for move in batch],
        [move.state["mean"] for move in batch],
        [move.state["square"] for move in batch],
        [],
        [steps] * len(batch),
        amsgrad=False,
        lr=1.0,
        beta1=beta1,
        beta2=beta2,
        weight_decay=0.0,
        eps=group["eps"],
        maximize=False,
    )


def _direction(direction: Tensor, gradient: Tensor, state: State, group: Group) -> None:
    """The update for a rate of 1: -(m / c1) / (sqrt(v / c2) + eps), with options a member where there are some."""
    mean, square = state["mean"], state["square"]
    beta1, beta2 = group["betas"]
    _blend(mean, gradient, 1.0 - beta1)
    square.mul_(spread(beta2, square))
    _add_square(square, gradient, 1.0 - beta2)
    # m / c1 / (sqrt(v / c2) + eps)  =  (sqrt(c2) / c1) m / (sqrt(v) + eps sqrt(c2)): one pass less
    correction1, correction2 = 1.0 - beta1 ** state["steps"], (1.0 - beta2 ** state["steps"]) ** 0.5
    torch.sqrt(square, out=direction).add_(spread(group["eps"] * correction2, square))
    torch.div(mean, direction, out=direction).mul_(spread(-correction2 / correction1, square))


def _blend(mean: Tensor, gradient: Tensor, weight: Any) -> None:
    mean.lerp_(gradient, spread(weight, mean))


def _add_square(square: Tensor, gradient: Tensor, weight: Any) -> None:
    if isinstance(weight, Tensor):
        square.add_(gradient.square().mul_(spread(weight, square)))
    else:
        square.addcmul_(gradient, gradient, value=weight)
