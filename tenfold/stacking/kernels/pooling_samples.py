"""Max pooling of all members with the samples side by side in memory, float32 on CPUs with AVX-512."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tenfold.stacking.kernels.library import OPERATORS, library
from tenfold.stacking.kernels.samples_last import empty_samples_last, samples_last


class _Call(ctypes.Structure):
    """`struct Pooling` of convolution.cpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("planes", "B", "H", "W", "R", "S")),
        *((name, ctypes.c_int64 * 2) for name in ("window", "stride", "padding", "dilation")),
    ]


class MaxPoolSamples(torch.autograd.Function):
    """`torch.nn.functional.max_pool2d` of all members, to the same bits.

    Args (of `apply`):
        x: shape (M, B, C, H, W), samples last.
        options: window of at most 256 taps, stride, padding, dilation and rounding as of `torch.max_pool2d`.

    Returns:
        Shape (M, B, C, H', W'), samples last.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *options: Any) -> Tensor:
        """See the class."""
        largest, winners = torch.ops.tenfold.max_pool_samples(x, *options, False)
        ctx.save_for_backward(winners)
        ctx.size, ctx.options = x.shape[-2:], options
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient where the maximum was, zeros elsewhere."""
        d_x = torch.ops.tenfold.max_pool_samples_backward(grad, *ctx.saved_tensors, ctx.size, *ctx.options)
        return d_x, *(None for _ in ctx.options)


def pooled_sizes(size: Sequence[int], *options: Any) -> list[int]:
    """Rows and columns of what pooling gives, by the equation in the documentation of `torch.nn.MaxPool2d`.

    Example:
        >>> pooled_sizes((7, 7), (3, 3), (2, 2), (0, 0), (1, 1), False)
        [3, 3]
    """
    *pairs, ceil_mode = options
    found = []
    for length, window, stride, padding, dilation in zip(size, *pairs, strict=True):
        places = (length + 2 * padding - dilation * (window - 1) - 1 + (stride - 1) * ceil_mode) // stride + 1
        outside = ceil_mode and (places - 1) * stride >= length + padding
        found.append(places - 1 if outside else places)
    return found


def _pool(x: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """Of the input, or if the last option is true of what a ReLU makes of it."""
    x = samples_last(x)
    largest, winners = _made(x, *options)
    call = _call(x.shape, largest.shape, options)
    _kernels()[0](ctypes.byref(call), options[-1], x.data_ptr(), largest.data_ptr(), winners.data_ptr())
    return largest, winners


def _made(x: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    shape = (*x.shape[:3], *pooled_sizes(x.shape[-2:], *options[:-1]))
    return empty_samples_last(x, *shape), empty_samples_last(x, *shape, dtype=torch.uint8)


def _pool_backward(grad: Tensor, winners: Tensor, size: Sequence[int], *options: Any) -> Tensor:
    grad = samples_last(grad)
    d_x = _made_backward(grad, winners, size)
    call = _call(d_x.shape, grad.shape, options)
    _kernels()[1](ctypes.byref(call), grad.data_ptr(), winners.data_ptr(), d_x.data_ptr())
    return d_x


def _made_backward(grad: Tensor, winners: Tensor, size: Sequence[int], *options: Any) -> Tensor:
    return empty_samples_last(grad, *grad.shape[:3], *size)


def _call(x: Sequence[int], result: Sequence[int], options: Any) -> _Call:
    members, batch, channels, *size = x
    pairs = [(ctypes.c_int64 * 2)(*pair) for pair in options[:4]]
    return _Call(members * channels, batch, *size, *result[-2:], *pairs)


@functools.cache
def _kernels() -> list[Any]:
    kernels: list[Any] = [library().tenfold_max_pool, library().tenfold_max_pool_backward]
    data = ctypes.c_void_p
    for kernel, types in zip(kernels, ([data, ctypes.c_bool, data, data, data], [data] * 4), strict=True):
        kernel.restype, kernel.argtypes = None, types
    return kernels


_OPTIONS = "int[2] window, int[2] stride, int[2] padding, int[2] dilation, bool ceil_mode"
OPERATORS.define(f"max_pool_samples(Tensor x, {_OPTIONS}, bool relu) -> (Tensor, Tensor)")
OPERATORS.define(f"max_pool_samples_backward(Tensor grad, Tensor winners, int[2] size, {_OPTIONS}) -> Tensor")
OPERATORS.impl("max_pool_samples", _pool, "CPU")
OPERATORS.impl("max_pool_samples_backward", _pool_backward, "CPU")
torch.library.register_fake("tenfold::max_pool_samples", _made)
torch.library.register_fake("tenfold::max_pool_samples_backward", _made_backward)
