import json

import numpy as np
import pytest
import torch
from sklearn.preprocessing import LabelEncoder

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
    assert (encoder.num_outputs, encoder.encode(values).dtype) == (1, torch.float32)


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
    with pytest.raises(InputError, match=rf"class '{label}' does not occur in the training rows \(1 such rows\)"):
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
