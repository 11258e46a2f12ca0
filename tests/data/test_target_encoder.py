import json

import numpy as np
import pytest
import torch
from sklearn.preprocessing import LabelEncoder, MultiLabelBinarizer

from tenfold.core.errors import InputError
from tenfold.data import TargetEncoder

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "labels", [np.array([3, 1, 2, 3, 1]), np.array(["良", "优", "差", "优"]), np.array([-5, 2**60])]
)
def test_classes_agree_with_the_label_encoder_of_scikit_learn(labels):
    encoder = TargetEncoder.fit(labels, "classification", np.arange(len(labels)))
    reference = LabelEncoder().fit(labels)
    assert encoder.classes == tuple(reference.classes_.tolist())
    np.testing.assert_array_equal(encoder.encode(labels), reference.transform(labels))
    np.testing.assert_array_equal(encoder.decode(encoder.encode(labels)), labels)
    assert (encoder.num_outputs, encoder.encode(labels).dtype) == (len(encoder.classes), torch.int64)


def test_numbers_are_standardised_by_training_rows_alone():
    values, rows = RNG.normal(50, 9, 30), np.arange(10)
    encoder = TargetEncoder.fit(values, "regression", rows)
    expected = (values - values[rows].mean()) / values[rows].std()
    np.testing.assert_allclose(encoder.encode(values), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(encoder.decode(encoder.encode(values)), values, rtol=1e-5)
    assert (encoder.num_outputs, encoder.encode(values).dtype) == (1, torch.float64)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (np.array(["a", "b"]), "classification"),
        (np.array([1, 5]), "classification"),
        (np.array([0.5, 2.5]), "regression"),
    ],
)
def test_json_brings_the_encoder_back(values, task):
    encoder = TargetEncoder.fit(values, task, np.arange(2))
    again = TargetEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert vars(again) == vars(encoder)
    assert torch.equal(again.encode(values), encoder.encode(values))


def test_whole_number_classes_are_found_in_text():
    encoder = TargetEncoder.fit(np.array([0, 1, 10]), "classification", np.arange(3))
    assert encoder.encode(np.array(["10", "0"])).tolist() == [2, 0]


@pytest.mark.parametrize("label", ["c", "0", "zz"])
def test_a_class_that_was_not_trained_on_is_named(label):
    encoder = TargetEncoder.fit(np.array(["a", "b"]), "classification", np.arange(2))
    with pytest.raises(InputError, match=rf"class '{label}' does not occur in the training rows \(1 row holds"):
        encoder.encode(np.array(["a", label]))


@pytest.mark.parametrize(
    ("values", "task"), [(np.array(["a", "a"]), "classification"), (np.array([1.5, 1.5]), "regression")]
)
def test_constant_training_targets_are_refused(values, task):
    with pytest.raises(InputError, match="there is nothing to learn"):
        TargetEncoder.fit(values, task, np.arange(2))


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match=r"task must be one of .* got 'ranking'"):
        TargetEncoder.fit(np.array([1, 2]), "ranking", np.arange(2))


SETS = np.array(["wind;sun", "", "sun", "rain;sun;wind"])


def test_labels_agree_with_the_multi_label_binarizer_of_scikit_learn():
    encoder = TargetEncoder.fit(SETS, "multilabel", np.arange(4))
    reference = MultiLabelBinarizer()
    expected = reference.fit_transform([text.split(";") if text else [] for text in SETS])
    assert encoder.labels == tuple(reference.classes_)
    encoded = encoder.encode(SETS)
    assert (encoded.dtype, encoder.num_outputs, encoder.classes) == (torch.float32, 3, None)
    np.testing.assert_array_equal(encoded, expected)
    assert encoder.decode(encoded).tolist() == ["sun;wind", "", "sun", "rain;sun;wind"]


def test_labels_are_those_of_training_rows_alone():
    encoder = TargetEncoder.fit(SETS, "multilabel", np.arange(3))
    assert encoder.labels == ("sun", "wind")
    with pytest.raises(
        InputError, match=r"label 'rain' does not occur in the training rows \(1 row holds such a label\)\."
    ):
        encoder.encode(SETS)


@pytest.mark.parametrize(
    ("values", "order", "classes"),
    [
        (["low", "high", "middle"], ("low", "middle", "high"), ("low", "middle", "high")),
        (["low", "high"], ("low", "middle", "high"), ("low", "high")),
        ([1, 3, 2], (3, 2, 1), (3, 2, 1)),
        ([1, 3, 2], ("3", "2", "1"), (3, 2, 1)),
    ],
)
def test_classes_stand_in_the_order_given(values, order, classes):
    encoder = TargetEncoder.fit(np.array(values), "classification", np.arange(len(values)), order=order)
    assert (encoder.classes, encoder.ordered) == (classes, True)
    assert encoder.encode(np.array(values)).tolist() == [classes.index(value) for value in values]


def test_a_class_that_the_order_lacks_is_named_with_the_near_miss():
    with pytest.raises(
        InputError, match=r"class 'high' must have its place in the order, got \['low', 'hihg'\].*'hihg'"
    ):
        TargetEncoder.fit(np.array(["low", "high"]), "classification", np.arange(2), order=["low", "hihg"])


def test_quantiles_are_decoded_into_raw_units():
    values = np.array([10.0, 20.0, 30.0])
    encoder = TargetEncoder.fit(values, "regression", np.arange(3), quantiles=(0.1, 0.5, 0.9))
    assert encoder.num_outputs == 3
    np.testing.assert_allclose(encoder.decode([[-1.0, 0.0, 1.0]]), [20 + values.std() * np.array([-1, 0, 1])])


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (
            "regression",
            {"order": [1, 2]},
            r"order must be left out, the task is regression\. It is for classification",
        ),
        (
            "classification",
            {"quantiles": (0.5,)},
            r"quantiles must be left out, the task is classification\. It is for",
        ),
    ],
)
def test_options_of_another_task_are_refused(task, options, message):
    with pytest.raises(ValueError, match=message):
        TargetEncoder.fit(np.array([1, 2]), task, np.arange(2), **options)


@pytest.mark.parametrize(
    "encoder",
    [
        TargetEncoder(task="multilabel", labels=("sun", "wind")),
        TargetEncoder(task="classification", classes=("low", "high"), ordered=True),
        TargetEncoder(task="regression", mean=2.0, std=3.0, quantiles=(0.1, 0.5, 0.9)),
    ],
)
def test_json_brings_labels_order_and_quantiles_back(encoder):
    assert vars(TargetEncoder.from_json(json.loads(json.dumps(encoder.to_json())))) == vars(encoder)


def test_json_of_an_encoder_that_knew_of_classes_and_numbers_alone_is_read():
    record = {"task": "classification", "classes": ["a", "b"], "mean": 0.0, "std": 1.0}
    assert TargetEncoder.from_json(record).classes == ("a", "b")
