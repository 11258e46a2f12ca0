"""What Adam and its kin share: the means of the gradient and of its square, and the step that Adam makes of them.

The means are kept without correction; what depends on the step enters as one factor a member.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tenfold.optim.optimizer import Move
from tenfold.optim.options import Group
from tenfold.optim.values import Value, blend_square_, spread, to_the_power

_FUSED_DTYPES = (torch.float32, torch.float64)


def start_moments(batch: Sequence[Move], names: Sequence[str] = ("mean", "square")) -> None:
    """Gives each parameter that has not moved yet zeros for these moments."""
    for parameter, _, state in batch:
        for name in names:
            if name not in state:
                state[name] = torch.zeros_like(parameter)


def update_moments(move: Move, betas: tuple[Value, Value], spare: Tensor) -> tuple[Tensor, Tensor]:
    """Takes the gradient into its mean and the mean of its square, and returns both; `spare` is overwritten."""
    mean, square = move.state["mean"], move.state["square"]
    mean.lerp_(move.gradient, spread(1.0 - betas[0], mean))
    blend_square_(square, move.gradient, betas[1], spare)
    return mean, square


def adam_directions(directions: list[Tensor], batch: Sequence[Move], group: Group) -> None:
    """Adam's updates for a rate of 1, of some parameters of one dtype.

    Args:
        directions: tensors of the parameters' sizes that are overwritten.
        batch: the parameters; their moments move on.
        group: with "betas", "eps" and "amsgrad".
    """
    start_moments(batch, ("mean", "square", "largest") if group["amsgrad"] else ("mean", "square"))
    if can_fuse(batch, group):
        fused_directions(directions, batch, group, eps=group["eps"], amsgrad=group["amsgrad"])
    else:
        for direction, move in zip(directions, batch, strict=True):
            _direction(direction, move, group)


def can_fuse(batch: Sequence[Move], group: Group) -> bool:
    """Whether torch's own kernel gives the directions: it takes numbers, not values a member, for these options."""
    parameter, _, state = batch[0]
    numbers = not any(isinstance(value, Tensor) for value in (*group["betas"], group["eps"], state["steps"]))
    return numbers and parameter.device.type in ("cpu", "cuda") and parameter.dtype in _FUSED_DTYPES


def fused_directions(
    directions: list[Tensor], batch: Sequence[Move], group: Group, *, eps: float, amsgrad: bool
) -> None:
    """Adam's updates by the fused kernel, run on zeros: a third of the time of the passes below."""
    beta1, beta2 = group["betas"]
    torch._foreach_zero_(directions)
    steps = torch.full((), float(batch[0].state["steps"]), device=directions[0].device)
    torch._fused_adamw_(
        directions,
        [move.gradient for move in batch],
        [move.state["mean"] for move in batch],
        [move.state["square"] for move in batch],
        [move.state["largest"] for move in batch] if amsgrad else [],
        [steps] * len(batch),
        amsgrad=amsgrad,
        lr=1.0,
        beta1=beta1,
        beta2=beta2,
        weight_decay=0.0,
        eps=eps,
        maximize=False,
    )


def _direction(direction: Tensor, move: Move, group: Group) -> None:
    """The update: -(m / c1) / (sqrt(v / c2) + eps), with options a member where there are some."""
    (beta1, beta2), steps = group["betas"], move.state["steps"]
    mean, square = update_moments(move, group["betas"], direction)
    if group["amsgrad"]:
        square = torch.maximum(move.state["largest"], square, out=move.state["largest"])
    # m / c1 / (sqrt(v / c2) + eps)  =  (sqrt(c2) / c1) m / (sqrt(v) + eps sqrt(c2)): one pass less
    correction1, correction2 = 1.0 - to_the_power(beta1, steps), (1.0 - to_the_power(beta2, steps)) ** 0.5
    torch.sqrt(square, out=direction).add_(spread(group["eps"] * correction2, square))
    torch.div(mean, direction, out=direction).mul_(spread(-correction2 / correction1, square))
