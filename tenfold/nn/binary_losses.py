"""Losses of yes and no: binary cross-entropy of log-odds and its focal form.

B batch, L labels
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tenfold.nn.class_losses import focal
from tenfold.nn.reduction import reduce_losses


def binary_cross_entropy(
    logits_BL: Tensor,
    targets_BL: Tensor,
    *,
    label_smoothing: float | Tensor | None = None,
    positive_weights: Tensor | None = None,
    focal_gamma: float | Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy of log-odds, with options that may be tensors, one value a member under vmap.

    Args:
        logits_BL: float, shape (B, L) or any other.
        targets_BL: 0 and 1, or probabilities in between, of the same shape.
        label_smoothing: how far targets are moved towards 1/2, in [0, 1]; None for 0.
        positive_weights: shape (L,): a true label's loss is multiplied by it; the mean is over all labels, as with
            `pos_weight` of `torch.nn.BCEWithLogitsLoss`.
        focal_gamma: at least 0, as in `cross_entropy`; None for 0.
        reduction: "mean" over all elements, "sum", or "none" for each element's.

    Returns:
        The loss in nats, 0-dimensional, or with "none" of the shape of the logits.

    Raises:
        ValueError: there is no such reduction.

    Example:
        >>> binary_cross_entropy(torch.zeros(2, 3), torch.ones(2, 3), focal_gamma=1.0).item()
        0.346573...

    References:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    of_true_BL, of_false_BL = -F.logsigmoid(logits_BL), -F.logsigmoid(-logits_BL)
    if focal_gamma is not None:
        of_true_BL, of_false_BL = focal(of_true_BL, focal_gamma), focal(of_false_BL, focal_gamma)
    targets_BL = targets_BL.to(logits_BL.dtype)
    if label_smoothing is not None:
        share = torch.as_tensor(label_smoothing, dtype=logits_BL.dtype, device=logits_BL.device)
        targets_BL = targets_BL * (1 - share) + share / 2
    if positive_weights is not None:
        of_true_BL = of_true_BL * positive_weights.to(logits_BL.device, logits_BL.dtype)
    return reduce_losses(targets_BL * of_true_BL + (1 - targets_BL) * of_false_BL, reduction)


def binary_focal_loss(
    logits_BL: Tensor,
    targets_BL: Tensor,
    *,
    focal_gamma: float | Tensor = 2.0,
    label_smoothing: float | Tensor | None = None,
    positive_weights: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`binary_cross_entropy` with a focus: the loss times (1 - p)^gamma, p the probability of what is true.

    Example:
        >>> binary_focal_loss(torch.zeros(2, 3), torch.ones(2, 3), focal_gamma=1.0).item()
        0.346573...

    References:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    return binary_cross_entropy(
        logits_BL,
        targets_BL,
        label_smoothing=label_smoothing,
        positive_weights=positive_weights,
        focal_gamma=focal_gamma,
        reduction=reduction,
    )
