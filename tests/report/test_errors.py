import numpy as np
import pytest

from tenfold.report import RunRecords
from tenfold.report.confusion import confusion
from tenfold.report.errors import errors
from tenfold.report.residuals import residuals


def of(tmp_path, task="classification", classes=None, **arrays):
    return RunRecords(folder=tmp_path, run={"task": task, "classes": classes, "status": "done"}, evaluation=arrays)


def test_the_matrix_counts_true_classes_by_row(tmp_path):
    markup = confusion(of(tmp_path, classes=["cat", "dog"]), np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]))
    assert "cat predicted as dog: 2 of 3" in markup
    assert "dog predicted as dog: 1 of 1" in markup
    assert "dog predicted as cat" not in markup
    assert "2 of 4 test samples are right" in markup


def test_more_than_30_classes_are_shown_by_their_most_confused_pairs(tmp_path):
    targets = np.arange(31).repeat(3)
    predictions = np.where(targets == 7, 8, targets)
    markup = confusion(of(tmp_path, classes=[f"class-{i}" for i in range(31)]), targets, predictions)
    assert 'class="confusion"' not in markup
    assert "<td>class-7</td><td>class-8</td>" in markup
    assert 'class="confusion"' in confusion(of(tmp_path), np.arange(30), np.arange(30))


def test_one_predicted_class_is_said(tmp_path):
    markup = confusion(of(tmp_path, classes=["cat", "dog"]), np.array([0, 1]), np.array([1, 1]))
    assert "Every sample was predicted as dog" in markup


def test_no_error_is_said(tmp_path):
    assert "No class is confused" in confusion(of(tmp_path), np.array([0, 1]), np.array([0, 1]))


def test_residuals_are_summed_up_as_numpy_does():
    rng = np.random.default_rng(0)
    true, predicted = rng.normal(size=200), rng.normal(size=200)
    markup = residuals(true, predicted)
    assert f"within {np.median(np.abs(predicted - true)):.4g}" in markup
    assert f"{abs((predicted - true).mean()):.4g} too" in markup


def test_predictions_that_are_no_number_are_left_out_and_counted():
    assert "2 predictions that are not a number left out" in residuals(
        np.array([1.0, 2, 3]), np.array([1, np.nan, np.inf])
    )
    assert "No prediction" in residuals(np.array([1.0]), np.array([np.nan]))


def test_equal_predictions_are_said():
    assert "All predictions are equal" in residuals(np.array([1.0, 2.0]), np.array([5.0, 5.0]))


def test_many_samples_are_thinned_and_said():
    markup = residuals(np.arange(5000.0), np.arange(5000.0))
    assert markup.count("<circle") == 2000
    assert "2000 of 5000 samples are drawn" in markup


@pytest.mark.parametrize(
    ("task", "arrays", "reason"),
    [
        ("classification", {}, "has not been evaluated"),
        ("classification", {"targets": np.array([0])}, "lacks predictions"),
        ("regression", {"targets": np.zeros(2), "predictions": np.zeros(3)}, "does not fit together"),
        ("regression", {"targets": np.array(["a"]), "predictions": np.zeros(1)}, "does not fit together"),
        ("regression", {"targets": np.zeros(0), "predictions": np.zeros(0)}, "The test part is empty"),
        ("ranking", {"targets": np.zeros(1), "predictions": np.zeros(1)}, "no figures yet for the task"),
        ("classification", {"targets": np.array([-1]), "predictions": np.array([0])}, "below 0"),
    ],
)
def test_a_section_without_figures_says_why(tmp_path, task, arrays, reason):
    assert reason in errors(of(tmp_path, task, **arrays))


def test_large_residuals_are_written_in_full():
    true = np.array([100_000.0, 200_000.0, 400_000.0])
    markup = residuals(true, true - 51_234.0)
    assert "half of the predictions are within 51,234 of the truth" in markup
    assert "51,234 too low" in markup
    assert "e+0" not in markup
