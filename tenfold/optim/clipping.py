"""Clipping gradients, each member's by its own bound."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from tenfold.stacking.layout import per_member_shape


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float | Tensor) -> Tensor:
    """Scales each member's gradient down to a norm of at most `max_norm`; members do not see each other's.

    Args:
        parameters: stacked parameters whose gradients are set; those without one are passed over.
        max_norm: the largest allowed 2-norm, over all of a member's gradients together; a number > 0, or shape (M,).

    Returns:
        Each member's norm before clipping, float, shape (M,).

    Raises:
        ValueError: no parameter has a gradient, or the bound is not positive.

    References:
        Pascanu, Mikolov, Bengio: On the difficulty of training recurrent neural networks, ICML 2013, algorithm 1.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        raise ValueError("clip_grad_norm_: no parameter has a gradient. Call it between backward() and step().")
    norms = torch.stack([_norm_of_each(gradient) for gradient in gradients])
    norm_M = torch.linalg.vector_norm(norms, dim=0)
    bound = torch.as_tensor(max_norm, dtype=norm_M.dtype, device=norm_M.device)
    positive = bool((bound > 0).all()) if isinstance(max_norm, Tensor) else bool(np.all(np.asarray(max_norm) > 0))
    if bound.shape not in ((), norm_M.shape) or not positive:
        raise ValueError(
            f"clip_grad_norm_: max_norm must be > 0, a number or one a member, shape {tuple(norm_M.shape)}, "
            f"got {max_norm!r}."
        )
    scale_M = (bound / (norm_M + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(per_member_shape(scale_M, gradient))
    return norm_M


def _norm_of_each(gradient: Tensor) -> Tensor:
    """The 2-norm of each member's part, shape (M,)."""
    if gradient.dim() == 1:  # an empty dim below would reduce over the members
        return gradient.abs()
    return torch.linalg.vector_norm(gradient, dim=tuple(range(1, gradient.dim())))
