"""Baselines of a segmentation: the commonest class everywhere, and the commonest class of each place.

Cameras look at scenes in the same way, with the sky above and the road below: how much of a score that explains is
what the second one says.

N pictures, H W, K classes
"""

from __future__ import annotations

import numpy as np
import torch

from tenfold.tasks.segmentation_metrics import counts_of_maps


class MapBaseline:
    """Says the same map of every picture.

    Args:
        map_HW: places of classes, integer.
        num_classes: K.
    """

    def __init__(self, map_HW: np.ndarray, num_classes: int) -> None:
        self.map_HW, self.num_classes = torch.from_numpy(map_HW), num_classes

    def counts(self, targets_NHW: np.ndarray) -> np.ndarray:
        """What `Segmentation.predict` would say, float64, shape (N, 3, K)."""
        targets = torch.from_numpy(targets_NHW)
        return counts_of_maps(self.map_HW.expand(targets.shape), targets, self.num_classes).numpy()


def fit_majority(targets_NHW: np.ndarray, num_classes: int) -> MapBaseline:
    """The class of the most labelled pixels, everywhere.

    Args:
        targets_NHW: places of classes, or 255, of the training part.
        num_classes: K.

    Example:
        >>> fit_majority(np.array([[[1, 1, 255], [0, 1, 255]]]), 2).map_HW.tolist()
        [[1, 1, 1], [1, 1, 1]]
    """
    commonest = _frequencies(targets_NHW, num_classes).sum(axis=(1, 2)).argmax()
    return MapBaseline(np.full(targets_NHW.shape[1:], commonest), num_classes)


def fit_prior(targets_NHW: np.ndarray, num_classes: int) -> MapBaseline:
    """At each place of the picture the class that training masks have there most often.

    Args:
        targets_NHW: places of classes, or 255, of the training part.
        num_classes: K.

    Example:
        >>> fit_prior(np.array([[[0, 1, 255]], [[0, 1, 255]], [[1, 1, 255]]]), 2).map_HW.tolist()
        [[0, 1, 1]]
    """
    counts_KHW = _frequencies(targets_NHW, num_classes)
    commonest = counts_KHW.sum(axis=(1, 2)).argmax()
    return MapBaseline(np.where(counts_KHW.any(axis=0), counts_KHW.argmax(axis=0), commonest), num_classes)


def _frequencies(targets_NHW: np.ndarray, num_classes: int) -> np.ndarray:
    return np.stack([(targets_NHW == k).sum(axis=0) for k in range(num_classes)])
