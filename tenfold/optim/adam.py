"""Stacked Adam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from tenfold.optim.adam_family import FusedAdam


class Adam(FusedAdam):
    """Adam; every number may be a value a member.

    Args:
        params: stacked parameters of one stack, or groups of them.
        lr: learning rate, >= 0.
        betas: how slowly the means of the gradient and of its square forget, each in [0, 1).
        eps: added to the root of the second mean, >= 0.
        weight_decay: L2 penalty, >= 0; the gradient grows by weight_decay times the parameter.
        amsgrad: whether the largest second mean so far takes the place of the present one.
        l1: L1 penalty, >= 0; the gradient grows by l1 times the parameter's sign.
        maximize: whether to climb.
        decoupled_weight_decay: whether the parameter shrinks by lr * weight_decay a step instead, as in `AdamW`.

    Raises:
        ValueError: a value out of its range.

    Example:
        >>> import tenfold, torch
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(3)])
        >>> optimizer = Adam(stack.parameters(), lr=torch.logspace(-4, -2, 3), betas=([0.9, 0.9, 0.5], 0.99))
        >>> loss_M = stack.each(lambda model, x: model(x).square().mean(), torch.ones(8, 4))
        >>> optimizer.zero_grad(); stack.backward(loss_M); optimizer.step()

    References:
        Kingma, Ba: Adam: a method for stochastic optimization, ICLR 2015, algorithm 1; Reddi, Kale, Kumar: On the
        convergence of Adam and beyond, ICLR 2018, algorithm 2 (AMSGrad; as in torch.optim, with the correction of
        Adam's algorithm).
    """

    _below_one = ("betas",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor | list[float] = 1e-3,
        betas: tuple[float | Tensor | list[float], float | Tensor | list[float]] = (0.9, 0.999),
        eps: float | Tensor | list[float] = 1e-8,
        weight_decay: float | Tensor | list[float] = 0.0,
        amsgrad: bool = False,
        *,
        l1: float | Tensor | list[float] = 0.0,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        numbers = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "l1": l1}
        flags = {"amsgrad": amsgrad, "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, numbers, flags)
