"""Random changes of photographs in training, by torchvision's transforms v2: crop and resize, mirror, colours.

The transforms draw from torch's generator, seeded with each sample's own key: a sample looks the same whoever
shares its batch and whatever worker prepares it.

Slow: one sample after another, on the CPU; about 2 ms for a picture of 128 pixels, which is what workers are for.

References:
    Szegedy et al., Going deeper with convolutions, CVPR 2015, section 6 (crops by area and ratio).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How photographs are changed in training.

    Attributes:
        min_area: smallest share of the picture that a crop keeps, in (0, 1].
        max_ratio: greatest width over height of a crop, and its inverse the least; where pictures have masks, against
            their own proportions.
        flip: probability of mirroring left and right.
        jitter: brightness, contrast and saturation are multiplied by up to 1 +- this.
    """

    min_area: float = 0.35
    max_ratio: float = 4 / 3
    flip: float = 0.5
    jitter: float = 0.2

    def transform(self, height: int, width: int, proportions: float = 1.0) -> v2.Transform:
        """The transforms that make pictures of this size, in pixels, from crops of about these proportions."""
        ratio = (proportions / self.max_ratio, proportions * self.max_ratio)
        return v2.Compose(
            [
                v2.RandomResizedCrop((height, width), scale=(self.min_area, 1.0), ratio=ratio),
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
    return torch.stack(list(_each(augmentation.transform(height, width), images, keys)))


def augment_scenes(
    images: torch.Tensor,
    masks: torch.Tensor,
    augmentation: Augmentation,
    keys: Sequence[int],
    height: int,
    width: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each picture with its mask, cropped and mirrored as one; colours change in the picture alone.

    Args:
        images: as for `augment`.
        masks: uint8, shape (B, h, w); brought to size by the nearest pixel.
        augmentation: the ranges of the changes.
        keys: B seeds.
        height: of the result, in pixels.
        width: of the result, in pixels.

    Returns:
        Pictures, shape (B, C, height, width), and masks, shape (B, height, width).

    Example:
        >>> masks = torch.randint(0, 3, (2, 40, 40), dtype=torch.uint8)
        >>> plain = Augmentation(jitter=0.0)
        >>> images, moved = augment_scenes(masks[:, None], masks, plain, [7, 8], 40, 40)
        >>> images.shape, moved.shape
        (torch.Size([2, 1, 40, 40]), torch.Size([2, 40, 40]))
    """
    pairs = [(tv_tensors.Image(image), tv_tensors.Mask(mask)) for image, mask in zip(images, masks, strict=True)]
    changed = list(_each(augmentation.transform(height, width, width / height), pairs, keys))
    return torch.stack([image for image, _ in changed]), torch.stack([mask for _, mask in changed])


def _each(transform: v2.Transform, samples: Iterable[Any], keys: Sequence[int]) -> Iterator[Any]:
    """Each sample changed under its own key; torch's generator is left as it was."""
    generator = torch.random.default_generator  # of the CPU; a worker must not touch a GPU
    state = generator.get_state()
    try:
        for sample, key in zip(samples, keys, strict=True):
            generator.manual_seed(key)
            yield transform(sample)
    finally:
        generator.set_state(state)
