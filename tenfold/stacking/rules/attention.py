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
    if isinstance(dropout_p, int | float) and dropout_p == 0.0:
        member_streams().skip()
        options: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
        if query.dim() == 4 and are_members(query, key, value, attn_mask):
            return _of_all_members(query, key, value, attn_mask, is_causal, options)
        return F.scaled_dot_product_attention(query, key, value, attn_mask, 0.0, is_causal, **options)
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
    logits = query * (1.0 / math.sqrt(query.shape[-1]) if scale is None else scale) @ key.transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None:
        masked = attn_mask.dtype == torch.bool
        logits = logits.masked_fill(~attn_mask, -math.inf) if masked else logits + attn_mask
    weights = logits.softmax(-1)
    return dropped(weights, weights.shape, dropout_p, True) @ value


def _of_all_members(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, is_causal: bool, options: dict[str, Any]
) -> Tensor:
    """The members as a larger batch; vmap itself would loop over them."""
    own_mask = attn_mask is not None and are_members(attn_mask)

    def run(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            mask = mask.expand(*query.shape[:2], *mask.shape[2:]) if mask.dim() == 5 else mask
            while mask.dim() < 5:
                mask = mask.unsqueeze(1)
            mask = folded(mask.expand(*query.shape[:2], *mask.shape[2:]))
        else:
            mask = attn_mask
        batch = max(query.shape[1], key.shape[1], value.shape[1])
        query, key, value = (part.expand(-1, batch, *part.shape[2:]) for part in (query, key, value))
        output = F.scaled_dot_product_attention(
            folded(query), folded(key), folded(value), mask, 0.0, is_causal, **options
        )
        return unfolded(output, query)

    per_sample = attn_mask is not None and (own_mask or (attn_mask.dim() == 4 and attn_mask.shape[0] > 1))
    return at_once(run, query, key, value, *([attn_mask] if per_sample else []))


ATTENTION: dict[Any, Callable[..., Any]] = {F.scaled_dot_product_attention: _attention}
