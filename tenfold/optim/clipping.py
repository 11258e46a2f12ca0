"""Clipping and normalising gradients, each member's by its own bound; between `backward` and `step`.

Members do not see each other's gradients: what is NaN or infinite in one stays there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.stacking.layout import per_member_shape


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: Any) -> Tensor:
    """Scales each member's gradient down to a norm of at most `max_norm`.

    Args:
        parameters: stacked parameters whose gradients are set; those without one are passed over.
        max_norm: the largest allowed 2-norm, over all of a member's gradients together; > 0, or one a member, shape
            (M,). Infinity leaves the member's gradient as it is, bit for bit.

    Returns:
        Each member's norm before clipping, float, shape (M,).

    Raises:
        ValueError: no parameter has a gradient, or the bound is not positive.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(1, 1, bias=False) for _ in range(3)])
        >>> stack.backward(stack.each(lambda model: 3 * model.weight.sum()))
        >>> clip_grad_norm_(stack.parameters(), [2.0, 5.0, torch.inf]).tolist()
        [3.0, 3.0, 3.0]
        >>> stack.parameters()[0].grad.flatten().round(decimals=3).tolist()
        [2.0, 3.0, 3.0]

    References:
        Pascanu, Mikolov, Bengio: On the difficulty of training recurrent neural networks, ICML 2013, algorithm 1;
        values as torch.nn.utils.clip_grad_norm_'s.
    """
    gradients = _gradients("clip_grad_norm_", parameters)
    norm_M = _norm_of_all(gradients)
    bound = _bound("clip_grad_norm_", "max_norm", max_norm, norm_M)
    scale_M = _clip_scale(norm_M, bound)
    for gradient in gradients:
        gradient.mul_(per_member_shape(scale_M, gradient))
    return norm_M


def clipped(gradients: Sequence[Tensor], bound_M: Tensor) -> list[Tensor]:
    """The gradients as `clip_grad_norm_` leaves them, without its checks; for programs that are traced.

    Args:
        gradients: of all of a member's parameters, each of shape (M, ...).
        bound_M: the largest allowed norms, shape (M,).
    """
    norm_M = _norm_of_all(gradients)
    scale_M = _clip_scale(norm_M, bound_M.to(norm_M.dtype))
    return [gradient * per_member_shape(scale_M, gradient) for gradient in gradients]


def _clip_scale(norm_M: Tensor, bound: Tensor) -> Tensor:
    scale_M = (bound / (norm_M + 1e-6)).clamp(max=1.0)
    return torch.where(bound.isinf(), 1.0, scale_M)  # else inf / inf would touch a member that is not clipped


def clip_grad_value_(parameters: Iterable[Tensor], clip_value: Any) -> None:
    """Cuts every number of each member's gradient off at `clip_value` and at its negative.

    Args:
        parameters: stacked parameters whose gradients are set; those without one are passed over.
        clip_value: the largest allowed size; > 0, or one a member, shape (M,). Infinity leaves the member's gradient
            as it is, bit for bit. A NaN stays one.

    Raises:
        ValueError: no parameter has a gradient, or the bound is not positive.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(1, 1, bias=False) for _ in range(2)])
        >>> stack.backward(stack.each(lambda model: -3 * model.weight.sum()))
        >>> clip_grad_value_(stack.parameters(), [2.0, torch.inf])
        >>> stack.parameters()[0].grad.flatten().tolist()
        [-2.0, -3.0]

    References:
        torch.nn.utils.clip_grad_value_.
    """
    gradients = _gradients("clip_grad_value_", parameters)
    bound_M = _bound("clip_grad_value_", "clip_value", clip_value, _one_a_member(gradients))
    for gradient in gradients:
        bound = per_member_shape(bound_M.expand(len(gradient)).to(gradient.dtype), gradient)
        gradient.clamp_(min=-bound, max=bound)


def normalize_grad_(parameters: Iterable[Tensor], norm: Any = 1.0) -> Tensor:
    """Scales each member's gradient to a norm, whatever it was before.

    A gradient that is zero stays zero. A norm of NaN or infinity leaves NaN in it.

    Args:
        parameters: stacked parameters whose gradients are set; those without one are passed over.
        norm: the 2-norm of all of a member's gradients together; > 0 and finite, or one a member, shape (M,).

    Returns:
        Each member's norm before, float, shape (M,).

    Raises:
        ValueError: no parameter has a gradient, or the norm is not positive or not finite.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(1, 1, bias=False) for _ in range(2)])
        >>> stack.backward(stack.each(lambda model: 4 * model.weight.sum()))
        >>> normalize_grad_(stack.parameters(), [1.0, 0.5]).tolist()
        [4.0, 4.0]
        >>> stack.parameters()[0].grad.flatten().tolist()
        [1.0, 0.5]

    References:
        Hazan, Levy, Shalev-Shwartz: Beyond convexity: stochastic quasi-convex optimization, NeurIPS 2015,
        algorithm 1.
    """
    gradients = _gradients("normalize_grad_", parameters)
    norm_M = _norm_of_all(gradients)
    wanted = _bound("normalize_grad_", "norm", norm, norm_M, finite=True)
    scale_M = torch.where(norm_M == 0, 1.0, wanted / norm_M)
    for gradient in gradients:
        gradient.mul_(per_member_shape(scale_M, gradient))
    return norm_M


def _gradients(owner: str, parameters: Iterable[Tensor]) -> list[Tensor]:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        raise ValueError(f"{owner}: no parameter has a gradient. Call it between backward() and step().")
    return gradients


def _one_a_member(gradients: Sequence[Tensor]) -> Tensor:
    """Zeros of shape (M,) where the gradients are; float64, which every bound is rounded from once."""
    return torch.zeros(len(gradients[0]), dtype=torch.float64, device=gradients[0].device)


def _bound(owner: str, name: str, value: Any, like_M: Tensor, *, finite: bool = False) -> Tensor:
    """A bound, shape () or (M,), in the dtype of what it bounds."""
    bound = torch.as_tensor(value, dtype=like_M.dtype, device=like_M.device)
    on_host = bound if isinstance(value, Tensor) else torch.from_numpy(np.asarray(value, dtype=np.float64))
    allowed = (on_host > 0) & (on_host.isfinite() if finite else True)
    if bound.shape not in ((), like_M.shape) or not bool(allowed.all()):
        raise ValueError(
            f"{owner}: {name} must be > 0{' and finite' if finite else ''}, a number or one a member, shape "
            f"{tuple(like_M.shape)}, got {value!r}."
        )
    return bound


def _norm_of_all(gradients: Sequence[Tensor]) -> Tensor:
    """The 2-norm of all of each member's gradients together, shape (M,)."""
    return torch.linalg.vector_norm(torch.stack([_norm_of_each(gradient) for gradient in gradients]), dim=0)


def _norm_of_each(gradient: Tensor) -> Tensor:
    """The 2-norm of each member's part, shape (M,)."""
    if gradient.dim() == 1:  # an empty dim below would reduce over the members
        return gradient.abs()
    return torch.linalg.vector_norm(gradient, dim=tuple(range(1, gradient.dim())))
