"""From the losses of the elements of a batch to what is minimised."""

from __future__ import annotations

import torch
from torch import Tensor

from tenfold.core.errors import did_you_mean

REDUCTIONS = ("mean", "sum", "none")


def reduce_losses(losses: Tensor, reduction: str, total: Tensor | None = None) -> Tensor:
    """The mean of losses, their sum, or the losses themselves.

    Args:
        losses: of each element, any shape.
        reduction: "mean", "sum" or "none".
        total: what the mean divides their sum by, where they are weighted: the sum of the weights, 0-dimensional, at
            least 0; the mean of nothing is 0. None for the number of elements.

    Raises:
        ValueError: there is no such reduction.

    Example:
        >>> losses, weights = torch.tensor([1.0, 4.0, 7.0]), torch.tensor([1.0, 1.0, 0.0])
        >>> reduce_losses(weights * losses, "mean", weights.sum()).item()
        2.5
    """
    if reduction not in REDUCTIONS:
        fix = did_you_mean(str(reduction), REDUCTIONS)
        raise ValueError(f"loss: reduction must be one of {REDUCTIONS}, got {reduction!r}.{fix}")
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if total is None else losses.sum() / total.clamp(min=torch.finfo(losses.dtype).tiny)
