"""Metrics of classifiers, for all members at once, from log-probabilities.

Every metric is `(log_probabilities_MNK, targets, weights_MN=None) -> value_M`: targets int64 of shape (N,) or
(M, N), values float64 of shape (M,). A member with a NaN among its log-probabilities gets NaN, the others do not
notice. What scikit-learn calls undefined is said in each docstring. `roc_auc` sorts each member's scores once a
class: about 0.03 s for 64 members, 12,000 samples and one class on two CPU cores, twenty times the other metrics.

M members (or resamples, see `weighting.py`), N samples, K classes
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

from tenfold.core.registry import Registry
from tenfold.core.task import Metric
from tenfold.tasks.weighting import all_ones, class_sums, mean_over_samples

MetricFunction = Callable[..., Tensor]


def _nan_for_nan(function: MetricFunction) -> MetricFunction:
    """Gives NaN to the members whose log-probabilities hold one; targets become (M, N) or (1, N)."""

    @wraps(function)
    def guarded(log_probabilities_MNK: Tensor, targets: Tensor, weights_MN: Tensor | None = None) -> Tensor:
        targets_MN = targets if targets.dim() == 2 else targets[None]
        value_M = function(log_probabilities_MNK, targets_MN, weights_MN)
        has_nan_M = log_probabilities_MNK.sum(dim=(1, 2)).isnan()  # a sum of values <= 0 is NaN only by a NaN
        return torch.where(has_nan_M, torch.nan, value_M)

    return guarded


@_nan_for_nan
def accuracy(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Share of the samples whose most probable class is the target; of equals the first class.

    Example:
        >>> accuracy(torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]).log(), torch.tensor([0, 0])).item()
        0.5
    """
    return mean_over_samples(log_probabilities_MNK.argmax(dim=-1) == targets_MN, weights_MN)


