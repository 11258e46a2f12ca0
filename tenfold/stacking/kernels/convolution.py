"""Convolutions of all members with the samples side by side in memory, float32 on CPUs with AVX-512.

Letters: M members, B batch, C channels in, O channels out, H W of the input, R S of the result.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.stacking.kernels.library import OPERATORS, library
from tenfold.stacking.kernels.samples_last import empty_samples_last, samples_last

_SIZE, _DATA = ctypes.c_int64, ctypes.c_void_p
_FEW_WEIGHTS = 4096  # whose gradient is summed in parts, so that all threads have work
_PARTS = 4

Options = tuple[Sequence[int], Sequence[int], Sequence[int]]
"""Stride, padding, dilation, each for rows and columns."""


class _Call(ctypes.Structure):
    """`struct Convolution` of convolution.cpp."""

    _fields_ = [
        *((name, _SIZE) for name in ("M", "B", "C", "H", "W", "O", "R", "S")),
        *((name, _SIZE * 2) for name in ("window", "stride", "padding", "dilation")),
        *(("x", _DATA), ("x_member", _SIZE), ("weight", _DATA), ("bias", _DATA)),
    ]


class Convolution(torch.autograd.Function):
    """`torch.nn.functional.conv2d` of all members.

    Args (of `apply`):
        x: the input, shape (M, B, C, H, W), or (B, C, H, W) where all members see the same; read without a copy if it
            lies with its samples last.
        weight: shape (M, O, C, window rows, window columns).
        bias: shape (M, O), or None.
        options: stride, padding and dilation, two numbers each.

    Returns:
        Shape (M, B, O, R, S), samples last in memory.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
        """See the class."""
        x = samples_last(x)
        ctx.save_for_backward(x, weight)
        ctx.options, ctx.has_bias = options, bias is not None
        result: Tensor = torch.ops.tenfold.convolution(x, weight, bias, *options)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """By kernels of ours; where gradients of gradients are asked for, by PyTorch's operators."""
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return _differentiable(grad, x, weight, ctx)
        grad = samples_last(grad)
        ops = torch.ops.tenfold
        of_x = ops.convolution_input(grad, weight, x.shape[-2:], *ctx.options) if wants_x else None
        of_weight = ops.convolution_weight(grad, x, weight.shape[-2:], *ctx.options) if wants_weight else None
        of_bias = grad.sum((1, 3, 4)) if wants_bias and ctx.has_bias else None
        return of_x, of_weight, of_bias, None, None, None


def _differentiable(grad: Tensor, x: Tensor, weight: Tensor, ctx: Any) -> tuple[Tensor | None, ...]:
    members = len(weight)
    stride, padding, dilation = ctx.options
    whole = x if x.dim() == 5 else x.expand(members, *x.shape)
    folded, folded_grad = (part.transpose(0, 1).flatten(1, 2) for part in (whole, grad))
    mask = [*ctx.needs_input_grad[:2], ctx.needs_input_grad[2] and ctx.has_bias]
    of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
        folded_grad, folded, weight.flatten(0, 1), [members * weight.shape[1]], stride, padding, dilation, False,
        [0, 0], members, mask,
    )  # fmt: skip
    return (
        of_x.unflatten(1, (members, -1)).transpose(0, 1) if mask[0] else None,
        of_weight.unflatten(0, (members, -1)) if mask[1] else None,
        of_bias.unflatten(0, (members, -1)) if mask[2] else None,
        *(None for _ in ctx.options),
    )


