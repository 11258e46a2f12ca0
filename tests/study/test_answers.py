import json
import math

import numpy as np
import pytest
from scipy import stats

from tenfold.core.intervals import wilson
from tenfold.report import MemberScore
from tenfold.statistics import compare_scores
from tenfold.study.answers import answer_compare, make_result, verdict
from tenfold.study.summaries import score_table, summarize

RNG = np.random.default_rng(0)
MLP = {"trial": 0, "network": "mlp", "config": {"lr": 0.1}}


def ask(verb="cv", *, folds=None, repeats=1, direction="maximize", **more):
    cut = (
        None
        if folds is None
        else {"count": folds, "repeats": repeats, "how": "cut", "names": None} | more.pop("cut", {})
    )
    return {"verb": verb, "task": "classification", "metric": "accuracy", "direction": direction, "folds": cut} | more


def members(table, *, trial=0, test=None):
    """Scores of one trial, from shape (seeds, folds)."""
    return [
        MemberScore(
            trial=trial,
            fold=fold,
            seed=seed,
            epoch=9,
            valid={"accuracy": value, "log_loss": 1 - value},
            test=None if test is None else {"accuracy": test[seed][fold]},
        )
        for seed, row in enumerate(np.asarray(table).tolist())
        for fold, value in enumerate(row)
    ]


def result_of(info, scores, trials=(MLP,), **more):
    result = make_result(info, scores, trials, run="runs/a-1", epochs_trained=90.0, seconds=2.0, **more)
    return json.loads(json.dumps(result, allow_nan=False))


# -- cross-validation --------------------------------------------------------------------------------------------


def test_a_cross_validation_has_the_corrected_resampled_interval():
    scores = RNG.normal(0.9, 0.02, (1, 10))
    result = result_of(ask(folds=10), members(scores))
    half = stats.t.ppf(0.975, 9) * scores.std(ddof=1) * math.sqrt(1 / 10 + 1 / 9)
    assert result["valid"]["mean"] == pytest.approx(scores.mean(), rel=1e-12)
    assert result["valid"]["std"] == pytest.approx(scores.std(ddof=1), rel=1e-12)
    assert result["valid"]["high"] - result["valid"]["mean"] == pytest.approx(half, rel=1e-9)
    assert (result["valid"]["n"], result["valid"]["over"], result["members"]) == (10, "folds x seeds", 10)
    assert "other data of this size" in result["valid"]["speaks_of"]


def test_the_overlap_that_the_splitter_tells_is_used():
    scores = RNG.normal(0.9, 0.02, (1, 5))
    result = result_of(ask(folds=5, cut={"test_to_train": 0.5}), members(scores))
    half = stats.t.ppf(0.975, 4)
    assert result["valid"]["high"] - scores.mean() == pytest.approx(
        half * scores.std(ddof=1) * math.sqrt(1 / 5 + 0.5), rel=1e-9
    )


def test_each_fold_is_told_with_its_name_and_the_worst_by_the_direction():
    table = [[0.9, 0.7, 0.8], [0.92, 0.72, 0.8]]
    for direction, worst, best in (("maximize", "b", "a"), ("minimize", "a", "b")):
        info = ask(folds=3, direction=direction, cut={"names": ["a", "b", "c"]})
        folds = result_of(info, members(table))["folds"]
        assert (folds["worst"]["name"], folds["best"]["name"]) == (worst, best)
    assert [fold["mean"] for fold in folds["scores"]] == pytest.approx([0.91, 0.71, 0.8])
    assert folds["scores"][0]["std"] == pytest.approx(np.std([0.9, 0.92], ddof=1))
    assert [fold["n"] for fold in folds["scores"]] == [2, 2, 2]


def test_folds_and_seeds_count_the_folds_alone():
    table = RNG.normal(0.9, 0.02, (3, 5))
    result = result_of(ask(folds=5), members(table))
    of_folds = table.mean(axis=0)
    half = stats.t.ppf(0.975, 4) * of_folds.std(ddof=1) * math.sqrt(1 / 5 + 1 / 4)
    assert result["valid"]["high"] - table.mean() == pytest.approx(half, rel=1e-9)
    assert result["valid"]["n"] == 15
    assert result["sentence"].startswith(f"{100 * table.mean():.1f} % accuracy on average over 5 folds x 3 seeds")


