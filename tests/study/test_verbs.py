"""`cross_validate`, `replicate`, `compare`: scores as scikit-learn's, no leakage, members as if alone, resume."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import KFold, StratifiedKFold

import tenfold
from tenfold.core.records import read_records
from tenfold.core.seeds import derive_seed
from tenfold.study import Listener
from tenfold.train import Lane

QUICK = {"epochs": 3, "form": "stacked", "threads": 1, "config": {"lr": 0.01}}


def records(run, kind):
    return [record for record in read_records(run.path / "records.jsonl") if record["kind"] == kind]


def iris_table(path):
    x, y = load_iris(return_X_y=True)
    table = pd.DataFrame(x, columns=["a", "b", "c", "d"]).assign(label=[f"kind {k}" for k in y])
    table.to_csv(path, index=False)
    return x, y


def test_folds_are_scikit_learns_and_scores_are_its_metrics_on_the_same_rows(tmp_path):
    x, y = load_iris(return_X_y=True)
    run = tenfold.cross_validate("mlp", "iris", folds=4, seed=3, out=tmp_path / "cv", **QUICK)
    state = derive_seed(3, "split") % 2**32
    expected = [np.sort(v) for _, v in StratifiedKFold(4, shuffle=True, random_state=state).split(x, y)]
    kept = np.load(run.path / "out-of-fold.npz")
    for record in records(run, "score"):
        mine = kept["folds"] == record["fold"]
        assert np.array_equal(kept["rows"][mine], expected[record["fold"]])
        assert np.array_equal(kept["targets"][mine], y[expected[record["fold"]]])
        p = kept["outputs-0"][mine]
        truth = kept["targets"][mine]
        assert record["valid"]["accuracy"] == pytest.approx(metrics.accuracy_score(truth, p.argmax(1)), abs=1e-9)
        assert record["valid"]["macro_f1"] == pytest.approx(
            metrics.f1_score(truth, p.argmax(1), average="macro"), abs=1e-9
        )
        assert record["valid"]["log_loss"] == pytest.approx(metrics.log_loss(truth, p), abs=1e-9)
    values = [record["valid"]["accuracy"] for record in records(run, "score")]
    assert run.result["valid"]["mean"] == pytest.approx(np.mean(values), abs=1e-12)
    assert run.result["valid"]["std"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert run.result["valid"]["n"] == 4


def test_regression_scores_are_in_the_targets_own_units(tmp_path):
    x, y = load_diabetes(return_X_y=True)
    folds = list(KFold(3, shuffle=True, random_state=0).split(x))
    run = tenfold.cross_validate("mlp", "diabetes", folds=folds, out=tmp_path / "cv", **QUICK)
    kept = np.load(run.path / "out-of-fold.npz")
    for record, (_, valid) in zip(records(run, "score"), folds, strict=True):
        mine = kept["folds"] == record["fold"]
        truth, said = kept["targets"][mine], kept["outputs-0"][mine]
        np.testing.assert_allclose(truth, y[np.sort(valid)], rtol=1e-14)
        assert record["valid"]["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, said), abs=1e-9)
        assert record["valid"]["mae"] == pytest.approx(metrics.mean_absolute_error(truth, said), abs=1e-9)
        assert record["valid"]["r2"] == pytest.approx(metrics.r2_score(truth, said), abs=1e-9)


def test_what_stands_in_a_folds_validation_rows_never_reaches_its_training(tmp_path):
    x, y = load_iris(return_X_y=True)
    folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(x, y))
    poisoned = x.copy()
    poisoned[folds[1][1]] = 1e6 * (1 + y[folds[1][1], None])  # the target, planted with another mean and spread
    losses = []
    for name, data in (("clean", x), ("poisoned", poisoned)):
        run = tenfold.cross_validate("mlp", (data, y), folds=folds, out=tmp_path / name, **QUICK)
        losses.append([r["train_loss"] for r in records(run, "epoch") if r["fold"] == 1])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("form", ["stacked", "serial"])
def test_a_cell_trains_as_if_it_were_alone(tmp_path, form):
    x, y = load_iris(return_X_y=True)
    folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(x, y))
    folds[2] = (folds[2][0][:-7], folds[2][1])  # folds of unequal size
    options = {**QUICK, "form": form, "folds": folds, "final": "none", "batch_size": 16}
    many = tenfold.cross_validate("mlp", "iris", seeds=3, seed=0, out=tmp_path / "many", **options)
    one = tenfold.cross_validate("mlp", "iris", seeds=1, seed=2, out=tmp_path / "one", **options)
    expected = {(r["fold"], r["epoch"]): r for r in records(one, "epoch")}
    found = {(r["fold"], r["epoch"]): r for r in records(many, "epoch") if r["seed"] == 2}
    assert found.keys() == expected.keys()
    for key, record in expected.items():
        assert found[key]["train_loss"] == pytest.approx(record["train_loss"], rel=1e-4)
        assert found[key]["valid"]["log_loss"] == pytest.approx(record["valid"]["log_loss"], rel=1e-3)


def test_an_average_predicts_with_all_folds_in_one_model(tmp_path):
    x, _ = load_iris(return_X_y=True)
    run = tenfold.cross_validate("mlp", "iris", folds=3, final="average", out=tmp_path / "cv", **QUICK)
    model = tenfold.load(run.path)
    assert len(model.parts) == 3
    alone = []
    for part in model.parts:
        prepared = part.preprocessor.transform(model.read(x).inputs)
        with torch.no_grad():
            alone.append(part.module(*part.preprocessor.prepare_batch(prepared, False)).double().softmax(1))
    np.testing.assert_allclose(model.predict_proba(x), torch.stack(alone).mean(0), atol=1e-6)
    table, _ = model.predict_table(x)
    assert list(table)[-1] == "spread"
    assert table["spread"].between(0, 0.5).all()


def test_the_average_of_a_regression_speaks_in_its_own_units(tmp_path):
    x, y = load_diabetes(return_X_y=True)
    folds = [(np.arange(0, 200), np.arange(200, 300)), (np.argsort(y)[:200], np.argsort(y)[300:400])]
    run = tenfold.cross_validate("linear", (x, y), folds=folds, final="average", out=tmp_path / "cv", **QUICK)
    model = run.model
    alone = []
    for part in model.parts:
        prepared = part.preprocessor.transform(model.read(x).inputs)
        with torch.no_grad():
            said = part.module(*part.preprocessor.prepare_batch(prepared, False)).double().flatten()
        alone.append(said.numpy() * part.encoder.std + part.encoder.mean)
    np.testing.assert_allclose(model.predict(x), np.mean(alone, axis=0), rtol=1e-5)


@pytest.mark.parametrize("final", ["best", "refit"])
def test_one_model_can_be_kept(tmp_path, final):
    x, y = load_iris(return_X_y=True)
    run = tenfold.cross_validate("mlp", "iris", folds=3, final=final, out=tmp_path / "cv", **{**QUICK, "epochs": 15})
    model = tenfold.load(run.path)
    assert len(model.parts) == 1
    assert (model.predict(x) == np.array(load_iris().target_names)[y]).mean() > 0.8
    if final == "best":
        scores = {r["fold"]: r["valid"]["accuracy"] for r in records(run, "score")}
        assert model.notes["valid"] == max(scores.values()) == scores[model.notes["fold"]]


def test_only_what_is_asked_for_varies_between_seeds(tmp_path):
    def losses(name, vary):
        run = tenfold.replicate("mlp", "iris", seeds=2, vary=vary, out=tmp_path / name, **QUICK)
        return [[r["train_loss"] for r in records(run, "epoch") if r["seed"] == seed] for seed in (0, 1)]

    first, second = losses("order", ["order"])
    assert first != second
    assert losses("nothing that matters", ["augment"])[0] == pytest.approx(losses("again", ["augment"])[1], rel=1e-5)
    first, second = losses("init", ["init"])
    assert first != second


def test_a_replication_scores_every_seed_on_the_test_rows(tmp_path):
    run = tenfold.replicate("mlp", "iris", seeds=3, test_fraction=0.3, out=tmp_path / "run", **QUICK)
    scores = records(run, "score")
    assert [record["seed"] for record in scores] == [0, 1, 2]
    assert all(0 <= record["test"]["accuracy"] <= 1 for record in scores)
    assert run.result["members"] == 3


def test_methods_are_compared_on_the_same_folds_and_seeds(tmp_path):
    methods = {"linear": "linear", "mlp": ("mlp", {"hidden": 16})}
    run = tenfold.compare(methods, "iris", folds=3, seeds=2, out=tmp_path / "run", **QUICK)
    cells = {(r["trial"], r["fold"], r["seed"]) for r in records(run, "score")}
    assert cells == {(trial, fold, seed) for trial in (0, 1) for fold in range(3) for seed in (0, 1)}
    (pair,) = run.result["comparison"]["pairs"]
    means = [
        np.mean([r["valid"]["accuracy"] for r in records(run, "score") if r["trial"] == trial]) for trial in (0, 1)
    ]
    assert abs(pair["difference"]) == pytest.approx(abs(means[0] - means[1]), abs=1e-12)
    assert [r["name"] for r in records(run, "trial")] == ["linear", "mlp"]


class StopAt(Listener):
    """Ctrl-C at a step."""

    def __init__(self, step):
        self.left = step

    def progress(self, progress):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [1, 9, 20])
def test_an_interrupted_run_resumes_to_the_same_records(tmp_path, step):
    options = {**QUICK, "folds": 3, "final": "none", "batch_size": 16}
    whole = tenfold.cross_validate("mlp", "iris", out=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt, match="--resume goes on"):
        tenfold.cross_validate("mlp", "iris", out=tmp_path / "cut", listener=StopAt(step), **options)
    cut = tenfold.cross_validate("mlp", "iris", out=tmp_path / "cut", resume=True, **options)
    assert (cut.path / "records.jsonl").read_bytes() == (whole.path / "records.jsonl").read_bytes()
    again = tenfold.cross_validate("mlp", "iris", out=tmp_path / "cut", resume=True, **options)
    assert again.result == cut.result


def test_a_resume_that_asks_for_something_else_is_refused(tmp_path):
    options = {**QUICK, "folds": 3, "final": "none"}
    with pytest.raises(KeyboardInterrupt):
        tenfold.cross_validate("mlp", "iris", out=tmp_path / "cut", listener=StopAt(2), **options)
    with pytest.raises(tenfold.RunError, match="--resume: verb and options must be those that the run was"):
        tenfold.cross_validate("mlp", "iris", out=tmp_path / "cut", resume=True, **{**options, "folds": 4})


def make_own(hidden=8):
    return torch.nn.Sequential(torch.nn.Linear(4, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 3))


def test_a_users_own_network_is_asked_about_like_any_other(tmp_path):
    run = tenfold.cross_validate(
        make_own, "iris", folds=3, out=tmp_path / "cv", **{**QUICK, "config": {"hidden": 5, "lr": 0.05}}
    )
    assert run.predict([[5.1, 3.5, 1.4, 0.2]]).shape == (1,)
    assert run.model.parts[0].module[0].out_features == 5


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda out: tenfold.cross_validate("mlp", "iris", folds=1, out=out), "--folds must be a whole number >= 2"),
        (lambda out: tenfold.cross_validate("mlp", "iris", folds=80, out=out), "80"),
        (lambda out: tenfold.cross_validate("mlp", "iris", manner="odd", out=out), "--manner must be one of"),
        (lambda out: tenfold.replicate("mlp", "iris", seeds=0, out=out), "--seeds must be a whole number >= 1"),
        (lambda out: tenfold.replicate("mlp", "iris", vary=["weather"], out=out), "--vary must name some of init"),
        (lambda out: tenfold.replicate("mpl", "iris", out=out), "Did you mean 'mlp'"),
        (lambda out: tenfold.replicate("mlp", "iris", config={"hiden": 3}, out=out), "cannot be built"),
        (lambda out: tenfold.replicate("mlp", "iris", config={"lr": -1}, out=out), "lr must be > 0"),
        (lambda out: tenfold.replicate("mlp", "diabetes", balanced=True, out=out), "--balanced is for a classif"),
        (lambda out: tenfold.compare({"one": "mlp"}, "iris", out=out), "methods must be at least two, got 1"),
        (
            lambda out: tenfold.compare({"a": "mlp", "b": "linear"}, "iris", against="c", out=out),
            "--against must be one of a, b",
        ),
        (lambda out: tenfold.replicate("mlp", "iris", final="worst", out=out), "--final must be one of none, best"),
        (
            lambda out: tenfold.replicate("mlp", "iris", resume=True, overwrite=True, out=out),
            "--resume and --overwrite exclude each other",
        ),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence_and_leaves_nothing(tmp_path, ask, words):
    with pytest.raises(tenfold.TenfoldError, match=words):
        ask(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_option_is_an_error_of_the_call(tmp_path):
    with pytest.raises(TypeError, match=r"replicate: .*unexpected keyword argument 'sedes'"):
        tenfold.replicate("mlp", "iris", sedes=3, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "over"),
    [
        (["cv", "--network", "mlp", "--folds", "3", "--config", "lr=0.01"], 3),
        (["replicate", "--network", "mlp", "--seeds", "3", "--config", "hidden=16"], 3),
        (["compare", "--method", "a=linear", "--method", "b=mlp,lr=0.01", "--seeds", "3"], 3),
        (
            [
                "compare",
                "--method",
                "a=linear",
                "--method",
                "b=mlp",
                "--seeds",
                "4",
                "--sequential",
                "--vary",
                "init",
            ],
            4,
        ),
        (["replicate", "--network", "mlp", "--seeds", "3", "--vary", "init", "--vary", "split"], 3),
    ],
)
def test_the_command_line_prints_one_object(tenfold, tmp_path, arguments, over):
    verb, *rest = arguments
    iris_table(tmp_path / "iris.csv")
    done = tenfold(
        verb, "iris.csv", "--target", "label", "--epochs", "2", *rest, "--out", "run", "--json", "--threads", "1"
    )
    assert done.code == 0, done.err
    result = json.loads(done.out.strip().splitlines()[-1])
    assert result["schema"] == 1
    assert result["valid"]["n"] == over
    assert ("comparison" in result) == (verb == "compare")
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cv", "iris", "--config", "lr"], "--config must be KEY=VALUE, got 'lr'"),
        (["compare", "iris", "--method", "mlp", "--method", "b=mlp"], "--method must be NAME=NETWORK"),
        (["compare", "iris", "--method", "a=mlp", "--method", "a=linear"], "two methods are called 'a'"),
        (["cv", "iris", "--network", "mlp", "--config", "lr=-1"], "tenfold: --config: lr must be > 0"),
        (["cv", "no-such.csv"], "no-such.csv"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_exit_code_2(tenfold, arguments, words):
    done = tenfold(*arguments)
    assert done.code == 2
    assert words in " ".join(done.err.split())
    assert "Traceback" not in done.err


def test_a_kept_model_has_the_averaged_weights_that_were_scored(tmp_path):
    x, _ = load_iris(return_X_y=True)
    config = {"lr": 0.05, "ema_decay": 0.9}
    run = tenfold.cross_validate(
        "mlp", "iris", folds=3, final="average", out=tmp_path / "cv", **{**QUICK, "config": config}
    )
    kept = np.load(run.path / "out-of-fold.npz")
    for fold, said in enumerate(run.model.outputs_of_each(run.model.read(x).inputs)):
        mine = kept["folds"] == fold
        np.testing.assert_allclose(said[kept["rows"][mine]], kept["outputs-0"][mine], atol=1e-5)


class Falling(torch.nn.Module):
    """From some seeds its training loss is not finite; what it says in evaluation always is."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.register_buffer("blow", (torch.rand(()) < 0.5).float())

    def forward(self, x):
        said = self.layer(x)
        return said + torch.where(self.blow > 0, torch.inf, 0.0) if self.training else said