def convolved_sizes(input: Sequence[int], window: Sequence[int], *options: Any) -> list[int]:
    """Rows and columns of the result, by the equation in the documentation of `torch.nn.Conv2d`.

    Example:
        >>> convolved_sizes((28, 28), (5, 5), (1, 1), (2, 2), (1, 1))
        [28, 28]
    """
    return [
        (size + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
        for size, taps, stride, padding, dilation in zip(input, window, *options, strict=True)
    ]


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
    x, weight, bias = samples_last(x), weight.contiguous(), None if bias is None else bias.contiguous()
    result = _made(x, weight, bias, *options)
    packed = torch.empty_like(weight)
    call = _call(x.shape[-4], x.shape[-2:], result.shape[-2:], weight, options)
    call.x, call.x_member = x.data_ptr(), x.stride(0) if x.dim() == 5 else 0
    call.weight, call.bias = weight.data_ptr(), None if bias is None else bias.data_ptr()
    _kernels()[0](ctypes.byref(call), packed.data_ptr(), result.data_ptr())
    return result


def _made(x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
    return empty_samples_last(
        x, len(weight), x.shape[-4], weight.shape[1], *convolved_sizes(x.shape[-2:], weight.shape[-2:], *options)
    )


def _of_input(grad: Tensor, weight: Tensor, size: Sequence[int], *options: Any) -> Tensor:
    grad, weight = samples_last(grad), weight.contiguous()
    of_x, packed = _made_input(grad, weight, size), torch.empty_like(weight)
    call = _call(grad.shape[1], size, grad.shape[-2:], weight, options)
    call.weight = weight.data_ptr()
    _kernels()[1](ctypes.byref(call), grad.data_ptr(), packed.data_ptr(), of_x.data_ptr())
    return of_x


def _made_input(grad: Tensor, weight: Tensor, size: Sequence[int], *options: Any) -> Tensor:
    return empty_samples_last(grad, len(weight), grad.shape[1], weight.shape[2], *size)


def _of_weight(grad: Tensor, x: Tensor, window: Sequence[int], *options: Any) -> Tensor:
    grad, x = samples_last(grad), samples_last(x)
    of_weight = _made_weight(grad, x, window)
    parts = _PARTS if of_weight[0].numel() <= _FEW_WEIGHTS else 1
    each = of_weight if parts == 1 else grad.new_empty(len(grad), parts, *of_weight.shape[1:])
    call = _call(grad.shape[1], x.shape[-2:], grad.shape[-2:], of_weight, options)
    call.x, call.x_member = x.data_ptr(), x.stride(0) if x.dim() == 5 else 0
    _kernels()[2](ctypes.byref(call), grad.data_ptr(), parts, each.data_ptr())
    return of_weight if parts == 1 else each.sum(1)


def _made_weight(grad: Tensor, x: Tensor, window: Sequence[int], *options: Any) -> Tensor:
    return grad.new_empty(len(grad), grad.shape[2], x.shape[-3], *window)


def _call(batch: int, size: Sequence[int], result: Sequence[int], weight: Tensor, options: Any) -> _Call:
    """The call as C++ reads it, but for tensors; whoever adds them keeps them alive and contiguous."""
    members, out, channels, *window = weight.shape
    pairs = [(_SIZE * 2)(*pair) for pair in (window, *options)]
    return _Call(members, batch, channels, *size, out, *result, *pairs)


@functools.cache
def _kernels() -> list[Any]:
    own = library()
    forward, of_input, of_weight = (
        own.tenfold_convolution,
        own.tenfold_convolution_input,
        own.tenfold_convolution_weight,
    )
    forward.argtypes = [_DATA] * 3
    of_input.argtypes = [_DATA] * 4
    of_weight.argtypes = [_DATA, _DATA, _SIZE, _DATA]
    forward.restype = of_input.restype = of_weight.restype = None
    return [forward, of_input, of_weight]


_OPTIONS = "int[2] stride, int[2] padding, int[2] dilation"
OPERATORS.define(f"convolution(Tensor x, Tensor weight, Tensor? bias, {_OPTIONS}) -> Tensor")
OPERATORS.define(f"convolution_input(Tensor grad, Tensor weight, int[2] size, {_OPTIONS}) -> Tensor")
OPERATORS.define(f"convolution_weight(Tensor grad, Tensor x, int[2] window, {_OPTIONS}) -> Tensor")
OPERATORS.impl("convolution", _convolution, "CPU")
OPERATORS.impl("convolution_input", _of_input, "CPU")
OPERATORS.impl("convolution_weight", _of_weight, "CPU")
torch.library.register_fake("tenfold::convolution", _made)
torch.library.register_fake("tenfold::convolution_input", _made_input)
torch.library.register_fake("tenfold::convolution_weight", _made_weight)
