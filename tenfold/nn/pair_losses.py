"""Losses of embeddings that are compared in pairs: the contrastive one; the triplet loss is torch's own.

B batch, D features
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenfold.nn.reduction import reduce_losses


def contrastive_loss(
    first_BD: Tensor, second_BD: Tensor, same_B: Tensor, *, margin: float | Tensor = 1.0, reduction: str = "mean"
) -> Tensor:
    """Draws pairs of one kind together, and pushes others apart as far as the margin.

    With d the Euclidean distance it is d^2 / 2 for a pair of one kind, and max(0, margin - d)^2 / 2 for another.

    Args:
        first_BD: float, shape (B, D).
        second_BD: float, shape (B, D).
        same_B: 1 where a pair is of one kind and 0 where not, shape (B,). (The paper's Y is 1 where it is not.)
        margin: positive, a number or a 0-dimensional tensor.
        reduction: "mean" over the pairs, "sum", or "none" for each pair's.

    Returns:
        The loss, 0-dimensional, or with "none" shape (B,).

    Raises:
        ValueError: there is no such reduction.

    Example:
        >>> first, second = torch.zeros(2, 2), torch.tensor([[0.3, 0.4], [0.3, 0.4]])
        >>> contrastive_loss(first, second, torch.tensor([1, 0]), reduction="none")
        tensor([0.1250, 0.1250])

    References:
        Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006, equation 4.
    """
    square_B = (first_BD - second_BD).square().sum(dim=1)
    # At distance 0 there is no direction to push in: a gradient of 0 in place of NaN.
    distance_B = square_B.clamp(min=torch.finfo(square_B.dtype).tiny).sqrt()
    same_B = same_B.to(square_B.dtype)
    missing_B = (margin - distance_B).clamp(min=0)
    return reduce_losses((same_B * square_B + (1 - same_B) * missing_B.square()) / 2, reduction)
