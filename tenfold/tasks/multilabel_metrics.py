"""Metrics of several labels a sample, for all members at once, from log-odds.

Every metric is `(log_odds_MNL, targets, weights_MN=None) -> value_M`: targets 0 and 1, float, of shape (N, L) or
(M, N, L), values float64 of shape (M,). A label is predicted where its log-odds are above 0. A member with a NaN
among its log-odds gets NaN, the others do not notice.

M members (or resamples, see `weighting.py`), N samples, L labels
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenfold.core.registry import Registry
from tenfold.core.task import Metric
from tenfold.tasks.ranking_metrics import precision_of_ranking
from tenfold.tasks.weighting import all_ones, mean_over_samples, nan_for_nan


@nan_for_nan(target_dim=2)
def micro_f1(log_odds_MNL: Tensor, targets_MNL: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """The F1 score of all labels counted together; NaN where no label is true and none predicted.

    Example:
        >>> micro_f1(torch.tensor([[[1.0, 1.0], [-1.0, 1.0]]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])).item()
        0.8
    """
    hits_ML, either_ML = _hits_and_either(log_odds_MNL, targets_MNL, weights_MN)
    return 2 * hits_ML.sum(dim=1) / either_ML.sum(dim=1)


@nan_for_nan(target_dim=2)
def macro_f1(log_odds_MNL: Tensor, targets_MNL: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """The unweighted mean of the labels' F1 scores.

    A label that is neither true nor predicted anywhere is left out, as by scikit-learn's `zero_division=np.nan`.

    Example:
        >>> macro_f1(torch.tensor([[[1.0, 1.0], [-1.0, 1.0]]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])).item()
        0.8333...
    """
    hits_ML, either_ML = _hits_and_either(log_odds_MNL, targets_MNL, weights_MN)
    return (2 * hits_ML / either_ML).nanmean(dim=1)


@nan_for_nan(target_dim=2)
def subset_accuracy(log_odds_MNL: Tensor, targets_MNL: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Share of the samples with every label right.

    Example:
        >>> subset_accuracy(torch.tensor([[[1.0, 1.0], [-1.0, 1.0]]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])).item()
        0.5
    """
    return mean_over_samples(((log_odds_MNL > 0) == (targets_MNL > 0)).all(dim=2), weights_MN)


@nan_for_nan(target_dim=2)
def hamming_loss(log_odds_MNL: Tensor, targets_MNL: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Share of the labels that are wrong.

    Example:
        >>> hamming_loss(torch.tensor([[[1.0, 1.0], [-1.0, 1.0]]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])).item()
        0.25
    """
    wrong_MNL = (log_odds_MNL > 0) != (targets_MNL > 0)
    return mean_over_samples(wrong_MNL.double().mean(dim=2), weights_MN)


@nan_for_nan(target_dim=2)
def log_loss(log_odds_MNL: Tensor, targets_MNL: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood of a label, in nats.

    Example:
        >>> round(log_loss(torch.zeros(1, 2, 3), torch.ones(2, 3)).item(), 4)
        0.6931
    """
    signs_MNL = 2 * targets_MNL.double() - 1
    losses_MNL = -torch.nn.functional.logsigmoid(signs_MNL * log_odds_MNL)
    return mean_over_samples(losses_MNL.mean(dim=2), weights_MN)


@nan_for_nan(target_dim=2)
def average_precision(log_odds_MNL: Tensor, targets_MNL: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """The unweighted mean over labels of their average precision; labels without a true sample are left out.

    Example:
        >>> log_odds = torch.tensor([[[3.0], [2.0], [1.0]]])
        >>> average_precision(log_odds, torch.tensor([[0.0], [1.0], [0.0]])).item()
        0.5
    """
    weights_MN = all_ones(log_odds_MNL[..., 0]) if weights_MN is None else weights_MN.double()
    labels = range(log_odds_MNL.shape[2])
    each = [precision_of_ranking(log_odds_MNL[..., k], targets_MNL[..., k] > 0, weights_MN) for k in labels]
    return torch.stack(each).nanmean(dim=0)


def _hits_and_either(log_odds_MNL: Tensor, targets_MNL: Tensor, weights_MN: Tensor | None) -> tuple[Tensor, Tensor]:
    """By label: samples where it is true and predicted; samples where it is true plus those predicted; (M, L)."""
    predicted_MNL, true_MNL = (log_odds_MNL > 0).double(), (targets_MNL > 0).double()
    hits_MNL, either_MNL = predicted_MNL * true_MNL, predicted_MNL + true_MNL
    if weights_MN is None:
        return hits_MNL.sum(dim=1), either_MNL.sum(dim=1)
    weights_M1N = weights_MN.double()[:, None]
    return (weights_M1N @ hits_MNL).squeeze(1), (weights_M1N @ either_MNL).squeeze(1)


MULTI_LABEL_METRICS: Registry[Metric] = Registry("metric")
for _metric in (
    Metric(name="micro_f1", direction="maximize", function=micro_f1, title="micro F1"),
    Metric(name="macro_f1", direction="maximize", function=macro_f1, title="macro F1"),
    Metric(name="subset_accuracy", direction="maximize", function=subset_accuracy, title="subset accuracy"),
    Metric(name="hamming_loss", direction="minimize", function=hamming_loss, title="Hamming loss"),
    Metric(name="log_loss", direction="minimize", function=log_loss, title="log loss"),
    Metric(name="average_precision", direction="maximize", function=average_precision, title="average precision"),
):
    MULTI_LABEL_METRICS.add(_metric.name, _metric)
