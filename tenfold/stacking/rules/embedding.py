"""Embeddings with `max_norm`, bags of embeddings without a loop over the members, no sparse gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.core.errors import StackError
from tenfold.stacking.rules.at_once import are_members, at_once
from tenfold.stacking.rules.looped import looped


def _refuse_sparse(sparse: bool) -> None:
    if sparse:
        raise StackError(
            "embedding: sparse must be False in a stack, whose members share one dense gradient tensor, got True. "
            "Leave sparse out; all members' updates are one kernel."
        )


def _shorten(weight: Tensor, input: Tensor, max_norm: float | None, norm_type: float) -> None:
    """`max_norm`: the rows that are looked up are shortened in place, each member its own.

    Through `data`, because in the serial form a member's weight is one of many views of the stack's, which autograd
    does not let change; the gradient of an embedding does not read the weight.
    """
    if max_norm is None:
        return

    def shorten(weight_M: Tensor, input_M: Tensor) -> Tensor:
        for own, indices in zip(weight_M.data.unbind(0), input_M.unbind(0), strict=True):
            torch.embedding_renorm_(own, indices.contiguous(), max_norm, norm_type)
        return input_M

    if are_members(weight):
        at_once(shorten, weight, input)
    else:
        torch.embedding_renorm_(weight.data, input.contiguous(), max_norm, norm_type)


def _embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    _refuse_sparse(sparse)
    _shorten(weight, input, max_norm, norm_type)
    return F.embedding(input, weight, padding_idx, scale_grad_by_freq=scale_grad_by_freq)


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums and means of bags of equal size, as an embedding and a sum; other bags in PyTorch's kernel, in turn."""
    _refuse_sparse(sparse)
    _shorten(weight, input, max_norm, norm_type)
    if not are_members(input, weight, per_sample_weights):
        bag = F.embedding_bag
    elif offsets is None and not scale_grad_by_freq and mode in ("sum", "mean"):
        return _equal_bags(input, weight, mode, per_sample_weights, padding_idx)
    else:
        bag = _LOOPED_BAG
    return bag(
        input,
        weight,
        offsets,
        scale_grad_by_freq=scale_grad_by_freq,
        mode=mode,
        per_sample_weights=per_sample_weights,
        include_last_offset=include_last_offset,
        padding_idx=padding_idx,
    )


def _equal_bags(
    input: Tensor, weight: Tensor, mode: str, per_sample_weights: Tensor | None, padding_idx: int | None
) -> Tensor:
    rows = F.embedding(input, weight, padding_idx)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    if padding_idx is None:
        return rows.mean(1) if mode == "mean" else rows.sum(1)
    counted = (input != padding_idx % weight.shape[0]).unsqueeze(-1).to(rows.dtype)
    total = (rows * counted).sum(1)
    return total / counted.sum(1).clamp(min=1) if mode == "mean" else total


_LOOPED_BAG = looped(F.embedding_bag)
EMBEDDINGS: dict[Any, Callable[..., Any]] = {F.embedding: _embedding, F.embedding_bag: _embedding_bag}
