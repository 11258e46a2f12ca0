"""Features in place of samples: computed once where nothing random stands before them, batch by batch otherwise."""

import numpy as np
import pytest
import torch

from tenfold.data import Augmentation, Batches, DataPart, ImagePreprocessor, TargetEncoder, fit_preprocessor, read
from tenfold.data import features as features_module
from tenfold.data.features import FeaturePreprocessor, feature_part


class Counting:
    """Sums of each sample, and how many samples were asked for."""

    def __init__(self):
        self.seen = 0

    def __call__(self, x):
        self.seen += len(x)
        return x.flatten(1).sum(1, keepdim=True)


def digits():
    source, rows = read("digits"), np.arange(300)
    preprocessor = fit_preprocessor(source.inputs, rows)
    encoder = TargetEncoder.fit(source.targets, source.task, rows)
    return DataPart.of(source, rows, preprocessor, encoder), preprocessor


def test_without_augmentation_features_are_computed_once_for_all_epochs():
    part, preprocessor = digits()
    features = Counting()
    own, prepared = feature_part(part, preprocessor, features, vary=True)
    expected = Counting()(*preprocessor.prepare_batch(part.inputs, False))
    assert torch.allclose(own.inputs[0], expected)
    batches = Batches(own, prepared, batch_size=32, seed=0, augment=True)
    plain = Batches(part, preprocessor, batch_size=32, seed=0, augment=True)
    for epoch in range(3):
        for (mine, y), (theirs, z) in zip(batches.epoch(epoch), plain.epoch(epoch), strict=True):
            assert torch.equal(y, z)
            assert torch.allclose(mine[0], Counting()(*theirs))
    assert features.seen == 301  # one to know how much memory they take


def test_augmented_batches_get_the_features_of_what_was_augmented():
    part, preprocessor = digits()
    preprocessor = ImagePreprocessor(
        format=preprocessor.format, mean=(0.5,), std=(1.0,), scale=1.0, augment=Augmentation()
    )
    features = Counting()
    own, wrapped = feature_part(part, preprocessor, features, vary=True)
    batches = Batches(own, wrapped, batch_size=32, seed=0, augment=True, workers=0)
    plain = Batches(part, preprocessor, batch_size=32, seed=0, augment=True, workers=0)
    for epoch in range(2):
        for (mine, _), (theirs, _) in zip(batches.epoch(epoch), plain.epoch(epoch), strict=True):
            assert torch.allclose(mine[0], Counting()(*theirs))
    assert features.seen == 600


def test_features_that_would_fill_the_memory_are_computed_batch_by_batch(monkeypatch):
    part, preprocessor = digits()
    monkeypatch.setattr(features_module, "available_memory_bytes", lambda device: 1000)
    own, wrapped = feature_part(part, preprocessor, Counting(), vary=True)
    assert own is part
    assert type(wrapped) is FeaturePreprocessor
    (first, *_), (plain, *_) = (
        list(Batches(one, how, batch_size=32, seed=0).epoch(0)) for one, how in ((own, wrapped), (part, preprocessor))
    )
    assert torch.allclose(first[0][0], Counting()(*plain[0]))


def test_masks_move_with_pictures_through_a_preprocessor_of_features():
    _, preprocessor = digits()
    preprocessor.moves_targets = True
    assert FeaturePreprocessor(preprocessor, Counting()).moves_targets


def test_a_preprocessor_of_features_is_neither_fitted_nor_read():
    with pytest.raises(TypeError, match="not fitted to rows"):
        FeaturePreprocessor.fit(None, np.arange(3))
    with pytest.raises(TypeError, match="not read from a file"):
        FeaturePreprocessor.from_json({})
