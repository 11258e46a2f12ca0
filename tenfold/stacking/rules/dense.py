"""Linear layers and cross-entropy: what every small network spends its time in, without vmap's copies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.nn.class_losses import NO_TARGET, mixed_with_even, smoothed_cross_entropy
from tenfold.stacking import kernels
from tenfold.stacking.layout import NARROW
from tenfold.stacking.rules.at_once import are_members, at_once, num_members
from tenfold.stacking.tracing import is_traced

_LEAST_LOGITS = 1 << 11  # of all members, for which a kernel is built


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """One product without the copies of the general batching rule.

    With the stack's layout of matrices (see `layout.py`) the weight, or its transpose, is contiguous as the product
    takes it, so the product, its gradient and the update run over memory as it lies.
    """
    if weight.dim() != 2:
        return F.linear(input, weight, bias)
    plain = input.dim() == 2
    rows = input if plain else input.reshape(math.prod(input.shape[:-1]), input.shape[-1])
    if _suits_linear(rows, weight, bias):
        output = at_once(kernels.Linear.apply, rows, weight, bias)
    else:
        output = _narrow(rows, weight) if weight.shape[0] < NARROW else torch.mm(rows, weight.t())
        if bias is not None:
            output = _add_to_new(output, bias)
    return output if plain else output.reshape(*input.shape[:-1], weight.shape[0])


def _suits_linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether there is a kernel that is quicker; PyTorch explains misfits."""
    if is_traced() or not are_members(weight) or not _is_plain_float32(rows, weight):
        return False
    fits = bias is None or (bias.dtype == torch.float32 and bias.shape == weight.shape[:1])
    return fits and kernels.linear_pays(num_members(weight), rows, weight)


def _narrow(rows: Tensor, weight: Tensor) -> Tensor:
    """A product with few columns, contiguous because users call view() on what a layer gives."""
    if torch.is_grad_enabled() and are_members(rows) and are_members(weight) and _is_plain_float32(rows, weight):
        return at_once(_NarrowProduct.apply, rows, weight)
    return torch.mm(weight, rows.t()).t().contiguous()


def _is_plain_float32(*tensors: Tensor) -> bool:
    """Whether nothing is cast, and speed matters more than a member's last bits at any number of members."""
    cast = torch.is_autocast_enabled(tensors[0].device.type)
    return not cast and all(tensor.dtype == torch.float32 for tensor in tensors)


class _NarrowProduct(torch.autograd.Function):
    """rows @ weight^T of stacked matrices, computed transposed, but with a gradient of the rows that lies as they do.

    As autograd has it that gradient lies transposed, and what comes before the layer computes with it slowly: with 80
    members, 128 features and 32 rows a ReLU's gradient takes 0.67 ms in place of 0.02, and the product after it 1.5
    in place of 0.4 (two CPU cores).

    Args of `apply`: rows, shape (M, B, D), and weight, shape (M, K, D).
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        """The product, shape (M, B, K)."""
        ctx.save_for_backward(rows, weight)
        return torch.bmm(weight, rows.transpose(1, 2)).transpose(1, 2).contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of both; made of functions that have gradients themselves."""
        rows, weight = ctx.saved_tensors
        of_rows = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        of_weight = torch.bmm(gradient.transpose(1, 2), rows) if ctx.needs_input_grad[1] else None
        return of_rows, of_weight


def _add_to_new(fresh: Tensor, other: Tensor) -> Tensor:
    """The sum in the memory of a tensor that nobody else holds; a new one where only the other is a member's own."""
    try:
        return fresh.add_(other)
    except RuntimeError:
        return fresh + other


def _cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The usual case, class indices for rows of logits, in a few kernels; vmap writes it out in a dozen.

    Over few classes the softmax kernel is ten times as quick when the samples lie side by side.
    """
    usual = weight is None and size_average is None and reduce is None and reduction == "mean"
    if not usual or label_smoothing != 0.0 or input.dim() != 2 or target.dim() != 1 or target.is_floating_point():
        return F.cross_entropy(input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing)
    if _suits_kernel(input, target):
        return at_once(lambda x, y: kernels.CrossEntropy.apply(x, y, ignore_index, None), input, target)
    counted = target != ignore_index
    index = torch.where(counted, target, 0).unsqueeze(0)
    likelihood = torch.log_softmax(input.t(), dim=0).gather(0, index).squeeze(0)
    return -torch.where(counted, likelihood, 0.0).sum() / counted.sum()


def _suits_kernel(input: Tensor, target: Tensor) -> bool:
    """Whether there is a kernel, for so many numbers that it would be built for them; PyTorch explains misfits."""
    if is_traced() or not are_members(input) or not _is_plain_float32(input):
        return False
    fits = target.dtype == torch.int64 and target.device == input.device and target.shape[0] == input.shape[0]
    return fits and num_members(input) * input.numel() >= _LEAST_LOGITS and kernels.are_there(input)


def _smoothed_cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: Tensor) -> Tensor:
    """Loss, smoothing and gradient of all members in one pass."""
    if not _suits_kernel(logits, targets):
        hard = _cross_entropy(logits, targets, ignore_index=NO_TARGET)
        return mixed_with_even(hard, logits, label_smoothing)

    def run(logits_MBK: Tensor, targets_MB: Tensor, smoothing_M: Tensor) -> Tensor:
        loss_M: Tensor = kernels.CrossEntropy.apply(logits_MBK, targets_MB, NO_TARGET, smoothing_M)
        return loss_M

    return at_once(run, logits, targets, label_smoothing)


DENSE: dict[Any, Callable[..., Any]] = {
    F.linear: _linear,
    F.cross_entropy: _cross_entropy,
    smoothed_cross_entropy: _smoothed_cross_entropy,
}
