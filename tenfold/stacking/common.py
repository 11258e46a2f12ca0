"""What members have in common: whether a Python value is the same for all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._C import _functorch
from torch.utils import _pytree as pytree

MISSING = object()
"""Stands for a value that is not there."""


def _parts(value: Any) -> Iterable[Any]:
    """What a value consists of."""
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, list | tuple | set | frozenset | deque):
        return value
    if isinstance(value, nn.Module | type | FunctionType | ModuleType):
        return ()
    return vars(value).values() if hasattr(value, "__dict__") else ()


def _tensors_in(value: Any) -> Iterator[Tensor]:
    seen: set[int] = set()
    ahead = [value]
    while ahead:
        part = ahead.pop()
        if isinstance(part, Tensor):
            yield part
        elif id(part) not in seen:
            seen.add(id(part))
            ahead.extend(_parts(part))


def shared(value: Any) -> Any:
    """What a call has left behind, if it is the same for all members: without the member axis; else MISSING.

    A tensor with a graph is never: it would keep the graph alive.
    """
    found = list(_tensors_in(value))
    if any(tensor.requires_grad for tensor in found):
        return MISSING
    if not any(_functorch.is_functorch_wrapped_tensor(tensor) for tensor in found):
        return value
    leaves, tree = pytree.tree_flatten(value)
    leaves = [_of_all(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    if any(leaf is MISSING or any(map(_functorch.is_functorch_wrapped_tensor, _tensors_in(leaf))) for leaf in leaves):
        return MISSING
    return pytree.tree_unflatten(leaves, tree)


def _of_all(tensor: Tensor) -> Any:
    """What a tensor inside vmap is for every member, if it is one thing for all."""
    if not _functorch.is_functorch_wrapped_tensor(tensor):
        return tensor
    stacked = _functorch.get_unwrapped(tensor) if _functorch.is_batchedtensor(tensor) else tensor
    if _functorch.is_functorch_wrapped_tensor(stacked) or stacked.requires_grad:
        return MISSING
    first, *others = stacked.unbind(_functorch.maybe_get_bdim(tensor))
    return first.clone() if all(torch.equal(first, other) for other in others) else MISSING


def alike(one: Any, two: Any) -> bool:
    """Whether two members have left the same; tensors with a graph are never."""
    if one is two:
        return True
    if type(one) is not type(two):
        return False
    if isinstance(one, Tensor):
        same_kind = (one.shape, one.dtype, one.device) == (two.shape, two.dtype, two.device)
        return same_kind and not (one.requires_grad or two.requires_grad) and torch.equal(one, two)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, two)
    if isinstance(one, list | tuple | deque):
        return len(one) == len(two) and all(map(alike, one, two))
    if isinstance(one, Mapping):
        return list(one) == list(two) and all(map(alike, one.values(), two.values()))
    if type(one).__eq__ is object.__eq__ and hasattr(one, "__dict__"):
        return alike(vars(one), vars(two))
    try:
        return bool(one == two)
    except Exception:  # what cannot be compared counts as different
        return False
