"""Losses by name, torch's own where it has them.

Each takes `reduction="mean" | "sum" | "none"`. What the mean is over:

| name | of | the mean is over |
|---|---|---|
| `l1`, `l2` (also `mse`), `smooth_l1`, `huber`, `log_cosh` | numbers | all elements |
| `bce` | probabilities of yes | all elements |
| `bce_with_logits`, `binary_focal` | log-odds of yes | all elements |
| `nll` | log-probabilities of classes | targets, weighted by class, without those ignored |
| `cross_entropy`, `focal` | logits of classes | targets, weighted by class, without those ignored |
| `ordinal` | logits of ordered classes | targets, weighted by class |
| `dice`, `tversky` | logits of classes | the classes |
| `triplet` | three embeddings | the triplets |
| `contrastive` | two embeddings | the pairs |
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from tenfold.core.errors import did_you_mean
from tenfold.core.registry import Registry
from tenfold.nn.binary_losses import binary_cross_entropy, binary_focal_loss
from tenfold.nn.class_losses import cross_entropy, cumulative_cross_entropy, focal_loss
from tenfold.nn.number_losses import log_cosh
from tenfold.nn.overlap_losses import dice_loss, tversky_loss
from tenfold.nn.pair_losses import contrastive_loss

Loss = Callable[..., Tensor]

_BY_NAME: dict[str, Loss] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "mse": F.mse_loss,
    "smooth_l1": F.smooth_l1_loss,
    "huber": F.huber_loss,
    "log_cosh": log_cosh,
    "bce": F.binary_cross_entropy,
    "bce_with_logits": binary_cross_entropy,
    "binary_focal": binary_focal_loss,
    "nll": F.nll_loss,
    "cross_entropy": cross_entropy,
    "focal": focal_loss,
    "ordinal": cumulative_cross_entropy,
    "dice": dice_loss,
    "tversky": tversky_loss,
    "triplet": F.triplet_margin_loss,
    "contrastive": contrastive_loss,
}
LOSSES: Registry[Loss] = Registry("loss")
for _name, _loss in _BY_NAME.items():
    LOSSES.add(_name, _loss)


def loss_function(loss: str | Loss, **options: Any) -> Loss:
    """A loss with its options: one of `LOSSES` by name, or a function of one's own.

    Args:
        loss: a name in `LOSSES`, or any function `(outputs, targets, ...) -> loss`.
        **options: bound to it, such as `reduction="sum"`, `label_smoothing=0.1` or `margin=0.5`.

    Returns:
        A function of outputs and targets (of three embeddings for `triplet`, of two and same-or-not for
        `contrastive`).

    Raises:
        InputError: there is no loss of this name.
        TypeError: it is neither a name nor a function.
        ValueError: a named loss has no such option.

    Example:
        >>> import torch
        >>> huber = loss_function("huber", delta=2.0)
        >>> huber(torch.tensor([3.0]), torch.tensor([0.0])).item()
        4.0
        >>> loss_function("focal", gamma=1.0)
        Traceback (most recent call last):
            ...
        ValueError: loss_function: 'gamma' is not an option of 'focal'. Did you mean 'focal_gamma'?
    """
    if not isinstance(loss, str):
        if not callable(loss):
            raise TypeError(
                f"loss_function: loss must be a name or a function, got {loss!r}. Name one of {tuple(LOSSES)}."
            )
        return partial(loss, **options) if options else loss
    function = LOSSES[loss]
    known = [name for name, argument in inspect.signature(function).parameters.items() if _is_option(argument)]
    for name in options:
        if name not in known:
            raise ValueError(f"loss_function: {name!r} is not an option of {loss!r}.{did_you_mean(name, known)}")
    return partial(function, **options)


def _is_option(argument: inspect.Parameter) -> bool:
    """Whether it may be left out, torch's old pair for the reduction aside."""
    return argument.default is not argument.empty and argument.name not in ("size_average", "reduce")
