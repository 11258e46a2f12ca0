"""Weights of classes and labels in the loss: what balances them, and their check.

N samples, K classes, L labels
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tenfold.tasks.task_losses import TaskLoss


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


def balanced_positive_weights(targets_NL: Tensor) -> Tensor:
    """Weights that let the true samples of a label count as much as its false ones: false / true.

    Args:
        targets_NL: 0 and 1, of the training part, shape (N, L).

    Returns:
        float32, shape (L,); 1 for a label that is true nowhere or everywhere.

    Example:
        >>> balanced_positive_weights(torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 1.0]]))
        tensor([2., 1.])

    References:
        King and Zeng, "Logistic Regression in Rare Events Data", Political Analysis 9, 2001, section 3.2.
    """
    true_L = targets_NL.float().sum(dim=0)
    false_L = len(targets_NL) - true_L
    return torch.where((true_L > 0) & (false_L > 0), false_L / true_L, 1.0)


def weights_of(weights: Tensor, values: Mapping[str, Tensor], device: torch.device) -> Tensor:
    """The weights of one member, on a device: of a table its own row, raised to its power.

    Args:
        weights: shape (K,), or a table of one row a fold, shape (F, K).
        values: the member's: "weights_row", by default the first, and "class_weight_power".
        device: where the loss is computed.

    Example:
        >>> table = torch.tensor([[1.0, 4.0], [2.0, 9.0]])
        >>> values = {"weights_row": torch.tensor(1.0), "class_weight_power": torch.tensor(0.5)}
        >>> weights_of(table, values, torch.device("cpu"))
        tensor([1.4142, 3.0000])
    """
    weights = weights.to(device)
    if weights.dim() == 2:
        row = values.get("weights_row", torch.zeros((), device=device))
        weights = weights.index_select(0, row.long().reshape(1))[0]
    return weights ** values["class_weight_power"] if "class_weight_power" in values else weights


def weight_values(weights: Tensor) -> dict[str, float]:
    """The hyper-parameters that weights bring, with their defaults: a power, and of a table the row."""
    return {"class_weight_power": 1.0, **({"weights_row": 0.0} if weights.dim() == 2 else {})}


def checked_weights(caller: str, name: str, weights: Tensor, length: int, noun: str, advice: str) -> Tensor:
    """Weights of classes or labels, as a tensor.

    Args:
        caller: the public name for messages.
        name: the parameter's.
        weights: shape (length,), or (F, length): a row for each fold, of which members have theirs.
        length: how many there must be.
        noun: what each is for.
        advice: how to get right ones, a sentence.

    Raises:
        ValueError: another shape, a negative or infinite weight, or all 0.
    """
    tensor = torch.as_tensor(weights)
    if tensor.dim() not in (1, 2) or tensor.shape[-1] != length or not len(tensor):
        raise ValueError(
            f"{caller}: {name} must have shape ({length},), got {tuple(tensor.shape)}. Give one weight a {noun}."
        )
    if not bool((tensor >= 0).all() and tensor.isfinite().all() and (tensor > 0).any(dim=-1).all()):
        raise ValueError(
            f"{caller}: {name} must be finite, at least 0 and not all 0, got {tensor.tolist()!r}. {advice}"
        )
    return tensor


def refuse_weights_of_own_loss(caller: str, name: str, loss: TaskLoss) -> None:
    """Refuses weights beside a user's own function, which knows nothing of them.

    Raises:
        ValueError: the loss takes no weights.
    """
    if not loss.takes_weights:
        raise ValueError(
            f"{caller}: {name} go with a loss by name, got a function. Weigh inside the function, or name a loss."
        )
