"""The mode that looks torch functions up in tables, and functions of PyTorch's that it looks into."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from tenfold.stacking.rules.watch import current_watch

Rule = Callable[..., Any]
Table = dict[Any, Rule]

_MERGED: dict[tuple[int, ...], tuple[tuple[Table, ...], Table]] = {}  # merging takes 10 microseconds


class Rules(TorchFunctionMode):
    """Looks every torch function up in tables while a block runs, and calls the rule where there is one.

    A function that PyTorch itself writes in Python is looked up as a whole: what it calls inside is not seen, unless
    it is one of `OPENED`.
    """

    def __init__(self, *tables: Table) -> None:
        super().__init__()
        key = tuple(map(id, tables))
        if key not in _MERGED:
            _MERGED[key] = (tables, {function: rule for table in tables for function, rule in table.items()})
        self._table = _MERGED[key][1]
        self._watch = current_watch()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        rule = self._table.get(func, func)
        if isinstance(rule, Opened):
            with self:
                return rule(*args, **kwargs)
        result = rule(*args, **kwargs)
        if self._watch is not None:
            self._watch.look(func, args, kwargs, result)
        return result


class Opened:
    """A function that PyTorch writes in Python, without its hand-over to modes: what it calls inside is seen.

    Args:
        function: one of `torch.nn.functional`, whose first act is to ask whether somebody overrides it.
    """

    _UNASKED = dict.fromkeys(
        ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"), lambda *_: False
    )

    def __init__(self, function: Any) -> None:
        self._run = types.FunctionType(
            function.__code__, {**function.__globals__, **self._UNASKED}, function.__name__, function.__defaults__
        )
        self._run.__kwdefaults__ = function.__kwdefaults__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the function, with the mode that is in force."""
        return self._run(*args, **kwargs)


OPENED: dict[Any, Rule] = {
    F.multi_head_attention_forward: Opened(F.multi_head_attention_forward),
    F.fractional_max_pool2d: Opened(F._fractional_max_pool2d),  # type: ignore[attr-defined]
    F.fractional_max_pool3d: Opened(F._fractional_max_pool3d),  # type: ignore[attr-defined]
    F.fractional_max_pool2d_with_indices: Opened(F.fractional_max_pool2d_with_indices),
    F.fractional_max_pool3d_with_indices: Opened(F.fractional_max_pool3d_with_indices),
}
