import multiprocessing
import os

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset

from tenfold.core.seeds import generator
from tenfold.data import (
    ArrayInputs,
    Augmentation,
    Batches,
    DataPart,
    FoldBatches,
    FoldData,
    FoldMember,
    Source,
    TableInputs,
    TargetEncoder,
    cut_folds,
    fit_preprocessor,
    fold_data,
    preparing,
    read,
    varied,
)
from tenfold.data import fold_batches as module

RNG = np.random.default_rng(0)


def table(n=61, task="classification"):
    frame = pd.DataFrame({"x": RNG.normal(3, 2, n), "y": RNG.normal(size=n) ** 3, "c": RNG.choice(list("ab"), n)})
    targets = np.arange(n) % 3 if task == "classification" else RNG.normal(5, 3, n)
    return Source(name="s", kind="table", inputs=TableInputs(frame), targets=targets, task=task)


def numbers():
    return table(task="regression")


def pictures(n=40):
    images = ArrayInputs(RNG.integers(0, 256, (n, 3, 12, 12), dtype=np.uint8))
    return Source(name="s", kind="image", inputs=images, targets=np.arange(n) % 2, task="classification")


class Noisy(Dataset):
    def __len__(self):
        return 30

    def __getitem__(self, row):
        return torch.rand(4) + row, row % 2


def noisy():
    return read(Noisy())


def options(source):
    return {"augment": Augmentation()} if source.kind == "image" else {}


def alone(source, folds, fold, seed, batch_size):
    """A fold's batches as of one who knows nothing of the others."""
    rows = folds.train[fold]
    preprocessor = fit_preprocessor(source.inputs, rows, **options(source))
    encoder = TargetEncoder.fit(source.targets, source.task, rows)
    part = DataPart.of(source, rows, preprocessor, encoder)
    valid = DataPart.of(source, folds.valid[fold], preprocessor, encoder)
    train = Batches(part, preprocessor, batch_size=batch_size, seed=seed, augment=True, workers=0)
    return train, Batches(valid, preprocessor, batch_size=batch_size, seed=0, workers=0)


def of_member(steps, member):
    """What one member sees: its inputs and targets, and the steps it sits out."""
    batches, rested = [], 0
    for step in steps:
        seen = [
            ([tensor[place] for tensor in group.inputs], group.targets[place])
            for group in step
            for place in np.flatnonzero(group.members == member)
        ]
        assert len(seen) < 2
        rested += not seen
        batches += seen
    return batches, rested


def assert_same(found, expected):
    assert len(found) == len(expected)
    for (inputs, targets), (other_inputs, other_targets) in zip(found, expected, strict=True):
        assert torch.equal(targets, other_targets)
        assert all(torch.equal(a, b) for a, b in zip(inputs, other_inputs, strict=True))


MANNERS = {"table": "stratified", "numbers": "time-series", "pictures": "stratified", "noisy": "stratified"}


