"""Random changes of photographs in training: crop and resize, mirror, brightness, contrast, saturation.

The draws of each sample come from its own key, so that a sample looks the same whoever shares its batch. They are
applied to the whole batch at once, on its device: one bilinear sampling for crop, resize and mirror together.

References:
    C. Szegedy et al., Going deeper with convolutions, 2015, section 6 (crops by area and ratio).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How photographs are changed in training.

    Attributes:
        min_area: smallest share of the picture that a crop keeps, in (0, 1].
        max_ratio: greatest width over height of a crop, and its inverse the least.
        flip: probability of mirroring left and right.
        jitter: brightness, contrast and saturation are multiplied by up to 1 +- this.
    """

    min_area: float = 0.35
    max_ratio: float = 4 / 3
    flip: float = 0.5
    jitter: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random changes of B samples.

    Attributes:
        boxes: top, left, height, width in pixels, float32 of shape (B, 4).
        flips: bool, shape (B,).
        factors: brightness, contrast, saturation, float32 of shape (B, 3).
    """

    boxes: np.ndarray
    flips: np.ndarray
    factors: np.ndarray


def draw(augmentation: Augmentation, keys: Sequence[int], height: int, width: int) -> Draws:
    """Each sample's changes from its own key.

    Args:
        augmentation: their ranges.
        keys: B seeds.
        height: of the stored pictures, in pixels.
        width: of the stored pictures, in pixels.

    Example:
        >>> a = draw(Augmentation(), [7, 8], 100, 100)
        >>> bool((a.boxes[1] == draw(Augmentation(), [8], 100, 100).boxes[0]).all())
        True
    """
    uniform = np.stack([np.random.Generator(np.random.Philox(key)).random((_TRIES + 1, 4)) for key in keys])
    boxes = _boxes(augmentation, uniform[:, :_TRIES], height, width)
    last = uniform[:, _TRIES]
    factors = 1 + augmentation.jitter * (2 * last[:, 1:] - 1)
    return Draws(boxes=boxes, flips=last[:, 0] < augmentation.flip, factors=factors.astype(np.float32))


def _boxes(augmentation: Augmentation, uniform: np.ndarray, height: int, width: int) -> np.ndarray:
    """The first of several tries that fits into the picture, else the whole picture."""
    area = height * width * (augmentation.min_area + (1 - augmentation.min_area) * uniform[..., 0])
    ratio = np.exp(np.log(augmentation.max_ratio) * (2 * uniform[..., 1] - 1))
    wide, high = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (wide <= width) & (high <= height) & (wide >= 1) & (high >= 1)
    first = fits.argmax(axis=1)
    every = np.arange(len(uniform))
    fine = fits[every, first]
    high = np.where(fine, high[every, first], height)
    wide = np.where(fine, wide[every, first], width)
    top = np.floor(uniform[every, first, 2] * (height - high + 1))
    left = np.floor(uniform[every, first, 3] * (width - wide + 1))
    return np.stack([top, left, high, wide], axis=1).astype(np.float32)


def apply(draws: Draws, images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The changed pictures.

    Args:
        draws: the changes of B samples.
        images: float in [0, 1], shape (B, C, h, w).
        height: of the result, in pixels.
        width: of the result, in pixels.

    Returns:
        Float in [0, 1], shape (B, C, height, width).
    """
    cropped = crop_and_resize(images, draws.boxes, draws.flips, height, width)
    return adjust_colours(cropped, draws.factors)


def crop_and_resize(
    images: torch.Tensor, boxes: np.ndarray, flips: np.ndarray, height: int, width: int
) -> torch.Tensor:
    """Crops, resizes (bilinear, no antialiasing) and mirrors in one sampling; shapes as in `apply`."""
    box = torch.as_tensor(boxes, device=images.device, dtype=images.dtype)
    rows = (torch.arange(height, device=images.device, dtype=images.dtype) + 0.5) / height
    columns = (torch.arange(width, device=images.device, dtype=images.dtype) + 0.5) / width
    flipped = torch.as_tensor(flips, device=images.device)[:, None]
    columns = torch.where(flipped, 1 - columns, columns)
    # grid_sample counts from -1 at the upper left edge to 1 at the lower right one.
    y = 2 * (box[:, :1] + rows * box[:, 2:3]) / images.shape[2] - 1
    x = 2 * (box[:, 1:2] + columns * box[:, 3:4]) / images.shape[3] - 1
    grid = torch.stack([x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=-1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def adjust_colours(images: torch.Tensor, factors: np.ndarray) -> torch.Tensor:
    """Brightness, then contrast, then saturation (of three channels), as torchvision's `adjust_*` define them.

    Args:
        images: float in [0, 1], shape (B, C, H, W).
        factors: float, shape (B, 3); 1 changes nothing.
    """
    brightness, contrast, saturation = torch.as_tensor(factors, device=images.device).T[:, :, None, None, None]
    images = (images * brightness).clamp_(0, 1)
    mean = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
    images = images.mul_(contrast).add_((1 - contrast) * mean).clamp_(0, 1)
    if images.shape[1] != 3:
        return images
    return images.mul(saturation).add_((1 - saturation) * _grey(images)).clamp_(0, 1)


def _grey(images: torch.Tensor) -> torch.Tensor:
    if images.shape[1] != 3:
        return images
    red, green, blue = images.split(1, dim=1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue
