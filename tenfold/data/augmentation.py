"""Random changes of photographs in training, by torchvision's transforms v2: crop and resize, mirror, colours.

The transforms draw from torch's generator, seeded with each sample's own key: a sample looks the same whoever
shares its batch and whatever worker prepares it.

Slow: one sample after another, on the CPU; about 2 ms for a picture of 128 pixels, which is what workers are for.

References:
    Szegedy et al., Going deeper with convolutions, CVPR 2015, section 6 (crops by area and ratio).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torchvision.transforms import v2


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

    def transform(self, height: int, width: int) -> v2.Transform:
        """The transforms that make pictures of this size, in pixels."""
        return v2.Compose(
            [
                v2.RandomResizedCrop(
                    (height, width), scale=(self.min_area, 1.0), ratio=(1 / self.max_ratio, self.max_ratio)
                ),
                v2.RandomHorizontalFlip(self.flip),
                v2.ColorJitter(self.jitter, self.jitter, self.jitter),
            ]
        )


def augment(
    images: torch.Tensor, augmentation: Augmentation, keys: Sequence[int], height: int, width: int
) -> torch.Tensor:
    """Each picture changed by draws from its own key.

    Args:
        images: uint8, or float in [0, 1], shape (B, C, h, w).
        augmentation: the ranges of the changes.
        keys: B seeds.
        height: of the result, in pixels.
        width: of the result, in pixels.

    Returns:
        Pictures of the same dtype, shape (B, C, height, width).

    Example:
        >>> photo = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
        >>> pair = augment(photo, Augmentation(), [7, 8], 32, 32)
        >>> torch.equal(pair[1:], augment(photo[1:], Augmentation(), [8], 32, 32))
        True
    """
    transform = augmentation.transform(height, width)
    changed = []
    generator = torch.random.default_generator  # of the CPU; a worker must not touch a GPU
    state = generator.get_state()
    try:
        for image, key in zip(images, keys, strict=True):
            generator.manual_seed(key)
            changed.append(transform(image))
    finally:
        generator.set_state(state)
    return torch.stack(changed)
