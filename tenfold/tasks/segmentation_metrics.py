"""Metrics of segmentations, for all members at once, from counts of pixels.

What M members say of N pictures of H times W pixels does not fit into memory, and need not: every metric here follows
from three numbers a picture and class. `class_counts` makes them batch by batch, 3 K numbers a picture.

Every metric is `(counts_MN3K, targets, weights_MN=None) -> value_M`, float64, over the pixels of all pictures
together; the targets are in the counts and not looked at again. A member with a NaN among its outputs has NaN counts,
and gets NaN.

M members (or resamples of the pictures, see `weighting.py`), N pictures, H W, K classes
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenfold.core.registry import Registry
from tenfold.core.task import Metric
from tenfold.data.mask_codes import IGNORED

PICTURES_AT_ONCE = 32


def class_counts(said_NHW: Tensor, targets_NHW: Tensor, num_classes: int) -> Tensor:
    """Of each picture and class the labelled pixels that are rightly said, that are of the class, that are said.

    Args:
        said_NHW: places of classes in [0, K), integer.
        targets_NHW: likewise, or 255 for pixels that count nowhere.
        num_classes: K.

    Returns:
        float64, shape (N, 3, K).

    Example:
        >>> class_counts(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 255]]]), 2).tolist()
        [[[1.0, 0.0], [2.0, 0.0], [1.0, 1.0]]]
    """
    labelled_NP = (targets_NHW != IGNORED).flatten(1)
    truth_NP = torch.where(labelled_NP, targets_NHW.flatten(1), 0).long()
    said_NP = said_NHW.flatten(1).long()
    ones_NP = labelled_NP.double()
    zeros_NK = ones_NP.new_zeros(len(said_NP), num_classes)
    rows = ((truth_NP, ones_NP * (said_NP == truth_NP)), (truth_NP, ones_NP), (said_NP, ones_NP))
    return torch.stack([zeros_NK.scatter_add(1, index_NP, weight_NP) for index_NP, weight_NP in rows], dim=1)


def counts_of_maps(said_NHW: Tensor, targets_NHW: Tensor, num_classes: int) -> Tensor:
    """As `class_counts`, of a whole part, some pictures at a time."""
    pairs = zip(said_NHW.split(PICTURES_AT_ONCE), targets_NHW.split(PICTURES_AT_ONCE), strict=True)
    return torch.cat([class_counts(said, targets, num_classes) for said, targets in pairs])


def miou(counts_MN3K: Tensor, targets: Tensor | None = None, weights_MN: Tensor | None = None) -> Tensor:
    """Mean intersection over union: of each class the pixels rightly said, over those of the class or said to be.

    A class counts when it occurs among the targets or what the member says, as in
    `sklearn.metrics.jaccard_score(average="macro")` over all pixels.

    Example:
        >>> counts = class_counts(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 1]]]), 3)
        >>> miou(counts[None]).tolist()  # 1/2 and 2/3; the third class does not occur
        [0.58333...]

    References:
        Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective", IJCV 111, 2015, section 5.2.
    """
    hits_MK, truth_MK, said_MK = _sums(counts_MN3K, weights_MN)
    return _mean_over_classes(hits_MK, truth_MK + said_MK - hits_MK)


def mean_dice(counts_MN3K: Tensor, targets: Tensor | None = None, weights_MN: Tensor | None = None) -> Tensor:
    """The unweighted mean of the classes' Dice coefficients (F1 scores over pixels), over classes as in `miou`.

    Example:
        >>> counts = class_counts(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 1]]]), 2)
        >>> mean_dice(counts[None]).tolist()  # 2/3 and 4/5
        [0.73333...]
    """
    hits_MK, truth_MK, said_MK = _sums(counts_MN3K, weights_MN)
    return _mean_over_classes(2 * hits_MK, truth_MK + said_MK)


def pixel_accuracy(counts_MN3K: Tensor, targets: Tensor | None = None, weights_MN: Tensor | None = None) -> Tensor:
    """Share of the labelled pixels that are rightly said; NaN where none is labelled.

    Example:
        >>> counts = class_counts(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 255]]]), 2)
        >>> pixel_accuracy(counts[None]).tolist()
        [0.66666...]
    """
    hits_MK, truth_MK, _ = _sums(counts_MN3K, weights_MN)
    return hits_MK.sum(dim=1) / truth_MK.sum(dim=1)


def class_iou(name: str | int, place: int) -> Metric:
    """The intersection over union of one class, "iou_<name>"; NaN where nobody has it.

    Example:
        >>> counts = class_counts(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 1]]]), 2)
        >>> class_iou("road", 1).name, class_iou("road", 1).function(counts[None], None).tolist()
        ('iou_road', [0.66666...])
    """

    def iou(counts_MN3K: Tensor, targets: Tensor | None = None, weights_MN: Tensor | None = None) -> Tensor:
        hits_M1, truth_M1, said_M1 = _sums(counts_MN3K[..., place : place + 1], weights_MN)
        value_M: Tensor = (hits_M1 / (truth_M1 + said_M1 - hits_M1))[:, 0]
        return value_M

    return Metric(name=f"iou_{name}", direction="maximize", function=iou, title=f"IoU of {name}")


def _sums(counts_MN3K: Tensor, weights_MN: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The counts over all pictures, each of shape (M, K)."""
    if weights_MN is None:
        sums_M3K = counts_MN3K.sum(dim=1)
    elif len(counts_MN3K) == 1:
        sums_M3K = torch.tensordot(weights_MN.double(), counts_MN3K[0], dims=1)
    else:
        sums_M3K = (weights_MN.double()[:, :, None, None] * counts_MN3K).sum(dim=1)
    hits_MK, truth_MK, said_MK = sums_M3K.unbind(dim=1)
    return hits_MK, truth_MK, said_MK


def _mean_over_classes(above_MK: Tensor, below_MK: Tensor) -> Tensor:
    """The mean of the ratios where there is something below; NaN where nowhere is."""
    seen_MK = below_MK > 0
    return torch.where(seen_MK, above_MK / below_MK, 0.0).sum(dim=1) / seen_MK.sum(dim=1)


SEGMENTATION_METRICS: Registry[Metric] = Registry("metric")
for _metric in (
    Metric(name="miou", direction="maximize", function=miou, title="mean IoU"),
    Metric(name="pixel_accuracy", direction="maximize", function=pixel_accuracy, title="pixel accuracy"),
    Metric(name="mean_dice", direction="maximize", function=mean_dice, title="mean Dice"),
):
    SEGMENTATION_METRICS.add(_metric.name, _metric)
