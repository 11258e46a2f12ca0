"""Pictures with masks on their way to a network: augmented as one, in a reproducible order, alike in folds."""

import json

import numpy as np
import pytest
import torch
from scenes import make_scenes

from tenfold.data import (
    Augmentation,
    Batches,
    DataPart,
    FoldBatches,
    FoldData,
    FoldMember,
    TargetEncoder,
    cut_folds,
    examine,
    fit_preprocessor,
    preprocessor_from_json,
    read,
    read_inputs,
    split,
)
from tenfold.data.augmentation import augment_scenes


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return read(make_scenes(tmp_path_factory.mktemp("scenes"), height=72, width=96))


def prepared(source):
    rows = np.arange(len(source))
    preprocessor = fit_preprocessor(source.inputs, rows)
    encoder = TargetEncoder.fit(source.targets, source.task, rows, codes=source.codes)
    return preprocessor, encoder, DataPart.of(source, rows, preprocessor, encoder)


def test_pictures_and_masks_stay_bytes_until_a_batch(source):
    preprocessor, encoder, part = prepared(source)
    assert preprocessor.spec.dense
    assert part.inputs[0].dtype == part.targets.dtype == torch.uint8
    inputs, targets = next(iter(Batches(part, preprocessor, batch_size=4, seed=0).ordered()))
    assert inputs[0].shape == (4, 3, 72, 96)
    assert inputs[0].dtype == torch.float32
    assert torch.equal(targets, torch.from_numpy(source.targets[:4]))
    assert encoder.num_outputs == 3


def test_a_mask_goes_where_its_picture_goes():
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 2, (3, 6, 8), generator=generator).to(torch.uint8)
    masks = masks.repeat_interleave(16, 1).repeat_interleave(16, 2)
    images = (masks * 200)[:, None]
    plain = Augmentation(jitter=0.0)
    moved, targets = augment_scenes(images, masks, plain, [3, 4, 5], 96, 128)
    assert not torch.equal(targets, masks)
    assert set(targets.unique().tolist()) == {0, 1}
    assert ((moved[:, 0] > 100) == targets.bool()).float().mean() > 0.98  # but for the blurred edges
    coloured, same = augment_scenes(images, masks, Augmentation(jitter=0.5), [3, 4, 5], 96, 128)
    assert torch.equal(same, targets)
    assert not torch.equal(coloured, moved)


def test_training_batches_follow_from_seed_and_epoch_alone(source):
    preprocessor, _, part = prepared(source)
    batches = Batches(part, preprocessor, batch_size=5, seed=1, augment=True, workers=0)
    first, again, other = (list(batches.epoch(epoch)) for epoch in (2, 2, 3))
    for (one,), (two,) in zip((b[0] for b in first), (b[0] for b in again), strict=True):
        assert torch.equal(one, two)
    assert all(torch.equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][1], other[0][1])
    assert first[0][1].shape == (5, 72, 96)
    assert first[0][1].dtype == torch.uint8


def test_workers_make_the_same_bits(source):
    preprocessor, _, part = prepared(source)
    alone, helped = (
        list(Batches(part, preprocessor, batch_size=3, seed=1, augment=True, workers=workers).epoch(0))
        for workers in (0, 2)
    )
    for (one, targets), (two, others) in zip(alone, helped, strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(targets, others)


def test_a_fold_sees_the_batches_that_it_would_see_alone(source):
    folds = cut_folds(source, 3, seed=0)
    data = FoldData.of(source, folds, target_options={"codes": source.codes})
    members = [FoldMember(fold=fold, order=7, augment=8) for fold in range(3)]
    together = list(FoldBatches(data, members, batch_size=4, workers=0).epoch(1))
    for place, member in enumerate(members):
        alone = list(FoldBatches(data, [member], batch_size=4, workers=0).epoch(1))
        seen = [
            (group.inputs[0][list(group.members).index(place)], group.targets[list(group.members).index(place)])
            for step in together
            for group in step
            if place in group.members
        ]
        for (x, y), (group,) in zip(seen, alone, strict=True):
            assert torch.equal(x, group.inputs[0][0])
            assert torch.equal(y, group.targets[0])
        assert seen[0][1].shape == (4, 72, 96)


def test_small_pictures_are_not_augmented(tmp_path):
    small = read(make_scenes(tmp_path))
    preprocessor = fit_preprocessor(small.inputs, np.arange(len(small)))
    assert not preprocessor.augments
    assert not preprocessor.moves_targets
    chosen = fit_preprocessor(small.inputs, np.arange(len(small)), augment=Augmentation())
    assert chosen.moves_targets


def test_preprocessing_and_classes_survive_json(source):
    preprocessor, encoder, part = prepared(source)
    again = preprocessor_from_json(json.loads(json.dumps(preprocessor.to_json())))
    assert again.spec == preprocessor.spec
    assert again.moves_targets
    same = TargetEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert same.codes == encoder.codes
    assert np.array_equal(same.decode(np.array([[[0, 2]]])), [[[0, 2]]])
    assert torch.equal(same.encode(source.targets), part.targets)


def test_codes_are_asked_for(source):
    with pytest.raises(ValueError, match="codes must be given for a segmentation"):
        TargetEncoder.fit(source.targets, source.task, np.arange(3))


def test_inputs_for_prediction_know_the_size_of_their_files(source, tmp_path):
    folder = make_scenes(tmp_path, count=2, height=36, width=48)
    preprocessor, _, _ = prepared(source)
    raw = read_inputs(folder, preprocessor)
    assert raw.labels == read(folder).inputs.paths  # pictures alone, in the order of the source
    assert set(raw.sizes) == {(36, 48)}
    assert preprocessor.transform(raw.inputs)[0].shape == (6, 3, 72, 96)
    assert read_inputs(folder / "images", preprocessor).labels[0] == "test0.png"


def test_copies_with_other_masks_are_found(tmp_path):
    folder = make_scenes(tmp_path, count=8)
    for number in range(3):
        copy = (folder / "images" / f"train{number}.png").read_bytes()
        (folder / "images" / f"test{number}.png").write_bytes(copy)
    copied = read(folder)
    found = examine(copied, split(copied, seed=1), seed=0)
    assert any(finding.kind == "duplicates" and "different targets" in finding.sentence for finding in found)
