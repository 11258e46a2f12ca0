"""Max pooling: as the samples lie, after convolutions of ours; else with gradients channels last, without by slices.

The numbers are the same bits. Channels first, PyTorch's kernel takes 17 ms for 64 times 174 maps of 28x28 and
windows of 2x2; the largest of four slices takes 2.5 ms (two CPU cores). Channels last, a step of eight LeNets takes
0.8 of the time, of eight AlexNets of an eighth of the width 0.9.
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

_NATIVE: Callable[..., Any] = F.max_pool2d
_MOST_TAPS = 256  # that a byte can name
_MOST_SLICES = 9  # of a window; more are not quicker


def _max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    native = (input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    if return_indices or input.device.type != "cpu" or input.dim() != 4:
        return _NATIVE(*native)
    stride = stride if stride not in (None, [], ()) else kernel_size
    options = [list(_pair(option)) for option in (kernel_size, stride, padding, dilation)]
    if are_members(input) and _suits_kernels(input, *options, ceil_mode):
        return at_once(lambda x_MBCHW: kernels.MaxPoolSamples.apply(x_MBCHW, *options, ceil_mode), input)
    if not (torch.is_grad_enabled() or is_traced()):
        slices = None if ceil_mode else _slices(input, *options)
        return _NATIVE(*native) if slices is None else functools.reduce(torch.maximum, slices)
    if not are_members(input):
        return _NATIVE(*native)

    def run(x_MBCHW: Tensor) -> Tensor:
        x = x_MBCHW.transpose(0, 1)
        largest = kernels.MaxPool.apply(x.flatten(1, 2), *options, ceil_mode)
        return largest.unflatten(1, x.shape[1:3]).transpose(0, 1)

    return at_once(run, input)


def _suits_kernels(input: Tensor, *options: Any) -> bool:
    """Whether samples lie last, as after our convolutions, and all is as usual; PyTorch explains what is not."""
    if input.dtype != torch.float32 or not kernels.lies_samples_last(input) or min(input.shape) < 1:
        return False
    window, stride, padding, dilation, _ = options
    if min(*window, *stride, *dilation) < 1 or min(padding) < 0 or window[0] * window[1] > _MOST_TAPS:
        return False
    halves = all(2 * size <= taps for size, taps in zip(padding, window, strict=True))
    return halves and min(kernels.pooled_sizes(input.shape[-2:], *options)) > 0 and kernels.are_there(input)


def _slices(x: Tensor, window: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> Any:
    """The first of each window, the second, and so on; None where PyTorch's kernel is quicker, or is to complain."""
    usual = all(size > 0 for size in (*window, *stride)) and padding == [0, 0] and dilation == [1, 1]
    if not usual or window[0] * window[1] > _MOST_SLICES or not x.is_floating_point():
        return None
    height, width = ((x.shape[dim] - window[dim]) // stride[dim] for dim in (-2, -1))
    if min(height, width) < 0:
        return None
    return [
        x[..., i : i + stride[0] * height + 1 : stride[0], j : j + stride[1] * width + 1 : stride[1]]
        for i in range(window[0])
        for j in range(window[1])
    ]


POOLING: dict[Any, Callable[..., Any]] = {_NATIVE: _max_pool2d}
