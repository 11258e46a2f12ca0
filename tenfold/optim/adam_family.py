"""What Adam and its kin share: the means of the gradient and of its square, and the step that Adam makes of them.

The means are kept without correction; what depends on the step enters as one factor a member.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tenfold.optim.optimizer import Move, StackedOptimizer, batches_of
from tenfold.optim.options import Group
from tenfold.optim.values import Value, blend_square_, spread, to_the_power
from tenfold.stacking import kernels

_WORTH_A_CALL = 1 << 16  # numbers: what a call of torch's kernel takes for itself, it saves on half as many
_FUSED_DTYPES = (torch.float32, torch.float64)

Run = tuple[slice, float, float]
"""Neighbours among the members, their learning rate and their decay."""


class FusedAdam(StackedOptimizer):
    """What `Adam` and `AdamW` have in common: one pass of a kernel moves them, where there is one."""

    def move(self, moves: Sequence[Move], group: Group) -> None:
        """Moves as many at once as a kernel may; those that it may not as others do."""
        if self._is_traced:
            super().move(moves, group)
            return
        decoupled = self._decouples(group)
        numbers = sum(move.parameter.numel() for move in moves)
        by_kernel = numbers >= _WORTH_A_CALL and has_kernel(moves, group)
        runs = [] if by_kernel else runs_of(len(self.stack), group, decoupled)
        whole = not self._penalises(group) and (by_kernel or are_worth_calls(runs, numbers))
        for batch in batches_of(moves, numbers) if whole else batches_of(moves):
            penalised = self._penalise(batch, group)
            if by_kernel:
                step_by_kernel(penalised, group, group["weight_decay"] if decoupled else 0.0)
            elif not fused_step(penalised, group, runs):
                self._update(penalised, group)

    def _update(self, batch: Sequence[Move], group: Group) -> None:
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


def has_kernel(moves: Sequence[Move], group: Group) -> bool:
    """Whether a kernel of ours moves these, whatever values their members have; a few numbers are not worth it."""
    return not group["amsgrad"] and kernels.are_there(*(move.parameter for move in moves))


def step_by_kernel(batch: Sequence[Move], group: Group, weight_decay: Value) -> None:
    """Moves the parameters by a kernel of ours: in one call, or one for each where they may be of several ages.

    Args:
        batch: the parameters, of one dtype and age, with penalties in their gradients; their moments move on.
        group: with "lr", "betas" and "eps".
        weight_decay: 0 where decay is not decoupled, and in the gradients already.
    """
    start_moments(batch)
    for part in [batch] if isinstance(batch[0].state["steps"], int) else [[move] for move in batch]:
        parameters, gradients, states = zip(*part, strict=True)
        kernels.adam_step(
            parameters,
            gradients,
            [state["mean"] for state in states],
            [state["square"] for state in states],
            lr=group["lr"],
            weight_decay=weight_decay,
            betas=group["betas"],
            eps=group["eps"],
            steps=states[0]["steps"],
        )


def fused_step(batch: Sequence[Move], group: Group, runs: Sequence[Run]) -> bool:
    """Moves the parameters by torch's kernel, if that is worth it: in one pass for each run of neighbours.

    Of values a member `fused_directions` takes three passes more.

    Args:
        batch: the parameters, of one dtype and age, with penalties in their gradients; their moments move on.
        group: with "lr", "weight_decay", "betas", "eps" and "amsgrad".
        runs: of the members.

    Returns:
        Whether they have moved.
    """
    if not (are_worth_calls(runs, sum(move.parameter.numel() for move in batch)) and can_fuse(batch, group)):
        return False
    start_moments(batch, ("mean", "square", "largest") if group["amsgrad"] else ("mean", "square"))
    for place, lr, weight_decay in runs:
        own = batch if len(runs) == 1 else [_part(move, place) for move in batch]
        _run_fused([move.parameter for move in own], own, group, group["eps"], group["amsgrad"], lr, weight_decay)
    return True


def runs_of(members: int, group: Group, decoupled: bool) -> list[Run]:
    """Neighbours that have the same rate and decay: their places, and these.

    Args:
        members: M.
        group: with "lr" and "weight_decay".
        decoupled: whether decay is; if not, it is in the gradients already.

    Returns:
        The runs; none on other devices, where a rate would have to be waited for.
    """
    options = [group["lr"], group["weight_decay"] if decoupled else 0.0]
    if any(isinstance(value, Tensor) and value.device.type != "cpu" for value in options):
        return []
    columns = [value.tolist() if isinstance(value, Tensor) else [value] * members for value in options]
    rows = list(zip(*columns, strict=True))
    starts = [place for place in range(members) if place == 0 or rows[place] != rows[place - 1]]
    ends = [*starts[1:], members]
    return [(slice(start, end), *rows[start]) for start, end in zip(starts, ends, strict=True)]


def are_worth_calls(runs: Sequence[Run], numbers: int) -> bool:
    """Whether the kernel may be called once a run: members may differ so much that it would be called too often."""
    return bool(runs) and (len(runs) == 1 or numbers >= len(runs) * _WORTH_A_CALL)


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
