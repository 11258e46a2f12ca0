"""Functions that vmap would run for one member after another: the members as a larger batch.

Each treats the samples of a batch alone, so M members of B samples are one batch of M*B.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.stacking.rules.at_once import are_members, at_once, folded, unfolded


def larger_batch(native: Callable[..., Tensor], num_tensors: int, dims: Sequence[int]) -> Callable[..., Tensor]:
    """A rule that folds the members into the batch.

    Args:
        native: a function of tensors (B, ...) and options, which treats each sample alone.
        num_tensors: how many of its first arguments are such tensors.
        dims: how many dimensions a batch may have; other input (one sample, say) stays PyTorch's.
    """

    def rule(*args: Any, **options: Any) -> Tensor:
        tensors, rest = args[:num_tensors], args[num_tensors:]
        if len(tensors) < num_tensors or tensors[0].dim() not in dims or not are_members(*tensors):
            return native(*args, **options)

        def run(*stacked: Tensor) -> Tensor:
            return unfolded(native(*(folded(tensor) for tensor in stacked), *rest, **options), stacked[0])

        return at_once(run, *tensors)

    return rule


def _interpolate(input: Tensor, *args: Any, **options: Any) -> Tensor:
    mode = options.get("mode", args[2] if len(args) > 2 else "nearest")
    if mode != "nearest-exact":
        return F.interpolate(input, *args, **options)
    return _INTERPOLATE(input, *args, **options)


def _scatter_(self: Tensor, dim: int, index: Tensor, *args: Any, **options: Any) -> Tensor:
    """One-hot codes are written so; out of place, vmap has a rule for it."""
    return self.copy_(torch.scatter(self, dim, index, *args, **options))


def _bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    output = torch.einsum("...i,kij,...j->...k", input1, weight, input2)
    return output if bias is None else output + bias


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """G v / |v|, the norm over all dimensions but one (or over all); Salimans and Kingma, 2016, equation 2."""
    dims = [d for d in range(v.dim()) if d != dim]
    return v * (g / torch.linalg.vector_norm(v, dim=dims, keepdim=True))


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def _kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """The equation in the documentation of `torch.nn.KLDivLoss`."""
    if size_average is not None or reduce is not None or reduction not in ("none", "mean", "sum", "batchmean"):
        return F.kl_div(input, target, size_average, reduce, reduction, log_target)
    loss = target.exp() * (target - input) if log_target else torch.xlogy(target, target) - target * input
    if reduction == "batchmean":
        return loss.sum() / input.shape[0]
    return _reduced(loss, reduction)


def _gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """As PyTorch's, but for its look at whether a variance is negative, which is a value a member."""
    if isinstance(var, Tensor) and not are_members(var):
        return F.gaussian_nll_loss(input, target, var, full, eps, reduction)
    var = torch.as_tensor(var, dtype=input.dtype, device=input.device)
    if var.dim() == input.dim() - 1:
        var = var.unsqueeze(-1)
    var = var + (var.detach().clamp(min=eps) - var.detach())
    loss = 0.5 * (torch.log(var) + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.9189385332046727  # log(2 pi) / 2
    return _reduced(loss, reduction)


_INTERPOLATE = larger_batch(F.interpolate, 1, (3, 4, 5))
BATCHES: dict[Any, Callable[..., Any]] = {
    F.interpolate: _interpolate,
    F.max_unpool1d: larger_batch(F.max_unpool1d, 2, (3,)),
    F.max_unpool2d: larger_batch(F.max_unpool2d, 2, (4,)),
    F.max_unpool3d: larger_batch(F.max_unpool3d, 2, (5,)),
    Tensor.scatter_: _scatter_,
    F.bilinear: _bilinear,
    torch._weight_norm: _weight_norm,
    F.kl_div: _kl_div,
    F.gaussian_nll_loss: _gaussian_nll_loss,
}
