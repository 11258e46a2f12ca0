import json

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from tenfold.core.errors import InputError
from tenfold.data import (
    ArrayInputs,
    Augmentation,
    ImageFileInputs,
    ImagePreprocessor,
    PictureFormat,
    TableInputs,
    preprocessor_from_json,
)

RNG = np.random.default_rng(0)
SMALL = RNG.integers(0, 256, (20, 3, 6, 6), dtype=np.uint8)
PHOTOS = ImageFileInputs(
    tuple(map(str, range(10))),
    RNG.integers(0, 256, (10, 3, 16, 16), dtype=np.uint8),
    PictureFormat(channels=3, height=14, width=14, margin=8 / 7),
)


@pytest.mark.parametrize("images", [SMALL, (SMALL / 255).astype(np.float32), (SMALL / 64 - 2).astype(np.float32)])
def test_training_pictures_get_mean_0_and_deviation_1_a_channel(images):
    rows = np.arange(0, 20, 2)
    preprocessor = ImagePreprocessor.fit(ArrayInputs(images), rows)
    (x,) = preprocessor.prepare_batch(preprocessor.transform(ArrayInputs(images)), False)
    reference = images.astype(np.float64)
    mean, std = (getattr(reference[rows], name)(axis=(0, 2, 3), keepdims=True) for name in ("mean", "std"))
    np.testing.assert_allclose(x, (reference - mean) / std, rtol=1e-4, atol=1e-5)
    assert x.dtype == torch.float32


def test_uint8_stays_uint8_in_memory():
    preprocessor = ImagePreprocessor.fit(ArrayInputs(SMALL), np.arange(20))
    assert preprocessor.transform(ArrayInputs(SMALL))[0].dtype == torch.uint8


def test_floats_and_bytes_of_one_picture_are_prepared_alike():
    preprocessor = ImagePreprocessor.fit(ArrayInputs(SMALL, 255.0), np.arange(20))
    (a,) = preprocessor.prepare_batch(preprocessor.transform(ArrayInputs(SMALL)), False)
    floats = ArrayInputs((SMALL / 255).astype(np.float32), 255.0)
    (b,) = preprocessor.prepare_batch(preprocessor.transform(floats), False)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_constant_channel_gives_zeros():
    preprocessor = ImagePreprocessor.fit(inputs := ArrayInputs(np.full((4, 1, 3, 3), 7, np.uint8)), np.arange(4))
    (x,) = preprocessor.prepare_batch(preprocessor.transform(inputs), False)
    torch.testing.assert_close(x, torch.zeros_like(x), rtol=0, atol=1e-4)


def test_evaluation_takes_the_centre():
    preprocessor = ImagePreprocessor.fit(PHOTOS, np.arange(10))
    (x,) = preprocessor.prepare_batch(preprocessor.transform(PHOTOS), False)
    centre = tv.center_crop(torch.from_numpy(PHOTOS.pixels), [14, 14]) / 255
    mean, std = torch.tensor(preprocessor.mean)[:, None, None], torch.tensor(preprocessor.std)[:, None, None]
    torch.testing.assert_close(x, (centre - mean) / std, rtol=1e-4, atol=1e-5)


def test_photographs_are_augmented_and_small_pictures_are_not():
    assert ImagePreprocessor.fit(PHOTOS, np.arange(10)).augments
    assert not ImagePreprocessor.fit(PHOTOS, np.arange(10), augment=None).augments
    assert not ImagePreprocessor.fit(ArrayInputs(SMALL), np.arange(10)).augments
    assert ImagePreprocessor.fit(ArrayInputs(SMALL), np.arange(10), augment=Augmentation()).augments


def test_a_sample_is_augmented_alike_whoever_shares_its_batch():
    preprocessor = ImagePreprocessor.fit(PHOTOS, np.arange(10))
    (pixels,) = preprocessor.transform(PHOTOS)
    (together,) = preprocessor.prepare_batch((pixels,), True, list(range(10)))
    (alone,) = preprocessor.prepare_batch((pixels[7:8],), True, [7])
    (other,) = preprocessor.prepare_batch((pixels[7:8],), True, [8])
    torch.testing.assert_close(together[7:8], alone, rtol=1e-5, atol=1e-5)
    assert not torch.equal(alone, other)
    assert together.shape == (10, 3, 14, 14)


def test_augmenting_does_not_change_what_is_stored():
    preprocessor = ImagePreprocessor.fit(inputs := ArrayInputs(RNG.random((3, 3, 6, 6), np.float32)), np.arange(3),
                                         augment=Augmentation())  # fmt: skip
    (stored,) = preprocessor.transform(inputs)
    before = stored.clone()
    preprocessor.prepare_batch((stored,), True, [1, 2, 3])
    preprocessor.prepare_batch((stored,), False)
    assert torch.equal(stored, before)


@pytest.mark.parametrize("keys", [None, [1]])
def test_augmenting_needs_a_key_a_sample(keys):
    preprocessor = ImagePreprocessor.fit(PHOTOS, np.arange(10))
    with pytest.raises(ValueError, match="keys must be given, one for each sample"):
        preprocessor.prepare_batch(preprocessor.transform(PHOTOS), True, keys)


@pytest.mark.parametrize("inputs", [PHOTOS, PHOTOS.take(np.array([3, 1, 3])), ArrayInputs(SMALL)])
def test_json_keeps_every_bit(inputs):
    preprocessor = ImagePreprocessor.fit(inputs, np.arange(3))
    again = preprocessor_from_json(json.loads(json.dumps(preprocessor.to_json())))
    assert (again.spec, again.format, again.augment) == (preprocessor.spec, preprocessor.format, preprocessor.augment)
    for train in (False, True):
        a, b = (p.prepare_batch(p.transform(inputs), train, range(len(inputs)))[0] for p in (preprocessor, again))
        assert torch.equal(a, b)


def test_rows_taken_from_files_are_the_right_ones():
    taken = PHOTOS.take(np.array([5, 2, 5])).take(np.array([2, 1]))
    preprocessor = ImagePreprocessor.fit(PHOTOS, np.arange(10))
    assert taken.paths == ("5", "2")
    np.testing.assert_array_equal(preprocessor.transform(taken)[0], PHOTOS.pixels[[5, 2]])


def test_pictures_of_another_shape_are_refused():
    preprocessor = ImagePreprocessor.fit(ArrayInputs(SMALL), np.arange(10))
    with pytest.raises(InputError, match=r"must have shape \(3, 6, 6\) .* got \(1, 6, 6\)"):
        preprocessor.transform(ArrayInputs(SMALL[:, :1]))


def test_other_inputs_are_refused():
    with pytest.raises(TypeError, match="ImagePreprocessor: cannot take TableInputs"):
        ImagePreprocessor.fit(TableInputs(pd.DataFrame({"a": [1]})), np.arange(1))
