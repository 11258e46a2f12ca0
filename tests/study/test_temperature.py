"""Temperature scaling of final models: fitted on the validation rows, kept, and used when asked for."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import log_loss

import tenfold
from tenfold.core.errors import InputError
from tenfold.data import read, split


@pytest.fixture(scope="module")
def noisy():
    """Two classes that overlap, so that no model is right on every row."""
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(200, 3))
    answer = np.where(draws[:, 0] + rng.normal(size=200) > 0, "above", "below")
    return pd.DataFrame(draws, columns=["a", "b", "c"]).assign(answer=answer)


@pytest.mark.parametrize("final", ["best", "average"])
def test_the_temperature_makes_the_validation_rows_as_likely_as_scipy_finds(final, noisy, fit, tmp_path):
    run = fit(noisy, final=final, trials=4, epochs=4, reduction_factor=2)
    rows = split(read(noisy), seed=0).valid
    valid, truth = noisy.iloc[rows], (noisy["answer"].iloc[rows] == "below").to_numpy(int)
    logits = np.log(run.predict_proba(valid))

    def loss(log_temperature):
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(truth)), truth].mean()

    best = np.exp(minimize_scalar(loss, bounds=(-4.6, 4.6), method="bounded", options={"xatol": 1e-9}).x)
    assert run.info["temperature"] == pytest.approx(best, rel=1e-4)
    calibrated = run.predict_proba(valid, calibrated=True)
    assert np.allclose(calibrated, np.exp(log_softmax(logits / best, axis=1)), atol=1e-4)
    assert log_loss(truth, calibrated) <= log_loss(truth, np.exp(logits))
    again = tenfold.load(run.path)
    table, _ = again.predict_table(valid, calibrated=True)
    assert np.allclose(table[["probability_above", "probability_below"]], calibrated)
    assert json.loads((run.path / "best" / "model.json").read_text())["temperature"] == run.info["temperature"]


def test_a_refit_and_folds_have_none_since_they_saw_the_rows(noisy, fit, tmp_path):
    refit = fit(noisy, final="refit")
    folds = tenfold.cross_validate("mlp", noisy, folds=3, epochs=1, threads=1, out=tmp_path / "cv")
    for run in (refit, folds):
        assert run.info["temperature"] is None
        with pytest.raises(InputError, match="--calibrated: the model has no temperature"):
            run.predict_proba(noisy, calibrated=True)
        with pytest.raises(InputError, match="--calibrated: the model has no temperature"):
            run.model.predict_table(noisy, calibrated=True)


def test_the_best_of_many_starts_has_one(noisy, tmp_path):
    run = tenfold.replicate("mlp", noisy, seeds=2, epochs=1, threads=1, final="best", out=tmp_path / "run")
    assert run.info["temperature"] > 0
