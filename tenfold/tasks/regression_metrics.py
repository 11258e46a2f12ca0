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
from tenfold.tasks.weighting import all_ones, mean_over_samples

SMALLEST_TARGET = torch.finfo(torch.float64).eps  # as scikit-learn


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
    around_mean_M = _variance((targets if targets.dim() == 2 else targets[None]).double(), weights_MN)
    around_predictions_M = mean_over_samples((predictions_MN.double() - targets) ** 2, weights_MN)
    return torch.where(around_mean_M > 0, 1 - around_predictions_M / around_mean_M, torch.nan)


def explained_variance(predictions_MN: Tensor, targets: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """As `r2`, but an error that is the same for every sample does not count; constant targets give NaN.

    Example:
        >>> explained_variance(torch.tensor([[2.0, 3.0, 4.0]]), torch.tensor([1.0, 2.0, 3.0])).item()
        1.0
    """
    targets_MN = (targets if targets.dim() == 2 else targets[None]).double()
    of_targets_M = _variance(targets_MN, weights_MN)
    of_errors_M = _variance(predictions_MN.double() - targets_MN, weights_MN)
    return torch.where(of_targets_M > 0, 1 - of_errors_M / of_targets_M, torch.nan)


def _variance(values_MN: Tensor, weights_MN: Tensor | None) -> Tensor:
    mean_M = mean_over_samples(values_MN, weights_MN)
    return mean_over_samples((values_MN - mean_M[:, None]) ** 2, weights_MN)


def mape(predictions_MN: Tensor, targets: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Mean absolute percentage error, as a share of the target: 0.1 is 10 %; huge where a target is 0.

    Example:
        >>> round(mape(torch.tensor([[1.0, 5.0]]), torch.tensor([2.0, 4.0])).item(), 4)
        0.375

    References:
        de Myttenaere et al., "Mean Absolute Percentage Error for regression models", Neurocomputing 192, 2016.
    """
    targets = targets.double()
    shares_MN = (predictions_MN.double() - targets).abs() / targets.abs().clamp(min=SMALLEST_TARGET)
    return mean_over_samples(shares_MN, weights_MN)


def median_error(predictions_MN: Tensor, targets: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Median absolute error, in units of the target: half of the samples are nearer. NaN for an infinite one.

    Example:
        >>> median_error(torch.tensor([[1.0, 5.0, 90.0]]), torch.tensor([1.0, 2.0, 3.0])).item()
        3.0
    """
    errors_MN = (predictions_MN.double() - targets).abs()
    sorted_MN, order_MN = errors_MN.sort(dim=-1)
    weights_MN = all_ones(errors_MN) if weights_MN is None else weights_MN.double()
    shape = torch.broadcast_shapes(errors_MN.shape, weights_MN.shape)
    reached_MN = weights_MN.expand(shape).gather(1, order_MN.expand(shape)).cumsum(dim=-1)
    half_M1 = reached_MN[:, -1:] / 2
    # The two middle samples, which are one where samples are odd in number.
    middle_M2 = [torch.searchsorted(reached_MN, half_M1, right=right) for right in (False, True)]
    median_M = sorted_MN.expand(shape).gather(1, torch.cat(middle_M2, dim=1)).mean(dim=1)
    return torch.where(errors_MN.sum(dim=-1).isfinite(), median_M, torch.nan)


REGRESSION_METRICS: Registry[Metric] = Registry("metric")
for _metric in (
    Metric(name="rmse", direction="minimize", function=rmse, title="RMSE"),
    Metric(name="mae", direction="minimize", function=mae, title="MAE"),
    Metric(name="r2", direction="maximize", function=r2, title="R²"),
    Metric(name="explained_variance", direction="maximize", function=explained_variance, title="explained variance"),
    Metric(name="mape", direction="minimize", function=mape, title="MAPE"),
    Metric(name="median_error", direction="minimize", function=median_error, title="median error"),
):
    REGRESSION_METRICS.add(_metric.name, _metric)
