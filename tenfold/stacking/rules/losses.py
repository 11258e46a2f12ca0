"""Losses that look at their input and raise, for all members, what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def _binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """As PyTorch's, which refuses NaN as out of range; it stays NaN, in that member's loss and gradient."""
    is_nan = input.isnan()
    known = torch.where(is_nan, 0.5, input)
    if size_average is not None or reduce is not None:
        return (
            F.binary_cross_entropy(known, target, weight, size_average, reduce) + torch.where(is_nan, input, 0).sum()
        )
    loss = F.binary_cross_entropy(known, target, weight, reduction="none")
    loss = torch.where(is_nan, input * input, loss)
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


LOSSES: dict[Any, Callable[..., Any]] = {F.binary_cross_entropy: _binary_cross_entropy}
