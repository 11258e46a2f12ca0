import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, roc_auc_score

from tenfold.core.seeds import generator
from tenfold.statistics import bootstrap_difference, bootstrap_interval, mcnemar

RNG = np.random.default_rng(2)
Y = RNG.integers(2, size=80)
P, Q = Y + RNG.normal(0, 0.9, 80), Y + RNG.normal(0, 1.5, 80)


def resamples(n, seed, num):
    random = generator(seed, "sample")
    return [random.integers(n, size=n) for _ in range(num)]


def test_the_interval_is_the_bootstrap_as_a_book_writes_it():
    result = bootstrap_interval(roc_auc_score, Y, P, seed=3, num_resamples=100)
    values = [roc_auc_score(Y[rows], P[rows]) for rows in resamples(80, 3, 100)]
    assert (result.value, result.n) == (roc_auc_score(Y, P), 80)
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), rel=1e-12)


def test_the_interval_of_a_mean_is_close_to_that_of_scipys_bootstrap():
    values = RNG.exponential(size=200)
    reference = stats.bootstrap((values,), np.mean, method="percentile", random_state=0).confidence_interval
    result = bootstrap_interval(np.mean, values, num_resamples=4000)
    assert (result.low, result.high) == pytest.approx((reference.low, reference.high), abs=0.02)


def test_the_difference_uses_the_same_resamples_for_both_models():
    result = bootstrap_difference(roc_auc_score, Y, P, Q, seed=1, num_resamples=100)
    values = [roc_auc_score(Y[r], P[r]) - roc_auc_score(Y[r], Q[r]) for r in resamples(80, 1, 100)]
    assert result.value == pytest.approx(roc_auc_score(Y, P) - roc_auc_score(Y, Q))
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), rel=1e-12)


def test_a_model_against_itself_differs_by_nothing():
    result = bootstrap_difference(accuracy_score, Y, P > 0.5, P > 0.5, num_resamples=100)
    assert (result.value, result.low, result.high) == (0.0, 0.0, 0.0)


def test_resamples_without_a_value_are_left_out_and_a_metric_without_one_has_no_interval():
    def shares_of_ones(y):
        return float(y.mean()) if y.any() else math.nan

    result = bootstrap_interval(shares_of_ones, [1, 0, 0], num_resamples=200)
    assert result.low == pytest.approx(1 / 3)  # a third of the resamples has no one
    nothing = bootstrap_interval(shares_of_ones, [0, 0, 0])
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


def test_mcnemar_is_the_exact_binomial_test_of_the_pairs_that_differ():
    # Agresti, Categorical Data Analysis, table 10.1: ratings of the prime minister, 150 and 86 changed their mind.
    y = np.ones(1600, dtype=int)
    a, b = np.ones(1600, dtype=int), np.ones(1600, dtype=int)
    b[:150], a[150:236], a[236:806], b[236:806] = 0, 0, 0, 0
    result = mcnemar(y, a, b)
    assert (result.only_a, result.only_b, result.n) == (150, 86, 1600)
    assert result.p_value == pytest.approx(2 * stats.binom.sf(149, 236, 0.5), rel=1e-9)
    z = (150 - 86) / math.sqrt(150 + 86)
    assert z**2 == pytest.approx(17.36, abs=0.005)  # the published score statistic; the exact p is near its own
    assert result.p_value == pytest.approx(2 * stats.norm.sf(z), rel=0.3)


def test_classifiers_that_never_differ_are_equally_good():
    assert mcnemar([0, 1], [0, 0], [0, 0]).p_value == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval(np.mean), r"bootstrap_interval: arrays must have the same samples"),
        (lambda: bootstrap_interval(np.mean, []), r"at least one, got lengths \[0\]"),
        (lambda: bootstrap_interval(np.mean, 3.0), r"at least one, got lengths \[0\]"),
        (lambda: bootstrap_interval(np.mean, [1.0], level=1.5), r"bootstrap_interval: level must be in \(0, 1\)"),
        (lambda: bootstrap_interval(np.mean, [1.0], num_resamples=0), "num_resamples must be at least 1, got 0"),
        (lambda: bootstrap_difference(np.mean, [1], [1, 2], [1]), r"bootstrap_difference: .* lengths \[1, 2, 1\]"),
        (lambda: mcnemar([1], [1], [1, 0]), r"mcnemar: arrays must have the same samples"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
