"""Networks that predict together: averages, votes and greedy ensembles, their weights and their gain."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.metrics import accuracy_score, root_mean_squared_error

import tenfold
from tenfold.statistics import bootstrap_difference

QUICK = {"network": "mlp", "form": "stacked", "threads": 1, "trials": 6, "epochs": 4}


def said_by_each(run, rows):
    """What each network alone says of rows, as predictions."""
    return [run.model.alone(place).predict(rows) for place in range(len(run.model.parts))]


@pytest.mark.parametrize("more", [{}, {"folds": 3}])
def test_an_ensemble_is_the_weighted_mean_of_its_networks_and_its_gain_is_scikit_learns(tmp_path, more):
    x, y = load_diabetes(return_X_y=True)
    run = tenfold.fit((x, y), final="ensemble", out=tmp_path / "run", **{**QUICK, **more})
    weights = np.array([part.weight for part in run.model.parts])
    assert weights.sum() == pytest.approx(1)
    assert len(weights) > 1
    mean = np.average(said_by_each(run, x), axis=0, weights=weights)
    np.testing.assert_allclose(run.predict(x), mean, rtol=1e-6)

    rows = np.load(tmp_path / "run" / "evaluation.npz")["rows"]
    told = run.result["ensemble"]
    assert set(told["weights"]) == {str(trial) for trial in told["trials"]}
    gain = told["gain"]
    assert gain["model"] == pytest.approx(root_mean_squared_error(y[rows], mean[rows]), rel=1e-6)
    singles = [root_mean_squared_error(y[rows], own[rows]) for own in said_by_each(run, x)]
    assert min(abs(gain["single"] - single) for single in singles) < 1e-3
    best = int(np.argmin([abs(gain["single"] - single) for single in singles]))
    pair = (y[rows], mean[rows], said_by_each(run, x)[best][rows])
    expected = bootstrap_difference(lambda t, o: root_mean_squared_error(t, o), *pair)
    found = (gain["value"], gain["low"], gain["high"], gain["n"])
    assert found == pytest.approx((expected.value, expected.low, expected.high, expected.n), rel=1e-5)


def test_trials_that_may_stand_in_an_ensemble_train_to_the_end(tmp_path):
    run = tenfold.fit("iris", final="ensemble", out=tmp_path / "run", **{**QUICK, "trials": 9})
    assert run.info["rungs"][-1]["keep"] == 8
    stored = json.loads((tmp_path / "run" / "best" / "model.json").read_text())
    assert [entry["weight"] for entry in stored["networks"]] == [part.weight for part in run.model.parts]


@pytest.mark.parametrize("more", [{"folds": 3}, {"seeds": 3}])
def test_a_vote_is_the_majority_and_ties_go_to_the_mean_probability(tmp_path, more):
    x, y = load_iris(return_X_y=True)
    run = tenfold.fit((x, y), final="vote", out=tmp_path / "run", **{**QUICK, **more})
    each = np.stack([run.model.alone(place).predict_proba(x) for place in range(3)])
    votes = np.eye(3)[each.argmax(axis=2)].sum(axis=0)
    expected = (votes + 1e-3 * each.mean(axis=0)).argmax(axis=1)
    np.testing.assert_array_equal(run.predict(x), np.unique(y)[expected])
    np.testing.assert_allclose(run.predict_proba(x), votes / 3, atol=2e-6)
    assert run.model.temperature is None
    assert run.result["ensemble"]["how"] == "vote"


@pytest.mark.parametrize("final", ["average", "vote"])
def test_of_folds_the_gain_is_over_the_best_fold_on_the_test_part(tmp_path, final):
    x, y = load_iris(return_X_y=True)
    options = {"epochs": 3, "form": "stacked", "threads": 1, "test_fraction": 0.3}
    run = tenfold.cross_validate("mlp", (x, y), folds=3, final=final, out=tmp_path / "cv", **options)
    gain = run.result["ensemble"]["gain"]
    parts = run.info["parts"]
    assert gain["n"] == parts["test"] == 45
    cut = np.load(tmp_path / "cv" / "out-of-fold.npz")["rows"]
    rows = np.setdiff1d(np.arange(150), cut)
    assert gain["model"] == pytest.approx(accuracy_score(y[rows], run.predict(x[rows])))
    fold = int(np.argmax([fold["mean"] for fold in run.result["folds"]["scores"]]))
    assert gain["single"] == pytest.approx(accuracy_score(y[rows], said_by_each(run, x[rows])[fold]))
    assert "predict together" in (tmp_path / "cv" / "report.html").read_text(encoding="utf-8")


def test_a_vote_needs_classes(tmp_path):
    with pytest.raises(tenfold.InputError, match="--final vote is for a classification, the task is regression"):
        tenfold.fit("diabetes", final="vote", out=tmp_path / "run", **QUICK)
    with pytest.raises(tenfold.InputError, match="--final must be one of none, best, refit, average, vote, got"):
        tenfold.cross_validate("mlp", "iris", final="ensemble", out=tmp_path / "run")
