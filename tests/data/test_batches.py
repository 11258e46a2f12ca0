import numpy as np
import pandas as pd
import pytest
import torch

from tenfold.data import (
    ArrayInputs,
    Augmentation,
    Batches,
    DataPart,
    ImagePreprocessor,
    Source,
    TableInputs,
    TargetEncoder,
    fit_preprocessor,
)
from tenfold.data import batches as module

RNG = np.random.default_rng(0)


def table(n=101):
    frame = pd.DataFrame({"x": RNG.normal(size=n), "row": np.arange(n, dtype=float), "c": RNG.choice(list("abc"), n)})
    return _part(TableInputs(frame), np.arange(n) % 4)


def pictures(n=30, augment=None):
    return _part(ArrayInputs(RNG.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)), np.arange(n) % 4, augment=augment)


def _part(inputs, targets, **options):
    source = Source(name="s", kind="x", inputs=inputs, targets=targets, task="classification")
    rows = np.arange(len(targets))
    preprocessor = fit_preprocessor(inputs, rows, **options)
    return DataPart.of(source, rows, preprocessor, TargetEncoder.fit(targets, "classification", rows)), preprocessor


def flat(stream):
    collected = [(*inputs, targets) for inputs, targets in stream]
    return [torch.cat(column) for column in zip(*collected, strict=True)]


@pytest.mark.parametrize("make", [table, pictures])
@pytest.mark.parametrize("limit", [0, 1 << 30])
@pytest.mark.parametrize("batch_size", [1, 7, 32, 1000])
def test_an_epoch_holds_every_sample_once_with_its_target(make, limit, batch_size, monkeypatch):
    monkeypatch.setattr(module, "PREPARED_BYTES", limit)
    monkeypatch.setattr(module, "CHUNK_BYTES", 3000)
    part, preprocessor = make()
    found = flat(Batches(part, preprocessor, batch_size=batch_size, seed=0).epoch(3))
    expected = [*preprocessor.prepare_batch(part.inputs, False), part.targets]
    order = _match(found[0], expected[0])
    assert sorted(order) == list(range(len(part)))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b[order], rtol=0, atol=0)


def _match(found, expected):
    distance = torch.cdist(found.flatten(1).double(), expected.flatten(1).double())
    return distance.argmin(dim=1).tolist()


@pytest.mark.parametrize("augment", [None, Augmentation()])
def test_an_epoch_has_the_same_bits_whatever_was_run_before(augment):
    part, preprocessor = pictures(augment=augment)
    first = Batches(part, preprocessor, batch_size=8, seed=5, augment=True)
    expected = flat(first.epoch(2))
    second = Batches(part, preprocessor, batch_size=8, seed=5, augment=True)
    list(second.epoch(0)), list(second.ordered()), next(iter(second.epoch(1)))
    for a, b in zip(flat(second.epoch(2)), expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("seed", "epoch"), [(5, 3), (6, 2)])
def test_another_seed_or_epoch_has_another_order(seed, epoch):
    part, preprocessor = table()
    a = flat(Batches(part, preprocessor, batch_size=8, seed=5).epoch(2))[0]
    assert not torch.equal(a, flat(Batches(part, preprocessor, batch_size=8, seed=seed).epoch(epoch))[0])


def test_the_batch_size_does_not_change_the_order():
    part, preprocessor = table(64)
    a, b = (flat(Batches(part, preprocessor, batch_size=size, seed=5).epoch(2))[0] for size in (8, 32))
    assert torch.equal(a, b)


def test_a_sample_is_augmented_anew_in_each_epoch_and_never_in_order():
    part, preprocessor = pictures(augment=Augmentation())
    stream = Batches(part, preprocessor, batch_size=30, seed=0, augment=True)
    plain = preprocessor.prepare_batch(part.inputs, False)[0]
    sums = [flat(stream.epoch(epoch))[0].sum().item() for epoch in (0, 1)]
    assert sums[0] != sums[1]
    assert torch.equal(flat(stream.ordered())[0], plain)
    assert not isinstance(preprocessor, ImagePreprocessor) or preprocessor.augments
    without = Batches(part, preprocessor, batch_size=30, seed=0, augment=False)
    assert flat(without.epoch(0))[0].sum().item() == pytest.approx(plain.sum().item(), abs=1e-2)


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 4]), (8, 4, [4, 4]), (3, 1, [1, 1, 1]), (1, 4, [1]), (2, 4, [2])],
)
def test_a_last_batch_of_one_is_left_out(n, batch_size, sizes):
    part, preprocessor = table(20)
    part = DataPart(tuple(tensor[:n] for tensor in part.inputs), part.targets[:n], part.rows[:n])
    stream = Batches(part, preprocessor, batch_size=batch_size, seed=0)
    assert [len(targets) for _, targets in stream.epoch(0)] == sizes
    assert stream.steps == len(sizes)
    assert sum(len(targets) for _, targets in stream.ordered()) == n


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_in_order_means_in_order(limit, monkeypatch):
    monkeypatch.setattr(module, "PREPARED_BYTES", limit)
    part, preprocessor = table()
    found = flat(Batches(part, preprocessor, batch_size=32, seed=0).ordered(10))
    assert torch.equal(found[-1], part.targets)


def test_writing_into_a_batch_does_not_spoil_the_next_epoch():
    part, preprocessor = table()
    stream = Batches(part, preprocessor, batch_size=32, seed=0)
    expected = flat(stream.epoch(0))
    for inputs, _ in stream.epoch(0):
        inputs[0].zero_()
    assert torch.equal(flat(stream.epoch(0))[0], expected[0])


def test_a_part_moves_to_another_device():
    part, _ = table()
    assert part.to("cpu").targets.device.type == "cpu"


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one_is_refused(batch_size):
    part, preprocessor = table()
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {batch_size}"):
        Batches(part, preprocessor, batch_size=batch_size, seed=0)


def test_an_empty_part_is_refused():
    part, preprocessor = table()
    empty = DataPart(tuple(tensor[:0] for tensor in part.inputs), part.targets[:0], part.rows[:0])
    with pytest.raises(ValueError, match="the part must have samples, got none"):
        Batches(empty, preprocessor, batch_size=4, seed=0)
