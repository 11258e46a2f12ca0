import math

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from tenfold.statistics import anytime_mean, fold_mean, pairs_needed, student_mean
from tenfold.statistics.means import anytime_threshold

SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])  # Student 1908: hours gained, second minus first


def test_the_t_interval_and_p_value_are_those_of_student_1908():
    result = student_mean(SLEEP)
    assert (result.n, round(result.mean, 2)) == (10, 1.58)
    assert result.std == pytest.approx(1.229995, abs=1e-6)
    assert result.p_value == pytest.approx(0.002833, abs=1e-6)  # t = 4.0621, as every textbook has it
    assert (result.low, result.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 10, 57])
def test_without_overlap_the_mean_is_that_of_scipys_one_sample_t_test(n, level):
    values = np.random.default_rng(n).normal(0.3, 2.0, n)
    reference = stats.ttest_1samp(values, 0.0)
    interval = reference.confidence_interval(level)
    result = student_mean(values, level=level)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert result.p_value == pytest.approx(reference.pvalue, rel=1e-12)


def corrected_by_hand(differences, n_train, n_test):
    """The corrected resampled t-test as scikit-learn's example page writes it, two-sided."""
    n = len(differences)
    corrected_std = np.sqrt(np.var(differences, ddof=1) * (1 / n + n_test / n_train))
    t = np.mean(differences) / corrected_std
    return corrected_std, 2 * stats.t.sf(np.abs(t), n - 1)


def test_with_overlap_the_variance_is_that_of_nadeau_and_bengio():
    values = np.random.default_rng(0).normal(0.02, 0.03, 10)
    std, p_value = corrected_by_hand(values, n_train=90, n_test=10)
    result = student_mean(values, overlap=1 / 9)
    assert result.p_value == pytest.approx(p_value, rel=1e-12)
    assert result.high - result.mean == pytest.approx(std * stats.t.ppf(0.975, 9), rel=1e-12)


def test_with_overlap_the_published_comparison_of_scikit_learn_comes_out():
    # "Statistical comparison of models using grid search": rbf against linear, 100 folds of 100 rows:
    # corrected t-value 0.750, one-sided p-value 0.227.
    from sklearn.datasets import make_moons
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    x, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=kernel, random_state=0), x, y, scoring="roc_auc", cv=folds)
        for kernel in ("rbf", "linear")
    )
    result = student_mean(rbf - linear, overlap=10 / 90)
    t = result.mean / (result.std * math.sqrt(1 / 100 + 1 / 9))
    assert (round(t, 3), round(result.p_value / 2, 3)) == (0.750, 0.227)


def test_equal_values_have_no_interval_and_the_p_value_of_the_sign_test():
    result = student_mean(np.array([0.9 - 0.8, 0.7 - 0.6, 0.3 - 0.2]))  # three tenths that differ in the last bits
    assert result.std == 0.0
    assert math.isnan(result.low)
    assert math.isnan(result.high)
    assert result.p_value == pytest.approx(stats.binomtest(3, 3).pvalue)
    assert student_mean(np.zeros(5)).p_value == 1.0
    assert math.isnan(student_mean(np.ones(5), overlap=0.25).p_value)


def test_small_values_have_a_spread_like_any_others():
    assert student_mean(1e-15 * SLEEP).p_value == pytest.approx(student_mean(SLEEP).p_value)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_fewer_than_two_values_say_nothing_about_their_spread(values):
    for result in (student_mean(np.array(values)), anytime_mean(np.array(values))):
        assert result.n == len(values)
        assert np.isnan([result.std, result.low, result.high, result.p_value]).all()


def test_the_same_folds_for_all_seeds_count_as_their_means():
    scores = np.random.default_rng(3).normal(size=(4, 5))
    _, p_value = corrected_by_hand(scores.mean(axis=0), n_train=80, n_test=20)
    assert fold_mean(scores, overlap=0.25).p_value == pytest.approx(p_value, rel=1e-12)


def test_folds_drawn_anew_have_the_mean_of_all_and_the_variance_of_one_run():
    scores = np.random.default_rng(3).normal(1.0, 0.5, size=(4, 5))
    result = fold_mean(scores, resplit=True, overlap=0.25)
    variance = np.var(scores, axis=1, ddof=1).mean() * (1 / 5 + 1 / 4)
    assert result.mean == pytest.approx(scores.mean(), rel=1e-12)
    assert result.p_value == pytest.approx(2 * stats.t.sf(scores.mean() / math.sqrt(variance), 4 * 4), rel=1e-9)


