"""Options in the arithmetic of stacked tensors: a number, or a value a member.

A number goes into a kernel as it is: a float32 tensor of it would be off by 1e-8. Values a member are kept in
float64, and rounded once, to the dtype of the tensor that they meet.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tenfold.stacking.layout import per_member_shape

Value = float | Tensor


def spread(value: Value, like: Tensor) -> Any:
    """An option ready to be multiplied with a stacked tensor: a number, or shape (M, 1, ..., 1) in its dtype."""
    return per_member_shape(value, like).to(like.dtype) if isinstance(value, Tensor) else value


def is_zero(value: Value) -> bool:
    """Whether an option is switched off for every member (a value a member counts as on)."""
    return not isinstance(value, Tensor) and value == 0


def to_the_power(base: Value, exponent: Value) -> Value:
    """Base ** exponent, for a base in [0, 1).

    Of tensors by `exp`: TorchInductor then computes it once a member, and not for every element that it meets.
    """
    if not isinstance(exponent, Tensor):
        return base**exponent
    logarithm = base.log() if isinstance(base, Tensor) else math.log(base) if base > 0 else -math.inf
    return torch.exp(exponent * logarithm)


def at_most(value: Value, high: float) -> Value:
    """The smaller of the two, of each member."""
    return value.clamp(max=high) if isinstance(value, Tensor) else min(value, high)


def at_least(value: Value, low: float) -> Value:
    """The larger of the two, of each member."""
    return value.clamp(min=low) if isinstance(value, Tensor) else max(value, low)


def as_scalar_state(value: Value) -> Value:
    """Rounds as torch.optim does where it keeps a scalar between steps: to float32, unless the default is float64."""
    dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    if isinstance(value, Tensor):
        return value.to(dtype).double()
    return torch.tensor(value, dtype=dtype).item()


def add_scaled(tensor: Tensor, other: Tensor, value: Value, out: Tensor) -> Tensor:
    """`out` = tensor + value * other."""
    if isinstance(value, Tensor):
        return torch.addcmul(tensor, other, spread(value, other), out=out)
    return torch.add(tensor, other, alpha=value, out=out)


def blend_square_(square: Tensor, gradient: Tensor, beta: Value, spare: Tensor) -> None:
    """`square` = beta * square + (1 - beta) * gradient^2; `spare` is overwritten."""
    square.mul_(spread(beta, square))
    if isinstance(beta, Tensor):
        square.addcmul_(torch.mul(gradient, spread(1.0 - beta, gradient), out=spare), gradient)
    else:
        square.addcmul_(gradient, gradient, value=1.0 - beta)


def advance_(parameters: list[Tensor], directions: list[Tensor], rate: Value) -> None:
    """Each parameter += rate * direction; all of one dtype."""
    if isinstance(rate, Tensor):
        torch._foreach_addcmul_(parameters, directions, _for_each(rate, parameters))
    else:
        torch._foreach_add_(parameters, directions, alpha=rate)


def shrink_(parameters: list[Tensor], factor: Value) -> None:
    """Each parameter *= factor; all of one dtype."""
    torch._foreach_mul_(parameters, _for_each(factor, parameters))


def _for_each(value: Value, tensors: list[Tensor]) -> Any:
    """A number as it is; values a member rounded once, shaped to broadcast against each of the tensors."""
    if not isinstance(value, Tensor):
        return value
    value_M = value.to(tensors[0].dtype)
    return [per_member_shape(value_M, tensor) for tensor in tensors]