@pytest.mark.parametrize("make", [table, numbers, pictures, noisy])
@pytest.mark.parametrize("batch_size", [1, 8, 1000])
@pytest.mark.parametrize("kept_bytes", [0, 1 << 30])
def test_a_member_sees_the_batches_of_its_fold_alone_bit_for_bit(make, batch_size, kept_bytes, monkeypatch):
    monkeypatch.setattr(varied, "KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(module, "CHUNK_BYTES", 4000)
    monkeypatch.setattr(fold_data, "_MOST_PREPARED_BYTES", kept_bytes)
    source = make()
    folds = cut_folds(source, 3, seed=0, manner=MANNERS[make.__name__])
    members = [FoldMember(fold=fold, order=seed, augment=seed) for seed in (4, 5) for fold in (2, 0, 1, 1)]
    batches = FoldBatches(FoldData.of(source, folds, **options(source)), members, batch_size=batch_size, workers=0)
    steps = list(batches.epoch(2))
    ordered = list(batches.ordered())
    assert len(steps) == batches.steps_per_epoch
    for place, member in enumerate(members):
        train, valid = alone(source, folds, member.fold, member.order, batch_size)
        found, rested = of_member(steps, place)
        expected = [(inputs, targets) for inputs, targets in train.epoch(2)]
        assert rested == batches.steps_per_epoch - len(expected)
        assert_same(found, expected)
        assert_same(of_member(ordered, place)[0], list(valid.ordered()))


def test_seeds_of_order_and_augmentation_are_streams_of_their_own():
    source = pictures()
    folds = cut_folds(source, 2, seed=0)
    data = FoldData.of(source, folds, **options(source))
    members = [FoldMember(fold=0, order=a, augment=b) for a, b in ((1, 1), (1, 2), (2, 1))]
    batches = FoldBatches(data, members, batch_size=20, workers=0)
    (group,) = next(iter(batches.epoch(0)))
    (images,) = group.inputs
    same_order, same_changes = group.targets[0] == group.targets[1], group.targets[0] == group.targets[2]
    assert same_order.all()
    assert not same_changes.all()
    assert not torch.equal(images[0], images[1])
    first, other = (generator(seed, "order", 0).permutation(20) for seed in (1, 2))
    assert torch.equal(images[0][np.argsort(first)], images[2][np.argsort(other)])


@pytest.mark.parametrize("make", [pictures, noisy])
def test_the_number_of_workers_changes_no_bit(make):
    source = make()
    folds = cut_folds(source, 3, seed=0)
    data = FoldData.of(source, folds, **options(source))
    members = [FoldMember(fold=fold, order=7, augment=7) for fold in range(3)]
    one, four = (
        [step for epoch in (0, 1) for step in FoldBatches(data, members, batch_size=6, workers=w).epoch(epoch)]
        for w in (0, 2)
    )
    for place in range(3):
        assert_same(of_member(one, place)[0], of_member(four, place)[0])


def test_all_batches_of_the_same_data_share_their_workers(monkeypatch):
    monkeypatch.setattr(preparing, "START_SECONDS", {"fork": 0.0})
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    source = pictures()
    data = FoldData.of(source, cut_folds(source, 2, seed=0), **options(source))
    before = multiprocessing.active_children()
    for size in (2, 3, 4):
        members = [FoldMember(fold=fold, order=0, augment=0) for fold in range(2)]
        list(FoldBatches(data, members, batch_size=size).epoch(0))
    assert len(multiprocessing.active_children()) - len(before) == 2
    data.preparer.close()
    assert len(multiprocessing.active_children()) == len(before)


def test_a_picture_is_augmented_once_for_all_folds_that_see_it(monkeypatch):
    source = pictures()
    data = FoldData.of(source, cut_folds(source, 5, seed=0), **options(source))
    made = []
    vary = type(data.preprocessors[0]).vary
    monkeypatch.setattr(
        type(data.preprocessors[0]), "vary", lambda self, t, keys: made.extend(keys) or vary(self, t, keys)
    )
    members = [FoldMember(fold=fold, order=fold, augment=0) for fold in range(5)]
    list(FoldBatches(data, members, batch_size=8, workers=0).epoch(0))
    assert len(made) == len(set(made)) == len(source)


def test_members_leave_and_the_others_go_on():
    source = table()
    data = FoldData.of(source, cut_folds(source, 3, seed=0))
    members = [FoldMember(fold=fold, order=0, augment=0) for fold in range(3)]
    batches = FoldBatches(data, members, batch_size=8)
    expected = of_member(list(batches.epoch(1)), 2)[0]
    batches.keep(torch.tensor([2, 0]))
    assert [member.fold for member in batches.members] == [2, 0]
    assert_same(of_member(list(batches.epoch(1)), 0)[0], expected)


def test_all_members_see_rows_of_a_test_part():
    source = table()
    folds = cut_folds(source, 3, seed=0, rows=np.arange(50))
    batches = FoldBatches(FoldData.of(source, folds), [FoldMember(fold=1, order=0, augment=0)], batch_size=8)
    found = torch.cat([group.targets[0] for (group,) in batches.ordered(np.arange(50, 61), batch_size=4)])
    assert found.tolist() == source.targets[50:].tolist()


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_size_below_one_is_refused(batch_size):
    data = FoldData.of(table(), cut_folds(table(), 3, seed=0))
    with pytest.raises(ValueError, match=f"FoldBatches: batch_size must be at least 1, got {batch_size}"):
        FoldBatches(data, [FoldMember(fold=0, order=0, augment=0)], batch_size=batch_size)


@pytest.mark.parametrize("folds", [[], [3], [-1]])
def test_members_of_no_fold_are_refused(folds):
    data = FoldData.of(table(), cut_folds(table(), 3, seed=0))
    with pytest.raises(ValueError, match=r"FoldBatches: members must be of folds 0 to 2, at least one, got folds \["):
        FoldBatches(data, [FoldMember(fold=fold, order=0, augment=0) for fold in folds], batch_size=4)


def test_padded_scoring_batches_hold_every_row_and_repeat_the_last():
    source = read("iris")
    rows = np.arange(len(source))
    folds = cut_folds(
        source, [(np.setdiff1d(rows, part), part) for part in (rows[:40], rows[40:79], rows[79:117])], seed=0
    )
    data = FoldData.of(source, folds)
    members = [FoldMember(fold=fold, order=0, augment=0) for fold in (0, 1, 2)]
    steps = list(FoldBatches(data, members, batch_size=16).ordered(padded=True))
    assert [[len(group.members) for group in step] for step in steps] == [[3]] * 3
    for place, fold in enumerate((0, 1, 2)):
        seen = torch.cat([step[0].inputs[0][place] for step in steps])
        plain = FoldBatches(data, members[place : place + 1], batch_size=64).ordered()
        own = torch.cat([step[0].inputs[0][0] for step in plain])
        length = len(folds.valid[fold])
        assert torch.equal(seen[:length], own)
        assert all(torch.equal(row, own[-1]) for row in seen[length:])


def test_folds_of_very_different_sizes_are_not_padded():
    source = read("iris")
    rows = np.arange(len(source))
    folds = cut_folds(source, [(np.setdiff1d(rows, part), part) for part in (rows[:40], rows[40:60])], seed=0)
    data = FoldData.of(source, folds)
    members = [FoldMember(fold=fold, order=0, augment=0) for fold in (0, 1)]
    steps = list(FoldBatches(data, members, batch_size=64).ordered(padded=True))
    assert [[len(group.members) for group in step] for step in steps] == [[1, 1]]
