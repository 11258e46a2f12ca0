"""Structure: what models must share to stand in one stack, and the first difference when they do not.

Two models have one structure when a single forward program serves both: the same module tree, the same shapes
and dtypes of parameters and buffers, and the same value of every attribute that forward can see (a kernel size, a
training flag, a plain tensor). Left out are numbers that a rule takes a member, such as the `p` of a dropout:
`values.py` lists them. A difference that went unnoticed would give every member the first one's behaviour, so
everything here errs on the side of refusing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from tenfold.core.errors import StackError
from tenfold.stacking.fingerprint import Fingerprints
from tenfold.stacking.values import member_attributes

Fingerprint = tuple[tuple[str, Any], ...]

_TORCH_INTERNALS = frozenset(vars(nn.Module()))
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_RECOMPUTING: dict[type, str] = {
    WeightNorm: "Use torch.nn.utils.parametrizations.weight_norm.",
    SpectralNorm: "Use torch.nn.utils.parametrizations.spectral_norm.",
    BasePruningMethod: "Make it permanent with torch.nn.utils.prune.remove, or write the mask as a parametrization "
    "(torch.nn.utils.parametrize).",
}
_A_MEMBER = ("number", "a number")  # which one is a value a member
_RNN_CACHE = ("_flat_weights", "_flat_weight_refs")


def structure_of(model: nn.Module) -> Fingerprint:
    """A hashable description of a model's structure: equal exactly when models can stand in one stack.

    Args:
        model: any module.

    Returns:
        Pairs of a place ("1.negative_slope") and what is found there.

    Raises:
        StackError: a layer or parameter is hidden in a Python list or dict, where PyTorch itself does not see it;
            a parameter has a gradient hook; a lazy layer has not seen a batch yet; a part is scripted or pruned, or
            has the old weight norm or spectral norm.

    Example:
        >>> structure_of(nn.Hardtanh(max_val=1.0)) == structure_of(nn.Hardtanh(max_val=2.0))
        False
        >>> structure_of(nn.Dropout(0.1)) == structure_of(nn.Dropout(0.2))
        True
    """
    entries: list[tuple[str, Any]] = []
    fingerprints = Fingerprints(model)
    for name, module in model.named_modules(remove_duplicate=False):
        place = name or "(the model itself)"
        _check_module(place, module)
        entries.append((place, fingerprints.of_class(type_before_parametrizations(module), place)))
        entries.append((f"{place}.training", module.training))
        a_member = member_attributes(module)
        for attribute, value in _attributes(module):
            where = f"{name}.{attribute}" if name else attribute
            entries.append((where, _A_MEMBER if attribute in a_member else fingerprints.of(value, where)))
    entries.extend(_tensor_entries(model))
    return tuple(entries)


def _attributes(module: nn.Module) -> list[tuple[str, Any]]:
    """What forward can see besides layers, parameters and buffers; hooks are seen by what they are."""
    own = vars(module)
    left_out = _TORCH_INTERNALS | set(_RNN_CACHE if isinstance(module, nn.RNNBase) else ())
    hooks = [(name, list(own[name].values())) for name in _HOOKS if own.get(name)]
    return hooks + [(name, own[name]) for name in sorted(set(own) - left_out)]


def _tensor_entries(model: nn.Module) -> list[tuple[str, Any]]:
    first_name: dict[int, str] = {}
    entries: list[tuple[str, Any]] = []
    for kind, tensors in (
        ("parameter", model.named_parameters(remove_duplicate=False)),
        ("buffer", model.named_buffers(remove_duplicate=False)),
    ):
        for name, tensor in tensors:
            _check_tensor(name, tensor)
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


def _check_module(place: str, module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise StackError(
            f"stack: {place} is scripted (torch.jit), and its parameters cannot be changed for a member's. "
            "Stack the plain module; script what unstack() gives."
        )
    for hook in module._forward_pre_hooks.values():
        way_out = next((way for kind, way in _RECOMPUTING.items() if isinstance(hook, kind)), None)
        if way_out is not None:
            raise StackError(
                f"stack: {place} has a hook of {type(hook).__module__}, which puts a tensor in the place of a "
                f"parameter before each call. {way_out}"
            )


def _check_tensor(name: str, tensor: Tensor) -> None:
    if nn.parameter.is_lazy(tensor):
        raise StackError(f"stack: {name} has no shape yet. Run each model on a batch once, then stack.")
    if tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None):
        raise StackError(
            f"stack: {name} has a gradient hook, which its copy in the stack would lose. "
            "Remove the hook and change the stacked gradient between backward() and step()."
        )


def first_difference(first: nn.Module, other: nn.Module) -> str | None:
    """Names the first thing in which two models differ in structure, or None when they do not differ.

    Example:
        >>> first_difference(nn.Hardtanh(max_val=1.0), nn.Hardtanh(max_val=2.0))
        'max_val is 1.0 in one and 2.0 in the other'
    """
    one, two = structure_of(first), structure_of(other)
    for (place_one, value_one), (place_two, value_two) in zip(one, two, strict=False):
        if place_one != place_two:
            return f"one has {place_one} where the other has {place_two}"
        if value_one != value_two:
            shown_one, shown_two = _show(value_one), _show(value_two)
            if shown_one == shown_two:
                return f"{place_one} is not the same {shown_one} in both"
            return f"{place_one} is {shown_one} in one and {shown_two} in the other"
    if len(one) != len(two):
        longer = one if len(one) > len(two) else two
        return f"only one of them has {longer[min(len(one), len(two))][0]}"
    return None


def _show(value: Any) -> str:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str):
        return value[1]
    if isinstance(value, tuple) and value[:1] in (("function",), ("method",), ("tensor",), ("array",), ("partial",)):
        return str(value[0])
    if isinstance(value, tuple) and len(value) == 3 and isinstance(value[0], str):
        return f"class {value[0]}"
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
