"""Losses of classes: cross-entropy, negative log-likelihood, focal loss, and the cumulative one for ordered classes.

Every loss is `(logits, targets, options) -> loss`. Options that may differ by member are numbers or 0-dimensional
tensors under `vmap`, so that a search may draw them. Classes are axis 1, as in torch: pixels and steps have further
axes behind it, and the mean is over all of them.

B batch, K classes, T = K - 1 thresholds
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from tenfold.nn.reduction import reduce_losses

NO_TARGET = torch.iinfo(torch.int64).min
"""Is no target."""


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    label_smoothing: float | Tensor | None = None,
    class_weights: Tensor | None = None,
    focal_gamma: float | Tensor | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`torch.nn.functional.cross_entropy` with options that may be tensors, one value a member under vmap.

    Args:
        logits: float, shape (B, K) or (B, K, ...).
        targets: int64 in [0, K), shape (B,) or (B, ...); or soft labels, float, of the shape of the logits:
            probabilities that sum to 1 over the classes.
        label_smoothing: share of the target that is spread evenly over all classes, in [0, 1], a number or a
            0-dimensional tensor; None for 0.
        class_weights: shape (K,); each element counts by its target's weight, and the mean is over these weights.
            Of soft labels the loss of each class is multiplied by its weight, and the mean is over the elements.
        focal_gamma: at least 0: each class's loss is multiplied by (1 - p) to this power, so that what is learned
            already counts little; None for 0.
        ignore_index: a target that does not count, such as the void of a segmentation; None for none. The mean is
            over the others, and 0 where there are none (torch has NaN).
        reduction: "mean" over all elements, "sum", or "none" for each element's, of the shape of the targets.

    Returns:
        The loss in nats, 0-dimensional, or with "none" shape (B, ...).

    Raises:
        ValueError: there is no such reduction.

    Example:
        >>> cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]), label_smoothing=torch.tensor(0.1)).item()
        1.386294...
        >>> cross_entropy(torch.zeros(1, 2), torch.tensor([[0.25, 0.75]])).item()  # soft labels
        0.693147...

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7.
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    is_usual = focal_gamma is None and class_weights is None and ignore_index is None and reduction == "mean"
    if is_usual and logits.dim() == 2 and not targets.is_floating_point():
        if label_smoothing is None:
            return F.cross_entropy(logits, targets, ignore_index=NO_TARGET)
        share = torch.as_tensor(label_smoothing, dtype=logits.dtype, device=logits.device)
        return smoothed_cross_entropy(logits, targets, share)
    losses_KB = -torch.log_softmax(logits.movedim(1, 0), dim=0)  # ten times as quick as over rows of few classes
    if focal_gamma is not None:
        losses_KB = focal(losses_KB, focal_gamma)
    weights_K = None if class_weights is None else class_weights.to(logits.device, logits.dtype)
    weighted_KB = losses_KB if weights_K is None else losses_KB * weights_K.view(-1, *[1] * (losses_KB.dim() - 1))
    counted_B = total = None
    if targets.is_floating_point():
        hard_B = (targets.movedim(1, 0) * weighted_KB).sum(dim=0)
    else:
        counted_B = None if ignore_index is None else targets != ignore_index
        known_B = targets if counted_B is None else torch.where(counted_B, targets, 0)
        hard_B = weighted_KB.gather(0, known_B[None]).squeeze(0)
        total = _total(known_B, counted_B, weights_K, logits.dtype)
    hard = reduce_losses(_counted(hard_B, counted_B), reduction, total)
    if label_smoothing is None:
        return hard
    even = reduce_losses(_counted(weighted_KB.mean(dim=0), counted_B), reduction, total)
    return _mixed(hard, even, label_smoothing)


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: Tensor) -> Tensor:
    """`cross_entropy` in the usual case, as a function that a `TorchFunctionMode` may replace.

    Args:
        logits: float, shape (B, K).
        targets: int64 in [0, K), shape (B,).
        label_smoothing: in [0, 1], of the logits' dtype and device, 0-dimensional.

    Example:
        >>> smoothed_cross_entropy(torch.zeros(1, 2), torch.tensor([1]), torch.tensor(0.5)).item()
        0.693147...
    """
    tensors = (logits, targets, label_smoothing)
    if has_torch_function(tensors):
        loss: Tensor = handle_torch_function(smoothed_cross_entropy, tensors, *tensors)
        return loss
    return mixed_with_even(F.cross_entropy(logits, targets, ignore_index=NO_TARGET), logits, label_smoothing)


def mixed_with_even(hard: Tensor, logits_BK: Tensor, label_smoothing: Tensor) -> Tensor:
    """The mean loss of all rows with a share of that of all classes."""
    return _mixed(hard, -torch.log_softmax(logits_BK.t(), dim=0).mean(), label_smoothing)


def _mixed(hard: Tensor, even: Tensor, label_smoothing: float | Tensor) -> Tensor:
    share = torch.as_tensor(label_smoothing, dtype=hard.dtype, device=hard.device)
    # A class that is masked by a logit of -inf has an infinite loss: 0 times it would be NaN.
    return (1 - share) * hard + torch.where(share > 0, share * even, 0.0)


def _counted(losses_B: Tensor, counted_B: Tensor | None) -> Tensor:
    return losses_B if counted_B is None else torch.where(counted_B, losses_B, 0.0)


def _total(known_B: Tensor, counted_B: Tensor | None, weights_K: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """The sum of what the targets count, or None where each counts once."""
    if weights_K is not None:
        return _counted(weights_K[known_B], counted_B).sum()
    return None if counted_B is None else counted_B.sum().to(dtype)


def focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    focal_gamma: float | Tensor = 2.0,
    label_smoothing: float | Tensor | None = None,
    class_weights: Tensor | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`cross_entropy` with a focus: each class's loss times (1 - p)^gamma.

    Example:
        >>> focal_loss(torch.zeros(1, 2), torch.tensor([1])).item()  # log(2) / 4
        0.173286...

    References:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    return cross_entropy(
        logits,
        targets,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        focal_gamma=focal_gamma,
        ignore_index=ignore_index,
        reduction=reduction,
    )


def focal(losses: Tensor, gamma: float | Tensor) -> Tensor:
    """Losses -log(p) times (1 - p)^gamma, with a finite gradient where p is 0 or 1.

    Args:
        losses: at least 0, any shape.
        gamma: at least 0, a number or a 0-dimensional tensor.

    Example:
        >>> focal(torch.tensor([2.0]).log(), 2.0).item()
        0.173286...

    References:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    limits = torch.finfo(losses.dtype)
    losses = losses.clamp(max=limits.max)
    missing = (-torch.expm1(-losses)).clamp(min=limits.tiny)
    return missing ** torch.as_tensor(gamma, dtype=losses.dtype, device=losses.device) * losses