def test_repeats_pool_the_variance_within_a_repeat():
    table = RNG.normal(0.9, 0.02, (1, 8))  # two repeats of four folds
    result = result_of(ask(folds=4, repeats=2), members(table))
    repeats = table.reshape(2, 4)
    std = math.sqrt(repeats.var(axis=1, ddof=1).mean())
    half = stats.t.ppf(0.975, 6) * std * math.sqrt(1 / 4 + 1 / 3)
    assert result["valid"]["high"] - table.mean() == pytest.approx(half, rel=1e-9)
    assert "4 folds x 2 repeats" in result["sentence"]


def test_repeats_and_seeds_average_the_seeds_and_foretell_no_single_training():
    table = RNG.normal(0.9, 0.02, (3, 8))
    info = ask(folds=4, repeats=2)
    np.testing.assert_allclose(score_table(info, members(table), 0), table.mean(axis=0).reshape(2, 4))
    result = result_of(info, members(table))
    assert result["valid"]["next_low"] is None
    assert result["valid"]["worst"] == table.min()


def test_diverged_members_are_counted_and_never_averaged():
    table = np.array([[0.9, math.nan, 0.8, 0.85]])
    result = result_of(ask(folds=4), members(table))
    assert (result["valid"]["n"], result["valid"]["diverged"], result["valid"]["worst"]) == (3, 1, None)
    assert result["valid"]["mean"] == pytest.approx(0.85)
    assert [result["valid"][f"diverged_{end}"] for end in ("low", "high")] == pytest.approx(wilson(0.25, 4))
    assert result["folds"]["worst"] == {
        "fold": 1, "name": "fold 2", "mean": None, "std": None, "n": 0, "diverged": 1
    }  # fmt: skip
    assert "1 of 4 trainings diverged and is not in the mean" in result["sentence"]


def test_nothing_but_diverged_members_is_an_answer_without_numbers():
    result = result_of(ask("replicate"), members([[math.nan], [math.inf]]))
    assert result["valid"]["mean"] is None
    assert "All 2 trainings diverged" in result["sentence"]


def test_every_metric_is_summed_up_like_the_one_that_decides():
    table = np.array([[0.9, 0.7, math.nan], [0.92, 0.72, 0.8]])
    result = result_of(ask(folds=3), members(table))
    assert result["metrics"]["valid"]["accuracy"]["mean"] == pytest.approx(result["valid"]["mean"])
    assert result["metrics"]["valid"]["log_loss"]["mean"] == pytest.approx(1 - result["valid"]["mean"])


def test_a_series_in_time_says_what_its_interval_takes_as_alike():
    result = result_of(ask(folds=3, cut={"manner": "time-series"}), members([[0.7, 0.8, 0.9]]))
    assert "later folds learn from more rows" in result["valid"]["speaks_of"]


def test_of_several_configurations_the_best_mean_is_told():
    scores = members([[0.8], [0.82]]) + members([[0.9], [0.92]], trial=1) + members([[0.99], [math.nan]], trial=2)
    trials = [MLP | {"trial": trial} for trial in range(3)]
    assert result_of(ask("replicate"), scores, trials)["best"]["trial"] == 1


def test_the_test_score_and_the_out_of_fold_score_are_passed_on():
    test = {"value": 0.9, "n": 30, "low": 0.8, "high": 0.95}
    result = result_of(ask(folds=2), members([[0.7, 0.8]]), test=test, out_of_fold={"accuracy": test})
    assert result["test"] == test
    scored = members([[0.7, 0.8]], test=[[0.6, 0.7]])
    assert result_of(ask(folds=2), scored, test=test)["test"] == test
    assert result_of(ask(folds=2), scored)["test"]["value"] == pytest.approx(0.65)
    assert result["out_of_fold"]["accuracy"]["n"] == 30


# -- replication -------------------------------------------------------------------------------------------------


