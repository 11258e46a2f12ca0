import numpy as np
import pandas as pd
import pytest
import torch

from tenfold.core.errors import InputError
from tenfold.data import read

LABELS = [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 8, 9), (6, 1, 8, 9)),
        ((6, 1, 8, 9), (6, 1, 8, 9)),
        ((6, 3, 8, 9), (6, 3, 8, 9)),
        ((6, 8, 9, 3), (6, 3, 8, 9)),
        ((6, 8, 9, 4), (6, 4, 8, 9)),
        ((6, 3, 8, 3), (6, 3, 8, 3)),
        ((6, 13, 20, 20), (6, 13, 20, 20)),
        ((6, 20, 20, 13), (6, 13, 20, 20)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_the_layout_of_pictures_is_found_and_said(shape, expected, dtype):
    values = np.random.default_rng(0).uniform(0, 255, shape).astype(dtype)
    source = read((values, LABELS))
    assert source.inputs.images.shape == expected
    assert f"shape {shape}" in source.notes[0]


@pytest.mark.parametrize(
    ("values", "dtype", "scale"),
    [
        (np.array([0, 255], np.uint8), "uint8", 255),
        (np.array([0.0, 16.0]), "uint8", 255),
        (np.array([0.0, 1.0]), "float32", 1),
        (np.array([0.5, 200.25]), "float32", 255),
        (np.array([-1.0, 1.5]), "float32", 1),
        (np.array([0, 4095], np.int32), "float32", 1),
        (np.array([False, True]), "float32", 1),
    ],
)
def test_values_of_pictures_are_kept_small_without_loss(values, dtype, scale):
    images = np.broadcast_to(values[:, None, None], (2, 4, 4)).repeat(3, axis=0)
    inputs = read((images, LABELS)).inputs
    assert (inputs.images.dtype.name, inputs.scale) == (dtype, scale)
    factor = scale if dtype == "float32" else 1
    np.testing.assert_allclose(inputs.images[:, 0] * factor, images.astype(float), rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.rand(6, 3), torch.tensor(LABELS)),
        (torch.rand(6, 3, dtype=torch.bfloat16), torch.tensor(LABELS)[:, None]),
        (torch.rand(6, 3, requires_grad=True), pd.Series(LABELS)),
        (pd.DataFrame({"a": [1, 2] * 3}), pd.DataFrame({"y": LABELS})),
        (pd.Series([1, 2] * 3, name="a"), LABELS),
        ([[1, 2]] * 6, ["a", "b"] * 3),
        (np.arange(6.0), LABELS),
        (np.array([["u", "1"], ["v", "2"]] * 3), LABELS),
    ],
)
def test_features_of_every_kind_become_a_table(x, y):
    source = read((x, y), name="mine")
    assert (source.kind, source.task, source.name, len(source)) == ("table", "classification", "mine", 6)


def test_whole_numbers_beside_pictures_are_classes_and_fractions_are_not():
    images = np.zeros((100, 4, 4), np.uint8)
    assert read((images, np.arange(100) % 50)).task == "classification"
    assert read((images, np.arange(100) / 3)).task == "regression"


def test_pictures_without_a_target_are_dropped():
    images = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    source = read((images, np.array([0, np.nan, 1, 0, 1, 0])))
    assert source.inputs.images[:, 0, 0, 0].tolist() == [0, 2, 3, 4, 5]


def _with_nan() -> np.ndarray:
    images = np.zeros((6, 4, 4))
    images[2, 1, 1], images[4, 0, 0] = np.nan, np.inf
    return images


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (_with_nan(), LABELS, r"2 of 6 pictures hold NaN or infinite values, first sample 2 \(counted from 0\)"),
        (np.zeros((5, 4)), LABELS, r"one length, got shapes \(5, 4\) and \(6,\)"),
        (np.zeros((0, 4)), [], "the arrays have no rows"),
        (np.zeros((6, 4)), np.eye(6), r"targets must have shape \(N,\) or \(N, 1\), got \(6, 6\)"),
        (np.zeros((6, 2, 2, 2, 2)), LABELS, r"pictures must be numbers of shape .* got float64 \(6, 2, 2, 2, 2\)"),
        (np.zeros((6, 0, 4)), LABELS, "pictures must be numbers"),
        (np.float64(1.0), LABELS, "one length"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(x, y, message):
    with pytest.raises(InputError, match=message):
        read((x, y))


@pytest.mark.parametrize(
    ("x", "message"), [([[1, 2], [3]], "rows of different lengths"), (np.zeros((6, 2), complex), "got complex ones")]
)
def test_values_that_are_no_array_are_refused(x, message):
    with pytest.raises(TypeError, match=message):
        read((x, LABELS))


def test_sparse_features_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"x must be dense, got csr_matrix. Call \.toarray\(\)"):
        read((sparse.csr_matrix(np.eye(6)), LABELS))


def test_rows_of_pandas_in_two_orders_are_refused():
    x = pd.DataFrame({"a": np.arange(6.0)}, index=list("abcdef"))
    y = pd.Series(LABELS, index=x.index)
    assert len(read((x, y))) == len(read((x, y.to_numpy()[::-1]))) == 6
    with pytest.raises(InputError, match=r"x and y hold the same rows in different orders.*Give y\.loc\[x\.index\]"):
        read((x, y[::-1]))
    assert len(read((x, y[::-1].loc[x.index]))) == 6
    assert len(read((x, y.reset_index(drop=True)))) == 6
