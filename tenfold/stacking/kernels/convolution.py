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

_SIZE, _DATA, _FLAG = ctypes.c_int64, ctypes.c_void_p, ctypes.c_bool
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
        of_weight, of_bias = None, None
        wants_bias = wants_bias and ctx.has_bias
        if wants_weight or wants_bias:
            of_weight, of_bias = ops.convolution_weight(grad, x, weight.shape[-2:], *ctx.options, wants_bias)
        return of_x, of_weight if wants_weight else None, of_bias if wants_bias else None, None, None, None


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
    result = _made(x, weight, bias, *options)
    call, packed, *_alive = _forward_call(x, weight, bias, result.shape[-2:], options)
    _kernels()[0](ctypes.byref(call), packed.data_ptr(), result.data_ptr())
    return result


def _pooled(x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> tuple[Tensor, Tensor]:
    largest, winners = _made_pooled(x, weight, bias, *options)
    *own, window, relu = options
    size = convolved_sizes(x.shape[-2:], weight.shape[-2:], *own)
    call, packed, *_alive = _forward_call(x, weight, bias, size, own)
    to = (packed.data_ptr(), largest.data_ptr(), winners.data_ptr())
    _kernels()[3](ctypes.byref(call), (_SIZE * 2)(*window), relu, *to)
    return largest, winners


def _forward_call(
    x: Tensor, weight: Tensor, bias: Tensor | None, size: Sequence[int], options: Any
) -> tuple[Any, ...]:
    """The call, room for packed weights, and the tensors that have to live until it has been made."""
    x, weight, bias = samples_last(x), weight.contiguous(), None if bias is None else bias.contiguous()
    call = _call(x.shape[-4], x.shape[-2:], size, weight, options)
    call.x, call.x_member = x.data_ptr(), x.stride(0) if x.dim() == 5 else 0
    call.weight, call.bias = weight.data_ptr(), None if bias is None else bias.data_ptr()
    return call, torch.empty_like(weight), x, weight, bias


def _made(x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
    return empty_samples_last(
        x, len(weight), x.shape[-4], weight.shape[1], *convolved_sizes(x.shape[-2:], weight.shape[-2:], *options)
    )


def _made_pooled(x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> tuple[Tensor, Tensor]:
    *own, window, _ = options
    size = convolved_sizes(x.shape[-2:], weight.shape[-2:], *own)
    shape = (len(weight), x.shape[-4], weight.shape[1], *(one // by for one, by in zip(size, window, strict=True)))
    return empty_samples_last(x, *shape), empty_samples_last(x, *shape, dtype=torch.uint8)


def _of_input(grad: Tensor, weight: Tensor, size: Sequence[int], *options: Any) -> Tensor:
    grad, weight = samples_last(grad), weight.contiguous()
    of_x, packed = _made_input(grad, weight, size), torch.empty_like(weight)
    call = _call(grad.shape[1], size, grad.shape[-2:], weight, options)
    call.weight = weight.data_ptr()
    _kernels()[1](ctypes.byref(call), grad.data_ptr(), packed.data_ptr(), of_x.data_ptr())
    return of_x


def _made_input(grad: Tensor, weight: Tensor, size: Sequence[int], *options: Any) -> Tensor:
    return empty_samples_last(grad, len(weight), grad.shape[1], weight.shape[2], *size)


def _of_weight(grad: Tensor, x: Tensor, window: Sequence[int], *options: Any) -> tuple[Tensor, Tensor]:
    *own, with_bias = options
    return _summed(grad, None, x, window, own, grad.shape[-2:], (1, 1), with_bias)


def _of_pooled_weight(
    grad: Tensor, winners: Tensor, x: Tensor, window: Sequence[int], *options: Any
) -> tuple[Tensor, Tensor]:
    *own, pool, with_bias = options
    size = convolved_sizes(x.shape[-2:], window, *own)
    return _summed(grad, samples_last(winners), x, window, own, size, pool, with_bias)


def _summed(
    grad: Tensor,
    winners: Tensor | None,
    x: Tensor,
    window: Sequence[int],
    options: Any,
    size: Sequence[int],
    pool: Sequence[int],
    with_bias: bool,
) -> tuple[Tensor, Tensor]:
    """The gradients of weights and bias; of small weights they are summed in parts."""
    grad, x = samples_last(grad), samples_last(x)
    of_weight, of_bias = _made_weight(grad, x, window, with_bias=with_bias)
    parts = _PARTS if of_weight[0].numel() <= _FEW_WEIGHTS else 1
    weights = of_weight if parts == 1 else grad.new_empty(len(grad), parts, *of_weight.shape[1:])
    biases = of_bias if parts == 1 else grad.new_empty(len(grad), parts, of_bias.shape[1])
    call = _call(grad.shape[1], x.shape[-2:], size, of_weight, options)
    call.x, call.x_member = x.data_ptr(), x.stride(0) if x.dim() == 5 else 0
    won = None if winners is None else winners.data_ptr()
    to = (parts, weights.data_ptr(), biases.data_ptr() if with_bias else None)
    _kernels()[2](ctypes.byref(call), grad.data_ptr(), (_SIZE * 2)(*pool), won, *to)
    return (of_weight, of_bias) if parts == 1 else (weights.sum(1), biases.sum(1))


def _made_weight(grad: Tensor, x: Tensor, window: Sequence[int], *, with_bias: bool) -> tuple[Tensor, Tensor]:
    channels = grad.shape[2]
    return (
        grad.new_empty(len(grad), channels, x.shape[-3], *window),
        grad.new_empty(len(grad), channels if with_bias else 0),
    )


def _call(batch: int, size: Sequence[int], result: Sequence[int], weight: Tensor, options: Any) -> _Call:
    """The call as C++ reads it, but for tensors; whoever adds them keeps them alive and contiguous."""
    members, out, channels, *window = weight.shape
    pairs = [(_SIZE * 2)(*pair) for pair in (window, *options)]
    return _Call(members, batch, channels, *size, out, *result, *pairs)


@functools.cache
def _kernels() -> list[Any]:
    own = library()
    kernels: list[Any] = [
        own.tenfold_convolution,
        own.tenfold_convolution_input,
        own.tenfold_convolution_weight,
        own.tenfold_convolution_pool,
    ]
    arguments = ([_DATA] * 3, [_DATA] * 4, [*[_DATA] * 4, _SIZE, _DATA, _DATA], [_DATA] * 2 + [_FLAG] + [_DATA] * 3)
    for kernel, types in zip(kernels, arguments, strict=True):
        kernel.restype, kernel.argtypes = None, types
    return kernels


_OPTIONS = "int[2] stride, int[2] padding, int[2] dilation"
_POOLED = f"{_OPTIONS}, int[2] pool"
for _name, _arguments, _run, _fake in (
    ("convolution", f"Tensor x, Tensor weight, Tensor? bias, {_OPTIONS}) -> Tensor", _convolution, _made),
    ("convolution_input", f"Tensor grad, Tensor weight, int[2] size, {_OPTIONS}) -> Tensor", _of_input, _made_input),
    (
        "convolution_weight",
        f"Tensor grad, Tensor x, int[2] window, {_OPTIONS}, bool with_bias) -> (Tensor, Tensor)",
        _of_weight,
        lambda grad, x, window, *options: _made_weight(grad, x, window, with_bias=options[-1]),
    ),
    (
        "convolution_pool",
        f"Tensor x, Tensor weight, Tensor? bias, {_POOLED}, bool relu) -> (Tensor, Tensor)",
        _pooled,
        _made_pooled,
    ),
    (
        "convolution_pool_weight",
        f"Tensor grad, Tensor winners, Tensor x, int[2] window, {_POOLED}, bool with_bias) -> (Tensor, Tensor)",
        _of_pooled_weight,
        lambda grad, winners, x, window, *options: _made_weight(grad, x, window, with_bias=options[-1]),
    ),
):
    OPERATORS.define(f"{_name}({_arguments}")
    OPERATORS.impl(_name, _run, "CPU")
    torch.library.register_fake(f"tenfold::{_name}", _fake)
