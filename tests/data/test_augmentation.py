import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from tenfold.data.augmentation import Augmentation, adjust_colours, crop_and_resize, draw

IMAGES = torch.rand(3, 3, 20, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("box", [(0, 0, 20, 24), (4, 6, 8, 10), (10, 12, 10, 12)])
def test_crops_agree_with_torchvision_inside_the_picture(box, flip):
    ours = crop_and_resize(IMAGES, np.array([box] * 3, np.float32), np.array([flip] * 3), 12, 14)
    theirs = tv.resized_crop(IMAGES, *box, [12, 14], antialias=False)
    theirs = tv.horizontal_flip(theirs) if flip else theirs
    # At the rim torchvision repeats the crop's edge, one sampling sees the neighbours.
    torch.testing.assert_close(ours[..., 2:-2, 2:-2], theirs[..., 2:-2, 2:-2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("position", "reference"), [(0, tv.adjust_brightness), (1, tv.adjust_contrast), (2, tv.adjust_saturation)]
)
@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("channels", [1, 3])
def test_colours_agree_with_torchvision(position, reference, factor, channels):
    images = IMAGES[:, :channels]
    factors = np.ones((3, 3), np.float32)
    factors[1, position] = factor
    expected = images.clone()
    expected[1] = reference(images[1], factor)
    torch.testing.assert_close(adjust_colours(images, factors), expected, rtol=1e-4, atol=1e-4)


def test_crops_lie_within_the_picture_and_keep_their_share():
    draws = draw(Augmentation(), range(500), 40, 60)
    top, left, high, wide = draws.boxes.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + high <= 40).all()
    assert (left + wide <= 60).all()
    assert (high * wide).min() >= 0.33 * 40 * 60
    assert 0.4 < draws.flips.mean() < 0.6
    assert np.abs(draws.factors - 1).max() <= 0.2
    assert (np.ptp(draws.boxes, axis=0) > 0).all()


def test_a_picture_too_narrow_for_any_crop_is_taken_whole():
    boxes = draw(Augmentation(min_area=0.9), range(20), 100, 10).boxes
    assert (boxes == np.array([0, 0, 100, 10])).all()
