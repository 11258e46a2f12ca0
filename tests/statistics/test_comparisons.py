import math

import numpy as np
import pytest
from scipy import stats

from tenfold.core.intervals import wilson
from tenfold.statistics import anytime_mean, compare_scores, holm, pairs_needed

RNG = np.random.default_rng(5)
A, B = RNG.normal(0.92, 0.01, 9), RNG.normal(0.90, 0.01, 9)


def one(a=A, b=B, **options):
    [comparison] = compare_scores({"a": a, "b": b}, **{"direction": "maximize", **options})
    return comparison


def test_seeds_alone_are_compared_by_the_paired_t_test():
    result, reference = one(), stats.ttest_rel(A, B)
    interval = reference.confidence_interval(0.95)
    assert (result.test, result.winner, result.n, result.more_seeds) == ("paired t", "a", 9, 0)
    assert result.p_value == result.p_adjusted == pytest.approx(reference.pvalue, rel=1e-12)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert result.sentence.startswith("a is better than b: a - b = 0.02018 (95 % interval 0.00893")


def test_of_losses_the_smaller_wins():
    assert one(direction="minimize").winner == "b"
    assert one(direction="minimize").a_better == pytest.approx(1 - one().a_better)


def test_folds_are_compared_by_the_corrected_resampled_t_test():
    result = one(A[None], B[None])
    t = (A - B).mean() / ((A - B).std(ddof=1) * math.sqrt(1 / 9 + 1 / 8))
    assert result.test == "corrected resampled t"
    assert result.p_value == pytest.approx(2 * stats.t.sf(t, 8), rel=1e-9)
    assert "other data" in result.population


def test_a_pair_that_is_not_shown_says_how_many_more_seeds_would_do():
    a, b = A[:4], A[:4] + np.array([0.01, -0.01, 0.012, 0.0])
    result = one(a, b)
    effect = abs((a - b).mean()) / (a - b).std(ddof=1)
    assert result.winner is None
    assert result.more_seeds == pairs_needed(effect) - 4
    assert result.sentence.startswith("No difference shown between a and b")
    assert f"{result.more_seeds} more seeds would show it" in result.sentence


def test_folds_ask_for_data_and_not_for_seeds():
    result = one(np.array([[1.0, 2.0, 3.0]]), np.array([[1.1, 1.8, 3.0]]))
    assert result.more_seeds is None
    assert "further seeds on the same rows hardly do" in result.sentence


def test_the_probability_to_be_better_counts_ties_by_half_and_diverged_ones_as_worst():
    a = np.array([0.9, 0.8, 0.7, np.nan, np.nan])
    b = np.array([0.8, 0.8, np.inf, 0.1, np.nan])
    result = one(a, b)
    assert result.a_better == pytest.approx((1 + 0.5 + 1 + 0 + 0.5) / 5)
    assert (result.a_better_low, result.a_better_high) == wilson(0.6, 5)
    assert (result.n, result.diverged_a, result.diverged_b) == (2, 2, 2)


def test_of_overlapping_folds_the_probability_has_the_interval_of_fewer_pairs():
    result = one(A[None], B[None])
    assert (result.a_better_low, result.a_better_high) == wilson(result.a_better, int(1 / (1 / 9 + 1 / 8)))


def test_with_diverged_trainings_of_seeds_the_exact_sign_test_decides():
    a = np.full(10, math.nan)
    result = one(a, np.linspace(0.1, 0.2, 10))
    assert (result.test, result.winner) == ("sign", "b")
    assert result.p_value == pytest.approx(stats.binomtest(0, 10).pvalue)
    assert math.isnan(result.difference)
    assert "no pair in which both trainings ended" in result.sentence
    assert "10 of a, 0 of b" in result.sentence


def test_a_few_diverged_trainings_do_not_let_the_others_speak_for_them():
    a, b = np.array([0.99] * 4 + [math.nan] * 4) + 0.001 * np.arange(8), np.full(8, 0.5)
    result = one(a, b)
    assert (result.winner, result.p_value) == (None, 1.0)  # four won, four lost
    assert result.difference > 0.4


def test_all_pairs_diverged_are_a_tie():
    assert one([math.nan] * 3, [math.nan] * 3).p_value == 1.0


@pytest.mark.parametrize("options", [{"sequential": True}, {"test_to_train": 0.1}])
def test_with_diverged_trainings_many_looks_or_folds_give_no_verdict(options):
    result = one([math.nan, *A], [0.1, *B], **options)
    assert (result.test, result.winner) == ("none", None)
    assert math.isnan(result.p_adjusted)
    assert "so there is no verdict" in result.sentence


