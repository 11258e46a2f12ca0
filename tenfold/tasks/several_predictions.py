"""Networks that make several predictions of each sample, each with a loss of its own.

Such a network is an ordinary module, whose `forward` gives the mean, with one method more:
`forward_each(*inputs) -> (B, E, ...)`. A task trains each of the E predictions on the target, and averages them in
the units in which an average means something: probabilities of classes, and numbers.

B batch, E predictions of a sample, K outputs
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn


def outputs_of(model: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, int]:
    """What a model says of a batch, and how many predictions it makes of each sample.

    Args:
        model: called as `model(*inputs)`, or, where it has that method, `model.forward_each(*inputs)`.
        inputs: of one batch.

    Returns:
        Outputs of shape (B, ...) and 1, or of shape (B * E, ...), a sample's side by side, and E.

    Raises:
        TypeError: the outputs are no tensor.

    Example:
        >>> import torch
        >>> outputs_of(nn.Linear(3, 2), [torch.zeros(5, 3)])[1]
        1
    """
    forward_each = getattr(model, "forward_each", None)
    if forward_each is None:
        return one_output(model, inputs), 1
    outputs = forward_each(*inputs)
    return outputs.flatten(0, 1), outputs.shape[1]


def one_output(model: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """What a model says of a batch.

    Raises:
        TypeError: it is no tensor, but several or a dict of them, say.
    """
    outputs = model(*inputs)
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"{type(model).__name__}: the model must return one tensor, got {type(outputs).__name__}. Wrap it in a "
            "module that returns the outputs to train on alone."
        )
    return outputs


def for_each(targets: Tensor, num_predictions: int) -> Tensor:
    """Targets of shape (B, ...), each as often as its sample is predicted.

    Example:
        >>> import torch
        >>> for_each(torch.tensor([3, 7]), 2).tolist()
        [3, 3, 7, 7]
    """
    return targets if num_predictions == 1 else targets.repeat_interleave(num_predictions, dim=0)


def log_mean_exp(log_p: Tensor, num_predictions: int) -> Tensor:
    """The log of the mean probability of each sample: from shape (B * E, K) to (B, K).

    Example:
        >>> import torch
        >>> round(log_mean_exp(torch.tensor([[0.2], [0.4]]).log(), 2).exp().item(), 4)
        0.3
    """
    return log_p.unflatten(0, (-1, num_predictions)).logsumexp(dim=1) - math.log(num_predictions)
