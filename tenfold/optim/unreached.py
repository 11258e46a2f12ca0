"""Members that let a single parameter rest: those that its gradient has not reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.optim.values import Value
from tenfold.stacking.layout import per_member_shape
from tenfold.stacking.reached import REACHED, reached_members

Resting = dict[Tensor, "tuple[Tensor, Tensor, dict[str, Any]]"]
"""For each parameter that some members let rest: these members, their part of it, and their part of its state."""


def resting_parts(moving: Sequence[Tensor], states: Mapping[Tensor, dict[str, Any]]) -> Resting:
    """What members without a gradient for a parameter have of it, before it moves.

    They keep it: `torch.optim` does nothing where `.grad` is None, no decay, no momentum, no count of a step.

    Args:
        moving: the parameters that are to move.
        states: the optimiser's, by parameter.
    """
    parts: Resting = {}
    for parameter in moving:
        if not hasattr(parameter.grad, REACHED):
            continue
        indices = (~reached_members(parameter)).nonzero().squeeze(1)
        if len(indices) > 0:
            own = parameter.detach().index_select(0, indices)
            parts[parameter] = (indices, own, own_state(states.get(parameter, {}), indices))
    return parts


def put_parts_back(
    parts: Resting, states: Mapping[Tensor, dict[str, Any]], first_state: Callable[[str], Value]
) -> None:
    """Puts back what `resting_parts` gave, after the others have moved.

    Args:
        parts: of parameters of one group.
        states: the optimiser's, by parameter.
        first_state: what a part of a state is before its first step.
    """
    for parameter, (indices, own, state) in parts.items():
        parameter.detach().index_copy_(0, indices, own)
        put_state_back(states[parameter], state, indices, len(parameter), first_state)


def own_state(state: Mapping[str, Any], indices: Tensor) -> dict[str, Any]:
    """Some members' part of each tensor of a parameter's state, and the numbers that all members share."""
    return {
        name: value.index_select(0, indices) if isinstance(value, Tensor) else value for name, value in state.items()
    }


def put_state_back(
    state: dict[str, Any],
    old: Mapping[str, Any],
    indices: Tensor,
    num_members: int,
    first_state: Callable[[str], Value],
) -> None:
    """Puts back what `own_state` gave; what was not there then becomes what it is before a first step."""
    for name, value in state.items():
        start = old[name] if name in old else _start(first_state(name), value, indices)
        state[name] = _mixed(value, start, indices, num_members)


def _start(value: Value, like: Any, indices: Tensor) -> Any:
    """A first state, ready to be put into a tensor at the places of those who rest."""
    return per_member_shape(value.index_select(0, indices), like) if isinstance(value, Tensor) else value


def _mixed(value: Any, old: Any, indices: Tensor, num_members: int) -> Any:
    """The new state, with the old one at the places of those who rest; numbers that differ then become tensors."""
    if not isinstance(value, Tensor):
        if value == old or len(indices) == num_members:
            return old
        value = torch.full((num_members,), float(value), dtype=torch.float64, device=indices.device)
    part = torch.empty_like(value[: len(indices)])
    return value.index_copy_(0, indices, part.copy_(old) if isinstance(old, Tensor) else part.fill_(old))
