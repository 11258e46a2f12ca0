"""Labels, quantiles, classes in order and own metrics, from the data to the prediction, as scikit-learn says."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics
from torch.nn import functional as F

import tenfold
from tenfold.core.errors import InputError
from tenfold.core.records import read_records
from tenfold.study import FitOptions
from tenfold.study.material import make_task, prepare, read_source
from tenfold.tasks import OwnMetric

QUICK = {"epochs": 3, "form": "stacked", "threads": 1, "config": {"lr": 0.02}}
NAMES = ["rain", "sun", "wind"]
LEVELS = (0.1, 0.5, 0.9)


def truth_of(cells):
    return np.array([[name in cell.split(";") for name in NAMES] for cell in cells], int)


@pytest.fixture(scope="module")
def draws():
    return np.random.default_rng(0).normal(size=(150, 3))


@pytest.fixture(scope="module")
def columns(draws):
    """Three labels in columns of 0 and 1, each told by a number; some rows have none."""
    held = pd.DataFrame((draws > 0.3).astype(int), columns=NAMES)
    return pd.concat([pd.DataFrame(draws, columns=["a", "b", "c"]), held], axis=1)


@pytest.fixture(scope="module")
def sets(columns):
    cells = ["|".join(name for name in NAMES if row[name]) for _, row in columns.iterrows()]
    return columns[["a", "b", "c"]].assign(weather=cells)


# -- labels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["columns", "sets"])
def test_labels_are_learned_scored_as_scikit_learn_does_and_predicted(form, columns, sets, fit):
    data, ask = (columns, {"target": NAMES}) if form == "columns" else (sets, {"task": "multilabel"})
    run = fit(data, **ask, trials=2, epochs=8)
    assert run.info["task"] == "multilabel"
    assert run.info["classes"] == NAMES
    with np.load(run.path / "evaluation.npz") as saved:
        rows, truth, p = saved["rows"], saved["targets"], saved["probabilities"]
    assert np.array_equal(truth, columns[NAMES].to_numpy()[rows])
    assert np.allclose(run.predict_proba(data.iloc[rows]), p, atol=1e-6)
    scores = run.evaluate(data.iloc[rows])
    final = next(record for record in read_records(run.path / "records.jsonl") if record["kind"] == "final")
    for found in (scores, final["test"]):
        assert found["micro_f1"]["value"] == pytest.approx(
            metrics.f1_score(truth, p > 0.5, average="micro"), abs=1e-9
        )
        assert found["subset_accuracy"]["value"] == pytest.approx(metrics.accuracy_score(truth, p > 0.5), abs=1e-9)
        assert found["hamming_loss"]["value"] == pytest.approx(metrics.hamming_loss(truth, p > 0.5), abs=1e-9)
        each = np.mean([metrics.log_loss(truth[:, k], p[:, k]) for k in range(3)])
        assert found["log_loss"]["value"] == pytest.approx(each, rel=1e-5)
    said = tenfold.load(run.path).predict(data.iloc[rows])
    assert np.array_equal(truth_of(said), (p > 0.5).astype(int))
    table, _ = run.model.predict_table(data.iloc[rows])
    assert list(table.columns) == ["prediction", *(f"probability_{name}" for name in NAMES)]
    assert run.result["test"]["value"] > 0.6
    assert (run.path / "report.html").is_file()


def test_labels_over_folds_are_scored_as_scikit_learn_does(columns, tmp_path):
    run = tenfold.cross_validate("mlp", columns, target=NAMES, folds=3, out=tmp_path / "cv", **QUICK)
    kept = np.load(run.path / "out-of-fold.npz")
    assert np.array_equal(kept["targets"], columns[NAMES].to_numpy()[kept["rows"]])
    for record in read_records(run.path / "records.jsonl"):
        if record["kind"] == "score":
            mine = kept["folds"] == record["fold"]
            expected = metrics.f1_score(kept["targets"][mine], kept["outputs-0"][mine] > 0.5, average="micro")
            assert record["valid"]["micro_f1"] == pytest.approx(expected, abs=1e-9)
    assert len(run.model.parts) == 3
    assert {"spread", "probability_sun"} <= set(run.model.predict_table(columns)[0])
    assert run.predict_proba(columns).shape == (150, 3)


def test_texts_that_look_like_sets_of_labels_are_asked_about(sets, fit):
    run = fit(sets[sets["weather"] != ""])
    assert run.info["task"] == "classification"
    assert any("if they are sets of labels, say --task multilabel" in note for note in run.info["source"]["notes"])


def test_several_targets_of_another_task_or_twice_the_same_are_refused(columns, fit):
    with pytest.raises(
        InputError, match="several targets are the labels of a multi-label task, got --task regression"
    ):
        fit(columns, target=NAMES, task="regression")
    with pytest.raises(InputError, match=r"--target must name different columns, got \['sun', 'sun'\]"):
        fit(columns, target=["sun", "sun"])


# -- quantiles ---------------------------------------------------------------------------------------------------


def test_quantiles_are_scored_as_scikit_learn_does_and_predicted_in_order(prices, fit, tmp_path):
    run = fit(prices, quantiles=LEVELS, trials=2, epochs=10)
    assert run.info["metric"] == "pinball"
    with np.load(run.path / "evaluation.npz") as saved:
        rows, truth, said, quantiles = (saved[key] for key in ("rows", "targets", "predictions", "quantiles"))
    assert np.allclose(truth, prices["price"].iloc[rows], rtol=1e-6)
    assert np.array_equal(said, quantiles[:, 1])
    assert (np.diff(quantiles, axis=1) >= 0).all()
    scores = run.evaluate(prices.iloc[rows])
    pinball = np.mean([metrics.mean_pinball_loss(truth, quantiles[:, k], alpha=a) for k, a in enumerate(LEVELS)])
    assert run.result["test"]["value"] == pytest.approx(pinball, rel=1e-6)
    assert scores["pinball"]["value"] == pytest.approx(pinball, rel=1e-5)
    inside = ((truth >= quantiles[:, 0]) & (truth <= quantiles[:, 2])).mean()
    assert scores["coverage"]["value"] == pytest.approx(inside, abs=1e-9)
    assert np.allclose(run.predict(prices.iloc[rows]), said, rtol=1e-6)
    table, _ = tenfold.load(run.path).predict_table(prices.iloc[rows])
    assert np.allclose(table[[f"quantile_{level}" for level in LEVELS]], quantiles, rtol=1e-6)


def test_quantiles_over_folds_are_in_the_targets_own_units(prices, tmp_path):
    run = tenfold.cross_validate("mlp", prices, quantiles=LEVELS, folds=3, out=tmp_path / "cv", **QUICK)
    kept = np.load(run.path / "out-of-fold.npz")
    assert np.allclose(kept["targets"], prices["price"].to_numpy()[kept["rows"]], rtol=1e-6)
    for record in read_records(run.path / "records.jsonl"):
        if record["kind"] == "score":
            mine = kept["folds"] == record["fold"]
            expected = np.mean([
                metrics.mean_pinball_loss(kept["targets"][mine], kept["outputs-0"][mine][:, k], alpha=a)
                for k, a in enumerate(LEVELS)
            ])  # fmt: skip
            assert record["valid"]["pinball"] == pytest.approx(expected, rel=1e-5)
    table, _ = run.model.predict_table(prices)
    assert (table["quantile_0.1"] <= table["quantile_0.9"]).all()
    assert (table["spread"] > 0).all()


# -- classes in order, losses, metrics of one's own ----------------------------------------------------------------


def test_classes_in_order_are_learned_by_the_ordinal_loss(draws, fit):
    size = np.array(["low", "middle", "high"])[np.digitize(draws[:, 0], [-0.4, 0.4])]
    data = pd.DataFrame(draws, columns=["a", "b", "c"]).assign(size=size)
    run = fit(data, order=("low", "middle", "high"), trials=2, epochs=8, metric="quadratic_kappa")
    assert run.info["classes"] == ["low", "middle", "high"]
    with np.load(run.path / "evaluation.npz") as saved:
        expected = metrics.cohen_kappa_score(saved["targets"], saved["predictions"], weights="quadratic")
    assert run.result["test"]["value"] == pytest.approx(expected, abs=1e-9)
    assert list(run.model.predict_table(data)[0].columns[1:]) == [
        "probability_low", "probability_middle", "probability_high",
    ]  # fmt: skip


def test_a_metric_of_ones_own_decides_and_is_asked_for_again_at_a_resume(classes, fit, tmp_path):
    own = OwnMetric(
        function=lambda y, p: metrics.f1_score(y, p, pos_label="below"), name="f1_of_below", direction="maximize"
    )
    run = fit(classes, metric=own)
    with np.load(run.path / "evaluation.npz") as saved:
        expected = metrics.f1_score(saved["targets"], saved["predictions"], pos_label=1)
    assert run.result["metric"] == "f1_of_below"
    assert run.result["test"]["value"] == pytest.approx(expected, abs=1e-9)
    assert run.info["arguments"]["metric"] == "f1_of_below"
    stored = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps(stored | {"status": "interrupted"}))
    with pytest.raises(InputError, match="unknown metric 'f1_of_below'"):
        tenfold.fit(classes, out=run.path, resume=True)
    assert tenfold.fit(classes, out=run.path, resume=True, metric=own).result["metric"] == "f1_of_below"
    folds = tenfold.cross_validate("mlp", classes, metric=own, folds=3, out=tmp_path / "cv", **QUICK)
    assert folds.result["metric"] == "f1_of_below"


@pytest.mark.parametrize(("task", "loss"), [("classification", "focal"), ("regression", "log_cosh")])
def test_every_task_takes_its_losses(task, loss, classes, prices, fit):
    run = fit(classes if task == "classification" else prices, loss=loss)
    assert run.info["arguments"]["loss"] == loss


def test_a_loss_may_be_a_function_of_ones_own(prices, fit):
    run = fit(prices, loss=F.smooth_l1_loss, form="stacked")
    assert run.info["arguments"]["loss"] == "smooth_l1_loss"
    named = fit(prices, loss="huber", form="stacked", overwrite=True)
    assert run.result["valid"]["mean"] == named.result["valid"]["mean"]


def test_options_of_another_task_are_refused(classes, prices, fit):
    with pytest.raises(InputError, match="--order is for a classification, the task is regression"):
        fit(prices, order=("a", "b"))
    with pytest.raises(InputError, match="--quantiles is for a regression, the task is classification"):
        fit(classes, quantiles=LEVELS)
    with pytest.raises(InputError, match="unknown classification loss 'l1'"):
        fit(classes, loss="l1")
    with pytest.raises(InputError, match="--balanced is for a classification, the task is regression"):
        fit(prices, balanced=True)


def test_balanced_labels_weigh_as_their_training_rows_say(columns):
    options = FitOptions(target=NAMES, balanced=True)
    source = read_source(columns, options)
    material = prepare(source, options, torch.device("cpu"))
    held = columns[NAMES].to_numpy()[material.split.train].sum(axis=0)
    expected = (len(material.train) - held) / held
    assert np.allclose(make_task(material, options).positive_weights, expected)


def test_trials_are_searched_over_folds_of_labels(columns, fit):
    run = fit(columns, target=NAMES, folds=3)
    assert (run.info["task"], run.result["metric"], run.result["valid"]["n"]) == ("multilabel", "micro_f1", 3)