def test_a_replication_has_students_interval_and_that_of_one_more_training():
    valid, test = RNG.normal(0.9, 0.02, (8, 1)), RNG.normal(0.88, 0.02, (8, 1))
    result = result_of(ask("replicate", varies=["init", "order"]), members(valid, test=test))
    for values, part in ((valid, result["valid"]), (test, result["test"])):
        interval = stats.ttest_1samp(values[:, 0], 0).confidence_interval(0.95)
        half = stats.t.ppf(0.975, 7) * values.std(ddof=1) * math.sqrt(1 + 1 / 8)
        assert (part["low"], part["high"]) == pytest.approx((interval.low, interval.high), rel=1e-9)
        assert part["next_high"] - part["mean"] == pytest.approx(half, rel=1e-9)
    assert result["test"]["value"] == result["test"]["mean"]
    assert result["test"]["n"] == 8
    assert result["valid"]["speaks_of"].endswith("what varies is init and order")
    assert "on the test part" in result["sentence"]
    assert [seed["seed"] for seed in result["seeds"]["scores"]] == list(range(8))


def test_seeds_that_split_the_rows_anew_speak_of_other_data():
    scores = members(RNG.normal(0.9, 0.02, (8, 1)))
    info = ask("replicate", varies=["init", "split"], parts={"train": 80, "valid": 20, "test": 0})
    found = summarize(info, scores, trial=0)
    values = score_table(info, scores, 0)
    half = stats.t.ppf(0.975, 4) * values.std(ddof=1) * math.sqrt(1 / 5 + 1 / 4)  # five parts test every row once
    assert found["high"] - found["mean"] == pytest.approx(half, rel=1e-9)
    assert "other data" in found["population"]


# -- comparison --------------------------------------------------------------------------------------------------


def methods(*names):
    return [{"trial": i, "name": name, "network": "mlp", "config": {}} for i, name in enumerate(names)]


def test_two_methods_are_compared_by_the_paired_t_test_on_the_test_part():
    a, b = RNG.normal(0.9, 0.01, (8, 1)), RNG.normal(0.93, 0.01, (8, 1))
    scores = members(a - 0.1, test=a) + members(b - 0.2, trial=1, test=b)
    result = result_of(ask("compare"), scores, methods("wide", "deep"))
    [pair] = result["comparison"]["pairs"]
    expected = stats.ttest_rel(a[:, 0], b[:, 0])
    assert pair["p"] == pytest.approx(expected.pvalue, rel=1e-9)
    interval = expected.confidence_interval(0.95)
    assert (pair["low"], pair["high"]) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert (pair["winner"], pair["test"], result["comparison"]["part"]) == ("deep", "paired t", "test")
    assert result["best"]["name"] == "deep"
    assert result["comparison"]["verdict"] == "deep is better than wide."
    assert result["test"]["value"] == pytest.approx(b.mean())
    assert result["sentence"].startswith("deep is better than wide. deep − wide: accuracy +")


def test_folds_are_compared_on_the_rows_they_leave_out_though_there_is_a_test_part():
    a, b = RNG.normal(0.9, 0.01, (1, 6)), RNG.normal(0.93, 0.01, (1, 6))
    scores = members(a, test=b) + members(b, trial=1, test=a)
    result = result_of(ask("compare", folds=6), scores, methods("a", "b"))
    [pair] = result["comparison"]["pairs"]
    difference = (a - b)[0]
    t = difference.mean() / (difference.std(ddof=1) * math.sqrt(1 / 6 + 1 / 5))
    assert pair["p"] == pytest.approx(2 * stats.t.sf(abs(t), 5), rel=1e-9)
    assert (pair["test"], result["comparison"]["part"]) == ("corrected resampled t", "valid")
    assert "other data" in result["comparison"]["speaks_of"]


def test_repeated_folds_with_a_diverged_seed_are_no_pair():
    a, b = RNG.normal(0.9, 0.01, (2, 4)), RNG.normal(0.93, 0.01, (2, 4))
    a[1, 2] = math.nan
    result = result_of(ask("compare", folds=2, repeats=2), members(a) + members(b, trial=1), methods("a", "b"))
    [pair] = result["comparison"]["pairs"]
    assert (pair["n"], pair["diverged_a"], pair["diverged_b"], pair["test"]) == (3, 1, 0, "none")