def test_a_training_that_fell_sick_has_no_score_and_counts_as_diverged(tmp_path):
    run = tenfold.replicate(Falling, "iris", seeds=6, seed=3, final="average", out=tmp_path / "run", **QUICK)
    sick = {record["seed"] for record in records(run, "sick")}
    assert 0 < len(sick) < 6
    lost = {
        r["seed"] for r in records(run, "score") if r["valid"]["accuracy"] is None or np.isnan(r["valid"]["accuracy"])
    }
    assert lost == sick
    assert run.result["valid"]["diverged"] == len(sick)
    assert len(run.model.parts) == 6 - len(sick)


@pytest.mark.parametrize(
    "ask",
    [
        lambda out: tenfold.fit("iris", network="linear", trials=3, epochs=3, final="refit", form="stacked", out=out),
        lambda out: tenfold.cross_validate("mlp", "iris", folds=3, final="refit", out=out, **QUICK),
    ],
    ids=["fit", "cross_validate"],
)
def test_a_refit_that_falls_sick_is_an_error(tmp_path, monkeypatch, ask):
    train_step = Lane.train_step

    def sick_alone(self, batch):
        train_step(self, batch)
        self.is_sick_M |= len(self) == 1 and self.stack.form == "serial"

    monkeypatch.setattr(Lane, "train_step", sick_alone)
    with pytest.raises(tenfold.RunError, match="--final refit: the chosen configuration diverged"):
        ask(tmp_path / "run")