def test_equal_differences_of_three_seeds_are_no_proof():
    result = one([0.5, 0.6, 0.7], [0.25, 0.35, 0.45])
    assert (result.test, result.winner, result.p_value) == ("sign", None, 0.25)
    assert one([0.5, 0.6], [0.5, 0.6]).p_value == 1.0
    assert one(np.ones((1, 3)), np.zeros((1, 3))).test == "none"


def test_the_sequential_mode_stands_on_the_anytime_mean_of_seeds():
    scores_a, scores_b = RNG.normal(1.0, 1.0, (12, 5)), RNG.normal(0.0, 1.0, (12, 5))
    result = one(scores_a, scores_b, sequential=True)
    reference = anytime_mean((scores_a - scores_b).mean(axis=1))
    expected = reference.low, reference.high, reference.p_value
    assert (result.low, result.high, result.p_value) == pytest.approx(expected, rel=1e-9)
    assert (result.test, result.winner) == ("anytime t", "a")
    assert "fresh seeds" in result.population


def test_before_the_fifth_seed_the_sequential_mode_has_no_interval():
    assert "a - b = 1 (too few for an interval), n = 2" in one([1.5, 2.5], [1.0, 1.0], sequential=True).sentence


def test_several_methods_are_corrected_by_holm():
    scores = {name: RNG.normal(0.9, 0.01, 6) for name in "xyz"}
    results = compare_scores(scores, direction="maximize")
    raw = [stats.ttest_rel(scores[a], scores[b]).pvalue for a, b in (("x", "y"), ("x", "z"), ("y", "z"))]
    assert [(r.a, r.b) for r in results] == [("x", "y"), ("x", "z"), ("y", "z")]
    assert [r.p_adjusted for r in results] == pytest.approx(holm(raw))
    widest = stats.ttest_rel(scores["x"], scores["y"]).confidence_interval(1 - 0.05 / 3)
    assert (results[0].simultaneous_low, results[0].simultaneous_high) == pytest.approx((widest.low, widest.high))


def test_against_a_named_method_it_is_always_the_second():
    results = compare_scores({"x": A, "base": B, "y": A + 0.001 * B}, direction="maximize", against="base")
    assert [(r.a, r.b) for r in results] == [("x", "base"), ("y", "base")]
    assert [r.p_adjusted for r in results] == pytest.approx(holm([r.p_value for r in results]))


def test_against_the_best_all_pairs_are_paid_for():
    scores = {"lost": np.where(A[0] == A, math.nan, 5.0), "x": A, "y": B, "z": B + 0.002}
    results = compare_scores(scores, direction="maximize", against="best")
    assert {r.b for r in results} == {"x"}
    smallest = min((r for r in results if not math.isnan(r.p_value)), key=lambda r: r.p_value)
    assert smallest.p_adjusted == pytest.approx(6 * smallest.p_value)


def test_holm_gives_the_textbook_values():
    # Four tests: 4 x 0.005, 3 x 0.01, then 2 x 0.03 and 0.04, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.01], num_comparisons=10) == pytest.approx([0.1])


def test_holm_counts_comparisons_that_have_no_p_value():
    adjusted = holm([math.nan, 0.02])
    assert math.isnan(adjusted[0])
    assert adjusted[1] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        ({"a": A}, {}, r"compare_scores: scores must be two or more methods of one shape, got \{'a': \(9,\)\}"),
        ({"a": A, "b": B[:3]}, {}, r"got \{'a': \(9,\), 'b': \(3,\)\}. Train all of them on the same seeds"),
        ({"a": A, "b": []}, {}, r"compare_scores: scores\['b'\] must be 1-dimensional or 2-dimensional"),
        ({"a": A, "b": B}, {"against": "aa"}, "against must be a method, 'best' or None, got 'aa'. Did you mean 'a'"),
        ({"a": A, "b": B}, {"direction": "max"}, "compare_scores: direction must be"),
        ({"a": A, "b": B}, {"level": 0}, "compare_scores: level must be"),
        ({"a": A, "b": B}, {"test_to_train": math.nan}, "compare_scores: test_to_train must be"),
    ],
)
def test_bad_arguments_are_refused(scores, options, message):
    with pytest.raises(ValueError, match=message):
        compare_scores(scores, **{"direction": "maximize", **options})
