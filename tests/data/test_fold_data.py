import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from tenfold.core.errors import InputError
from tenfold.data import (
    ArrayInputs,
    FoldData,
    Source,
    TableInputs,
    TablePreprocessor,
    cut_folds,
    preprocessor_from_json,
)

RNG = np.random.default_rng(0)
N = 60


def table(frame=None, targets=None, task="classification"):
    frame = pd.DataFrame({"x": RNG.normal(3, 2, N), "y": RNG.normal(size=N)}) if frame is None else frame
    targets = np.arange(N) % 3 if targets is None else targets
    return Source(name="s", kind="table", inputs=TableInputs(frame), targets=targets, task=task)


def pictures(images):
    return Source(
        name="s", kind="image", inputs=ArrayInputs(images), targets=np.arange(len(images)) % 2, task="classification"
    )


def test_each_fold_is_standardised_as_scikit_learn_does_it_on_its_training_rows():
    source = table()
    data = FoldData.of(source, cut_folds(source, 4, seed=0))
    for fold, rows in enumerate(data.folds.train):
        expected = StandardScaler().fit(source.inputs.frame.iloc[rows]).transform(source.inputs.frame)
        np.testing.assert_allclose(data.inputs[fold][0], expected, rtol=0, atol=1e-6)


def test_numbers_to_predict_are_standardised_by_each_fold():
    source = table(targets=RNG.normal(50, 9, N), task="regression")
    data = FoldData.of(source, cut_folds(source, 4, seed=0))
    for fold, rows in enumerate(data.folds.train):
        values = source.targets
        expected = (values - values[rows].mean()) / values[rows].std()
        np.testing.assert_allclose(data.targets[fold], expected, rtol=0, atol=1e-6)


def test_pictures_are_normalised_by_each_fold_and_stored_once():
    images = RNG.integers(0, 256, (20, 3, 4, 4), dtype=np.uint8)
    source = pictures(images)
    data = FoldData.of(source, cut_folds(source, 4, seed=0))
    assert len({inputs[0].data_ptr() for inputs in data.inputs}) == 1
    for fold, rows in enumerate(data.folds.train):
        pixels = images.transpose(0, 2, 3, 1) / 255
        mean, std = pixels[rows].mean((0, 1, 2)), pixels[rows].std((0, 1, 2))
        (found,) = data.preprocessors[fold].prepare_batch(data.inputs[fold], False)
        np.testing.assert_allclose(found, ((pixels - mean) / std).transpose(0, 3, 1, 2), rtol=0, atol=1e-4)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_validation_rows_change_nothing_that_a_fold_learns_from(task):
    """Wild validation rows are planted: they must not show in the training rows of the fold that holds them out."""
    frame = pd.DataFrame({"x": RNG.normal(size=N), "c": RNG.choice(list("ab"), N)})
    targets = np.arange(N) % 3 if task == "classification" else RNG.normal(size=N)
    source = table(frame, targets, task)
    folds = cut_folds(source, 3, seed=0, manner="plain")
    held = folds.valid[1]
    wild, wild_targets = frame.copy(), targets.copy()
    wild.loc[held, "x"] = np.where(np.arange(len(held)) % 2, 1e6, np.nan)
    wild.loc[held, "c"] = "never seen elsewhere"
    if task == "regression":
        wild_targets[held] = 1e9
    clean, planted = FoldData.of(source, folds), FoldData.of(table(wild, wild_targets, task), folds)
    a, b = clean.part(1, folds.train[1]), planted.part(1, folds.train[1])
    assert torch.equal(a.inputs[0], b.inputs[0][:, :1])
    assert not b.inputs[0][:, 1:].any()  # the column that flags missing values, which others need, is silent
    assert torch.equal(a.inputs[1], b.inputs[1])
    assert torch.equal(a.targets, b.targets)
    assert not torch.equal(clean.part(0, folds.train[0]).inputs[0], planted.part(0, folds.train[0]).inputs[0][:, :1])


def test_folds_that_saw_different_things_get_inputs_of_one_shape():
    frame = pd.DataFrame({"x": np.arange(N, dtype=float), "c": ["a", "b"] * (N // 2)})
    frame.loc[:4, "x"] = np.nan
    frame.loc[:4, "c"] = "rare"
    source = table(frame)
    folds = cut_folds(source, [np.arange(5), np.arange(5, 30)], seed=0)
    data = FoldData.of(source, folds)
    first, second = data.preprocessors
    assert first.spec == second.spec
    assert first.spec.shape == (2,)
    assert first.spec.cardinalities == (4,)
    numbers, codes = data.inputs[0]
    assert not numbers[:, 1].any()  # this fold's training rows missed nothing
    assert codes[:5].tolist() == [[0]] * 5  # and "rare" is unknown to it
    numbers, codes = data.inputs[1]
    assert numbers[:5, 1].tolist() == [1.0] * 5
    assert codes[:5].min() > 0
    for preprocessor, inputs in zip(data.preprocessors, data.inputs, strict=True):
        again = preprocessor_from_json(preprocessor.to_json())
        assert again.spec == preprocessor.spec
        assert all(torch.equal(a, b) for a, b in zip(again.transform(source.inputs), inputs, strict=True))


def test_one_width_is_a_fold_of_its_own_where_nothing_differs():
    inputs = table().inputs
    fitted = [TablePreprocessor.fit(inputs, np.arange(start, 50)) for start in (0, 10)]
    assert [one.to_json() for one in TablePreprocessor.of_one_width(fitted)] == [one.to_json() for one in fitted]


def test_classes_have_one_meaning_in_all_folds():
    targets = np.array(["a", "b"] * 20 + ["rare"] * 2)
    source = table(pd.DataFrame({"x": np.arange(42.0)}), targets)
    data = FoldData.of(source, cut_folds(source, [[40, 41], [0, 1]], seed=0))
    assert {encoder.classes for encoder in data.encoders} == {("a", "b", "rare")}
    assert data.targets[0][-1] == 2


def test_a_fold_with_one_class_is_refused():
    source = table(pd.DataFrame({"x": np.arange(10.0)}), np.array([0] * 5 + [1] * 5))
    with pytest.raises(InputError, match=r"the training rows hold \[0\] only, there is nothing to learn"):
        FoldData.of(source, cut_folds(source, [np.arange(5, 10)], seed=0))
