"""Fingerprints of attribute values: equal exactly when forward can take the one for the other.

A value that went unread would give every member the first one's, so what cannot be read counts as different.
"""

from __future__ import annotations

import collections
import functools
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from tenfold.core.errors import StackError

_UNSEEN_IN_CLASSES = frozenset(
    {"__module__", "__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__", "__qualname__"}
)


class Fingerprints:
    """Reads the attribute values of one model.

    Args:
        model: the model; the layers that PyTorch sees in it may be named again in lists and dicts, because a copy
            of the model copies those along.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = {id(module): name for name, module in model.named_modules()}
        tensors = (*model.named_parameters(), *model.named_buffers())
        self._tensors = {id(tensor): name for name, tensor in tensors}
        self._above: list[int] = []

    def of(self, value: Any, where: str, *, copied: bool = True) -> Any:
        """What another value must have in common with this one to count as equal.

        Args:
            value: any Python object.
            where: its place in the model, for messages.
            copied: whether `copy.deepcopy` of the model copies it; what a function has closed over is not.

        Raises:
            StackError: a layer or parameter hides here.
        """
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return (type(value).__name__, repr(value))
        if isinstance(value, nn.Module) and copied and id(value) in self._modules:
            return ("layer", self._modules[id(value)])
        if isinstance(value, nn.Module | nn.Parameter) or id(value) in self._tensors:
            raise StackError(_hidden(value, where))
        if isinstance(value, torch.Tensor):
            return ("tensor", str(value.dtype), tuple(value.shape), _bytes_of(value))
        if isinstance(value, np.ndarray) and value.dtype != object:
            return ("array", str(value.dtype), value.shape, value.tobytes())
        if id(value) in self._above:
            return ("above", len(self._above) - self._above.index(id(value)))
        self._above.append(id(value))
        try:
            return self._compound(value, where, copied)
        finally:
            self._above.pop()

    def _compound(self, value: Any, where: str, copied: bool) -> Any:
        if isinstance(value, type):
            return self.of_class(value, where)
        if isinstance(value, Mapping):
            pairs = (
                (self.of(key, f"a key of {where}", copied=copied), self.of(item, f"{where}[{key!r}]", copied=copied))
                for key, item in value.items()
            )
            return (type(value).__name__, tuple(pairs))
        if isinstance(value, list | tuple | collections.deque | np.ndarray):
            return (type(value).__name__, self._items(value, where, copied))
        if isinstance(value, set | frozenset):
            return (type(value).__name__, tuple(sorted(self._items(value, where, copied), key=repr)))
        if isinstance(value, functools.partial):
            return ("partial", self._items([value.func, value.args, value.keywords], where, copied))
        if isinstance(value, types.MethodType):
            return ("method", self._function(value.__func__, where), self.of(value.__self__, where, copied=copied))
        if isinstance(value, types.FunctionType):
            return self._function(value, where)
        return self._object(value, where, copied)

    def _items(self, values: Iterable[Any], where: str, copied: bool) -> tuple[Any, ...]:
        return tuple(self.of(item, f"{where}[{i}]", copied=copied) for i, item in enumerate(values))

    def _object(self, value: Any, where: str, copied: bool) -> Any:
        slots = [name for cls in type(value).__mro__ for name in _slots_of(cls) if hasattr(value, name)]
        state = {name: getattr(value, name) for name in slots} | dict(getattr(value, "__dict__", {}))
        if state and not isinstance(value, types.ModuleType):
            return (self.of_class(type(value), where), self.of(state, where, copied=copied))
        if type(value).__repr__ is not object.__repr__:
            return (type(value).__qualname__, repr(value))
        return (self.of_class(type(value), where), None if hasattr(value, "__dict__") else id(value))

    def _function(self, function: Any, where: str) -> Any:
        if not isinstance(function, types.FunctionType) or _found_by_name(function):
            return (
                "function",
                getattr(function, "__module__", None),
                getattr(function, "__qualname__", repr(function)),
            )
        closure = [contents(cell) for cell in function.__closure__ or ()]
        values = [function.__defaults__, function.__kwdefaults__, closure]
        return ("function", _code(function.__code__), self._items(values, where, copied=False))

    def of_class(self, cls: type, where: str) -> Any:
        """The name of an importable class; of any other (from a function or an older notebook cell) what it holds."""
        name = f"{cls.__module__}.{cls.__qualname__}"
        if _found_by_name(cls):
            return name
        if id(cls) in self._above[:-1]:
            return (name, "above")
        self._above.append(id(cls))
        try:
            held = {
                key: self._class_part(part, f"{cls.__qualname__}.{key}")
                for key, part in vars(cls).items()
                if key not in _UNSEEN_IN_CLASSES
            }
            bases = tuple(self.of_class(base, where) for base in cls.__bases__)
        finally:
            self._above.pop()
        return (name, tuple(sorted(held.items())), bases)

    def _class_part(self, part: Any, where: str) -> Any:
        if isinstance(part, property):
            return ("property", self._items([part.fget, part.fset, part.fdel], where, copied=False))
        if isinstance(part, staticmethod | classmethod):
            return (type(part).__name__, self.of(part.__func__, where, copied=False))
        if isinstance(part, types.MemberDescriptorType | types.GetSetDescriptorType):
            return "slot"
        return self.of(part, where, copied=False)


def _hidden(value: Any, where: str) -> str:
    return (
        f"stack: {where} holds a {type(value).__name__} where PyTorch does not see it, in a plain list, tuple, dict, "
        "function or object; every member would use the first one's. "
        "Keep layers in nn.ModuleList, nn.ModuleDict or nn.ParameterList, and reach them by their attribute."
    )


def _bytes_of(tensor: torch.Tensor) -> bytes:
    """A tensor's bits; through uint8, because NumPy has no bfloat16."""
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def _slots_of(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _found_by_name(value: Any) -> bool:
    """Whether importing the value's name gives this very value."""
    found: Any = sys.modules.get(getattr(value, "__module__", None) or "")
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def _code(code: types.CodeType) -> Any:
    consts = tuple(_code(const) if isinstance(const, types.CodeType) else repr(const) for const in code.co_consts)
    return (code.co_code, code.co_names, code.co_varnames, consts)


def contents(cell: types.CellType) -> Any:
    """What a function has closed over; None while it is not there yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
