"""The final model: best, refit and average; saved without code, loaded into plain modules, predicting as trained."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tenfold
from tenfold.core.errors import RunError
from tenfold.study import Model, ModelPart


class Tied(nn.Module):
    """Two layers that share one weight, and a buffer that trains."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.norm(self.second(self.first(x).relu())))


def reopened(run, **networks):
    model = tenfold.load(run.path, **networks)
    assert not model.module.training
    return model


@pytest.mark.parametrize("final", ["best", "refit", "average"])
def test_every_final_model_predicts_after_loading_as_it_was_scored(final, classes, fit):
    run = fit(classes, final=final, trials=4, epochs=2, seed=2, reduction_factor=2)
    model = reopened(run)
    with np.load(run.path / "evaluation.npz") as saved:
        assert np.allclose(model.predict_proba(classes.iloc[saved["rows"]]), saved["probabilities"], atol=1e-6)
        hits = saved["predictions"] == saved["targets"]
        assert run.result["test"]["value"] == pytest.approx(hits.mean())
        assert run.result["test"]["n"] == len(hits)
    assert model.notes["how"] == final
    assert (len(model.parts) > 1) == (final == "average")


def test_an_average_is_the_mean_of_its_networks_probabilities(classes, fit):
    run = fit(classes, final="average", trials=4, epochs=2, reduction_factor=2)
    model = run.model
    alone = [
        Model(parts=(part,), preprocessor=model.preprocessor, encoder=model.encoder, notes={}) for part in model.parts
    ]
    mean = np.mean([single.predict_proba(classes) for single in alone], axis=0)
    assert len(alone) == run.info["rungs"][-1]["keep"] > 1
    assert np.allclose(model.predict_proba(classes), mean)


def test_a_refit_is_fitted_on_training_and_validation_rows(classes, fit):
    """The statistics of its preprocessing are those of both parts, computed here by NumPy."""
    run = fit(classes, final="refit")
    with np.load(run.path / "evaluation.npz") as saved:
        seen = classes.drop(index=saved["rows"])
    columns = {column.name: column for column in run.model.preprocessor.numbers}
    for name in ("a", "b", "c"):
        assert columns[name].mean == pytest.approx(seen[name].mean())
        assert columns[name].std == pytest.approx(seen[name].std(ddof=0))


def test_the_best_weights_are_those_of_the_best_epoch(classes, fit):
    run = fit(classes, trials=1, epochs=12, space={"lr": 0.3})
    lines = [json.loads(line) for line in (run.path / "records.jsonl").read_text().splitlines()]
    scores = [line["valid"]["accuracy"] for line in lines if line["kind"] == "epoch"]
    final = next(line for line in lines if line["kind"] == "final")
    assert final["epoch"] == 1 + int(np.argmax(scores))
    assert run.result["valid"]["mean"] == max(scores)


def test_weights_load_into_the_users_own_class(classes, fit):
    run = fit(classes, network=Tied, space={"lr": 0.05}, epochs=6)
    plain = Tied()
    weights = load_file(run.path / "best" / "weights-0.safetensors")
    missing, unexpected = plain.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert all(name.endswith("weight") for name in missing)  # the name of the tied weight that was stored once
    model = reopened(run, network=Tied)
    assert model.module.second.weight is model.module.first.weight
    assert (model.predict(classes) == run.predict(classes)).all()
    assert model.module.norm.num_batches_tracked > 0


def test_a_network_of_another_shape_is_refused(classes, fit):
    def own():
        return nn.Linear(3, 2)

    run = fit(classes, network=own)

    def larger():
        return nn.Sequential(nn.Linear(3, 9), nn.Linear(9, 2))

    larger.__name__ = "own"
    with pytest.raises(RunError, match=r"weights-0.safetensors: does not fit the network 'own'"):
        tenfold.load(run.path, network=larger)


def test_loading_runs_no_code_of_the_folder(classes, fit):
    """Nothing in best/ is a pickle, and loading in a new process neither unpickles nor runs anything of it."""
    run = fit(classes)
    for path in (run.path / "best").iterdir():
        with pytest.raises((pickle.UnpicklingError, ValueError, EOFError, KeyError, IndexError, AttributeError)):
            pickle.loads(path.read_bytes())
    code = (
        "import sys, tenfold\n"
        "def watch(event, arguments):\n"
        "    if event == 'pickle.find_class': raise SystemExit('a pickle was read')\n"
        f"    if event == 'exec' and {str(run.path)!r} in str(arguments): raise SystemExit('code was run')\n"
        "sys.addaudithook(watch)\n"
        f"assert tenfold.load({str(run.path)!r}).module is not None\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_that_moves_is_found_where_it_is(classes, fit, tmp_path):
    run = fit(classes)
    expected = run.predict(classes)
    moved = run.path.rename(tmp_path / "elsewhere")
    assert (tenfold.load(moved).predict(classes) == expected).all()
    assert (tenfold.load(moved / "best").predict(classes) == expected).all()
    assert (tenfold.Run(moved).predict(classes) == expected).all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda best: (best / "model.json").unlink(), r"there is no finished model"),
        (lambda best: (best / "model.json").write_text("{"), r"model.json: cannot be read"),
        (lambda best: (best / "model.json").write_text('{"schema": 9}'), r"has schema 9, this version reads 1"),
        (lambda best: (best / "weights-0.safetensors").write_bytes(b"x"), r"weights-0.safetensors: does not fit"),
        (lambda best: (best / "weights-0.safetensors").unlink(), r"weights-0.safetensors: does not fit"),
    ],
)
def test_damaged_models_are_refused(damage, message, classes, fit):
    run = fit(classes, epochs=1)
    damage(run.path / "best")
    with pytest.raises(RunError, match=message):
        tenfold.load(run.path)


def test_prediction_needs_no_particular_batch(classes, fit):
    """One row at a time and all rows at once give the same, batch norm and all."""
    run = fit(classes, network=Tied, space={"lr": 0.05})
    together = run.predict_proba(classes)
    alone = np.concatenate([run.predict_proba(classes.iloc[[row]]) for row in range(5)])
    assert np.allclose(together[:5], alone, atol=1e-6)


def test_a_table_of_predictions_names_rows_and_classes(classes, fit):
    table, skipped = fit(classes).model.predict_table(classes.head(3))
    assert list(table.columns) == ["prediction", "probability_above", "probability_below"]
    assert skipped == ()


def test_parts_are_plain_modules(classes, fit):
    model = fit(classes).model
    assert isinstance(model.parts[0], ModelPart)
    assert type(model.module).__module__.startswith("tenfold.networks")
    assert all(isinstance(parameter, nn.Parameter) for parameter in model.module.parameters())
    assert not any(isinstance(tensor, torch.Tensor) and tensor._is_view() for tensor in model.module.buffers())
