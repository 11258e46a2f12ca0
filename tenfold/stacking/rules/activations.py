"""Activations whose parameter is a value a member; with a plain number PyTorch's own kernels stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.stacking.values import MemberNumber


def _of_members(native: Callable[..., Tensor], negative: Callable[[Tensor, Tensor], Tensor], default: float) -> Any:
    """X where it is positive, `negative(x, number)` elsewhere."""

    def rule(input: Tensor, number: Any = default, inplace: bool = False, **named: Any) -> Tensor:
        number = next(iter(named.values()), number)
        if not isinstance(number, MemberNumber):
            return native(input, number, inplace)
        x = input.clone() if inplace else input
        output = torch.where(x > 0, x, negative(x.clamp(max=0), number.tensor.to(x.dtype)))
        return input.copy_(output) if inplace else output

    return rule


ACTIVATIONS: dict[Any, Callable[..., Any]] = {
    F.leaky_relu: _of_members(F.leaky_relu, lambda x, slope: x * slope, 0.01),
    F.elu: _of_members(F.elu, lambda x, alpha: torch.expm1(x) * alpha, 1.0),
}
