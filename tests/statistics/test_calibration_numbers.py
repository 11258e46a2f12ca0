from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from tenfold.statistics import (
    brier_score,
    calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)

RNG = np.random.default_rng(4)
TARGETS = RNG.integers(3, size=300)
LOGITS = 2.5 * RNG.normal(size=(4, 300, 3)) + 2 * np.eye(3)[TARGETS]  # four members
PROBABILITIES = softmax(LOGITS, axis=2)
BINARY = softmax(LOGITS[0, :, :2], axis=1)
HITS = (TARGETS == 1).astype(int)


@pytest.mark.parametrize("binning", ["width", "mass"])
@pytest.mark.parametrize("num_bins", [1, 5, 10])
def test_the_reliability_table_is_scikit_learns_calibration_curve(num_bins, binning):
    strategy = {"width": "uniform", "mass": "quantile"}[binning]
    share, claimed = calibration_curve(HITS, BINARY[:, 1], n_bins=num_bins, strategy=strategy)
    table = reliability(BINARY[:, 1], HITS, num_bins=num_bins, binning=binning)
    seen = table.count > 0
    assert table.accuracy[seen] == pytest.approx(share, abs=1e-12)
    assert table.confidence[seen] == pytest.approx(claimed, abs=1e-12)
    assert table.count.sum() == 300
    assert (table.low[1:] == table.high[:-1]).all()


def test_a_probability_on_an_edge_is_in_the_bin_below():
    claimed, hits = [0.25, 0.5, 0.5, 1.0], [0, 1, 0, 1]
    share, _ = calibration_curve(hits, claimed, n_bins=2)
    table = reliability(claimed, hits, num_bins=2)
    assert table.accuracy == pytest.approx(share)
    assert table.count.tolist() == [3, 1]


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_the_expected_calibration_error_is_the_weighted_gap_of_every_member(binning):
    expected = []
    for member in PROBABILITIES:
        claimed, right = member.max(axis=1), member.argmax(axis=1) == TARGETS
        edges = np.linspace(0, 1, 16) if binning == "width" else np.quantile(claimed, np.linspace(0, 1, 16))
        total = 0.0
        for low, high in pairwise(edges):
            inside = (claimed > low) & (claimed <= high) | ((low == edges[0]) & (claimed == low))
            total += abs(claimed[inside].sum() - right[inside].sum()) / 300
        expected.append(total)
    assert calibration_error(PROBABILITIES, TARGETS, binning=binning) == pytest.approx(expected, abs=1e-12)


def test_claims_that_come_true_as_often_as_they_say_have_no_error():
    table = reliability([0.25] * 4 + [0.75] * 4, [1, 0, 0, 0, 1, 1, 1, 0], num_bins=2)
    assert table.error == pytest.approx(0.0)
    assert reliability([1.0, 0.0], [0, 1], num_bins=2).error == pytest.approx(1.0)


def test_a_binary_brier_score_is_scikit_learns():
    assert float(brier_score(BINARY, HITS)) == pytest.approx(brier_score_loss(HITS, BINARY[:, 1]), abs=1e-12)


def test_a_brier_score_of_many_classes_is_the_sum_over_them():
    expected = [
        sum(brier_score_loss((k == TARGETS).astype(int), member[:, k]) for k in range(3)) for member in PROBABILITIES
    ]
    assert brier_score(PROBABILITIES, TARGETS) == pytest.approx(expected, abs=1e-12)
    assert brier_score(PROBABILITIES.reshape(2, 2, 300, 3), TARGETS).shape == (2, 2)


def test_the_log_loss_of_logits_is_scikit_learns_of_their_probabilities():
    expected = [log_loss(TARGETS, softmax(member / 2, axis=1)) for member in LOGITS]
    assert negative_log_likelihood(LOGITS, TARGETS, 2.0) == pytest.approx(expected, abs=1e-9)
    each = negative_log_likelihood(LOGITS, TARGETS, [1.0, 2.0, 3.0, 4.0])
    assert each[3] == pytest.approx(log_loss(TARGETS, softmax(LOGITS[3] / 4, axis=1)), abs=1e-9)


def test_the_temperature_is_where_the_derivative_of_the_likelihood_is_zero():
    def slope(inverse, member):
        """Of the mean log likelihood: the true class's logit minus the expected one."""
        expected = (softmax(inverse * member, axis=1) * member).sum(axis=1)
        return float((member[np.arange(300), TARGETS] - expected).mean())

    roots = [1 / brentq(slope, 1e-3, 10, args=(member,), xtol=1e-14) for member in LOGITS]
    assert fit_temperature(LOGITS, TARGETS) == pytest.approx(roots, rel=1e-5)


def test_a_temperature_that_was_planted_is_found_from_log_probabilities_too():
    logits = RNG.normal(size=(20_000, 4))
    targets = (softmax(logits, axis=1).cumsum(axis=1) < RNG.random((20_000, 1))).sum(axis=1).clip(max=3)
    assert float(fit_temperature(3 * logits, targets)) == pytest.approx(3.0, rel=0.03)
    log_probabilities = log_softmax(3 * logits, axis=1)
    assert float(fit_temperature(log_probabilities, targets)) == pytest.approx(
        float(fit_temperature(3 * logits, targets)), rel=1e-6
    )


def test_where_every_row_is_right_the_temperature_stays_in_its_range():
    temperature = fit_temperature([[5.0, 0.0], [0.0, 5.0]], [0, 1])
    assert 0.01 <= float(temperature) < 0.2


@pytest.mark.parametrize("function", [calibration_error, brier_score, negative_log_likelihood, fit_temperature])
@pytest.mark.parametrize(
    ("values", "targets"),
    [
        ([0.5, 0.5], [0]),
        ([[0.5], [0.5]], [0, 0]),
        ([[0.5, 0.5]], [0, 1]),
        ([[0.5, 0.5]], [2]),
        ([[0.5, 0.5]], [-1]),
        ([[0.5, 0.5]], [0.0]),
        (np.ones((0, 2)), np.ones(0, dtype=int)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(function, values, targets):
    with pytest.raises(
        ValueError, match=rf"{function.__name__}: values must be \(\.\.\., N, K\) with a class number"
    ):
        function(values, targets)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5], [1, 0]), "reliability: confidences and hits must be 1-dimensional, as many and at least one"),
        (([], []), "reliability: confidences and hits must be"),
        (([1.5], [1]), r"reliability: confidences must be in \[0, 1\], got 1.5 to 1.5. Give probabilities"),
        (([np.nan], [1]), r"reliability: confidences must be in \[0, 1\]"),
    ],
)
def test_confidences_that_are_none_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        reliability(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_bins": 0}, "num_bins must be at least 1, got 0"), ({"binning": "equal"}, "binning must be 'width' or")],
)
def test_bins_that_are_none_are_refused(options, message):
    with pytest.raises(ValueError, match=f"reliability: {message}"):
        reliability([0.5], [1], **options)
