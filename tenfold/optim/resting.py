"""Members that sit a step out while the others take it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tenfold.optim.optimizer import StackedOptimizer, State
from tenfold.optim.unreached import own_state, put_state_back
from tenfold.stacking import Stack


@contextmanager
def resting(stack: Stack, optimizers: Sequence[StackedOptimizer], places: Any) -> Iterator[None]:
    """Members at these places come out of the block as they went in, bit for bit.

    What is put back are their parameters, their buffers and their part of the optimisers' state, the count of their
    steps included: an optimiser corrects its bias by each member's own count from then on. This costs a copy of the
    resting members before the block and one after it, and nothing when nobody rests.

    Args:
        stack: the members.
        optimizers: those that step in the block.
        places: of the members that rest, distinct and in [0, M), int64, shape (K,); a list will do, an empty one too.

    Raises:
        ValueError: a place is out of range or there twice.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(1, 1, bias=False) for _ in range(2)])
        >>> optimizer = tenfold.optim.SGD(stack.parameters(), lr=1.0)
        >>> before = stack.parameters()[0].detach().clone()
        >>> stack.backward(stack.each(lambda model: model.weight.sum()))
        >>> with resting(stack, [optimizer], [1]):
        ...     optimizer.step()
        >>> (before - stack.parameters()[0]).flatten().round(decimals=3).tolist()
        [1.0, 0.0]
    """
    indices = torch.as_tensor(places, dtype=torch.int64, device=stack.device)
    listed = indices.tolist()
    if indices.dim() != 1 or len(set(listed)) < len(listed) or not set(listed) <= set(range(len(stack))):
        raise ValueError(f"resting: places must be distinct and in [0, {len(stack)}), got {places!r}.")
    if not listed:
        yield
        return
    tensors = _own_tensors(stack, indices)
    states = [_own_states(optimizer, indices) for optimizer in optimizers]
    try:
        yield
    finally:
        _put_tensors_back(stack, tensors, indices)
        for optimizer, before in zip(optimizers, states, strict=True):
            _put_states_back(optimizer, before, indices)


def _own_tensors(stack: Stack, indices: Tensor) -> dict[str, Tensor]:
    named = (*stack.named_parameters(), *stack.named_buffers())
    return {name: tensor.detach().index_select(0, indices) for name, tensor in named}


@torch.no_grad()
def _put_tensors_back(stack: Stack, tensors: dict[str, Tensor], indices: Tensor) -> None:
    for name, tensor in (*stack.named_parameters(), *stack.named_buffers()):
        tensor.index_copy_(0, indices, tensors[name])


def _own_states(optimizer: StackedOptimizer, indices: Tensor) -> dict[Tensor, State]:
    return {parameter: own_state(state, indices) for parameter, state in optimizer.state.items()}


def _put_states_back(optimizer: StackedOptimizer, before: dict[Tensor, State], indices: Tensor) -> None:
    for group in optimizer.param_groups:
        first_state = functools.partial(optimizer.first_state, group=group)
        for parameter in group["params"]:
            if parameter not in optimizer.state:
                continue
            if parameter not in before and len(indices) == len(parameter):
                del optimizer.state[parameter]  # its first step, and nobody took it
                continue
            old = before.get(parameter, {})
            put_state_back(optimizer.state[parameter], old, indices, len(parameter), first_state)
