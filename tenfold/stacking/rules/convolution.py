"""Convolutions and ReLU in compiled steps on the CPU: members are folded into channels, and channels lie last.

All layers in a row see the same layout so: with vmap's own forms the compiler turned the activations of LeNet around
from one layer to the next, at a quarter of its time. Batch norm and pooling (`pooling.py`) fold alike.

Letters: M members, B batch, C channels, H W.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.stacking.rules.at_once import are_members, at_once
from tenfold.stacking.rules.tracing import is_traced


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Vmap adds the bias, and sums its gradient up, in steps of their own and in a layout of their own."""
    if not (_is_folded(input) and are_members(weight)):
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)

    def run(x_MBCHW: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        members = len(weight)
        is_shared = x_MBCHW.stride(0) == 0 and groups == 1
        x = x_MBCHW[0] if is_shared else x_MBCHW.transpose(0, 1).flatten(1, 2)
        own_bias = None if bias is None else bias.flatten()
        number = 1 if is_shared else members * groups
        output = F.conv2d(_last(x), weight.flatten(0, 1), own_bias, stride, padding, dilation, number)
        return _last(output).unflatten(1, (members, -1)).transpose(0, 1)

    return at_once(run, input, weight, bias)


def _is_folded(input: Tensor) -> bool:
    return is_traced() and input.dim() == 4 and input.device.type == "cpu"


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _relu(input: Tensor, inplace: bool = False) -> Tensor:
    """With members in the channels, as the convolution before leaves it, so that nothing is turned around."""
    if not (_is_folded(input) and are_members(input)):
        return F.relu(input, inplace)

    def run(x_MBCHW: Tensor) -> Tensor:
        x = x_MBCHW.transpose(0, 1)
        return torch.relu(x.flatten(1, 2)).unflatten(1, x.shape[1:3]).transpose(0, 1)

    output = at_once(run, input)
    return input.copy_(output) if inplace else output


CONVOLUTIONS: dict[Any, Callable[..., Any]] = {F.conv2d: _conv2d, F.relu: _relu}
