"""What Adam and its kin share: the means of the gradient and of its square, and the step that Adam makes of them.

The means are kept without correction; what depends on the step enters as one factor a member.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.optim.optimizer import Move, StackedOptimizer
from tenfold.optim.options import Group
from tenfold.optim.values import Value, blend_square_, is_zero, spread, to_the_power
from tenfold.stacking import kernels

_WORTH_A_CALL = 1 << 16  # numbers: what a call of torch's kernel takes for itself, it saves on half as many
_FUSED_DTYPES = (torch.float32, torch.float64)


class FusedAdam(StackedOptimizer):
    """What `Adam` and `AdamW` have in common: one pass of a kernel moves them, where there is one."""

    def _numbers_at_once(self, moves: Sequence[Move], group: Group) -> int:
        if self._is_traced or not is_worth_fusing(moves, group, self._decouples(group)):
            return super()._numbers_at_once(moves, group)
        return sum(move.parameter.numel() for move in moves)

    def _update(self, batch: Sequence[Move], group: Group) -> None:
        if not self._is_traced and fused_step(batch, group, self._decouples(group)):
            return
        parameters = [move.parameter for move in batch]
        directions = self._scratch(parameters, "directions")
        adam_directions(directions, batch, group)
        self._advance(parameters, directions, group["lr"], group)


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


def is_worth_fusing(moves: Sequence[Move], group: Group, decoupled: bool) -> bool:
    """Whether `fused_step` may move all these parameters, of any age, at once.

    Not where there is no kernel of ours and torch's would have to be called too often; and not where penalties are
    added to the gradients first, a few at a time.
    """
    if group["maximize"] or not is_zero(group["l1"]) or not (decoupled or is_zero(group["weight_decay"])):
        return False
    return _has_kernel(moves, group) or bool(_worthy_runs(moves, group, decoupled))


def fused_step(batch: Sequence[Move], group: Group, decoupled: bool) -> bool:
    """Moves the parameters in one pass: by a kernel of ours, or by torch's where neighbours have the same values.

    Of values a member `fused_directions` takes three passes more.

    Args:
        batch: the parameters, of one dtype and age; their moments move on.
        group: with "lr", "weight_decay", "betas", "eps" and "amsgrad".
        decoupled: whether decay is; if not, it is in the gradients already.

    Returns:
        Whether they have moved: not on other devices, where a rate would have to be waited for, and not where members
        differ so much that torch's kernel would be called too often.
    """
    if _has_kernel(batch, group):
        start_moments(batch)
        parts = [batch] if isinstance(batch[0].state["steps"], int) else [[move] for move in batch]
        for part in parts:
            kernels.adam_step(
                [move.parameter for move in part],
                [move.gradient for move in part],
                [move.state["mean"] for move in part],
                [move.state["square"] for move in part],
                lr=group["lr"],
                weight_decay=group["weight_decay"] if decoupled else 0.0,
                betas=group["betas"],
                eps=group["eps"],
                steps=part[0].state["steps"],
            )
        return True
    runs = _worthy_runs(batch, group, decoupled)
    if not runs:
        return False
    start_moments(batch, ("mean", "square", "largest") if group["amsgrad"] else ("mean", "square"))
    if not can_fuse(batch, group):
        return False
    parameters = [move.parameter for move in batch]
    for place, lr, weight_decay in runs:
        own = batch if len(runs) == 1 else [_part(move, place) for move in batch]
        tensors = parameters if len(runs) == 1 else [move.parameter for move in own]
        _run_fused(tensors, own, group, group["eps"], group["amsgrad"], lr, weight_decay)
    return True


def _has_kernel(moves: Sequence[Move], group: Group) -> bool:
    """Whether a kernel of ours moves these, of one dtype, whatever values their members have.

    Not a few numbers, for which it would have to be built.
    """
    if group["amsgrad"] or sum(move.parameter.numel() for move in moves) < _WORTH_A_CALL:
        return False
    return kernels.are_there(moves[0].parameter)


def _worthy_runs(moves: Sequence[Move], group: Group, decoupled: bool) -> list[tuple[Any, ...]]:
    """As `_runs`; empty if there are too many for so few numbers."""
    if not moves:
        return []
    runs = _runs(len(moves[0].parameter), group["lr"], group["weight_decay"] if decoupled else 0.0)
    numbers = sum(move.parameter.numel() for move in moves)
    return [] if len(runs) > 1 and numbers < len(runs) * _WORTH_A_CALL else runs


def _runs(members: int, *options: Value) -> list[tuple[Any, ...]]:
    """Neighbours that have the same options: their places, and the options; empty where these are not at hand."""
    if any(isinstance(value, Tensor) and value.device.type != "cpu" for value in options):
        return []
    columns = [value.tolist() if isinstance(value, Tensor) else [value] * members for value in options]
    rows = list(zip(*columns, strict=True))
    starts = [place for place in range(members) if place == 0 or rows[place] != rows[place - 1]]
    ends = [*starts[1:], members]
    return [(slice(start, end), *rows[start]) for start, end in zip(starts, ends, strict=True)]


def _part(move: Move, place: slice) -> Move:
    state = {name: value[place] if isinstance(value, Tensor) else value for name, value in move.state.items()}
    return Move(move.parameter[place], move.gradient[place], state)


def can_fuse(batch: Sequence[Move], group: Group) -> bool:
    """Whether torch's own kernel gives the directions: it takes numbers, not values a member, for these options."""
    parameter, _, state = batch[0]
    numbers = not any(isinstance(value, Tensor) for value in (*group["betas"], group["eps"], state["steps"]))
    return numbers and parameter.device.type in ("cpu", "cuda") and parameter.dtype in _FUSED_DTYPES


def fused_directions(
    directions: list[Tensor], batch: Sequence[Move], group: Group, *, eps: float, amsgrad: bool
) -> None:
    """Adam's updates by the fused kernel, run on zeros: a third of the time of the passes below."""
    torch._foreach_zero_(directions)
    _run_fused(directions, batch, group, eps, amsgrad, 1.0, 0.0)


def _run_fused(
    tensors: list[Tensor],
    batch: Sequence[Move],
    group: Group,
    eps: float,
    amsgrad: bool,
    lr: float,
    weight_decay: float,
) -> None:
    beta1, beta2 = group["betas"]
    steps = torch.full((), float(batch[0].state["steps"]), device=tensors[0].device)
    torch._fused_adamw_(
        tensors,
        [move.gradient for move in batch],
        [move.state["mean"] for move in batch],
        [move.state["square"] for move in batch],
        [move.state["largest"] for move in batch] if amsgrad else [],
        [steps] * len(batch),
        amsgrad=amsgrad,
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        weight_decay=weight_decay,
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
