"""Stacked averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from tenfold.optim.optimizer import Move, StackedOptimizer
from tenfold.optim.options import Group
from tenfold.optim.values import Value, add_scaled, as_scalar_state, at_least, spread


class ASGD(StackedOptimizer):
    """Gradient descent with a falling rate, and an average of the parameters beside; every number a value a member.

    The average is the state "average" of each parameter, as in torch.optim the state "ax"; the model keeps the
    parameters themselves. Weights averaged by a rule of their own are the matter of `tenfold.optim`'s averages.

    Args:
        params: stacked parameters of one stack, or groups of them.
        lr: learning rate, >= 0.
        lambd: decay; a parameter shrinks by lambd times the present rate a step, and the rate falls with it; >= 0.
        alpha: the rate falls as (1 + lambd * lr * t) ** -alpha; >= 0.
        t0: the step from which on averages are taken, >= 0; before, the average is the parameter.
        weight_decay: L2 penalty, >= 0; the gradient grows by weight_decay times the parameter.
        l1: L1 penalty, >= 0; the gradient grows by l1 times the parameter's sign.
        maximize: whether to climb.

    Raises:
        ValueError: a value out of its range.

    Example:
        >>> import tenfold, torch
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(3)])
        >>> optimizer = ASGD(stack.parameters(), lr=[0.1, 0.01, 0.001], t0=0)
        >>> loss_M = stack.each(lambda model, x: model(x).square().mean(), torch.ones(8, 4))
        >>> optimizer.zero_grad(); stack.backward(loss_M); optimizer.step()
        >>> optimizer.state_dict()["state"][0]["average"].shape
        torch.Size([3, 1, 4])

    References:
        Polyak, Juditsky: Acceleration of stochastic approximation by averaging, SIAM J. Control Optim. 30, 1992;
        Bottou: Stochastic gradient descent tricks, 2012, sections 5.2 and 5.3. The update is torch.optim.ASGD's, the
        rounding of its rate included.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor | list[float] = 1e-2,
        lambd: float | Tensor | list[float] = 1e-4,
        alpha: float | Tensor | list[float] = 0.75,
        t0: float | Tensor | list[float] = 1e6,
        weight_decay: float | Tensor | list[float] = 0.0,
        *,
        l1: float | Tensor | list[float] = 0.0,
        maximize: bool = False,
    ) -> None:
        numbers = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "l1": l1}
        super().__init__(params, numbers, {"maximize": maximize})

    def first_state(self, name: str, group: Group) -> Value:
        """The first rate is lr."""
        return as_scalar_state(group["lr"]) if name == "rate" else 0.0

    def _update(self, batch: Sequence[Move], group: Group) -> None:
        for move in batch:
            _descend(move, group)
            _average(move, group)


def _descend(move: Move, group: Group) -> None:
    """The step by the rate that the last one left; then the rate of the next."""
    parameter, gradient, state = move
    lr, lambd = group["lr"], group["lambd"]
    rate = state.get("rate", as_scalar_state(lr))
    parameter.mul_(spread(1.0 - lambd * rate, parameter))
    add_scaled(parameter, gradient, -rate, out=parameter)
    state["rate"] = as_scalar_state(lr / (1.0 + lambd * lr * state["steps"]) ** group["alpha"])


def _average(move: Move, group: Group) -> None:
    """Average += (parameter - average) / max(1, t - t0), where t counts the steps before this one."""
    parameter, _, state = move
    weight = as_scalar_state(1.0 / at_least(state["steps"] - 1 - group["t0"], 1.0))
    if "average" not in state or (not isinstance(weight, Tensor) and weight == 1.0):
        state["average"] = state["average"].copy_(parameter) if "average" in state else parameter.clone()
    else:
        state["average"].lerp_(parameter, spread(weight, parameter))
