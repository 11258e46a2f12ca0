"""Losses by name: functions of a network's outputs and the targets, the mean over the batch.

They hold no state and have no branch on a tensor's value, so that they run under `vmap` with a value a
member, label smoothing included.

B batch, K classes
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tenfold.core.registry import Registry

LOSSES: Registry[Callable[..., Tensor]] = Registry("loss")


def cross_entropy(logits_BK: Tensor, targets_B: Tensor, *, label_smoothing: float | Tensor = 0.0) -> Tensor:
    """Mean negative log-likelihood of the classes, with label smoothing.

    As `torch.nn.functional.cross_entropy`, but `label_smoothing` may be a tensor: a value a member under
    `vmap`.

    Args:
        logits_BK: float, shape (B, K).
        targets_B: int64 class indices in [0, K), shape (B,).
        label_smoothing: weight of the uniform distribution in the target, in [0, 1]; a number or a 0-d
            tensor.

    Returns:
        The mean over the batch, 0-d.

    Example:
        >>> round(cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3])).item(), 4)  # log 4
        1.3863

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7.
    """
    if not isinstance(label_smoothing, Tensor):
        return F.cross_entropy(logits_BK, targets_B, label_smoothing=label_smoothing)
    log_probabilities_BK = torch.log_softmax(logits_BK, dim=1)
    of_target_B = log_probabilities_BK.gather(1, targets_B[:, None]).squeeze(1)
    return -((1.0 - label_smoothing) * of_target_B + label_smoothing * log_probabilities_BK.mean(dim=1)).mean()


def mse(outputs_B1: Tensor, targets_B: Tensor) -> Tensor:
    """Mean squared error.

    Args:
        outputs_B1: float, shape (B, 1), the one output of a regression network.
        targets_B: float, shape (B,).

    Returns:
        The mean over the batch, 0-d, in squared units of the target.

    Example:
        >>> mse(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 4.0]))
        tensor(2.)
    """
    return F.mse_loss(outputs_B1.squeeze(1), targets_B)


def mae(outputs_B1: Tensor, targets_B: Tensor) -> Tensor:
    """Mean absolute error, which a few wild targets move less than `mse`; shapes as there.

    Example:
        >>> mae(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 4.0]))
        tensor(1.)
    """
    return F.l1_loss(outputs_B1.squeeze(1), targets_B)


def huber(outputs_B1: Tensor, targets_B: Tensor, *, delta: float = 1.0) -> Tensor:
    """Squared error up to `delta` (in units of the target), absolute error beyond; shapes as in `mse`.

    Example:
        >>> huber(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 4.0]))
        tensor(0.7500)

    References:
        Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35, 1964.
    """
    return F.huber_loss(outputs_B1.squeeze(1), targets_B, delta=delta)


LOSSES.add("cross_entropy", cross_entropy)
LOSSES.add("mse", mse)
LOSSES.add("mae", mae)
LOSSES.add("huber", huber)


def loss_by_name(name: str) -> Callable[..., Tensor]:
    """The loss function of this name.

    Args:
        name: a name in `LOSSES`.

    Raises:
        InputError: there is no such loss.

    Example:
        >>> loss_by_name("mse")(torch.zeros(3, 1), torch.ones(3))
        tensor(1.)
    """
    return LOSSES[name]
