import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.core.errors import InputError
from tenfold.data import Source, TableInputs, split


def make(targets, parts=None, task="classification") -> Source:
    targets = np.asarray(targets)
    inputs = TableInputs(pd.DataFrame({"x": np.arange(len(targets), dtype=float)}))
    parts = None if parts is None else np.asarray(parts)
    return Source(name="s", kind="table", inputs=inputs, targets=targets, task=task, parts=parts)


def rows(found):
    return np.concatenate([found.train, found.valid, found.test])


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(2, 30), min_size=2, max_size=6), seed=st.integers(0, 2**40))
def test_every_row_lies_in_one_part_and_every_class_in_training(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    if len(labels) < 5:
        return
    found = split(make(labels), seed=seed)
    assert np.sort(rows(found)).tolist() == list(range(len(labels)))
    assert set(labels[found.train]) == set(labels)
    assert len(found.valid) == len(found.test) == max(1, round(0.2 * len(labels)))


def test_classes_keep_their_shares():
    labels = np.repeat(["a", "b"], [900, 100])
    found = split(make(labels), seed=0)
    for part in (found.train, found.valid, found.test):
        assert np.mean(labels[part] == "b") == pytest.approx(0.1, abs=0.005)
    assert "stratified by class" in found.how


def test_the_seed_alone_decides():
    source = make(np.arange(50) % 5)
    first, again, other = split(source, seed=1), split(source, seed=1), split(source, seed=2)
    np.testing.assert_array_equal(rows(first), rows(again))
    assert rows(first).tolist() != rows(other).tolist()


def test_numbers_are_cut_at_random():
    found = split(make(np.linspace(0, 1, 100), task="regression"), seed=0)
    assert [len(part) for part in (found.train, found.valid, found.test)] == [60, 20, 20]
    assert "at random" in found.how


@pytest.mark.parametrize(
    ("given_parts", "sizes"),
    [
        ({"train": 60, "test": 20}, (48, 12, 20)),
        ({"train": 60, "valid": 20}, (48, 20, 12)),
        ({"train": 60, "valid": 20, "test": 10}, (60, 20, 10)),
        ({"train": 60}, (36, 12, 12)),
    ],
)
def test_parts_of_the_source_are_kept_and_the_others_cut_from_training(given_parts, sizes):
    parts = np.repeat(list(given_parts), list(given_parts.values()))
    found = split(make(np.arange(len(parts)) % 4, parts), seed=0)
    assert tuple(len(part) for part in (found.train, found.valid, found.test)) == sizes
    assert set(parts[found.train]) == {"train"}
    for name in set(given_parts) - {"train"}:
        assert set(parts[getattr(found, name)]) == {name}
        assert f"{name} part as the source has it" in found.how


def test_a_part_that_is_not_wanted_stays_empty():
    found = split(make(np.arange(20) % 2), seed=0, test_fraction=0)
    assert (len(found.train), len(found.valid), len(found.test)) == (16, 4, 0)


def test_four_rows_are_enough():
    found = split(make([0.5, 1.5, 2.5, 3.5], task="regression"), seed=0)
    assert (len(found.train), len(found.valid), len(found.test)) == (2, 1, 1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (make(["a"] * 9 + ["b"]), "class 'b' has one sample only"),
        (make(["a"] * 9 + ["b", "c"]), "classes 'b', 'c' have one sample only"),
        (make(["a", "a", "b", "b", "c", "c"], ["train"] * 5 + ["test"]), "class 'c' has one sample only"),
        (make([0.5, 1.5, 2.5], task="regression"), "2 rows are too few to cut 1 off"),
        (make(["a", "b"] * 3, ["test"] * 6), "s: has no training part"),
    ],
)
def test_sources_that_cannot_be_cut_are_refused(source, message):
    with pytest.raises(InputError, match=message):
        split(source, seed=0)


@pytest.mark.parametrize(("valid", "test"), [(-0.1, 0.2), (0.2, -0.1), (0.5, 0.5), (1.0, 0.0)])
def test_fractions_out_of_range_are_refused(valid, test):
    with pytest.raises(ValueError, match="valid_fraction and test_fraction must be at least 0 and together below 1"):
        split(make(np.arange(20) % 2), seed=0, valid_fraction=valid, test_fraction=test)
