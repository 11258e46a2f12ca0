"""Batch norm whose momentum is a value a member, or none at all; `F.normalize` into a buffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.stacking import kernels
from tenfold.stacking.rules.at_once import are_members, at_once
from tenfold.stacking.rules.tracing import is_traced
from tenfold.stacking.values import CumulativeMomentum, MemberNumber


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """PyTorch takes one momentum; with another a member, it gives the batch's statistics and the mixing is ours."""
    if isinstance(momentum, MemberNumber):
        share = momentum.tensor
    elif isinstance(momentum, CumulativeMomentum) and training and running_mean is not None:
        share = momentum.tensor()
    else:
        momentum = 0.0 if isinstance(momentum, CumulativeMomentum) else momentum
        return _plain_batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training or running_mean is None or running_var is None:
        return _plain_batch_norm(input, running_mean, running_var, weight, bias, training, 0.0, eps)
    mean, var = torch.zeros_like(running_mean), torch.zeros_like(running_var)
    output = _plain_batch_norm(input, mean, var, weight, bias, True, 1.0, eps)
    for running, new in ((running_mean, mean), (running_var, var)):
        own = share.to(running.dtype)
        running.mul_(1.0 - own).add_(own * new)
    return output


def _plain_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Where the samples lie last, as after our convolutions, a channel's numbers stand in a row: no copy is needed."""
    own = (input, weight, bias, running_mean, running_var)
    if _lies_in_rows(input) and all(one is None or are_members(one) for one in own):
        return at_once(lambda *tensors: _RowsNorm.apply(*tensors, training, momentum, eps), *own)
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def _lies_in_rows(input: Tensor) -> bool:
    if input.dim() != 4 or input.device.type != "cpu" or input.numel() <= input.size(1):
        return False
    return not input.is_contiguous() and kernels.lies_samples_last(input)


class _RowsNorm(torch.autograd.Function):
    """PyTorch's batch norm of all members, each channel as a row.

    Args of `apply`: x, shape (M, B, C, H, W), samples last; weight, bias, running mean and variance, shape (M, C), or
    None; whether it trains, momentum and eps.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *rest: Any) -> Tensor:
        """The normalised pictures, which lie as x does."""
        *values, training, momentum, eps = rest
        weight, bias, mean, var = (None if value is None else value.view(-1) for value in values)
        options = (weight, bias, mean, var, training, momentum, eps)
        if is_traced():
            rows, *saved = torch.native_batch_norm(_rows(x), *options)
            output = _pictures(rows, x).clone()
        else:
            output = kernels.empty_samples_last(x, *x.shape)
            saved = [x.new_empty(x.shape[0] * x.shape[2] if training else 0) for _ in range(2)]
            torch.native_batch_norm(_rows(x), *options, out=(_rows(output), *saved))
        ctx.save_for_backward(x, *values, *saved)  # the output is no view, so that `relu_` may write into it
        ctx.training, ctx.eps = training, eps
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Made of functions that have gradients themselves."""
        x, weight, bias, *stats, batch_mean, batch_scale = ctx.saved_tensors
        mask = [needed and place is not None for needed, place in zip(ctx.needs_input_grad[:3], (x, weight, bias), strict=True)]
        flat = (None if value is None else value.view(-1) for value in (weight, *stats))
        of_x, *others = torch.ops.aten.native_batch_norm_backward(
            _rows(kernels.samples_last(grad)), _rows(x), *flat, batch_mean, batch_scale, ctx.training, ctx.eps, mask
        )
        of_values = (of.view(len(x), -1) if wanted else None for of, wanted in zip(others, mask[1:], strict=True))
        return _pictures(of_x, x) if mask[0] else None, *of_values, *(None for _ in range(5))


def _rows(x_MBCHW: Tensor) -> Tensor:
    """Shape (1, M * C, H * W * B)."""
    return x_MBCHW.permute(0, 2, 3, 4, 1).flatten(0, 1).flatten(1).unsqueeze(0)


def _pictures(rows: Tensor, like: Tensor) -> Tensor:
    return rows.view(like.permute(0, 2, 3, 4, 1).shape).permute(0, 4, 1, 2, 3)


def _normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """`out` in a step of its own: spectral norm writes its vectors so, and vmap refuses."""
    result = F.normalize(input, p, dim, eps)
    return result if out is None else out.copy_(result)


NORMS: dict[Any, Callable[..., Any]] = {F.batch_norm: _batch_norm, F.normalize: _normalize}
