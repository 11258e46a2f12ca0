"""Metrics of classifiers, for all members at once, from log-probabilities.

Every metric is `(log_probabilities_MNK, targets, weights_MN=None) -> value_M`: targets int64 of shape (N,) or
(M, N), values float64 of shape (M,). A member with a NaN among its log-probabilities gets NaN, the others do not
notice. What scikit-learn calls undefined is said in each docstring. Here are those of the predicted classes;
`probability_metrics.py` and `ranking_metrics.py` have the others.

M members (or resamples, see `weighting.py`), N samples, K classes
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenfold.core.registry import Registry
from tenfold.core.task import Metric
from tenfold.tasks.probability_metrics import brier, calibration_error, log_loss
from tenfold.tasks.ranking_metrics import average_precision, roc_auc
from tenfold.tasks.weighting import all_ones, class_sums, mean_over_samples, nan_for_nan


@nan_for_nan()
def accuracy(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Share of the samples whose most probable class is the target; of equals the first class.

    Example:
        >>> accuracy(torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]).log(), torch.tensor([0, 0])).item()
        0.5
    """
    return mean_over_samples(log_probabilities_MNK.argmax(dim=-1) == targets_MN, weights_MN)


@nan_for_nan()
def top_5_accuracy(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Share of the samples whose target is among the five most probable classes; of equals the last, as scikit-learn.

    Example:
        >>> top_5_accuracy(torch.arange(7.0).log_softmax(0).expand(1, 3, 7), torch.tensor([0, 2, 6])).tolist()
        [0.666...]
    """
    index_MN1 = targets_MN.expand(log_probabilities_MNK.shape[:2])[..., None]
    of_target_MN1 = log_probabilities_MNK.gather(2, index_MN1)
    classes_K = torch.arange(log_probabilities_MNK.shape[2], device=targets_MN.device)
    is_before_MNK = (log_probabilities_MNK > of_target_MN1) | (
        (log_probabilities_MNK == of_target_MN1) & (classes_K > index_MN1)
    )
    return mean_over_samples(is_before_MNK.sum(dim=2) < 5, weights_MN)


@nan_for_nan()
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


@nan_for_nan()
def balanced_accuracy(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """The unweighted mean of the classes' recalls, over the classes that occur among the targets.

    Example:
        >>> balanced_accuracy(torch.tensor([[[0.9, 0.1], [0.8, 0.2]]]).log(), torch.tensor([0, 1])).item()
        0.5
    """
    hits_MK, targets_MK, _ = _counts(log_probabilities_MNK, targets_MN, weights_MN)
    recall_MK = torch.where(targets_MK > 0, hits_MK / targets_MK, 0.0)
    return recall_MK.sum(dim=1) / (targets_MK > 0).sum(dim=1)


@nan_for_nan()
def mcc(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Matthews' correlation of targets and predictions, in [-1, 1]; 0 for guessing, or where either has one class.

    Example:
        >>> mcc(torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]).log(), torch.tensor([0, 1])).item()
        1.0

    References:
        Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", Computational
            Biology and Chemistry 28, 2004, equation 8.
    """
    hits_MK, targets_MK, predicted_MK = _counts(log_probabilities_MNK, targets_MN, weights_MN)
    n_M = predicted_MK.sum(dim=1)
    together_M = hits_MK.sum(dim=1) * n_M - (targets_MK * predicted_MK).sum(dim=1)
    spread_M = (n_M**2 - (targets_MK**2).sum(dim=1)) * (n_M**2 - (predicted_MK**2).sum(dim=1))
    return torch.where(spread_M > 0, together_M / spread_M.sqrt(), 0.0)


@nan_for_nan()
def quadratic_kappa(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Cohen's kappa of ordered classes with quadratic weights, in [-1, 1]; 0 for guessing by the classes' shares.

    A miss counts by the square of its steps, against what independent targets and predictions would miss. NaN where
    both have one class, the same.

    Example:
        >>> probabilities = torch.tensor([[[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]]])
        >>> round(quadratic_kappa(probabilities.log(), torch.tensor([0, 1, 2])).item(), 4)
        0.6667

    References:
        Cohen, "Weighted kappa", Psychological Bulletin 70, 1968.
    """
    predicted_MN = log_probabilities_MNK.argmax(dim=-1)
    _, targets_MK, predicted_MK = _counts(log_probabilities_MNK, targets_MN, weights_MN)
    places_K = torch.arange(log_probabilities_MNK.shape[2], dtype=torch.float64, device=targets_MN.device)
    squares_KK = (places_K[:, None] - places_K) ** 2
    by_chance_M = torch.einsum("mi,ij,mj->m", targets_MK, squares_KK, predicted_MK) / targets_MK.sum(dim=1) ** 2
    return 1 - mean_over_samples((predicted_MN - targets_MN) ** 2, weights_MN) / by_chance_M


@nan_for_nan()
def step_error(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Mean absolute error of ordered classes, in steps from one class to the next.

    Example:
        >>> step_error(torch.tensor([[[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]]).log(), torch.tensor([2, 1])).item()
        1.0
    """
    return mean_over_samples((log_probabilities_MNK.argmax(dim=-1) - targets_MN).abs(), weights_MN)


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
    Metric(name="mcc", direction="maximize", function=mcc, title="Matthews correlation"),
    Metric(name="top_5_accuracy", direction="maximize", function=top_5_accuracy, title="top-5 accuracy"),
    Metric(name="log_loss", direction="minimize", function=log_loss, title="log loss"),
    Metric(name="brier", direction="minimize", function=brier, title="Brier score"),
    Metric(name="calibration_error", direction="minimize", function=calibration_error, title="calibration error"),
    Metric(name="roc_auc", direction="maximize", function=roc_auc, title="ROC AUC"),
    Metric(name="average_precision", direction="maximize", function=average_precision, title="average precision"),
    Metric(name="quadratic_kappa", direction="maximize", function=quadratic_kappa, title="quadratic kappa"),
    Metric(name="step_error", direction="minimize", function=step_error, title="error in steps"),
):
    CLASSIFICATION_METRICS.add(_metric.name, _metric)
