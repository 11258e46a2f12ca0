"""Metrics of regression, for all members at once, from predictions and targets in raw units.

Every metric is `(predictions_MN, targets, weights_MN=None) -> value_M`: targets float of shape (N,) or (M, N),
values float64 of shape (M,). A member with a NaN among its predictions gets NaN, the others do not notice.

M members (or resamples, see `weighting.py`), N samples
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenfold.core.registry import Registry
from tenfold.core.task import Metric
from tenfold.tasks.weighting import mean_over_samples


def rmse(predictions_MN: Tensor, targets: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Root of the mean squared error, in units of the target.

    Example:
        >>> rmse(torch.tensor([[1.0, 5.0]]), torch.tensor([1.0, 2.0])).item()
        2.121320...
    """
    return mean_over_samples((predictions_MN.double() - targets) ** 2, weights_MN).sqrt()


def mae(predictions_MN: Tensor, targets: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Mean absolute error, in units of the target.

    Example:
        >>> mae(torch.tensor([[1.0, 5.0]]), torch.tensor([1.0, 2.0])).item()
        1.5
    """
    return mean_over_samples((predictions_MN.double() - targets).abs(), weights_MN)


def r2(predictions_MN: Tensor, targets: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Coefficient of determination: the share of the targets' variance that is predicted; 1 at best, below 0 too.

    Constant targets leave it undefined: then it is NaN, where scikit-learn says 0 or 1.

    Example:
        >>> r2(torch.tensor([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]]), torch.tensor([1.0, 2.0, 3.0])).tolist()
        [1.0, 0.0]
    """
    targets_MN = (targets if targets.dim() == 2 else targets[None]).double()
    mean_M = mean_over_samples(targets_MN, weights_MN)
    around_mean_M = mean_over_samples((targets_MN - mean_M[:, None]) ** 2, weights_MN)
    around_predictions_M = mean_over_samples((predictions_MN.double() - targets) ** 2, weights_MN)
    return torch.where(around_mean_M > 0, 1 - around_predictions_M / around_mean_M, torch.nan)


REGRESSION_METRICS: Registry[Metric] = Registry("metric")
for _metric in (
    Metric(name="rmse", direction="minimize", function=rmse, title="RMSE"),
    Metric(name="mae", direction="minimize", function=mae, title="MAE"),
    Metric(name="r2", direction="maximize", function=r2, title="R²"),
):
    REGRESSION_METRICS.add(_metric.name, _metric)
