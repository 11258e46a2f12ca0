"""Sums and means over samples that count a number of times: what all metrics are made of.

A bootstrap resample is nothing but such counts, so that 1000 resamples of a metric cost 1000 weighted sums and not
1000 copies of the predictions.

M members (or resamples), N samples, K classes
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

MetricFunction = Callable[..., Tensor]


def mean_over_samples(values_MN: Tensor, weights_MN: Tensor | None) -> Tensor:
    """The weighted mean of each row, float64, shape (M,).

    Args:
        values_MN: shape (M, N), or (1, N) beside several rows of weights.
        weights_MN: shape (M, N), at least 0; None for equal ones. What has weight 0 is left out, infinite or not.

    Example:
        >>> mean_over_samples(torch.tensor([[1.0, 2.0, 6.0]]), torch.tensor([[1, 1, 0], [0, 1, 1]])).tolist()
        [1.5, 4.0]
    """
    values_MN = values_MN.double()
    if weights_MN is None:
        return values_MN.mean(dim=-1)
    weights_MN = weights_MN.double()
    return torch.where(weights_MN > 0, values_MN * weights_MN, 0.0).sum(dim=-1) / weights_MN.sum(dim=-1)


def class_sums(labels_MN: Tensor, weights_MN: Tensor, num_classes: int) -> Tensor:
    """The sum of the weights of each class, float64, shape (M, K).

    Args:
        labels_MN: int64 in [0, K), shape (M, N); either argument may have one row beside several of the other.
        weights_MN: shape (M, N).
        num_classes: K.

    Example:
        >>> class_sums(torch.tensor([[0, 2, 2]]), torch.ones(1, 3), 3).tolist()
        [[1.0, 0.0, 2.0]]
    """
    labels_MN, weights_MN = torch.broadcast_tensors(labels_MN, weights_MN.double())
    zeros_MK = torch.zeros(len(labels_MN), num_classes, dtype=torch.float64, device=labels_MN.device)
    return zeros_MK.scatter_add(1, labels_MN, weights_MN)


def all_ones(like_MN: Tensor) -> Tensor:
    """Weights of one for every sample, float64, shape (M, N), without taking memory for them."""
    return torch.ones((), dtype=torch.float64, device=like_MN.device).expand(like_MN.shape)


def nan_for_nan(target_dim: int = 1) -> Callable[[MetricFunction], MetricFunction]:
    """A decorator: members with a NaN among their outputs get NaN, the others do not notice.

    It turns `(outputs_MNK, targets_MN, weights_MN) -> value_M`, whose targets have a member axis of size M or 1, into
    a metric whose targets may lack that axis, and whose weights may be left out.

    Args:
        target_dim: axes of targets that all members share: 1 for (N,), 2 for (N, K).
    """

    def decorate(function: MetricFunction) -> MetricFunction:
        @wraps(function)
        def guarded(outputs_MNK: Tensor, targets: Tensor, weights_MN: Tensor | None = None) -> Tensor:
            targets = targets if targets.dim() > target_dim else targets[None]
            value_M = function(outputs_MNK, targets, weights_MN)
            return torch.where(outputs_MNK.amax(dim=(1, 2)).isnan(), torch.nan, value_M)

        return guarded

    return decorate
