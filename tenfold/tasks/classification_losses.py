"""Losses of a classifier: cross-entropy and focal loss, the cumulative one for ordered classes, class weights.

Every loss is `(logits_BK, targets_B, options) -> loss`, a mean over the batch. Options that may differ by member are
0-dimensional tensors under `vmap`, so that a search may draw them.

B batch, K classes, N samples, T = K - 1 thresholds
"""

from __future__ import annotations

import torch
from torch import Tensor


def cross_entropy(
    logits_BK: Tensor,
    targets_B: Tensor,
    *,
    label_smoothing: float | Tensor | None = None,
    class_weights: Tensor | None = None,
    focal_gamma: float | Tensor | None = None,
) -> Tensor:
    """`torch.nn.functional.cross_entropy` with options that may be tensors, one value a member under vmap.

    Args:
        logits_BK: float, shape (B, K).
        targets_B: int64 in [0, K), shape (B,).
        label_smoothing: share of the target that is spread evenly over all classes, in [0, 1], a number or a
            0-dimensional tensor; None for 0.
        class_weights: shape (K,); each sample counts by its target's weight, and the mean is over these weights.
        focal_gamma: at least 0: each class's loss is multiplied by (1 - p) to this power, so that what is learned
            already counts little; None for 0.

    Returns:
        The mean over the batch, in nats, 0-dimensional.

    Example:
        >>> cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]), label_smoothing=torch.tensor(0.1)).item()
        1.386294...

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7.
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    losses_KB = -torch.log_softmax(logits_BK.t(), dim=0)  # ten times as quick as over rows of few classes
    if focal_gamma is not None:
        losses_KB = focal(losses_KB, focal_gamma)
    hard_B = losses_KB.gather(0, targets_B[None]).squeeze(0)
    if class_weights is None:
        hard, even = hard_B.mean(), losses_KB.mean()
    else:
        weights_K = class_weights.to(logits_BK.device, logits_BK.dtype)
        weights_B = weights_K[targets_B]
        hard = (weights_B * hard_B).sum() / weights_B.sum()
        even = (losses_KB * weights_K[:, None]).mean(dim=0).sum() / weights_B.sum()
    if label_smoothing is None:
        return hard
    share = torch.as_tensor(label_smoothing, dtype=logits_BK.dtype, device=logits_BK.device)
    # A class that is masked by a logit of -inf has an infinite loss: 0 times it would be NaN.
    return (1 - share) * hard + torch.where(share > 0, share * even, 0.0)


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


def cumulative_cross_entropy(logits_BK: Tensor, targets_B: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    """The loss of ordered classes: the cross-entropies of "above class k or not", summed over k = 0 to K - 2.

    A miss by three steps is wrong at three thresholds and costs accordingly. CORAL gives every threshold a logit and
    has to tie them so that P(above k) falls with k; here they are sums of softmax probabilities and fall by
    themselves, and a network has K outputs as for classes without an order. Of two classes it is the cross-entropy.

    Args:
        logits_BK: float, finite, shape (B, K), the classes in their order.
        targets_B: int64 in [0, K), shape (B,).
        class_weights: as in `cross_entropy`.

    Returns:
        The mean over the batch, in nats, 0-dimensional.

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
        return losses_B.mean()
    weights_B = class_weights.to(logits_BK.device, logits_BK.dtype)[targets_B]
    return (weights_B * losses_B).sum() / weights_B.sum()


def balanced_class_weights(targets_N: Tensor, num_classes: int) -> Tensor:
    """Weights that let every class count alike in the loss: N / (K * number of samples of the class).

    Args:
        targets_N: int64 class indices of the training part (of this fold, and no other), shape (N,).
        num_classes: K.

    Returns:
        float32, shape (K,); a class without a sample has weight 0.

    Example:
        >>> balanced_class_weights(torch.tensor([0, 0, 0, 1]), 2)
        tensor([0.6667, 2.0000])

    References:
        King and Zeng, "Logistic Regression in Rare Events Data", Political Analysis 9, 2001, section 3.2.
    """
    counts_K = torch.bincount(targets_N, minlength=num_classes)
    return torch.where(counts_K > 0, len(targets_N) / (num_classes * counts_K), 0.0)


def checked_weights(caller: str, name: str, weights: Tensor, length: int, noun: str, advice: str) -> Tensor:
    """Weights of classes or labels, as a tensor.

    Args:
        caller: the public name for messages.
        name: the parameter's.
        weights: shape (length,).
        length: how many there must be.
        noun: what each is for.
        advice: how to get right ones, a sentence.

    Raises:
        ValueError: another shape, a negative or infinite weight, or all 0.
    """
    tensor = torch.as_tensor(weights)
    if tensor.shape != (length,):
        raise ValueError(
            f"{caller}: {name} must have shape ({length},), got {tuple(tensor.shape)}. Give one weight a {noun}."
        )
    if not bool((tensor >= 0).all() and tensor.isfinite().all() and (tensor > 0).any()):
        raise ValueError(
            f"{caller}: {name} must be finite, at least 0 and not all 0, got {tensor.tolist()!r}. {advice}"
        )
    return tensor
