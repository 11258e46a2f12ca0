import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

import tenfold
from tenfold.report import RunRecords, load_run
from tenfold.report.courses import validation_loss
from tenfold.report.errors import errors


def of(tmp_path, task, **arrays):
    run = {"task": task, "classes": ["rain", "<sun>"], "arguments": {"quantiles": [0.1, 0.5, 0.9]}}
    return RunRecords(folder=tmp_path, run=run, evaluation=arrays)


def test_labels_are_told_by_recall_and_precision(tmp_path):
    rng = np.random.default_rng(0)
    targets, predictions = rng.integers(0, 2, (50, 2)), rng.integers(0, 2, (50, 2))
    page = errors(of(tmp_path, "multilabel", targets=targets, predictions=predictions))
    whole = (targets == predictions).all(axis=1).sum()
    assert f"{whole} of 50 test samples have all labels right" in page
    assert "&lt;sun&gt;" in page
    for place in range(2):
        true, said = targets[:, place], predictions[:, place]
        assert f"{round(recall_score(true, said) * true.sum())} of {true.sum()}" in page
        assert f"{round(precision_score(true, said) * said.sum())} of {said.sum()}" in page


def test_a_label_that_is_never_predicted_breaks_nothing(tmp_path):
    targets = np.array([[1, 0], [1, 0]])
    page = errors(of(tmp_path, "multilabel", targets=targets, predictions=np.zeros((2, 2), int)))
    assert "0 of 2 test samples have all labels right" in page


def test_quantiles_are_held_against_what_they_claim(tmp_path):
    targets = np.arange(100.0)
    quantiles = np.stack([np.full(100, 19.5), np.full(100, 49.5), np.full(100, 89.5)], axis=1)
    page = errors(of(tmp_path, "regression", targets=targets, predictions=quantiles[:, 1], quantiles=quantiles))
    assert "70.0 % of 100 test samples lie between the outer quantiles, which claim 80 %" in page


@pytest.mark.parametrize("final", ["none", "average"])
def test_of_folds_the_middle_quantile_is_the_prediction(tmp_path, final):
    run = tenfold.cross_validate(
        "linear", "diabetes", folds=3, epochs=2, final=final, quantiles=[0.1, 0.5, 0.9], form="stacked", threads=1,
        out=tmp_path / "run",
    )  # fmt: skip
    found = load_run(run.path).evaluation
    np.testing.assert_array_equal(found["predictions"], found["quantiles"][:, 1])
    assert "lie between the outer quantiles" in (run.path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("options", "loss"), [({"quantiles": [0.1, 0.5, 0.9]}, "pinball"), ({"loss": "l1"}, "mae")])
def test_training_and_validation_loss_of_a_regression_are_in_one_unit(tmp_path, options, loss):
    run = tenfold.cross_validate(
        "linear",
        "diabetes",
        folds=3,
        epochs=5,
        final="none",
        form="stacked",
        threads=1,
        out=tmp_path / "run",
        **options,
    )
    records, kept = load_run(run.path), np.load(run.path / "out-of-fold.npz")
    for (_, fold, _), curve in records.curves.items():
        spread = kept["targets"][kept["folds"] == fold].std()
        np.testing.assert_allclose(validation_loss(records, curve), curve.valid[loss] / spread, rtol=1e-9)
        assert 0.5 < validation_loss(records, curve)[0] / curve.train_loss[0] < 2