def cumulative_cross_entropy(
    logits_BK: Tensor, targets_B: Tensor, *, class_weights: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """The loss of ordered classes: the cross-entropies of "above class k or not", summed over k = 0 to K - 2.

    A miss by three steps is wrong at three thresholds and costs accordingly. CORAL gives every threshold a logit and
    has to tie them so that P(above k) falls with k; here they are sums of softmax probabilities and fall by
    themselves, and a network has K outputs as for classes without an order. Of two classes it is the cross-entropy.

    Args:
        logits_BK: float, finite, shape (B, K), the classes in their order.
        targets_B: int64 in [0, K), shape (B,).
        class_weights: as in `cross_entropy`.
        reduction: "mean" over the batch, "sum" or "none".

    Returns:
        The loss in nats, 0-dimensional, or with "none" shape (B,).

    Raises:
        ValueError: there is no such reduction.

    Example:
        >>> near, far = (cumulative_cross_entropy(torch.tensor([[4.0, 0.0, 0.0]]), torch.tensor([k])) for k in (1, 2))
        >>> round(near.item(), 2), round(far.item(), 2)
        (3.36, 7.38)

    References:
        Cao, Mirjalili and Raschka, "Rank consistent ordinal regression for neural networks with application to age
            estimation", Pattern Recognition Letters 140, 2020, equation 4 (CORAL).
    """
    log_p_KB = torch.log_softmax(logits_BK.t(), dim=0)
    below_TB = torch.logcumsumexp(log_p_KB, dim=0)[:-1]
    above_TB = torch.logcumsumexp(log_p_KB.flip(0), dim=0).flip(0)[1:]
    thresholds_T1 = torch.arange(len(log_p_KB) - 1, device=targets_B.device)[:, None]
    losses_B = -torch.where(targets_B > thresholds_T1, above_TB, below_TB).sum(dim=0)
    if class_weights is None:
        return reduce_losses(losses_B, reduction)
    weights_B = class_weights.to(logits_BK.device, logits_BK.dtype)[targets_B]
    return reduce_losses(weights_B * losses_B, reduction, weights_B.sum())
