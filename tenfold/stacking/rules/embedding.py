"""Bags of embeddings without a loop over the members, and the sparse gradients that no stack can hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from tenfold.core.errors import StackError


def _refuse_sparse(sparse: bool) -> None:
    if sparse:
        raise StackError(
            "embedding: sparse must be False in a stack, whose members share one dense gradient tensor, got True. "
            "Leave sparse out; all members' updates are one kernel."
        )


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
    return F.embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)


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
    _refuse_sparse(sparse)
    return F.embedding_bag(
        input,
        weight,
        offsets,
        max_norm,
        norm_type,
        scale_grad_by_freq,
        mode,
        sparse,
        per_sample_weights,
        include_last_offset,
        padding_idx,
    )


def _bag_of_members(
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
    """Sums and means of bags of equal size, as an embedding and a sum; other bags as PyTorch does them."""
    if offsets is not None or max_norm is not None or scale_grad_by_freq or mode == "max":
        return _embedding_bag(
            input,
            weight,
            offsets,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            mode,
            sparse,
            per_sample_weights,
            include_last_offset,
            padding_idx,
        )
    _refuse_sparse(sparse)
    rows = F.embedding(input, weight, padding_idx)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    if padding_idx is None:
        return rows.mean(1) if mode == "mean" else rows.sum(1)
    counted = (input != padding_idx % weight.shape[0]).unsqueeze(-1).to(rows.dtype)
    total = (rows * counted).sum(1)
    return total / counted.sum(1).clamp(min=1) if mode == "mean" else total


EMBEDDING_ANYWHERE: dict[Any, Callable[..., Any]] = {F.embedding: _embedding, F.embedding_bag: _embedding_bag}
EMBEDDING_STACKED: dict[Any, Callable[..., Any]] = {F.embedding_bag: _bag_of_members}
