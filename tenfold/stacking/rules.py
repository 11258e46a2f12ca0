"""Rules: single torch functions replaced, inside `Stack.each`, by a faster or a missing stacked form.

A rule is an ordinary function of one member's tensors with the signature of what it replaces; under vmap those
tensors carry the hidden member axis. To add one, write the function and put it into a table:

* `RANDOM` rules draw from the member's own streams. They hold in every form, stacked or one by one, because that
  is what makes a member alone and a member among others agree.
* `STACKED` rules are about speed and hold under vmap alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tenfold.stacking.streams import member_streams

Rule = Callable[..., Any]


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    return _dropped(input, input.shape, p, training, inplace)


def _feature_dropout(num_batched: int) -> Rule:
    """Dropout of whole channels; `num_batched` counts the dimensions of a batch (of one sample it is one less)."""

    def rule(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        leading = (
            1 if input.dim() == num_batched - 1 and num_batched != 4 else 2
        )  # torch reads 3-D as (B, C, L) in 2d
        channels = (*input.shape[:leading], *(1,) * (input.dim() - leading))
        return _dropped(input, channels, p, training, inplace)

    return rule


def _dropped(input: Tensor, shape: tuple[int, ...], p: float, training: bool, inplace: bool) -> Tensor:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p must be in [0, 1], got {p!r}.")
    if not training or p == 0.0:
        return input
    kept = member_streams().uniform(shape, _float_of(input)) >= p
    scale = kept.to(input.dtype) / (1.0 - p) if p < 1.0 else kept.to(input.dtype)
    return input.mul_(scale) if inplace else input * scale


def _float_of(like: Tensor) -> torch.dtype:
    return torch.float64 if like.dtype == torch.float64 else torch.float32


def _rand_like(input: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return member_streams().uniform(input.shape, dtype or input.dtype)


def _randn_like(input: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return member_streams().normal(input.shape, dtype or input.dtype)


def _drawn(draw: Callable[..., Tensor], args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """`torch.rand` and `randn`: the size comes as numbers, as one sequence, or by name."""
    if options.get("out") is not None:
        raise RuntimeError("torch.rand and randn inside each: out is not supported. Use the value that they return.")
    size = options.get("size", args)
    size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else tuple(size)
    return draw(size, options.get("dtype") or torch.get_default_dtype())


def _rand(*size: Any, **options: Any) -> Tensor:
    return _drawn(member_streams().uniform, size, options)


def _randn(*size: Any, **options: Any) -> Tensor:
    return _drawn(member_streams().normal, size, options)


def _bernoulli(input: Tensor, p: float | None = None, **_: Any) -> Tensor:
    return member_streams().bernoulli(input if p is None else p, input.shape).to(input.dtype)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """One product without the copies of the general batching rule.

    With the stack's layout of matrices (see `layout.py`) the transposed weight is contiguous, so the product, its
    gradient and the update run over memory as it lies.
    """
    if weight.dim() != 2:
        return F.linear(input, weight, bias)
    plain = input.dim() == 2
    rows = input if plain else input.reshape(math.prod(input.shape[:-1]), input.shape[-1])
    output = torch.mm(rows, weight.t())
    if bias is not None:
        output = _add_to_new(output, bias)
    return output if plain else output.reshape(*input.shape[:-1], weight.shape[0])


def _add_to_new(fresh: Tensor, other: Tensor) -> Tensor:
    """The sum in the memory of a tensor that nobody else holds; a new one where only the other is a member's own."""
    try:
        return fresh.add_(other)
    except RuntimeError:
        return fresh + other


def _cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The usual case, class indices for rows of logits, in a few kernels; vmap writes it out in a dozen.

    Over few classes the softmax kernel is ten times as quick when the samples lie side by side.
    """
    usual = weight is None and size_average is None and reduce is None and reduction == "mean"
    if not usual or label_smoothing != 0.0 or input.dim() != 2 or target.dim() != 1 or target.is_floating_point():
        return F.cross_entropy(input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing)
    counted = target != ignore_index
    index = torch.where(counted, target, 0).unsqueeze(0)
    likelihood = torch.log_softmax(input.t(), dim=0).gather(0, index).squeeze(0)
    return -torch.where(counted, likelihood, 0.0).sum() / counted.sum()


RANDOM: dict[Any, Rule] = {
    F.dropout: _dropout,
    F.dropout1d: _feature_dropout(3),
    F.dropout2d: _feature_dropout(4),
    F.dropout3d: _feature_dropout(5),
    torch.rand_like: _rand_like,
    torch.randn_like: _randn_like,
    torch.rand: _rand,
    torch.randn: _randn,
    torch.bernoulli: _bernoulli,
}

STACKED: dict[Any, Rule] = {F.linear: _linear, F.cross_entropy: _cross_entropy}


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
