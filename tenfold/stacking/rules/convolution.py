"""Convolutions on the CPU, and ReLU in compiled steps.

As they come, steps convolve with kernels of ours where there are such (`kernels/convolution.py`): samples lie last in
memory, and stay so through what goes number by number, batch norm (`norms.py`) and pooling (`pooling.py`). PyTorch's
kernels, given members as groups of channels, reach a tenth to a half of the processor with few channels.

In compiled steps members are folded into channels, and channels lie last: with vmap's own forms the compiler turned
the activations of LeNet around from one layer to the next, at a quarter of its time.

Letters: M members, B batch, C channels, H W.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.utils import _pair

from tenfold.stacking import kernels
from tenfold.stacking.rules.at_once import are_members, at_once
from tenfold.stacking.tracing import is_traced


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
    if input.dim() != 4 or weight.dim() != 4 or not are_members(weight):
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    options = _options(stride, padding, dilation, weight)
    if groups == 1 and options is not None and _suits_kernels(input, weight, bias, options):
        return at_once(functools.partial(_with_samples_last, options), input, weight, bias)
    if not _is_folded(input):
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


def _suits_kernels(input: Tensor, weight: Tensor, bias: Tensor | None, options: list[list[int]]) -> bool:
    """Whether nothing is cast, the sizes fit together, and there are kernels; PyTorch explains what does not fit."""
    if torch.is_autocast_enabled("cpu") or min(input.shape) < 1 or input.shape[1] != weight.shape[1]:
        return False
    if bias is not None and bias.shape != weight.shape[:1]:
        return False
    sizes = kernels.convolved_sizes(input.shape[-2:], weight.shape[-2:], *options)
    return min(sizes) > 0 and kernels.are_there(input, weight, bias)


def _options(stride: Any, padding: Any, dilation: Any, weight: Tensor) -> list[list[int]] | None:
    """Stride, padding and dilation as two numbers each; None where they are not as usual."""
    dilation, stride = list(_pair(dilation)), list(_pair(stride))
    if isinstance(padding, str):
        reach = [step * (taps - 1) for step, taps in zip(dilation, weight.shape[-2:], strict=True)]
        if padding == "same" and any(size % 2 for size in reach):
            return None  # more on one side than on the other
        padding = [size // 2 for size in reach] if padding == "same" else 0
    options = [stride, list(_pair(padding)), dilation]
    are_usual = all(len(option) == 2 for option in options) and min(*stride, *dilation) > 0 and min(options[1]) >= 0
    return options if are_usual else None


def _with_samples_last(options: list[list[int]], x_MBCHW: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    is_shared = x_MBCHW.stride(0) == 0 and not x_MBCHW.requires_grad
    x = x_MBCHW[0] if is_shared else x_MBCHW
    output: Tensor = kernels.Convolution.apply(x, weight, bias, *options)
    return output


def _is_folded(input: Tensor) -> bool:
    return is_traced() and input.dim() == 4 and input.device.type == "cpu"


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _relu(input: Tensor, inplace: bool = False) -> Tensor:
    """With members in the channels, as the convolution before leaves it, so that nothing is turned around."""
    if not (_is_folded(input) and are_members(input)) or kernels.lies_samples_last(input):
        return F.relu(input, inplace)

    def run(x_MBCHW: Tensor) -> Tensor:
        x = x_MBCHW.transpose(0, 1)
        return torch.relu(x.flatten(1, 2)).unflatten(1, x.shape[1:3]).transpose(0, 1)

    output = at_once(run, input)
    return input.copy_(output) if inplace else output


CONVOLUTIONS: dict[Any, Callable[..., Any]] = {F.conv2d: _conv2d, F.relu: _relu}
