"""`fit` over folds and seeds: means decide, folds are scikit-learn's, the test part stays untouched."""

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import KFold

import tenfold
from tenfold.core.records import read_records
from tenfold.core.seeds import derive_seed
from tenfold.study import Listener

QUICK = {"trials": 5, "epochs": 6, "form": "stacked", "threads": 1, "network": "mlp"}


def records(run, kind):
    return [record for record in read_records(run.path / "records.jsonl") if record["kind"] == kind]


def best_so_far(run, epoch, metric, better):
    """By trial the mean over its members of each member's best score up to an epoch, from the records."""
    scores = {}
    for line in records(run, "epoch"):
        if line["epoch"] <= epoch:
            scores.setdefault((line["trial"], line["fold"], line["seed"]), []).append(line["valid"][metric])
    trials = {}
    for (trial, _, _), values in scores.items():
        trials.setdefault(trial, []).append(better(values))
    return {trial: np.mean(values) for trial, values in trials.items()}


@pytest.mark.parametrize(("data", "metric", "better"), [("iris", "accuracy", max), ("diabetes", "rmse", min)])
def test_a_trial_is_worth_the_mean_over_its_folds_and_seeds(tmp_path, data, metric, better):
    run = tenfold.fit(data, folds=3, seeds=2, out=tmp_path / "run", **QUICK)
    for rung in records(run, "rung"):
        expected = best_so_far(run, rung["epoch"], metric, better)
        assert {int(trial) for trial in rung["scores"]} <= set(expected)
        for trial, score in rung["scores"].items():
            assert score == pytest.approx(expected[int(trial)], abs=1e-12)
    last = best_so_far(run, 6, metric, better)
    finalists = {trial: last[trial] for trial in records(run, "rung")[-1]["kept"]}
    assert run.result["best"]["trial"] == better(finalists, key=finalists.get)
    members = [line for line in records(run, "epoch") if line["trial"] == run.result["best"]["trial"]]
    own = [
        better(line["valid"][metric] for line in members if (line["fold"], line["seed"]) == cell)
        for cell in {(line["fold"], line["seed"]) for line in members}
    ]
    valid = run.result["valid"]
    assert (valid["n"], valid["over"]) == (6, "folds x seeds")
    assert valid["mean"] == pytest.approx(np.mean(own), abs=1e-12)
    assert valid["std"] == pytest.approx(np.std(own, ddof=1), abs=1e-12)
    assert run.result["members"] == 30


def test_more_trials_than_a_rungs_size_stay_only_where_they_are_not_clearly_worse(tmp_path):
    run = tenfold.fit("iris", folds=3, seeds=1, out=tmp_path / "run", **QUICK)
    planned = run.info["rungs"]
    for rung, plan in zip(records(run, "rung"), planned, strict=True):
        assert plan["keep"] <= len(rung["kept"]) <= 2 * plan["keep"]


def test_what_stands_in_the_test_part_never_reaches_training(tmp_path):
    x, y = load_iris(return_X_y=True)
    first = tenfold.fit((x, y), folds=3, out=tmp_path / "first", **QUICK)
    rows = np.load(first.path / "evaluation.npz")["rows"]
    poisoned = x.copy()
    poisoned[rows] = 1e6 * (1 + y[rows, None])
    second = tenfold.fit((poisoned, y), folds=3, out=tmp_path / "second", **QUICK)
    assert records(first, "epoch") == records(second, "epoch")
    assert len(rows) == 30


@pytest.mark.parametrize(("final", "parts"), [("best", 1), ("average", 6), ("refit", 1)])
def test_the_final_model_is_scored_once_as_scikit_learn_does(tmp_path, final, parts):
    x, y = load_diabetes(return_X_y=True)
    run = tenfold.fit((x, y), folds=3, seeds=2, final=final, out=tmp_path / "run", **QUICK)
    assert len(run.model.parts) == parts
    kept = np.load(run.path / "evaluation.npz")
    np.testing.assert_allclose(kept["targets"], y[kept["rows"]], rtol=1e-6)
    said = run.predict(x[kept["rows"]])
    np.testing.assert_allclose(said, kept["predictions"], rtol=1e-4)
    expected = metrics.root_mean_squared_error(y[kept["rows"]], said)
    assert run.result["test"]["value"] == pytest.approx(expected, rel=1e-4)


