"""Batch norm of all members with the samples last in memory, so that a channel's numbers stand in a row.

The statistics are ours: PyTorch takes them number by number, an eighth of the step of a ResNet-18 of an eighth of the
width. The rest is PyTorch's.
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
            output, *saved, variance = torch.ops.tenfold.norm(x, weight, bias, eps)
            if mean is not None:
                mean.lerp_(saved[0], momentum)
                var.lerp_(variance, momentum)
        else:
            output, saved = empty_samples_last(x, *x.shape), [x.new_empty(0), x.new_empty(0)]
            values = (*map(_flat, (weight, bias, mean, var)), False, momentum, eps)
            torch.ops.aten.native_batch_norm.out(
                channel_rows(x), *values, out=channel_rows(output), save_mean=saved[0], save_invstd=saved[1]
            )
        ctx.save_for_backward(x, weight, mean, var, *saved)
        ctx.training, ctx.eps = training, eps
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Made of functions that have gradients themselves."""
        x, *values = ctx.saved_tensors
        wants_x, _, _, wants_weight, wants_bias, *_ = ctx.needs_input_grad
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


def _norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
    x = samples_last(x)
    made = _made(x, weight, bias, eps)
    members, batch, channels, height, width = x.shape
    weight, bias = (None if value is None else value.contiguous() for value in (weight, bias))
    tensors = (None if value is None else value.data_ptr() for value in (x, weight, bias, *made))
    _kernel()(members * channels, batch * height * width, eps, *tensors)
    return made


def _made(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
    """Memory for the result, the means, 1 / sqrt(variance + eps), and the variances without bias."""
    shape = (x.shape[0], x.shape[2])
    return empty_samples_last(x, *x.shape), x.new_empty(shape), x.new_empty(shape), x.new_empty(shape)


@functools.cache
def _kernel() -> Any:
    kernel = library().tenfold_norm
    kernel.restype = None
    kernel.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_double, *[ctypes.c_void_p] * 7]
    return kernel


OPERATORS.define("norm(Tensor x, Tensor? weight, Tensor? bias, float eps) -> (Tensor, Tensor, Tensor, Tensor)")
OPERATORS.impl("norm", _norm, "CPU")
torch.library.register_fake("tenfold::norm", _made)
