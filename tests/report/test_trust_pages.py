import html
import json
import re

import numpy as np
import pytest
from test_page import Page
from trust_runs import write_trust_run

from tenfold.report import MemberScore, load_run, write_report
from tenfold.report.courses import diagnose, validation_loss
from tenfold.report.trust import trust_headline


def check(folder):
    """The page stands alone, nests, and has no number that is none."""
    text = write_report(folder).read_text(encoding="utf-8")
    page = Page(text)
    assert page.ids >= {"answer", "members", "curves", "cost", "data", "repeat"}
    assert all(link.startswith("#") for link in page.links)
    assert {link.removeprefix("#") for link in page.links} <= page.ids
    assert not re.search(r"https?://|@import|url\(", text)
    assert not re.search(r'="[^"]*\bnan\b', text)
    return html.unescape(text)


SHAPES = {
    "cv": {"folds": 5},
    "replicate": {"folds": 1, "seeds": 5, "tested": True},
    "compare": {"folds": 1, "seeds": 5},
}


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("status", ["done", "interrupted", "running", "failed"])
@pytest.mark.parametrize("verb", list(SHAPES))
def test_every_verb_has_a_page_that_stands_alone(tmp_path, verb, status, task):
    folder = write_trust_run(tmp_path, verb, task=task, status=status, epochs=6, **SHAPES[verb])
    text = check(folder)
    assert ("no answer yet" in text) == (status != "done")
    assert ("--resume" in text) == (status == "interrupted")


@pytest.mark.parametrize("verb", list(SHAPES))
def test_the_headline_is_the_sentence_of_the_answer(tmp_path, verb):
    folder = write_trust_run(tmp_path, verb, epochs=4, **SHAPES[verb])
    sentence = load_run(folder).result["sentence"]
    assert sentence.replace(" %", "\u00a0%") in check(folder)


@pytest.mark.parametrize("verb", list(SHAPES))
def test_a_run_in_which_everything_diverged_has_a_page(tmp_path, verb):
    lost = [(trial, fold, seed) for trial in range(2) for fold in range(5) for seed in range(5)]
    text = check(write_trust_run(tmp_path, verb, epochs=4, diverged=lost, **SHAPES[verb]))
    assert "diverged" in text


def test_a_cross_validation_tells_folds_intervals_and_out_of_fold_errors(tmp_path):
    folder = write_trust_run(tmp_path, "cv", folds=10, epochs=6, diverged=[(0, 3, 0)], evaluation=True)
    text, result = check(folder), load_run(folder).result
    assert all(f"fold {k}" in text for k in range(1, 11))
    assert "one more training" in text
    assert "1797 out-of-fold samples" in text
    assert 'id="calibration"' in text
    low, high = (f"{100 * result['valid'][f'diverged_{end}']:.0f}" for end in ("low", "high"))
    assert f"{low} to {high} % of such trainings diverge" in text
    assert text.count('data-trial="0-4-0"') >= 3  # its row and its curves


def test_a_replication_draws_the_interval_of_the_mean_within_that_of_one_more_training(tmp_path):
    folder = write_trust_run(tmp_path, "replicate", folds=1, seeds=8, tested=True, epochs=4)
    text = check(folder)
    kinds = re.findall(r'<i class="span (\w+)" style="left:([\d.]+)%;width:([\d.]+)%">', text)
    spans = {kind: (float(left), float(left) + float(width)) for kind, left, width in kinds}
    assert spans["left"][0] < spans["chosen"][0] < spans["chosen"][1] < spans["left"][1]
    assert text.count('class="dot trial many"') == 16  # all in one row, and each in its own


def test_many_members_are_folded_away(tmp_path):
    text = check(write_trust_run(tmp_path, "replicate", folds=1, seeds=30, epochs=2))
    assert "<summary>30 seeds</summary>" in text


def test_a_comparison_joins_the_scores_of_a_pair_and_tells_each_difference(tmp_path):
    names = ("small", "<b>wide</b>", "deep")
    folder = write_trust_run(tmp_path, "compare", folds=4, seeds=2, methods=names, gaps=(0, 0.02, 0.04), epochs=4)
    text = check(folder)
    assert text.count('class="curve left"') == 8
    assert text.count('class="zero"') == 3
    assert "corrected resampled t-test" in text
    assert "Holm's correction" in text
    raw = (folder / "report.html").read_text(encoding="utf-8")
    assert "<b>wide</b>" not in raw


def test_a_pair_that_one_method_lacks_is_not_drawn(tmp_path):
    folder = write_trust_run(tmp_path, "compare", folds=1, seeds=4, epochs=2)
    path = folder / "records.jsonl"
    lines = [line for line in path.read_text().splitlines() if line]
    path.write_text("\n".join(lines[:-1]) + "\n")
    assert "3 pairs of accuracy" in check(folder)


def test_a_difference_that_is_not_shown_says_how_many_seeds_it_takes(tmp_path):
    folder = write_trust_run(tmp_path, "compare", folds=1, seeds=5, gaps=(0, 0.001), epochs=2)
    more = load_run(folder).result["comparison"]["pairs"][0]["more_seeds"]
    assert f"about {more} more seeds would show it" in check(folder)


