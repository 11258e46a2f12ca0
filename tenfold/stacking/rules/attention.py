"""Attention: dropout over the weights from the member's streams, and no loop over the members.

Letters: M members, B batch, L queries, S keys, E features of a head.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.stacking.rules.at_once import are_members, at_once, folded, unfolded
from tenfold.stacking.rules.dropout import dropped
from tenfold.stacking.streams import member_streams


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: Any = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The rule of both forms: PyTorch's kernel where nothing is dropped, the equation where something is."""
    drops = not isinstance(dropout_p, int | float) or dropout_p != 0.0
    stacked = are_members(query, key, value, attn_mask)
    if drops or (stacked and max(query.dim(), key.dim(), value.dim()) > 4):
        if enable_gqa:
            repeats = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
        weights = _weights(query, key, attn_mask, is_causal, scale)
        return dropped(weights, weights.shape, dropout_p, True) @ value
    member_streams().skip()
    if not stacked:
        options: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
        return F.scaled_dot_product_attention(query, key, value, attn_mask, 0.0, is_causal, **options)
    return _of_all_members(query, key, value, attn_mask, is_causal, scale, enable_gqa)


def _weights(query: Tensor, key: Tensor, attn_mask: Tensor | None, is_causal: bool, scale: float | None) -> Tensor:
    """softmax(scale q k + mask), shape (..., L, S); 0 for a query that may see nothing, as PyTorch has it."""
    logits = query * (1.0 / math.sqrt(query.shape[-1]) if scale is None else scale) @ key.transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is None:
        return logits.softmax(-1)
    logits = logits.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else logits + attn_mask
    blind = (logits == -math.inf).all(-1, keepdim=True)
    return logits.masked_fill(blind, 0.0).softmax(-1).masked_fill(blind, 0.0)


def _of_all_members(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> Tensor:
    """The members as a larger batch; vmap itself would loop over them."""
    dims = max(query.dim(), key.dim(), value.dim())
    query, key, value = (part[(None,) * (4 - dims)] for part in (query, key, value))
    of_all_samples = (
        attn_mask is not None and attn_mask.dim() > 1 and (attn_mask.dim() < 4 or attn_mask.shape[0] == 1)
    )
    common = attn_mask if of_all_samples and not are_members(attn_mask) else None  # broadcasts without a copy

    def run(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        batch = max(query.shape[1], key.shape[1], value.shape[1])
        query, key, value = (part.expand(-1, batch, *part.shape[2:]) for part in (query, key, value))
        if mask is not None:
            mask = mask[(slice(None), *(None,) * (5 - mask.dim()))]
            mask = folded(mask.expand(-1, batch, *mask.shape[2:]))
        mask = common if mask is None else mask
        output = F.scaled_dot_product_attention(
            folded(query), folded(key), folded(value), mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
        )
        return unfolded(output, query)

    return at_once(run, query, key, value, attn_mask if common is None else None)[(0,) * (4 - dims)]


ATTENTION: dict[Any, Callable[..., Any]] = {F.scaled_dot_product_attention: _attention}