@pytest.mark.parametrize(("n", "counted"), [(6, 6), (10, 10), (40, 10)])
def test_random_splits_count_as_often_as_it_takes_to_test_every_row_once(n, counted):
    scores = np.random.default_rng(n).normal(0.1, 0.2, n)
    t = scores.mean() / (scores.std(ddof=1) * math.sqrt(1 / counted + 1 / 9))
    result = fold_mean(scores, overlap=1 / 9)
    assert (result.n, result.p_value) == (counted, pytest.approx(2 * stats.t.sf(abs(t), counted - 1), rel=1e-9))


def test_folds_without_a_finite_score_are_left_out():
    scores = np.array([[1.0, 2.0, np.nan], [2.0, np.nan, np.inf], [3.0, 4.0, np.nan]])
    assert fold_mean(scores).mean == pytest.approx(2.5)  # of the fold means 2 and 3
    anew = fold_mean(scores, resplit=True)
    assert (anew.n, anew.mean, anew.std) == pytest.approx((2, 2.4, math.sqrt(0.5)))
    assert math.isnan(fold_mean(np.full((2, 3), np.nan), resplit=True).mean)


def likelihood_ratio_by_integration(values):
    """Density of the t-statistic under a normal prior of its effect, over that of no effect."""
    n = len(values)
    t = values.mean() / (values.std(ddof=1) / math.sqrt(n))
    density = lambda effect: stats.nct.pdf(t, n - 1, effect * math.sqrt(n)) * stats.norm.pdf(effect)  # noqa: E731
    return quad(density, -8, 8, limit=200)[0] / stats.t.pdf(t, n - 1)


@pytest.mark.parametrize("n", [4, 6, 15])
def test_the_anytime_p_value_is_the_inverse_of_the_mixture_likelihood_ratio(n):
    values = np.random.default_rng(n).normal(1.0, 1.0, n)
    expected = min(1.0, 1 / likelihood_ratio_by_integration(values))
    assert anytime_mean(values).p_value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [8, 30, 200])
def test_the_anytime_interval_holds_the_means_that_the_p_value_does_not_exclude(n, level):
    values = np.random.default_rng(n).normal(0.2, 1.0, n)
    result = anytime_mean(values, level=level)
    for end in (result.low, result.high):
        assert anytime_mean(values - end).p_value == pytest.approx(1 - level, rel=1e-9)


def test_the_anytime_interval_is_unbounded_before_the_fifth_value_and_always_wider_than_for_one_look():
    assert [math.isinf(anytime_threshold(n, 0.95)) for n in (2, 3, 4, 5)] == [True, True, True, False]
    assert anytime_mean(np.array([1.0, 1.1])).low == -math.inf
    assert all(anytime_threshold(n, 0.95) > stats.t.ppf(0.975, n - 1) for n in range(2, 2000))


def test_equal_values_convince_the_anytime_sign_test_after_seven():
    ratio = [quad(lambda p, n=n: stats.beta(0.5, 0.5).pdf(p) * p**n, 0, 1)[0] * 2**n for n in (6, 7)]
    assert [1 / anytime_mean(np.ones(n)).p_value for n in (6, 7)] == pytest.approx(ratio, rel=1e-6)
    assert ratio[0] < 20 < ratio[1]
    assert anytime_mean(np.ones(5000)).p_value == 0.0


@pytest.mark.parametrize(
    ("effect", "expected"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)]
)  # G*Power 3: t test of the difference of two dependent means, two-sided, 80 %
def test_planned_numbers_of_pairs_are_those_of_gpower(effect, expected):
    assert pairs_needed(effect) == expected


def test_nothing_is_never_shown_and_the_obvious_at_once():
    assert pairs_needed(0.0) is None
    assert pairs_needed(300.0) == 2


def test_a_sequential_plan_ends_where_the_interval_first_leaves_out_zero():
    n = pairs_needed(1.0, sequential=True)
    half = [anytime_threshold(count, 0.95) / math.sqrt(count) for count in (n - 1, n)]
    assert half[0] > 1.0 >= half[1]
    assert pairs_needed(0.001, sequential=True) is None
