import math
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from tenfold.core.errors import InputError
from tenfold.data import (
    ArrayInputs,
    Batches,
    DataPart,
    DatasetPreprocessor,
    TargetEncoder,
    datasets,
    fit_preprocessor,
    preprocessor_from_json,
    read,
)

X, Y = torch.rand(12, 5, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


class Samples(Dataset):
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, row):
        return self.samples[row]


class Noisy(Dataset):
    """Draws from all three global generators, as users' transforms do."""

    def __len__(self):
        return 12

    def __getitem__(self, row):
        return X[row] + torch.rand(5) + np.random.rand() + random.random(), int(Y[row])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


def part_of(source):
    rows = np.arange(len(source))
    preprocessor = fit_preprocessor(source.inputs, rows)
    encoder = TargetEncoder.fit(source.targets, source.task, rows)
    return DataPart.of(source, rows, preprocessor, encoder), preprocessor


@pytest.mark.parametrize(
    "argument", [TensorDataset(X, Y), DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True), Stream(),
                 DataLoader(Stream()), Samples([(x.numpy(), int(y)) for x, y in zip(X, Y, strict=True)])]
)  # fmt: skip
def test_a_data_set_that_stays_the_same_is_read_once(argument):
    source = read(argument, name="mine")
    assert (source.kind, source.task, source.name, source.targets.tolist()) == (
        "dataset",
        "classification",
        "mine",
        Y.tolist(),
    )
    part, preprocessor = part_of(source)
    assert torch.equal(part.inputs[0], X)
    assert preprocessor.resident


def test_two_or_three_data_sets_become_parts():
    source = read((TensorDataset(X, Y), DataLoader(TensorDataset(X[:4], Y[:4]))))
    assert source.parts.tolist() == ["train"] * 12 + ["valid"] * 4
    assert set(read([TensorDataset(X, Y)] * 3).parts) == {"train", "valid", "test"}


def test_a_random_data_set_is_read_anew_in_each_epoch_with_the_same_bits():
    source = read(Noisy())
    assert any("read anew in each epoch" in note for note in source.notes)
    part, preprocessor = part_of(source)
    stream = Batches(part, preprocessor, batch_size=12, seed=0, augment=True)
    (first,), (again,), (later,) = (next(iter(stream.epoch(epoch)))[0] for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first.sort(dim=0).values, later.sort(dim=0).values)
    (a,), (b,) = (next(iter(stream.ordered()))[0] for _ in range(2))
    assert torch.equal(a, b)


def test_reading_leaves_the_global_generators_alone():
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    read(Noisy())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


@pytest.mark.parametrize(("most", "memory"), [(100, 10**9), (10**9, 100)])
def test_a_large_data_set_is_not_kept(monkeypatch, most, memory):
    monkeypatch.setattr(datasets, "RESIDENT_BYTES", most)
    monkeypatch.setenv("TENFOLD_DATA_MEMORY", str(memory))
    part, preprocessor = part_of(read(TensorDataset(X, Y)))
    assert not preprocessor.resident
    (x,), targets = next(iter(Batches(part, preprocessor, batch_size=12, seed=0).ordered()))
    assert torch.equal(x, X)
    assert torch.equal(targets, Y)


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((5,), ("table", (5,))),
        ((), ("table", (1,))),
        ((4, 6), ("image", (1, 4, 6))),
        ((3, 4, 6), ("image", (3, 4, 6))),
    ],
)
def test_the_spec_follows_from_a_sample(shape, spec):
    part, preprocessor = part_of(read(TensorDataset(torch.rand(6, *shape), torch.tensor([0, 1] * 3))))
    assert (preprocessor.spec.kind, preprocessor.spec.shape) == spec
    assert part.inputs[0].shape[1:] == spec[1]


def test_further_inputs_are_passed_on():
    part, _ = part_of(read(TensorDataset(X, torch.arange(12), Y)))
    assert part.inputs[1].tolist() == list(range(12))


def test_bytes_of_pictures_become_floats():
    part, _ = part_of(read(TensorDataset(torch.full((6, 1, 2, 2), 255, dtype=torch.uint8), torch.tensor([0, 1] * 3))))
    assert (part.inputs[0] == 1).all()


def test_json_keeps_the_spec():
    preprocessor = part_of(read(TensorDataset(X, Y)))[1]
    assert preprocessor_from_json(preprocessor.to_json()).spec == preprocessor.spec


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (Samples([]), "must have samples and a length"),
        (Samples([torch.rand(3)] * 4), r"a sample must be a tuple \(input, target\), got Tensor"),
        (Samples([(torch.rand(3),)] * 4), r"a sample must be a tuple \(input, target\), got tuple"),
        (
            Samples([(Image.new("L", (2, 2)), 0)] * 4),
            r"an input must be a tensor or an array, got Image\. Give .*ToTensor",
        ),
        (Samples([(torch.rand(3), torch.rand(2))] * 4), r"a target must be one label or number, got shape \(2,\)"),
        (Samples([(torch.rand(2 + i), i % 2) for i in range(4)]), "all samples must have one shape"),
        (
            Samples([(torch.tensor([1.0, 2.0 if i < 2 else math.nan]), i % 2) for i in range(4)]),
            r"2 of 4 samples hold NaN or infinite values, first sample 2 \(counted from 0\)",
        ),
    ],
)
def test_samples_of_no_use_are_refused(argument, message):
    with pytest.raises(InputError, match=message):
        read(argument)


def test_samples_that_are_neither_features_nor_pictures_are_refused():
    source = read(TensorDataset(torch.rand(6, 1, 2, 3, 4), torch.tensor([0, 1] * 3)))
    with pytest.raises(InputError, match=r"must have shape \(D,\), \(H, W\) or \(C, H, W\), got \(1, 2, 3, 4\)"):
        fit_preprocessor(source.inputs, np.arange(6))


def test_more_than_three_data_sets_are_refused():
    with pytest.raises(InputError, match="at most 3 data sets"):
        read([TensorDataset(X, Y)] * 4)


def test_other_inputs_are_refused():
    pictures = ArrayInputs(np.zeros((2, 1, 4, 4), np.uint8))
    with pytest.raises(TypeError, match="DatasetPreprocessor: cannot take ArrayInputs"):
        DatasetPreprocessor.fit(pictures, np.arange(2))
    with pytest.raises(TypeError, match="DatasetPreprocessor: cannot take ArrayInputs"):
        part_of(read(TensorDataset(X, Y)))[1].transform(pictures)


@pytest.mark.parametrize(
    ("shape", "said"), [((8, 8, 3), True), ((3, 8, 8), False), ((3, 8, 3), False), ((8,), False)]
)
def test_samples_that_look_turned_around_are_said(shape, said):
    notes = read(Samples([(torch.full(shape, float(row)), row % 2) for row in range(8)])).notes
    assert any(note.startswith("samples: shape (8, 8, 3) read as (C, H, W); if it is") for note in notes) == said
