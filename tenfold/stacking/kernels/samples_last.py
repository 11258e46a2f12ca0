"""Pictures whose samples lie side by side in memory: (..., C, H, W, B), seen as (..., B, C, H, W)."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def lies_samples_last(tensor: Tensor) -> bool:
    """Whether a tensor of shape (..., B, C, H, W) has its samples side by side in memory.

    Example:
        >>> import torch
        >>> lies_samples_last(torch.zeros(3, 8, 8, 5).movedim(-1, 0))
        True
    """
    expected = 1
    for dim in (-4, -1, -2, -3, *range(tensor.dim() - 5, -1, -1)):
        if tensor.size(dim) != 1 and tensor.stride(dim) != expected:
            return False
        expected *= tensor.size(dim)
    return True


def samples_last(tensor: Tensor) -> Tensor:
    """The same values, shape (..., B, C, H, W), with the samples side by side in memory; itself if they are."""
    if lies_samples_last(tensor):
        return tensor
    turned = tensor.flatten(-3).transpose(-1, -2).contiguous()
    return turned.unflatten(-2, tensor.shape[-3:]).movedim(-1, -4)


def empty_samples_last(like: Tensor, *shape: int, **options: Any) -> Tensor:
    """Memory for a tensor of shape (M, B, C, H, W), samples last. Not a view: `relu_` may write into it."""
    _, batch, channels, rows, cols = shape
    strides = (channels * rows * cols * batch, 1, rows * cols * batch, cols * batch, batch)
    return like.new_empty_strided(shape, strides, **options)
