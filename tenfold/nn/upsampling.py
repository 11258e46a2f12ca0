"""Up-sampling of pictures and feature maps by name.

B batch, C channels, H W
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tenfold.core.registry import Registry


def bilinear_kernel(factor: int) -> Tensor:
    """The kernel with which a transposed convolution interpolates bilinearly, float32, shape (S, S).

    S is 2 * factor for even factors and 2 * factor - 1 for odd ones.

    Example:
        >>> bilinear_kernel(2)[0].tolist()
        [0.0625, 0.1875, 0.1875, 0.0625]

    References:
        Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section 3.3.
    """
    size = 2 * factor - factor % 2
    distance = (torch.arange(size) - (size - 1) / 2).abs() / factor
    return torch.outer(1 - distance, 1 - distance)


def transposed_upsampling(channels: int, factor: int) -> nn.ConvTranspose2d:
    """A transposed convolution, a channel a time, that starts as bilinear interpolation and can learn another.

    Example:
        >>> transposed_upsampling(3, 2)(torch.ones(1, 3, 4, 4)).shape
        torch.Size([1, 3, 8, 8])

    References:
        Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section 3.3.
    """
    size = 2 * factor - factor % 2
    layer = nn.ConvTranspose2d(
        channels, channels, size, stride=factor, padding=factor // 2, groups=channels, bias=False
    )
    with torch.no_grad():
        layer.weight.copy_(bilinear_kernel(factor))
    return layer


_BY_NAME: dict[str, Callable[[int, int], nn.Module]] = {
    "nearest": lambda channels, factor: nn.Upsample(scale_factor=factor, mode="nearest"),
    "bilinear": lambda channels, factor: nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False),
    "transposed": transposed_upsampling,
    "unpooling": lambda channels, factor: nn.MaxUnpool2d(factor),
}
UPSAMPLINGS: Registry[Callable[[int, int], nn.Module]] = Registry("up-sampling")
for _name, _make in _BY_NAME.items():
    UPSAMPLINGS.add(_name, _make)


def upsampling(name: str, channels: int, factor: int = 2) -> nn.Module:
    """A new module that makes maps `factor` times as high and wide: shape (B, C, H, W) to (B, C, factor H, factor W).

    Args:
        name: "nearest", "bilinear", "transposed" (which starts as bilinear and learns), or "unpooling", which puts
            each number where it was the largest: it is called `(x, places)` with the places that
            `nn.MaxPool2d(factor, return_indices=True)` gave.
        channels: C; only "transposed" has weights.
        factor: a whole number, at least 1.

    Raises:
        InputError: there is no such up-sampling.
        ValueError: the factor is no whole number of at least 1.

    Example:
        >>> upsampling("nearest", channels=1)(torch.tensor([[[[1.0, 2.0]]]])).tolist()
        [[[[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]]
    """
    if isinstance(factor, bool) or not isinstance(factor, int) or factor < 1:
        raise ValueError(f"upsampling: factor must be a whole number >= 1, got {factor!r}. 2 is usual.")
    return UPSAMPLINGS[name](channels, factor)
