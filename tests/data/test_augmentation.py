import pytest
import torch
from torchvision.transforms import v2

from tenfold.data.augmentation import Augmentation, augment

PHOTOS = torch.randint(0, 256, (4, 3, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
KEYS = [3, 1, 4, 2**62]
NOTHING = Augmentation(min_area=1.0, max_ratio=1.0, flip=0.0, jitter=0.0)


def test_each_picture_is_what_torchvision_makes_of_it_under_its_own_seed():
    changed = augment(PHOTOS, Augmentation(), KEYS, 12, 14)
    for image, key, got in zip(PHOTOS, KEYS, changed, strict=True):
        torch.manual_seed(key)
        expected = v2.RandomResizedCrop((12, 14), scale=(0.35, 1.0), ratio=(3 / 4, 4 / 3))(image)
        expected = v2.RandomHorizontalFlip(0.5)(expected)
        expected = v2.ColorJitter(0.2, 0.2, 0.2)(expected)
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize("images", [PHOTOS, PHOTOS[:, :1], PHOTOS.float() / 255])
def test_size_dtype_and_range_stay(images):
    changed = augment(images, Augmentation(), KEYS, 16, 16)
    assert changed.shape == (4, images.shape[1], 16, 16)
    assert changed.dtype == images.dtype
    assert changed.min() >= 0
    assert changed.max() <= images.max().clamp(min=1) * 1.5


def test_a_picture_looks_the_same_whoever_shares_its_batch():
    together = augment(PHOTOS, Augmentation(), KEYS, 12, 12)
    alone = augment(PHOTOS[2:3], Augmentation(), KEYS[2:3], 12, 12)
    assert torch.equal(together[2:3], alone)


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    augment(PHOTOS, Augmentation(), KEYS, 12, 12)
    assert torch.equal(torch.rand(3), expected)


def test_half_of_the_pictures_are_mirrored():
    only_flip = Augmentation(min_area=1.0, max_ratio=1.0, flip=0.5, jitter=0.0)
    square = PHOTOS[:1, :, :, :20]
    mirrored = sum(torch.equal(augment(square, only_flip, [key], 20, 20), square.flip(3)) for key in range(200))
    assert 70 < mirrored < 130


def test_nothing_to_change_changes_nothing():
    square = PHOTOS[:, :, :, :20]
    assert torch.equal(augment(square, NOTHING, KEYS, 20, 20), square)
