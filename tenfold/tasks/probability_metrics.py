"""Metrics of a classifier's probabilities: log loss, Brier score, expected calibration error.

Every metric is `(log_probabilities_MNK, targets, weights_MN=None) -> value_M`, as in `classification_metrics.py`.

M members (or resamples, see `weighting.py`), N samples, K classes, G bins
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tenfold.tasks.weighting import all_ones, class_sums, mean_over_samples, nan_for_nan

NUM_BINS = 15


@nan_for_nan()
def log_loss(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood of the targets, in nats; infinite where a target had probability 0.

    Example:
        >>> round(log_loss(torch.tensor([[[0.5, 0.5], [0.2, 0.8]]]).log(), torch.tensor([0, 0])).item(), 4)
        1.1513
    """
    return mean_over_samples(-_of_target(log_probabilities_MNK, targets_MN), weights_MN)


@nan_for_nan()
def brier(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Mean squared distance of the probabilities from the truth: a sum over classes, in [0, 2].

    Of two classes half of it, in [0, 1], as the binary score is commonly written.

    Example:
        >>> round(brier(torch.tensor([[[0.9, 0.1], [0.8, 0.2]]]).log(), torch.tensor([0, 1])).item(), 3)
        0.325

    References:
        Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.
    """
    probabilities_MNK = log_probabilities_MNK.double().exp()
    of_target_MN = _of_target(probabilities_MNK, targets_MN)
    # The sum over the other classes as a difference would lose the digits of a score near 0.
    others_MNK = probabilities_MNK.scatter(2, _index(probabilities_MNK, targets_MN), 0.0)
    distances_MN = (1 - of_target_MN) ** 2 + (others_MNK**2).sum(dim=2)
    score_M = mean_over_samples(distances_MN, weights_MN)
    return score_M / 2 if probabilities_MNK.shape[2] == 2 else score_M


@nan_for_nan()
def calibration_error(log_probabilities_MNK: Tensor, targets_MN: Tensor, weights_MN: Tensor | None = None) -> Tensor:
    """Expected calibration error of the most probable class, in 15 bins of equal width.

    The mean distance of claimed probability and share that came true. It is biased upwards: with N samples, a
    perfectly calibrated model has about sqrt(15 / N) x 0.3, not zero; and so a resample's is larger than the value.

    Example:
        >>> round(calibration_error(torch.tensor([[[0.9, 0.1], [0.8, 0.2]]]).log(), torch.tensor([0, 1])).item(), 3)
        0.45

    References:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, equation 3.
    """
    best = log_probabilities_MNK.max(dim=2)
    claimed_MN, hits_MN = best.values.double().exp(), best.indices == targets_MN
    edges = torch.from_numpy(np.linspace(0, 1, NUM_BINS + 1)[1:-1]).to(claimed_MN.device)
    bins_MN = torch.bucketize(claimed_MN, edges)
    weights_MN = all_ones(claimed_MN) if weights_MN is None else weights_MN.double()
    gap_MG = class_sums(bins_MN, weights_MN * (claimed_MN - hits_MN.double()), NUM_BINS)
    return gap_MG.abs().sum(dim=1) / weights_MN.sum(dim=1)


def _of_target(values_MNK: Tensor, targets_MN: Tensor) -> Tensor:
    """The values of the targets' classes, shape (M, N)."""
    return values_MNK.gather(2, _index(values_MNK, targets_MN)).squeeze(2)


def _index(values_MNK: Tensor, targets_MN: Tensor) -> Tensor:
    return targets_MN.expand(values_MNK.shape[:2])[..., None]
