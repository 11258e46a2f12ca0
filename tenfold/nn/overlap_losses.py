"""Losses of overlap, for segmentations in which the background is most of the picture: Dice and Tversky.

B batch, K classes, N = all elements of the batch
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tenfold.nn.reduction import reduce_losses


def dice_loss(
    logits: Tensor, targets: Tensor, *, ignore_index: int | None = None, smooth: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """One minus the soft Dice coefficient of each class, 2 |P T| / (|P| + |T|): `tversky_loss` of even shares.

    Of sure predictions it is one minus the F1 score of each class. It looks at all elements of the batch together, so
    that a class which is in few pictures weighs as much as one that is in all.

    Example:
        >>> logits = torch.tensor([[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0]])
        >>> round(dice_loss(logits, torch.tensor([0, 1, 1]), smooth=0.0).item(), 3)  # F1 of 2/3 for both classes
        0.333

    References:
        Milletari, Navab and Ahmadi, "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image
            Segmentation", 3DV 2016, section 3; with sums in place of sums of squares in the denominator.
    """
    return tversky_loss(
        logits, targets, alpha=0.5, beta=0.5, ignore_index=ignore_index, smooth=smooth, reduction=reduction
    )


def tversky_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: float | Tensor = 0.3,
    beta: float | Tensor = 0.7,
    ignore_index: int | None = None,
    smooth: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """One minus the Tversky index of each class: TP / (TP + alpha FP + beta FN), in sums of probabilities.

    With alpha below beta a missed pixel costs more than a false one. Both 1/2 is Dice, both 1 is Jaccard.

    Args:
        logits: float, shape (B, K, ...); of one channel (K = 1) the log-odds of the foreground.
        targets: int64 in [0, K), shape (B, ...); of one channel 0 and 1.
        alpha: what a false positive counts, at least 0, a number or a 0-dimensional tensor.
        beta: what a false negative counts, likewise.
        ignore_index: a target that does not count; None for none.
        smooth: added to twice the numerator and denominator, at least 0: a class that neither is there nor is
            predicted has loss 0 by it, and not 0/0.
        reduction: "mean" over the classes, "sum", or "none" for each class's.

    Returns:
        The loss in [0, 1] (the sum in [0, K]), 0-dimensional, or with "none" shape (K,).

    Raises:
        ValueError: there is no such reduction.

    Example:
        >>> logits = torch.tensor([[9.0], [9.0], [-9.0]])
        >>> loss = tversky_loss(logits, torch.tensor([1, 0, 0]), alpha=0.25, beta=0.75, smooth=0.0)
        >>> round(loss.item(), 3)  # one true and one false positive: 1 - 1 / 1.25
        0.2

    References:
        Salehi, Erdogmus and Gholipour, "Tversky Loss Function for Image Segmentation Using 3D Fully Convolutional
            Deep Networks", MLMI 2017, equation 1.
    """
    num_classes = logits.shape[1]
    counted = torch.ones_like(targets) if ignore_index is None else (targets != ignore_index).to(targets.dtype)
    known = torch.where(counted.bool(), targets, 0)
    probabilities = logits.sigmoid() if num_classes == 1 else logits.softmax(dim=1)
    weights_N = counted.flatten().to(logits.dtype)
    p_KN = probabilities.movedim(1, 0).flatten(1) * weights_N
    truth_NK = (
        known.flatten()[:, None].to(logits.dtype) if num_classes == 1 else F.one_hot(known.flatten(), num_classes)
    )
    truth_KN = truth_NK.t().to(logits.dtype) * weights_N
    hit_K, said_K, true_K = (p_KN * truth_KN).sum(dim=1), p_KN.sum(dim=1), truth_KN.sum(dim=1)
    index_K = (hit_K + smooth / 2) / (hit_K + alpha * (said_K - hit_K) + beta * (true_K - hit_K) + smooth / 2)
    return reduce_losses(1 - index_K, reduction)
