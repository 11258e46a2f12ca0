"""PyTorch's own max pooling, channels last, as an operator that TorchInductor does not take apart.

Taken apart, the gradient is scattered into a tensor of zeros, channels first, and turned around for the convolution:
of a small CNN with batch norm, pooling and the copies around it took a third of the compiled step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tenfold.stacking.kernels.library import OPERATORS

Options = tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int], bool]
"""Window, stride, padding, dilation, and whether the result's size is rounded up."""


class MaxPool(torch.autograd.Function):
    """The maxima of windows, on the CPU.

    Args (of `apply`):
        x: shape (B, C, H, W), quickest with channels last.
        options: window, stride, padding, dilation and rounding as of `torch.max_pool2d`.

    Returns:
        Shape (B, C, H', W'), channels last.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *options: Any) -> Tensor:
        """See the class."""
        largest, places = torch.ops.tenfold.max_pool(x, *options)
        ctx.save_for_backward(x, places)
        ctx.options = options
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient where the maximum was, zeros elsewhere."""
        d_x = torch.ops.tenfold.max_pool_backward(grad, *ctx.saved_tensors, *ctx.options)
        return d_x, *(None for _ in ctx.options)


def _last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def _max_pool(x: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    largest, places = torch.ops.aten.max_pool2d_with_indices(_last(x), *options)
    return _last(largest), _last(places)


def _max_pool_backward(grad: Tensor, x: Tensor, places: Tensor, *options: Any) -> Tensor:
    return _last(torch.ops.aten.max_pool2d_with_indices_backward(_last(grad), _last(x), *options, _last(places)))


_OPTIONS = "int[2] window, int[2] stride, int[2] padding, int[2] dilation, bool ceil_mode"
OPERATORS.define(f"max_pool(Tensor x, {_OPTIONS}) -> (Tensor, Tensor)")
OPERATORS.define(f"max_pool_backward(Tensor grad, Tensor x, Tensor places, {_OPTIONS}) -> Tensor")
OPERATORS.impl("max_pool", _max_pool, "CPU")
OPERATORS.impl("max_pool_backward", _max_pool_backward, "CPU")
torch.library.register_fake("tenfold::max_pool", _max_pool)
torch.library.register_fake("tenfold::max_pool_backward", _max_pool_backward)
