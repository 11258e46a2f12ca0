import re

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from tenfold.report import RunRecords
from tenfold.report.calibration import calibration, error_of_true_claims
from tenfold.statistics import reliability


def of(tmp_path, probabilities, targets, **run):
    predictions = np.asarray(probabilities).argmax(axis=-1)
    arrays = {"targets": np.asarray(targets), "predictions": predictions, "probabilities": np.asarray(probabilities)}
    return RunRecords(folder=tmp_path, run={"task": "classification"} | run, evaluation=arrays)


def claims(share, n=400, right=0.8):
    """Two classes; each prediction claims the same probability, and a share of them comes true."""
    probabilities = np.tile([1 - share, share], (n, 1))
    return probabilities, (np.arange(n) < right * n).astype(np.int64)


@pytest.mark.parametrize(
    ("share", "word"), [(0.99, "Overconfident"), (0.8, "Claims and truth agree"), (0.6, "Too modest")]
)
def test_the_verdict_holds_the_mean_claim_against_the_interval_of_the_truth(tmp_path, share, word):
    assert word in calibration(of(tmp_path, *claims(share)))


def test_the_numbers_are_those_of_scikit_learn(tmp_path):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 500)
    probabilities = softmax(rng.normal(0, 1, (500, 2)) + np.eye(2)[targets], axis=1)
    markup = calibration(of(tmp_path, probabilities, targets))
    assert f"{brier_score_loss(targets, probabilities[:, 1]):.4f}" in markup
    assert f"{log_loss(targets, probabilities):.4f}" in markup
    assert "after temperature scaling" not in markup


def test_the_error_of_true_claims_is_that_of_simulated_ones():
    rng = np.random.default_rng(1)
    claimed = rng.beta(4, 1, 600)
    errors = [reliability(claimed, rng.random(600) < claimed).error for _ in range(400)]
    assert error_of_true_claims(claimed) == pytest.approx(np.mean(errors), rel=0.05)


def test_a_stored_temperature_is_shown_beside(tmp_path):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 600)
    logits = rng.normal(0, 1, (600, 3)) + np.eye(3)[targets]
    markup = calibration(of(tmp_path, softmax(3 * logits, axis=1), targets, temperature=3.0))
    assert "after temperature scaling" in markup
    assert "temperature 3" in markup
    assert f"{log_loss(targets, softmax(logits, axis=1)):.4f}" in markup


def test_each_bin_is_a_dot_at_claim_and_truth(tmp_path):
    probabilities = np.array([[0.35, 0.65]] * 4 + [[0.05, 0.95]] * 4)
    markup = calibration(of(tmp_path, probabilities, [1, 1, 0, 0, 1, 1, 1, 1]))
    centres = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', markup)]
    (x0, y0), (x1, y1) = centres
    assert x0 < x1
    assert y0 > y1  # half of the first came true, all of the second


@pytest.mark.parametrize(
    ("probabilities", "targets", "reason"),
    [
        ([[0.5, 0.5]], [2], "a class that has no probability"),
        ([[0.5, 0.9]], [1], "do not sum to 1"),
        ([[np.nan, 0.9]], [1], "do not sum to 1"),
        ([[1.0]], [0], "no classes"),
        ([[0.5, 0.5]], [0, 1], "does not fit together"),
        ([[0.5, 0.5]], [0.5], "does not fit together"),
    ],
)
def test_arrays_that_do_not_fit_are_said(tmp_path, probabilities, targets, reason):
    assert reason in calibration(of(tmp_path, probabilities, targets))


def test_a_run_without_probabilities_says_so_and_a_regression_has_no_section(tmp_path):
    assert "No probabilities have been kept" in calibration(
        RunRecords(folder=tmp_path, run={"task": "classification"})
    )
    torn = RunRecords(folder=tmp_path, run={"task": "classification"}, problems={"evaluation.npz": "torn"})
    assert "could not be read: torn" in calibration(torn)
    assert calibration(RunRecords(folder=tmp_path, run={"task": "regression"})) is None
