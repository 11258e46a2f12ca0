"""Structure: what models must share to stand in one stack, and the first difference when they do not.

Two models have one structure when a single forward program serves both: the same module tree, the same shapes
and dtypes of parameters and buffers, and the same value of every attribute that forward can see (a LeakyReLU
slope, a training flag, a plain tensor). A difference that went unnoticed would give every member the first
one's behaviour, so everything here errs on the side of refusing.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from tenfold.core.errors import StackError

Fingerprint = tuple[tuple[str, Any], ...]

_TORCH_INTERNALS = frozenset(vars(nn.Module()))
_MAX_DEPTH = 6


def structure_of(model: nn.Module) -> Fingerprint:
    """A hashable description of a model's structure: equal exactly when models can stand in one stack.

    Args:
        model: any module.

    Returns:
        Pairs of a place ("1.negative_slope") and what is found there.

    Raises:
        StackError: a layer or parameter is hidden in a Python list or dict, where PyTorch itself does not see it.

    Example:
        >>> structure_of(nn.LeakyReLU(0.1)) == structure_of(nn.LeakyReLU(0.2))
        False
    """
    entries: list[tuple[str, Any]] = []
    for name, module in model.named_modules(remove_duplicate=False):
        place = name or "(the model itself)"
        entries.append((place, f"{type(module).__module__}.{type(module).__qualname__}"))
        entries.append((f"{place}.training", module.training))
        for attribute in sorted(set(vars(module)) - _TORCH_INTERNALS):
            where = f"{name}.{attribute}" if name else attribute
            entries.append((where, _fingerprint(vars(module)[attribute], where, _MAX_DEPTH)))
    entries.extend(_tensor_entries(model))
    return tuple(entries)


def _tensor_entries(model: nn.Module) -> list[tuple[str, Any]]:
    first_name: dict[int, str] = {}
    entries: list[tuple[str, Any]] = []
    for kind, tensors in (
        ("parameter", model.named_parameters(remove_duplicate=False)),
        ("buffer", model.named_buffers(remove_duplicate=False)),
    ):
        for name, tensor in tensors:
            shared_with = first_name.setdefault(id(tensor), name)
            entries.append(
                (
                    f"{kind} {name}",
                    (
                        tuple(tensor.shape),
                        str(tensor.dtype),
                        str(tensor.device),
                        tensor.requires_grad,
                        shared_with,
                    ),
                )
            )
    return entries


def _fingerprint(value: Any, where: str, depth: int) -> Any:
    """What two attribute values must have in common to count as equal."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return (type(value).__name__, repr(value))
    if isinstance(value, nn.Module | nn.Parameter):
        raise StackError(
            f"stack: {where} holds a {type(value).__name__} that PyTorch does not see, because it hides in a plain "
            "list, tuple, dict or object; every member would run the first one's. "
            "Keep layers in nn.ModuleList, nn.ModuleDict or nn.ParameterList."
        )
    if isinstance(value, torch.Tensor):
        return ("tensor", str(value.dtype), tuple(value.shape), value.detach().cpu().numpy().tobytes())
    if isinstance(value, np.ndarray):
        return ("array", str(value.dtype), value.shape, value.tobytes())
    if depth == 0:
        return type(value).__qualname__
    return _fingerprint_compound(value, where, depth - 1)


def _fingerprint_compound(value: Any, where: str, depth: int) -> Any:
    if isinstance(value, dict):
        pairs = ((repr(key), _fingerprint(item, f"{where}[{key!r}]", depth)) for key, item in value.items())
        return (type(value).__name__, tuple(pairs))
    if isinstance(value, list | tuple):
        items = enumerate(value)
        return (type(value).__name__, tuple(_fingerprint(item, f"{where}[{i}]", depth) for i, item in items))
    if isinstance(value, set | frozenset):
        return (type(value).__name__, tuple(sorted(map(repr, value))))
    if isinstance(value, functools.partial):
        return ("partial", _fingerprint([value.func, value.args, value.keywords], where, depth))
    if isinstance(value, types.MethodType):
        return ("method", value.__func__.__qualname__)
    if isinstance(value, types.FunctionType):
        closure = [cell.cell_contents for cell in value.__closure__ or ()]
        return (
            "function",
            value.__code__.co_code,
            repr(value.__code__.co_consts),
            _fingerprint(closure, where, depth),
        )
    if hasattr(value, "__dict__") and not isinstance(value, type | types.ModuleType):
        return (type(value).__qualname__, _fingerprint(vars(value), where, depth))
    return (type(value).__qualname__, repr(value) if type(value).__repr__ is not object.__repr__ else "")


def first_difference(first: nn.Module, other: nn.Module) -> str | None:
    """Names the first thing in which two models differ in structure, or None when they do not differ.

    Example:
        >>> first_difference(nn.LeakyReLU(0.1), nn.LeakyReLU(0.2))
        'negative_slope is 0.1 in one and 0.2 in the other'
    """
    one, two = structure_of(first), structure_of(other)
    for (place_one, value_one), (place_two, value_two) in zip(one, two, strict=False):
        if place_one != place_two:
            return f"one has {place_one} where the other has {place_two}"
        if value_one != value_two:
            return f"{place_one} is {_show(value_one)} in one and {_show(value_two)} in the other"
    if len(one) != len(two):
        longer = one if len(one) > len(two) else two
        return f"only one of them has {longer[min(len(one), len(two))][0]}"
    return None


def _show(value: Any) -> str:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str):
        return value[1]
    if isinstance(value, tuple) and len(value) == 5:
        return f"{value[0]} {value[1]} on {value[2]}{'' if value[3] else ' (frozen)'}"
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def group_by_structure(models: Sequence[nn.Module] | Iterable[nn.Module]) -> list[list[int]]:
    """Cuts models into groups of one structure, in order of first appearance.

    Returns:
        Lists of positions; together they hold every position once.

    Example:
        >>> group_by_structure([nn.Linear(2, 3), nn.Linear(2, 4), nn.Linear(2, 3)])
        [[0, 2], [1]]
    """
    groups: dict[Fingerprint, list[int]] = {}
    for position, model in enumerate(models):
        groups.setdefault(structure_of(model), []).append(position)
    return list(groups.values())
