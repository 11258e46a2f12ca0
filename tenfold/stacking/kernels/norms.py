"""Batch norm of all members with the samples last in memory, so that a channel's numbers stand in a row.

Training is ours: PyTorch takes the statistics number by number, an eighth of the step of a ResNet-18 of an eighth of
the width. A ReLU that follows is taken in when a step is recorded. Evaluation is PyTorch's.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from tenfold.stacking.kernels.library import OPERATORS, library
from tenfold.stacking.kernels.samples_last import empty_samples_last, samples_last


class BatchNorm(torch.autograd.Function):
    """`torch.nn.functional.batch_norm` of all members; float32 on the CPU.

    Args (of `apply`):
        x: shape (M, B, C, H, W), samples last.
        mean: the running mean, shape (M, C), or None; in training it moves towards the batch's.
        var: the running variance, likewise.
        weight: shape (M, C), or None.
        bias: likewise.
        training: whether the batch's statistics are taken, or the running ones.
        momentum: how far those move, 0 to 1.
        eps: added to the variance.

    Returns:
        Shape (M, B, C, H, W), samples last.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *rest: Any) -> Tensor:
        """See the class."""
        mean, var, weight, bias, training, momentum, eps = rest
        if training:
            output, *saved, variance = torch.ops.tenfold.norm(x, weight, bias, eps, False)
            if mean is not None:
                mean.lerp_(saved[0], momentum)
                var.lerp_(variance, momentum)
        else:
            output, saved = empty_samples_last(x, *x.shape), [x.new_empty(0), x.new_empty(0)]
            values = (*map(_flat, (weight, bias, mean, var)), False, momentum, eps)
            torch.ops.aten.native_batch_norm.out(
                channel_rows(x), *values, out=channel_rows(output), save_mean=saved[0], save_invstd=saved[1]
            )
        ctx.save_for_backward(x, bias, weight, mean, var, *saved)
        ctx.training, ctx.eps = training, eps
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """By a kernel of ours in training; where gradients of gradients are asked for, by PyTorch's operators."""
        x, bias, *values = ctx.saved_tensors
        wants_x, _, _, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        if ctx.training and not torch.is_grad_enabled():
            weight, _, _, *saved = values
            wanted = [wants_x, wants_weight, wants_bias]
            of_x, *rest = torch.ops.tenfold.norm_backward(samples_last(grad), x, weight, bias, *saved, False, wanted)
            of_weight, of_bias = (own if wants else None for own, wants in zip(rest, wanted[1:], strict=True))
            return of_x if wants_x else None, None, None, of_weight, of_bias, None, None, None
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            channel_rows(samples_last(grad)), channel_rows(x), *map(_flat, values), ctx.training, ctx.eps,
            [wants_x, wants_weight, wants_bias],
        )  # fmt: skip
        return (
            as_pictures(of_x, x) if wants_x else None,
            None,
            None,
            of_weight.view(len(x), -1) if wants_weight else None,
            of_bias.view(len(x), -1) if wants_bias else None,
            None,
            None,
            None,
        )


def channel_rows(x_MBCHW: Tensor) -> Tensor:
    """A view of pictures whose samples lie last: shape (1, M * C, H * W * B), a channel a row."""
    return x_MBCHW.permute(0, 2, 3, 4, 1).flatten(0, 1).flatten(1).unsqueeze(0)


def as_pictures(channels: Tensor, like: Tensor) -> Tensor:
    """The view back: rows as pictures, shape (M, B, C, H, W)."""
    return channels.view(like.permute(0, 2, 3, 4, 1).shape).permute(0, 4, 1, 2, 3)


def _flat(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.reshape(-1)


def _norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, relu: bool) -> tuple[Tensor, ...]:
    x = samples_last(x)
    made = _made(x)
    weight, bias = (None if value is None else value.contiguous() for value in (weight, bias))
    _kernels()[0](*_rows(x), eps, *map(_place, (x, weight, bias)), relu, *map(_place, made))
    return made


def _backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    scale: Tensor,
    relu: bool,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    grad, x = samples_last(grad), samples_last(x)
    made = _made_backward(grad, x, wanted)
    weight, bias = (None if value is None else value.contiguous() for value in (weight, bias))
    to = (_place(own if is_wanted else None) for own, is_wanted in zip(made, wanted, strict=True))
    _kernels()[1](*_rows(x), *map(_place, (grad, x, weight, bias, mean, scale)), relu, *to)
    return made


def _rows(x: Tensor) -> tuple[int, int]:
    """How many channels there are of all members, and how many numbers each has."""
    members, batch, channels, height, width = x.shape
    return members * channels, batch * height * width


def _place(value: Tensor | None) -> int | None:
    return None if value is None else value.data_ptr()


def _made_backward(grad: Tensor, x: Tensor, wanted: list[bool]) -> tuple[Tensor, ...]:
    """Memory for the gradients of x, weight and bias; none for those that are not wanted."""
    shape = (x.shape[0], x.shape[2])
    of_x = empty_samples_last(x, *x.shape) if wanted[0] else x.new_empty(0)
    return of_x, *(x.new_empty(shape if is_wanted else (0, 0)) for is_wanted in wanted[1:])


def _made(x: Tensor) -> tuple[Tensor, ...]:
    """Memory for the result, the means, 1 / sqrt(variance + eps), and the variances without bias."""
    shape = (x.shape[0], x.shape[2])
    return empty_samples_last(x, *x.shape), x.new_empty(shape), x.new_empty(shape), x.new_empty(shape)


@functools.cache
def _kernels() -> list[Any]:
    kernels: list[Any] = [library().tenfold_norm, library().tenfold_norm_backward]
    sizes, data, flag = [ctypes.c_int64] * 2, ctypes.c_void_p, ctypes.c_bool
    arguments = ([*sizes, ctypes.c_double, *[data] * 3, flag, *[data] * 4], [*sizes, *[data] * 6, flag, *[data] * 3])
    for kernel, types in zip(kernels, arguments, strict=True):
        kernel.restype, kernel.argtypes = None, types
    return kernels


OPERATORS.define(
    "norm(Tensor x, Tensor? weight, Tensor? bias, float eps, bool relu) -> (Tensor, Tensor, Tensor, Tensor)"
)
OPERATORS.impl("norm", _norm, "CPU")
torch.library.register_fake("tenfold::norm", lambda x, *_: _made(x))
OPERATORS.define(
    "norm_backward(Tensor grad, Tensor x, Tensor? weight, Tensor? bias, Tensor mean, Tensor scale, bool relu, "
    "bool[3] wanted) -> (Tensor, Tensor, Tensor)"
)
OPERATORS.impl("norm_backward", _backward, "CPU")
torch.library.register_fake("tenfold::norm_backward", lambda grad, x, *rest: _made_backward(grad, x, rest[-1]))