def test_a_sequential_comparison_leaves_out_what_is_not_finished_and_averages_folds():
    a, b = RNG.normal(0.9, 0.01, (6, 2)), RNG.normal(0.95, 0.01, (6, 2))
    scores = members(a) + members(b, trial=1)[:-1]  # the last seed of b lacks a fold
    info = ask("compare", folds=2, sequential=True)
    result = result_of(info, scores, methods("a", "b"))
    [expected] = compare_scores({"a": a[:5], "b": b[:5]}, direction="maximize", sequential=True)
    [pair] = result["comparison"]["pairs"]
    assert pair["p"] == pytest.approx(expected.p_value, rel=1e-12)
    assert "however often it was asked" in result["comparison"]["speaks_of"]
    assert answer_compare(info, scores, {0: "a", 1: "b"})["comparison"]["seeds"] == 5


def test_a_sequential_comparison_takes_a_seed_as_one_value_though_its_folds_are_repeated():
    a, b = RNG.normal(0.9, 0.01, (6, 4)), RNG.normal(0.95, 0.01, (6, 4))
    info = ask("compare", folds=2, repeats=2, sequential=True)
    [pair] = result_of(info, members(a) + members(b, trial=1), methods("a", "b"))["comparison"]["pairs"]
    [expected] = compare_scores({"a": a.mean(axis=1), "b": b.mean(axis=1)}, direction="maximize", sequential=True)
    assert (pair["p"], pair["low"]) == pytest.approx((expected.p_value, expected.low), rel=1e-9)


def test_infinite_ends_become_null():
    a, b = RNG.normal(0.9, 0.01, (3, 1)), RNG.normal(0.95, 0.01, (3, 1))
    result = result_of(ask("compare", sequential=True), members(a) + members(b, trial=1), methods("a", "b"))
    assert result["comparison"]["pairs"][0]["low"] is None


def test_methods_against_one_are_each_told():
    tables = [RNG.normal(mean, 0.005, (8, 1)) for mean in (0.9, 0.93, 0.90)]
    scores = [score for trial, table in enumerate(tables) for score in members(table, trial=trial)]
    result = result_of(ask("compare", against="base"), scores, methods("base", "good", "same"))
    assert [(pair["a"], pair["b"]) for pair in result["comparison"]["pairs"]] == [("good", "base"), ("same", "base")]
    assert result["best"]["name"] == "good"
    assert result["comparison"]["verdict"] == ("good is better than base. No difference shown between same and base.")


def of(*tables, **options):
    """Comparisons of methods a, b, c with well separated or equal means."""
    noise = np.random.default_rng(3).normal(0, 0.004, (len(tables), 10))
    scores = {name: mean + row for name, mean, row in zip("abcd", tables, noise, strict=False)}
    return compare_scores(scores, direction="maximize", **options)


@pytest.mark.parametrize(
    ("means", "best", "sentence"),
    [
        ((0.9, 0.8, 0.7), "a", "a is better than b and c."),
        ((0.9, 0.9, 0.7), "a", "a has the best mean; it is better than c, and no difference is shown to b."),
        ((0.9, 0.9, 0.9), "b", "No difference shown among the 3 methods; b has the best mean."),
        ((0.9, 0.8, 0.7, 0.6), "a", "a is better than b, c and d."),
    ],
)
def test_the_verdict_on_several_methods_names_whom_the_best_beats(means, best, sentence):
    assert verdict(best, of(*means)) == sentence


def test_a_method_that_diverges_is_not_the_best():
    good, lost = np.full((6, 1), 0.9) + RNG.normal(0, 0.01, (6, 1)), np.full((6, 1), 0.95)
    lost[:5] = math.nan
    result = result_of(ask("compare"), members(good) + members(lost, trial=1), methods("good", "lost"))
    assert result["best"]["name"] == "good"
    assert result["comparison"]["methods"][1]["diverged"] == 5
    assert "5 trainings diverged" in result["sentence"]


def test_another_verb_is_refused():
    with pytest.raises(ValueError, match="verb must be 'cv', 'replicate' or 'compare', got 'fit'"):
        result_of(ask("fit"), members([[0.9]]))
