"""A part of a large source: classes and parts in proportion, rare ones kept, rows that remember their numbers."""

import numpy as np
import pandas as pd
import pytest

from tenfold import InputError
from tenfold.data import draw_rows, read
from tenfold.data.inputs import ArrayInputs
from tenfold.data.source import Source

RNG = np.random.default_rng(0)


def source_of(labels, parts=None, task="classification"):
    images = RNG.integers(0, 255, (len(labels), 1, 2, 2), dtype=np.uint8)
    return Source(
        name="many", kind="image", inputs=ArrayInputs(images), targets=np.asarray(labels), task=task, parts=parts
    )


def test_classes_and_parts_keep_their_proportions():
    labels = np.repeat([0, 1, 2], [700, 250, 50])
    parts = np.where(RNG.permutation(1000) < 200, "test", "train")
    few = draw_rows(source_of(labels, parts), 100, seed=3)
    assert len(few) == 100
    for part in ("train", "test"):
        for label in range(3):
            whole = ((labels == label) & (parts == part)).mean() * 100
            assert abs(((few.targets == label) & (few.parts == part)).sum() - whole) <= 3


def test_two_rows_of_a_rare_class_are_kept():
    few = draw_rows(source_of(np.repeat([0, 1], [990, 10])), 20, seed=0)
    assert np.unique(few.targets, return_counts=True)[1].tolist() == [18, 2]


def test_rows_stand_in_their_order_and_remember_their_numbers():
    whole = source_of(RNG.normal(size=500), task="regression")
    few = draw_rows(whole, 60, seed=1)
    assert np.array_equal(few.rows, np.sort(few.rows))
    assert np.array_equal(few.targets, whole.targets[few.rows])
    assert np.array_equal(few.inputs.images, whole.inputs.images[few.rows])
    again = few.take(np.array([5, 2]))
    assert np.array_equal(again.row_numbers(np.array([0, 1])), few.rows[[5, 2]])


def test_fewer_rows_are_a_part_of_more_and_another_seed_draws_others():
    whole = source_of(RNG.normal(size=500), task="regression")
    small, large, other = (draw_rows(whole, n, seed=s).rows for n, s in ((50, 0), (200, 0), (50, 1)))
    assert set(small) <= set(large)
    assert set(small) != set(other)


def test_a_small_source_is_left_as_it_is():
    iris = read("iris")
    assert draw_rows(iris, 150, seed=0) is iris


def test_fewer_rows_than_classes_are_refused():
    with pytest.raises(InputError, match=r"--max-rows must be at least 10 for digits, .* got 9\. Raise it"):
        draw_rows(read("digits"), 9, seed=0)


@pytest.mark.parametrize("max_rows", [None, 6])
def test_rows_keep_their_numbers_where_others_have_no_target(tmp_path, max_rows):
    frame = pd.DataFrame({"a": np.arange(12.0), "y": [np.nan, "u", "v", np.nan, *"uvuvuvuv"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    x, y = frame[["a"]].to_numpy(), frame["y"]
    for given in (tmp_path / "t.csv", frame, (x, y), (np.broadcast_to(x[..., None] / 12, (12, 4, 4)), y)):
        source = read(given, max_rows=max_rows)
        assert len(source) == (max_rows or 10)
        numbers = source.row_numbers(np.arange(len(source)))
        assert source.targets.tolist() == frame["y"][numbers].tolist()
        assert set(numbers.tolist()) <= {1, 2, *range(4, 12)}
        if source.kind == "table":
            assert source.inputs.frame.iloc[:, 0].tolist() == numbers.tolist()
