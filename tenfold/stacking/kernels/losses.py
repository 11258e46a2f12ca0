"""Cross-entropy of all members, float32 on CPUs with AVX-512: the loss and its gradient in one pass.

PyTorch's operators for it are twenty in a step, of a few microseconds each.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from tenfold.stacking.kernels.library import OPERATORS, library


class CrossEntropy(torch.autograd.Function):
    """`torch.nn.functional.cross_entropy` of class indices, the mean over those that are not ignored.

    Args (of `apply`):
        logits: shape (M, B, K).
        target: int64 in [0, K), or `ignore_index`, shape (M, B).
        ignore_index: of targets that do not count.
        smoothing: the share of the target that is spread evenly over all classes, in [0, 1], shape (M,), or None.

    Returns:
        Shape (M,).

    Raises:
        IndexError: a target is no class.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, ignore_index: int, smoothing: Tensor | None) -> Tensor:
        """See the class."""
        wanted = ctx.needs_input_grad[0]
        loss, gradient = torch.ops.tenfold.cross_entropy(logits, target, ignore_index, smoothing, wanted)
        ctx.save_for_backward(logits, target, gradient, smoothing)
        ctx.ignore_index = ignore_index
        result: Tensor = loss
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """What the forward pass has made; where gradients of gradients are asked for, by PyTorch's operators."""
        logits, target, gradient, smoothing = ctx.saved_tensors
        if torch.is_grad_enabled():
            counted = target != ctx.ignore_index
            hits = torch.nn.functional.one_hot(torch.where(counted, target, 0), logits.shape[2])
            even = 0.0 if smoothing is None else smoothing.view(-1, 1, 1)
            share = counted / counted.sum(dim=1, keepdim=True)
            aimed_at = (1 - even) * hits + even / logits.shape[2]
            gradient = ((torch.softmax(logits, dim=2) - aimed_at) * share.unsqueeze(2)).to(logits.dtype)
        of_smoothing = grad * _by_smoothing(logits, target, ctx.ignore_index) if ctx.needs_input_grad[3] else None
        return gradient * grad.view(-1, 1, 1), None, None, of_smoothing


def _by_smoothing(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """How the loss changes with the share that is spread evenly: what all classes cost less what the targets do."""
    counted = target != ignore_index
    likelihood = torch.log_softmax(logits, dim=2)
    of_target = likelihood.gather(2, torch.where(counted, target, 0).unsqueeze(2)).squeeze(2)
    return (torch.where(counted, of_target - likelihood.mean(2), 0.0)).sum(1) / counted.sum(1)


def _cross_entropy(
    logits: Tensor, target: Tensor, ignore_index: int, smoothing: Tensor | None, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    logits = logits.contiguous()
    loss, gradient = _made(logits, target, ignore_index, smoothing, with_gradient)
    even = None if smoothing is None else smoothing.double().contiguous()
    wrong = _kernel()(
        *logits.shape, logits.data_ptr(), target.data_ptr(), *target.stride(), ignore_index,
        None if even is None else even.data_ptr(), loss.data_ptr(), gradient.data_ptr() if with_gradient else None,
    )  # fmt: skip
    if wrong >= 0:
        raise IndexError(f"Target {target.flatten()[wrong].item()} is out of bounds.")  # in PyTorch's words
    return loss, gradient


def _made(logits: Tensor, target: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    *_, with_gradient = options
    return logits.new_empty(len(logits)), logits.new_empty(logits.shape if with_gradient else (0,))


@functools.cache
def _kernel() -> Any:
    kernel = library().tenfold_cross_entropy
    size, data = ctypes.c_int64, ctypes.c_void_p
    kernel.restype, kernel.argtypes = size, [*[size] * 3, data, data, *[size] * 3, *[data] * 3]
    return kernel


OPERATORS.define(
    "cross_entropy(Tensor logits, Tensor target, int ignore_index, Tensor? smoothing, bool with_gradient) "
    "-> (Tensor, Tensor)"
)
OPERATORS.impl("cross_entropy", _cross_entropy, "CPU")
torch.library.register_fake("tenfold::cross_entropy", _made)