KEYS = ["folds", "seeds", "varies", "source", "classes", "input", "parts", "arguments", "plan", "timings", "result"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("verb", list(SHAPES))
def test_no_single_missing_piece_breaks_a_page(tmp_path, verb, key):
    folder = write_trust_run(tmp_path, verb, epochs=2, **SHAPES[verb])
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {key: None}))
    check(folder)


def test_a_run_before_its_first_epoch_says_so(tmp_path):
    folder = write_trust_run(tmp_path, "cv", status="running", epochs=0)
    assert "no member has finished an epoch" in trust_headline(load_run(folder))
    check(folder)


def test_the_predictions_of_the_best_method_are_shown_and_said_to_be_means_over_seeds(tmp_path):
    folder = write_trust_run(
        tmp_path, "compare", task="regression", folds=3, seeds=2, gaps=(0, 0.05), evaluation=True
    )
    records = load_run(folder)
    assert records.best_trial == 1
    np.testing.assert_array_equal(records.evaluation["predictions"], records.evaluation["targets"])
    assert "the mean of what 2 seeds of deep predict" in check(folder)


def test_a_torn_file_of_predictions_is_said(tmp_path):
    folder = write_trust_run(tmp_path, "cv", folds=3, epochs=2)
    (folder / "out-of-fold.npz").write_bytes(b"PK")
    assert check(folder).count("out-of-fold.npz could not be read") == 2


def test_a_cross_validation_tells_the_test_score_beside(tmp_path):
    folder = write_trust_run(tmp_path, "cv", folds=3, epochs=2, tested=True)
    mean = load_run(folder).result["test"]["mean"]
    assert f"On the test part they reach {100 * mean:.1f}" in check(folder)


# -- records of members ------------------------------------------------------------------------------------------


def test_scores_are_read_with_their_epoch_and_the_later_record_counts(tmp_path):
    line = {"kind": "score", "trial": 0, "fold": 1, "seed": 2, "epoch": 9, "valid": {"accuracy": 0.5}, "test": None}
    lines = [line, line | {"valid": {"accuracy": 0.75}, "test": {"accuracy": None}}]
    (tmp_path / "run.json").write_text('{"schema": 1}')
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    [score] = load_run(tmp_path).scores
    assert (score.trial, score.fold, score.seed, score.epoch) == (0, 1, 2, 9)
    assert score.score("accuracy") == 0.75
    assert np.isnan(score.score("accuracy", "test"))


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_member_without_a_finite_score_diverged(value):
    assert np.isnan(MemberScore(trial=0, fold=0, seed=0, valid={"rmse": value}).score("rmse"))
    assert np.isnan(MemberScore(trial=0, fold=0, seed=0, valid={}).score("rmse", "test"))


# -- over- and underfitting --------------------------------------------------------------------------------------


def curves_of(records):
    return list(records.curves.values())


def test_a_validation_loss_that_rises_calls_for_regularisation(tmp_path):
    records = load_run(write_trust_run(tmp_path, folds=5, epochs=30, overfit=0.02))
    found = diagnose(records, curves_of(records))
    assert found.verdict == "more regularisation"
    assert found.gap > 0
    assert "more regularisation</p>" in check(records.folder)


def test_diverged_members_are_left_out_of_the_verdict(tmp_path):
    lost = load_run(write_trust_run(tmp_path / "lost", folds=5, epochs=30, overfit=0.02, diverged=[(0, 1, 0)]))
    whole = load_run(write_trust_run(tmp_path / "whole", folds=5, epochs=30, overfit=0.02))
    kept = [curve for curve in curves_of(whole) if curve.fold != 1]
    assert diagnose(lost, curves_of(lost)) == diagnose(whole, kept)


def test_the_validation_loss_of_a_regression_is_the_squared_error_in_units_of_the_variance(tmp_path):
    records = load_run(write_trust_run(tmp_path, task="regression", folds=2, epochs=6))
    curve = records.curves[0, 0, 0]
    np.testing.assert_array_equal(validation_loss(records, curve), 1 - curve.valid["r2"])


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("classification", {"arguments": {"balanced": True}}),
        ("regression", {"arguments": {"loss": "huber"}}),
        ("detection", {}),
    ],
)
def test_losses_that_do_not_compare_get_no_verdict(tmp_path, task, changes):
    folder = write_trust_run(
        tmp_path, task="regression" if task == "regression" else "classification", folds=2, epochs=6
    )
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"task": task} | changes))
    records = load_run(folder)
    assert diagnose(records, curves_of(records)) is None
    assert "There is no verdict" in check(folder)


def test_smoothed_labels_get_no_verdict_and_few_epochs_neither(tmp_path):
    folder = write_trust_run(tmp_path / "smooth", folds=2, epochs=6)
    path = folder / "records.jsonl"
    path.write_text(path.read_text().replace('"config": {', '"config": {"label_smoothing": 0.1, '))
    records = load_run(folder)
    assert diagnose(records, curves_of(records)) is None
    short = load_run(write_trust_run(tmp_path / "short", folds=2, epochs=3))
    assert diagnose(short, curves_of(short)) is None
