"""Losses of numbers that torch has not: the log of the hyperbolic cosine."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from tenfold.nn.reduction import reduce_losses


def log_cosh(predictions: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
    """The log(cosh(error)): half the square of small errors, absolute for large ones, smooth throughout.

    Args:
        predictions: float, any shape.
        targets: float, the same shape.
        reduction: "mean" over all elements, "sum", or "none" for each element's.

    Raises:
        ValueError: there is no such reduction.

    Example:
        >>> import torch
        >>> round(log_cosh(torch.tensor([0.0, 300.0]), torch.zeros(2)).item(), 3)
        149.653
    """
    errors = (predictions - targets).abs()  # the cosh of a large one would overflow
    return reduce_losses(errors - F.logsigmoid(2 * errors) - math.log(2), reduction)