def test_an_average_is_of_all_folds_and_seeds_of_the_best_trial_each_through_its_own_preprocessing(tmp_path):
    x, _ = load_iris(return_X_y=True)
    run = tenfold.fit("iris", folds=3, seeds=2, final="average", out=tmp_path / "run", **QUICK)
    alone = []
    for part in run.model.parts:
        prepared = part.preprocessor.transform(run.model.read(x).inputs)
        with torch.no_grad():
            alone.append(part.module(*part.preprocessor.prepare_batch(prepared, False)).double().softmax(1))
    np.testing.assert_allclose(run.predict_proba(x), torch.stack(alone).mean(0), atol=1e-6)
    assert len({id(part.preprocessor) for part in run.model.parts}) == 6
    assert run.model.notes["trials"] == [run.result["best"]["trial"]]


def test_seeds_alone_share_the_validation_part(tmp_path):
    run = tenfold.fit("iris", seeds=3, out=tmp_path / "run", **QUICK)
    assert run.result["valid"]["n"] == 3
    assert {(line["fold"], line["seed"]) for line in records(run, "epoch")} == {(0, 0), (0, 1), (0, 2)}
    assert (run.info["folds"], run.info["seeds"]) == (None, 3)


class StopAt(Listener):
    """Ctrl-C at a step."""

    def __init__(self, step):
        self.left = step

    def progress(self, progress):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [2, 14])
def test_an_interrupted_search_over_folds_resumes_to_the_same_records(tmp_path, step):
    options = {**QUICK, "folds": 3, "final": "average"}
    whole = tenfold.fit("iris", out=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        tenfold.fit("iris", out=tmp_path / "cut", listener=StopAt(step), **options)
    cut = tenfold.fit("iris", out=tmp_path / "cut", resume=True)
    assert (cut.path / "records.jsonl").read_bytes() == (whole.path / "records.jsonl").read_bytes()


def test_a_search_on_the_users_own_folds_is_resumed_with_them(tmp_path):
    own = np.arange(150) % 3
    options = {**QUICK, "folds": own}
    with pytest.raises(KeyboardInterrupt):
        tenfold.fit("iris", out=tmp_path / "cut", listener=StopAt(3), test_fraction=0.0, **options)
    with pytest.raises(tenfold.RunError, match="--resume: the folds are your own and not stored"):
        tenfold.fit("iris", out=tmp_path / "cut", resume=True)
    run = tenfold.fit("iris", folds=own, test_fraction=0.0, out=tmp_path / "cut", resume=True)
    assert run.result["valid"]["n"] == 3


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"folds": 1}, tenfold.TenfoldError, "--folds must be a whole number >= 2, got 1"),
        ({"seeds": 0}, tenfold.TenfoldError, "--seeds must be a whole number >= 1, got 0"),
        ({"folds": 3, "config": {"lr": 1}}, TypeError, "fit: got an unexpected keyword argument 'config'"),
        ({"folds": 3, "final": "none"}, tenfold.TenfoldError, "--final must be one of best"),
    ],
)
def test_what_cannot_be_asked_of_folds_is_said_and_leaves_nothing(tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        tenfold.fit("iris", out=tmp_path / "run", **QUICK, **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("final", ["best", "average", "refit"])
def test_baselines_are_fitted_and_scored_on_the_rows_that_the_networks_are(tmp_path, final):
    _, y = load_diabetes(return_X_y=True)
    run = tenfold.fit("diabetes", folds=3, final=final, out=tmp_path / "run", **QUICK)
    test = np.load(run.path / "evaluation.npz")["rows"]
    rows = np.setdiff1d(np.arange(len(y)), test)
    cut = KFold(3, shuffle=True, random_state=derive_seed(0, "split") % 2**32).split(rows)
    folds = [(rows[train], rows[valid]) for train, valid in cut]
    (mean,) = (record for record in records(run, "baseline") if record["name"] == "mean")
    of_folds = [np.sqrt(np.mean((y[valid] - y[train].mean()) ** 2)) for train, valid in folds]
    assert mean["valid"]["rmse"] == pytest.approx(np.mean(of_folds), abs=1e-9)
    assert "the mean over 3 folds" in mean["note"]
    learned = folds[run.model.notes["fold"]][0] if final == "best" else rows
    expected = np.sqrt(np.mean((y[test] - y[learned].mean()) ** 2))
    assert mean["test"]["rmse"]["value"] == pytest.approx(expected, abs=1e-9)


def test_a_refit_has_baselines_that_learned_from_the_validation_rows_too(tmp_path):
    _, y = load_diabetes(return_X_y=True)
    run = tenfold.fit("diabetes", final="refit", out=tmp_path / "run", **QUICK)
    test = np.load(run.path / "evaluation.npz")["rows"]
    (mean,) = (record for record in records(run, "baseline") if record["name"] == "mean")
    learned = np.setdiff1d(np.arange(len(y)), test)
    expected = np.sqrt(np.mean((y[test] - y[learned].mean()) ** 2))
    assert mean["test"]["rmse"]["value"] == pytest.approx(expected, abs=1e-9)
