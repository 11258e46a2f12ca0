"""Metrics of predicted quantiles, for all members at once, in raw units.

Every metric is made for a task's quantiles, and is `(quantiles_MNQ, targets, weights_MN=None) -> value_M`: quantiles
in rising order, targets float of shape (N,) or (M, N), values float64 of shape (M,). A member with a NaN among its
quantiles gets NaN, the others do not notice.

M members (or resamples, see `weighting.py`), N samples, Q quantiles
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps

import torch
from torch import Tensor

from tenfold.core.task import Metric
from tenfold.tasks.weighting import MetricFunction, mean_over_samples, nan_for_nan


def pinball_losses(quantiles_BQ: Tensor, targets_B: Tensor, levels: Sequence[float]) -> Tensor:
    """What each predicted quantile is off: too low costs its level a unit, too high costs 1 - level.

    Args:
        quantiles_BQ: float, shape (..., B, Q).
        targets_B: float, shape (..., B).
        levels: Q of them, in (0, 1).

    Returns:
        Shape (..., B, Q).

    Example:
        >>> pinball_losses(torch.tensor([[0.0, 0.0]]), torch.tensor([2.0]), (0.25, 0.75)).tolist()
        [[0.5, 1.5]]

    References:
        Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978.
    """
    levels_Q = torch.as_tensor(levels, dtype=quantiles_BQ.dtype, device=quantiles_BQ.device)
    short_BQ = targets_B[..., None] - quantiles_BQ
    return torch.maximum(levels_Q * short_BQ, (levels_Q - 1) * short_BQ)


def quantile_metrics(levels: Sequence[float]) -> tuple[Metric, ...]:
    """The metrics of quantiles at these levels: "pinball", and of several "coverage" and "interval_width".

    `coverage` is the share of targets between the lowest and the highest quantile, bounds included. It should come
    to their levels' difference: more is no merit, and choosing by it alone would choose the widest interval.

    Args:
        levels: in rising order.

    Example:
        >>> [metric.title for metric in quantile_metrics((0.05, 0.5, 0.95))]
        ['pinball loss', 'coverage (aim: 90 %)', 'width of the 90 % interval']
    """

    @nan_for_nan()
    def pinball(quantiles_MNQ: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
        losses_MNQ = pinball_losses(quantiles_MNQ.double(), targets_MN.double(), levels)
        return mean_over_samples(losses_MNQ.mean(dim=2), weights_MN)

    metrics = [Metric(name="pinball", direction="minimize", function=pinball, title="pinball loss")]
    if len(levels) > 1:
        aim = f"{100 * (levels[-1] - levels[0]):.4g} %"
        metrics += [
            Metric(name="coverage", direction="maximize", function=coverage, title=f"coverage (aim: {aim})"),
            Metric(
                name="interval_width", direction="minimize", function=_width, title=f"width of the {aim} interval"
            ),
        ]
    return tuple(metrics)


@nan_for_nan()
def coverage(quantiles_MNQ: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Share of the targets from the lowest to the highest quantile, bounds included.

    Example:
        >>> coverage(torch.tensor([[[0.0, 2.0], [0.0, 2.0]]]), torch.tensor([2.0, 3.0])).item()
        0.5
    """
    inside_MN = (quantiles_MNQ[..., 0] <= targets_MN) & (targets_MN <= quantiles_MNQ[..., -1])
    return mean_over_samples(inside_MN, weights_MN)


@nan_for_nan()
def _width(quantiles_MNQ: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    return mean_over_samples(quantiles_MNQ[..., -1] - quantiles_MNQ[..., 0], weights_MN)


def of_middle(function: MetricFunction) -> MetricFunction:
    """A metric of single predictions as one of quantiles: of the middle one."""

    @wraps(function)
    def measured(quantiles_MNQ: Tensor, targets: Tensor, weights_MN: Tensor | None = None) -> Tensor:
        return function(quantiles_MNQ[..., quantiles_MNQ.shape[-1] // 2], targets, weights_MN)

    return measured
