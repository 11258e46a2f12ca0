"""Batch norm whose momentum is a value a member, or none at all; `F.normalize` into a buffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.stacking import kernels
from tenfold.stacking.rules.at_once import are_members, at_once
from tenfold.stacking.tracing import is_traced
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
    """Where the samples lie last, as after our convolutions, a channel's numbers stand in a row: no copies."""
    own, options = (input, running_mean, running_var, weight, bias), (training, momentum, eps)
    fit = all(one is None or (are_members(one) and one.shape == input.shape[1:2]) for one in own[1:])
    if not (are_members(input) and _lies_in_rows(input) and fit and kernels.are_there(*own)):
        return F.batch_norm(*own, *options)  # which explains what does not fit
    if not is_traced():
        return at_once(lambda x_MBCHW, *values: kernels.BatchNorm.apply(x_MBCHW, *values, *options), *own)

    def run(x_MBCHW: Tensor, *values: Tensor | None) -> Tensor:
        mean, var, weight, bias = (None if value is None else value.view(-1) for value in values)
        rows = F.batch_norm(kernels.channel_rows(x_MBCHW), mean, var, weight, bias, *options)
        return kernels.as_pictures(rows, x_MBCHW).clone()  # no view, so that `relu_` may write into it

    return at_once(run, *own)


def _lies_in_rows(input: Tensor) -> bool:
    if input.dim() != 4 or input.is_contiguous():
        return False
    is_one = input.numel() <= input.size(1)  # PyTorch explains why one value a channel is too few
    return not is_one and kernels.lies_samples_last(input)


def _normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """`out` in a step of its own: spectral norm writes its vectors so, and vmap refuses."""
    result = F.normalize(input, p, dim, eps)
    return result if out is None else out.copy_(result)


NORMS: dict[Any, Callable[..., Any]] = {F.batch_norm: _batch_norm, F.normalize: _normalize}