def test_a_part_of_the_rows_is_asked_about_and_its_rows_keep_their_numbers(tmp_path):
    x, y = load_iris(return_X_y=True)
    run = tenfold.cross_validate("mlp", (x, y), folds=3, max_rows=60, out=tmp_path / "cv", **QUICK)
    kept = np.load(run.path / "out-of-fold.npz")
    assert len(kept["rows"]) == 60
    assert kept["rows"].max() > 60
    assert np.array_equal(kept["targets"], y[kept["rows"]])
    assert any("60 of 150 rows" in note for note in run.info["source"]["notes"])


def test_a_part_of_the_rows_is_resumed_as_it_was_begun(tmp_path):
    options = {**QUICK, "folds": 3, "final": "none", "max_rows": 60}
    with pytest.raises(KeyboardInterrupt):
        tenfold.cross_validate("mlp", "iris", out=tmp_path / "cut", listener=StopAt(2), **options)
    run = tenfold.cross_validate("mlp", "iris", out=tmp_path / "cut", resume=True, **options)
    assert run.info["source"]["rows"] == 60


def test_a_part_of_the_rows_cannot_be_had_with_folds_of_ones_own(tmp_path):
    folds = list(KFold(3).split(np.zeros(150)))
    with pytest.raises(tenfold.InputError, match="--max-rows is not for folds of your own"):
        tenfold.cross_validate("mlp", "iris", folds=folds, max_rows=60, out=tmp_path / "cv", **QUICK)
    with pytest.raises(tenfold.InputError, match="--max-rows must be a whole number >= 2, got 1"):
        tenfold.cross_validate("mlp", "iris", max_rows=1, out=tmp_path / "cv", **QUICK)
