"""Losses of a segmentation: cross-entropy and focal loss of every labelled pixel, and Dice of every class.

Each is `(logits_BKHW, targets_BHW, options) -> loss`. Pixels whose target is 255 count nowhere; a batch without a
labelled pixel has loss 0. Options that may differ by member are 0-dimensional tensors under `vmap`.

B batch, K classes, H W
"""

from __future__ import annotations

import torch
from torch import Tensor

from tenfold.data.mask_codes import IGNORED
from tenfold.tasks.classification_losses import focal


def pixel_cross_entropy(
    logits_BKHW: Tensor,
    targets_BHW: Tensor,
    *,
    class_weights: Tensor | None = None,
    focal_gamma: float | Tensor | None = None,
) -> Tensor:
    """`torch.nn.functional.cross_entropy` over the labelled pixels, with options that may be tensors.

    Args:
        logits_BKHW: float.
        targets_BHW: integer places of classes in [0, K), or 255.
        class_weights: shape (K,); each pixel counts by its target's weight, and the mean is over these weights.
        focal_gamma: at least 0; see `tenfold.tasks.classification_losses.focal`. None for 0.

    Returns:
        The mean over the pixels, in nats, 0-dimensional.

    Example:
        >>> targets = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
        >>> pixel_cross_entropy(torch.zeros(1, 4, 1, 3), targets).item()
        1.386294...

    References:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    labelled_BHW, places_BHW = _labelled(targets_BHW)
    losses_BHW = -torch.log_softmax(logits_BKHW, dim=1).gather(1, places_BHW[:, None]).squeeze(1)
    if focal_gamma is not None:
        losses_BHW = focal(losses_BHW, focal_gamma)
    weights_BHW = labelled_BHW.to(losses_BHW.dtype)
    if class_weights is not None:
        weights_BHW = weights_BHW * class_weights.to(logits_BKHW.device, logits_BKHW.dtype)[places_BHW]
    # what is not labelled may have an infinite loss, and 0 times that would be NaN
    total = torch.where(labelled_BHW, weights_BHW * losses_BHW, 0.0).sum()
    return total / weights_BHW.sum().clamp(min=torch.finfo(weights_BHW.dtype).tiny)


def dice_loss(logits_BKHW: Tensor, targets_BHW: Tensor, *, smoothing: float = 1.0) -> Tensor:
    """1 - the mean soft Dice coefficient of the classes that the batch's targets hold.

    Of class k it is (2 sum(p t) + s) / (sum(p) + sum(t) + s), p the softmax probabilities, t 1 where k is the target,
    and the sums over all labelled pixels of the batch: a class counts alike however few pixels it has.

    Args:
        logits_BKHW: float.
        targets_BHW: integer places of classes in [0, K), or 255.
        smoothing: s, in pixels, at least 0.

    Returns:
        In [0, 1], 0-dimensional.

    Example:
        >>> targets = torch.tensor([[[0, 1, 255]]])
        >>> sure = torch.tensor([[[[9.0, -9.0, 0.0]], [[-9.0, 9.0, 0.0]]]])
        >>> round(dice_loss(sure, targets).item(), 4), round(dice_loss(-sure, targets, smoothing=0.0).item(), 4)
        (0.0, 1.0)

    References:
        Milletari, Navab and Ahmadi, "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image
            Segmentation", 3DV 2016, section 3 (with squares in the denominator).
        Drozdzal et al., "The Importance of Skip Connections in Biomedical Image Segmentation", DLMIA 2016,
            equation 1 (without).
    """
    labelled_BHW, places_BHW = _labelled(targets_BHW)
    labelled_B1HW = labelled_BHW[:, None]
    classes_K11 = torch.arange(logits_BKHW.shape[1], device=logits_BKHW.device)[:, None, None]
    truth_BKHW = ((places_BHW[:, None] == classes_K11) & labelled_B1HW).to(logits_BKHW.dtype)
    said_BKHW = torch.where(labelled_B1HW, logits_BKHW.softmax(dim=1), 0.0)
    shared_K, said_K, truth_K = ((x).sum(dim=(0, 2, 3)) for x in (said_BKHW * truth_BKHW, said_BKHW, truth_BKHW))
    missed_K = 1 - (2 * shared_K + smoothing) / (said_K + truth_K + smoothing).clamp(min=1e-12)
    present_K = (truth_K > 0).to(missed_K.dtype)
    return (missed_K * present_K).sum() / present_K.sum().clamp(min=1)


def _labelled(targets_BHW: Tensor) -> tuple[Tensor, Tensor]:
    """Which pixels have a label, and the places of the classes, 0 where there is none."""
    labelled_BHW = targets_BHW != IGNORED
    return labelled_BHW, torch.where(labelled_BHW, targets_BHW, 0).long()
