"""Rules: single torch functions replaced, inside `Stack.each`, by a faster or a missing stacked form.

A rule is an ordinary function of one member's tensors with the signature of what it replaces; under vmap those
tensors carry the hidden member axis. To add one, write the function and put it into a table:

* `RANDOM` rules draw from the member's own streams. They hold in every form, stacked or one by one, because that
  is what makes a member alone and a member among others agree.
* `STACKED` rules are about speed and hold under vmap alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tenfold.stacking.streams import member_streams

Rule = Callable[..., Any]


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return input * 0.0
    kept = member_streams().uniform(input.shape, _float_of(input)) >= p
    return input * kept / (1.0 - p)


def _feature_dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or p == 0.0:
        return input
    channels = (*input.shape[:2], *(1,) * (input.dim() - 2))
    kept = member_streams().uniform(channels, _float_of(input)) >= p
    return input * kept / (1.0 - p)


def _float_of(like: Tensor) -> torch.dtype:
    return torch.float64 if like.dtype == torch.float64 else torch.float32


def _rand_like(input: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return member_streams().uniform(input.shape, dtype or input.dtype)


def _randn_like(input: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return member_streams().normal(input.shape, dtype or input.dtype)


def _size(size: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else tuple(size)


def _rand(*size: Any, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return member_streams().uniform(_size(size), dtype or torch.get_default_dtype())


def _randn(*size: Any, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return member_streams().normal(_size(size), dtype or torch.get_default_dtype())


def _bernoulli(input: Tensor, **_: Any) -> Tensor:
    return member_streams().bernoulli(input, input.shape).to(input.dtype)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """One product without the copies of the general batching rule.

    With the stack's layout of matrices (see `layout.py`) the transposed weight is contiguous, so the product, its
    gradient and the update run over memory as it lies.
    """
    rows = input.reshape(-1, input.shape[-1])
    output = torch.mm(rows, weight.t())
    if bias is not None:
        output = output + bias
    return output.reshape(*input.shape[:-1], weight.shape[0])


RANDOM: dict[Any, Rule] = {
    F.dropout: _dropout,
    F.dropout1d: _feature_dropout,
    F.dropout2d: _feature_dropout,
    F.dropout3d: _feature_dropout,
    torch.rand_like: _rand_like,
    torch.randn_like: _randn_like,
    torch.rand: _rand,
    torch.randn: _randn,
    torch.bernoulli: _bernoulli,
}

STACKED: dict[Any, Rule] = {F.linear: _linear}


class Rules(TorchFunctionMode):
    """Looks every torch function up in tables while a block runs, and calls the rule where there is one.

    A function that PyTorch itself writes in Python (multi-head attention, say) is looked up as a whole: what it
    calls inside is not seen.
    """

    def __init__(self, *tables: dict[Any, Rule]) -> None:
        super().__init__()
        self._table = {function: rule for table in tables for function, rule in table.items()}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        rule = self._table.get(func, func)
        return rule(*args, **(kwargs or {}))