@_nan_for_nan
def log_loss(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood of the targets, in nats; infinite where a target had probability 0.

    Example:
        >>> round(log_loss(torch.tensor([[[0.5, 0.5], [0.2, 0.8]]]).log(), torch.tensor([0, 0])).item(), 4)
        1.1513
    """
    index_MN1 = targets_MN.expand(log_probabilities_MNK.shape[:2])[..., None]
    return mean_over_samples(-log_probabilities_MNK.gather(2, index_MN1).squeeze(2), weights_MN)


@_nan_for_nan
def macro_f1(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """The unweighted mean of the classes' F1 scores.

    A class counts when it occurs among the targets or the member's predictions, as in
    `sklearn.metrics.f1_score(average="macro")`.

    Example:
        >>> macro_f1(torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]).log(), torch.tensor([0, 1])).item()
        1.0
    """
    hits_MK, targets_MK, predicted_MK = _counts(log_probabilities_MNK, targets_MN, weights_MN)
    either_MK = targets_MK + predicted_MK
    f1_MK = torch.where(either_MK > 0, 2 * hits_MK / either_MK, 0.0)
    return f1_MK.sum(dim=1) / (either_MK > 0).sum(dim=1)


@_nan_for_nan
def balanced_accuracy(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """The unweighted mean of the classes' recalls, over the classes that occur among the targets.

    Example:
        >>> balanced_accuracy(torch.tensor([[[0.9, 0.1], [0.8, 0.2]]]).log(), torch.tensor([0, 1])).item()
        0.5
    """
    hits_MK, targets_MK, _ = _counts(log_probabilities_MNK, targets_MN, weights_MN)
    recall_MK = torch.where(targets_MK > 0, hits_MK / targets_MK, 0.0)
    return recall_MK.sum(dim=1) / (targets_MK > 0).sum(dim=1)


def _counts(
    log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """By class: samples predicted rightly, samples of the class, samples predicted; float64, shape (M, K)."""
    num_classes = log_probabilities_MNK.shape[-1]
    predicted_MN = log_probabilities_MNK.argmax(dim=-1)
    weights_MN = all_ones(predicted_MN) if weights_MN is None else weights_MN
    hit_weights_MN = weights_MN * (predicted_MN == targets_MN)
    return (
        class_sums(targets_MN, hit_weights_MN, num_classes),
        class_sums(targets_MN, weights_MN, num_classes),
        class_sums(predicted_MN, weights_MN, num_classes),
    )


@_nan_for_nan
def roc_auc(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """The probability that a sample of a class scores higher than one of another class; equals count half.

    Two classes: of the second class against the first, by the log-odds; NaN when one is absent from the targets.
    More: the unweighted mean over the classes of each against the rest; a class that is absent, or that is all
    there is, is left out, and NaN when none remains.

    Example:
        >>> roc_auc(torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]]).log(), torch.tensor([0, 1, 0])).item()
        1.0

    References:
        Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC)
            curve", Radiology 143, 1982.
        Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27, 2006, section 7 and 9.
    """
    weights_MN = all_ones(log_probabilities_MNK[..., 0]) if weights_MN is None else weights_MN.double()
    if log_probabilities_MNK.shape[-1] == 2:
        log_odds_MN = log_probabilities_MNK[..., 1] - log_probabilities_MNK[..., 0]
        return _area(log_odds_MN, targets_MN == 1, weights_MN)
    areas = [
        _area(log_probabilities_MNK[..., k], targets_MN == k, weights_MN)
        for k in range(log_probabilities_MNK.shape[-1])
    ]
    return torch.stack(areas).nanmean(dim=0)


def _area(scores_MN: Tensor, positive_MN: Tensor, weights_MN: Tensor) -> Tensor:
    """The area under the ROC curve of each row, shape (M,); NaN without positives or without negatives."""
    sorted_MN, order_MN = scores_MN.sort(dim=-1)
    first_MN, end_MN = _tie_bounds(sorted_MN)
    shape = torch.broadcast_shapes(order_MN.shape, weights_MN.shape)
    order_MN, first_MN, end_MN = (index.expand(shape) for index in (order_MN, first_MN, end_MN))
    weights_MN = weights_MN.expand(shape).gather(1, order_MN)
    positive_MN = positive_MN.expand(shape).gather(1, order_MN)
    positives_MN, negatives_MN = weights_MN * positive_MN, weights_MN * ~positive_MN
    below_MN = torch.nn.functional.pad(negatives_MN.cumsum(dim=-1), (1, 0))
    beaten_MN = (below_MN.gather(1, first_MN) + below_MN.gather(1, end_MN)) / 2
    return (positives_MN * beaten_MN).sum(dim=-1) / (positives_MN.sum(dim=-1) * negatives_MN.sum(dim=-1))


def _tie_bounds(sorted_MN: Tensor) -> tuple[Tensor, Tensor]:
    """For each place of sorted rows where its group of equal values begins, and where the next group does."""
    rows, n = sorted_MN.shape
    place_MN = torch.arange(n, device=sorted_MN.device).expand(rows, n)
    is_new_MN = torch.ones(rows, n, dtype=torch.bool, device=sorted_MN.device)
    is_new_MN[:, 1:] = sorted_MN[:, 1:] != sorted_MN[:, :-1]
    first_MN = torch.where(is_new_MN, place_MN, 0).cummax(dim=-1).values
    is_last_MN = torch.ones_like(is_new_MN)
    is_last_MN[:, :-1] = is_new_MN[:, 1:]
    end_MN = torch.where(is_last_MN, place_MN + 1, n).flip(-1).cummin(dim=-1).values.flip(-1)
    return first_MN, end_MN


def confusion_matrix(predictions: Tensor, targets: Tensor, num_classes: int) -> Tensor:
    """How often samples of each class were taken for each class.

    Args:
        predictions: int64 in [0, K), shape (N,), or (M, N) for several members.
        targets: int64 in [0, K), shape (N,).
        num_classes: K.

    Returns:
        int64, shape (K, K) or (M, K, K): row i, column j counts the samples of class i predicted as j.

    Example:
        >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    cells_MN = (targets * num_classes + predictions).reshape(-1, predictions.shape[-1])
    counts = class_sums(cells_MN, all_ones(cells_MN), num_classes**2).long()
    return counts.reshape(*predictions.shape[:-1], num_classes, num_classes)


CLASSIFICATION_METRICS: Registry[Metric] = Registry("metric")
for _metric in (
    Metric(name="accuracy", direction="maximize", function=accuracy, title="accuracy"),
    Metric(name="macro_f1", direction="maximize", function=macro_f1, title="macro F1"),
    Metric(name="balanced_accuracy", direction="maximize", function=balanced_accuracy, title="balanced accuracy"),
    Metric(name="log_loss", direction="minimize", function=log_loss, title="log loss"),
    Metric(name="roc_auc", direction="maximize", function=roc_auc, title="ROC AUC"),
):
    CLASSIFICATION_METRICS.add(_metric.name, _metric)
