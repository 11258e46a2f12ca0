"""Dropout in all its kinds, under the member's own stream; `p` is a number or a value a member.

References:
    Srivastava et al.: Dropout, JMLR 2014. Tompson et al.: Efficient object localization using convolutional
    networks, CVPR 2015 (whole channels). Klambauer et al.: Self-normalizing neural networks, NeurIPS 2017 (alpha).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.stacking.streams import member_streams
from tenfold.stacking.values import plain_number

_SELU_SATURATION = 1.7580993408473766  # -alpha' of the paper: SELU's value at minus infinity, negated


def dropped(input: Tensor, shape: Sequence[int], p: Any, training: bool, inplace: bool = False) -> Tensor:
    """Dropout of the elements of a shape that broadcasts against the input."""
    kept = _kept(input, shape, p, training)
    if kept is None:
        return input
    if isinstance(p, int | float):
        scale = kept.to(input.dtype) / (1.0 - p if p < 1.0 else 1.0)
    else:
        rate = _rate(p, input)
        scale = kept.to(input.dtype) / torch.where(rate < 1.0, 1.0 - rate, 1.0).to(input.dtype)
    return input.mul_(scale) if inplace else input * scale


def _kept(input: Tensor, shape: Sequence[int], p: Any, training: bool) -> Tensor | None:
    """Which elements stay; None when all do.

    Training takes a call site even where p is 0: a member must draw the same whatever the others' p.
    """
    if isinstance(p, int | float) and not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p must be in [0, 1], got {p!r}.")
    if not training:
        return None
    if isinstance(p, int | float) and p == 0.0:
        member_streams().skip()
        return None
    uniform = member_streams().uniform(shape, torch.float64 if input.dtype == torch.float64 else torch.float32)
    return uniform >= (p if isinstance(p, int | float) else _rate(p, uniform).to(uniform.dtype))


def _rate(p: Any, like: Tensor) -> Tensor:
    p = plain_number(p)
    return p if isinstance(p, Tensor) else torch.tensor(float(p), dtype=torch.float64, device=like.device)


def _dropout(input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    return dropped(input, input.shape, p, training, inplace)


def _channels(input: Tensor, num_batched: int) -> tuple[int, ...]:
    """The shape of one number a channel; `num_batched` counts a batch's dimensions (one sample has one less)."""
    # torch reads 3-D input of dropout2d as (B, C, L)
    leading = 1 if input.dim() == num_batched - 1 and num_batched != 4 else 2
    return (*input.shape[:leading], *(1,) * (input.dim() - leading))


def _feature_dropout(num_batched: int) -> Callable[..., Tensor]:
    def rule(input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return dropped(input, _channels(input, num_batched), p, training, inplace)

    return rule


def _alpha_dropped(input: Tensor, shape: Sequence[int], p: Any, training: bool, inplace: bool) -> Tensor:
    """What is dropped becomes SELU's saturation; an affine map keeps mean and variance."""
    kept = _kept(input, shape, p, training)
    if kept is None:
        return input
    rate = _rate(p, input)
    left = torch.where(rate < 1.0, (_SELU_SATURATION**2 * rate + 1.0) * (1.0 - rate), 1.0)
    slope = torch.where(rate < 1.0, left.rsqrt(), 0.0)
    kept = kept.to(input.dtype)
    shift = _SELU_SATURATION * slope * rate
    offset = (kept - 1.0) * (_SELU_SATURATION * slope).to(input.dtype) + shift.to(input.dtype)
    scale = kept * slope.to(input.dtype)
    return input.mul_(scale).add_(offset) if inplace else input * scale + offset


def _alpha_dropout(input: Tensor, p: Any = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    return _alpha_dropped(input, input.shape, p, training, inplace)


def _feature_alpha_dropout(input: Tensor, p: Any = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    return _alpha_dropped(input, (*input.shape[:2], *(1,) * (input.dim() - 2)), p, training, inplace)


def _rrelu(
    input: Tensor, lower: Any = 1.0 / 8, upper: Any = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Negative inputs times a slope of their own, uniform between the bounds; in evaluation times the middle."""
    low, high = plain_number(lower), plain_number(upper)
    slope: Any = (low + high) / 2
    if training:
        fine = torch.float64 if input.dtype == torch.float64 else torch.float32
        slope = low + (high - low) * member_streams().uniform(input.shape, fine)
    if not training and not isinstance(slope, Tensor):
        return F.leaky_relu(input, slope, inplace)
    slope = slope.to(input.dtype)
    scale = torch.where(input > 0, torch.ones_like(slope), slope)
    return input.mul_(scale) if inplace else input * scale


DROPOUT: dict[Any, Callable[..., Any]] = {
    F.dropout: _dropout,
    torch.dropout: _dropout,
    F.dropout1d: _feature_dropout(3),
    F.dropout2d: _feature_dropout(4),
    F.dropout3d: _feature_dropout(5),
    F.alpha_dropout: _alpha_dropout,
    F.feature_alpha_dropout: _feature_alpha_dropout,
    F.rrelu: _rrelu,
    torch.rrelu: _rrelu,
}
