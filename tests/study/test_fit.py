"""`fit` from Python: sources, networks, spaces, seeds, and what it promises about the parts of the data."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import tenfold
from tenfold.core.errors import InputError, RunError
from tenfold.core.records import read_records
from tenfold.study import Listener


class OwnNet(nn.Module):
    """A user's network: dead on purpose where it is asked to be."""

    def __init__(self, width: int = 8, dead: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))
        self.scale = float("nan") if dead else 1.0

    def forward(self, x):
        return self.layers(x) * self.scale


class Pairs(Dataset):
    """Samples of three numbers and a label, optionally other ones at each reading."""

    def __init__(self, num_samples: int, noise: float = 0.0) -> None:
        self.x = np.random.default_rng(0).normal(size=(num_samples, 3)).astype(np.float32)
        self.noise = noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int):
        x = torch.from_numpy(self.x[row])
        return x + self.noise * torch.randn(3), int(self.x[row, 0] > 0)


class Heard(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[str] = []
        self.shares: list[float] = []

    def note(self, sentence):
        self.notes.append(sentence)

    def stage(self, name):
        self.stages.append(name)

    def progress(self, progress):
        self.shares.append(progress.share)


def records_of(run, kind):
    return [record for record in read_records(run.path / "records.jsonl") if record["kind"] == kind]


# -- sources -----------------------------------------------------------------------------------------------------


def sources_of(classes: pd.DataFrame) -> dict:
    x, y = classes[["a", "b", "c"]], classes["answer"]
    tensors = torch.tensor(x.to_numpy(), dtype=torch.float32), torch.tensor((y == "below").tolist()).long()
    return {
        "a DataFrame": classes,
        "arrays": (x.to_numpy(), y.to_numpy()),
        "tensors": tensors,
        "a DataFrame and a Series": (x, y),
        "a Dataset": TensorDataset(*tensors),
        "a DataLoader": DataLoader(TensorDataset(*tensors), batch_size=7, shuffle=True),
        "a Dataset of one's own": Pairs(120),
        "a Dataset that changes": Pairs(120, noise=0.1),
        "three Datasets": (Pairs(80), Pairs(40), Pairs(40)),
    }


@pytest.mark.parametrize("kind", list(sources_of(pd.DataFrame({"a": [0.0], "b": 0.0, "c": 0.0, "answer": "x"}))))
def test_sources_from_python_are_fitted_and_predicted(kind, classes, fit):
    source = sources_of(classes)[kind]
    run = fit(source, epochs=4, final="best")
    assert run.info["status"] == "done"
    assert run.result["test"]["value"] >= 0.6
    inputs = source[0] if isinstance(source, tuple) else source
    predicted = run.predict(inputs)
    assert predicted.shape == (len(inputs.dataset if isinstance(inputs, DataLoader) else inputs),)
    assert np.allclose(run.predict_proba(inputs).sum(axis=1), 1.0)


def test_parts_that_come_apart_are_respected(fit):
    run = fit((Pairs(80), Pairs(40), Pairs(30)))
    assert {part: run.info["parts"][part] for part in ("train", "valid", "test")} == {
        "train": 80, "valid": 40, "test": 30
    }  # fmt: skip


def test_a_regression_is_learned_and_told_in_raw_units(prices, fit):
    run = fit(prices, trials=3, epochs=40, space={"lr": 0.02})
    truth = prices["price"].to_numpy()
    assert run.result["metric"] == "rmse"
    assert 0 < run.result["test"]["value"] < 0.5 * truth.std()
    with np.load(run.path / "evaluation.npz") as saved:
        assert np.allclose(saved["targets"], truth[saved["rows"]])
        rmse = np.sqrt(np.mean((saved["targets"] - saved["predictions"]) ** 2))
        assert np.allclose(run.predict(prices.iloc[saved["rows"]]), saved["predictions"], rtol=1e-4)
    assert rmse == pytest.approx(run.result["test"]["value"], rel=1e-5)
    with pytest.raises(TypeError, match=r"predict_proba: the model is a regression"):
        run.predict_proba(prices)


# -- seeds -------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_records_and_another_seed_another_split(classes, fit, tmp_path):
    runs = {
        name: fit(classes, seed=seed, form="stacked", out=tmp_path / name)
        for name, seed in (("first", 3), ("again", 3), ("other", 4))
    }
    texts = {name: (run.path / "records.jsonl").read_bytes() for name, run in runs.items()}
    assert texts["first"] == texts["again"]
    assert texts["first"] != texts["other"]
    rows = {name: np.load(run.path / "evaluation.npz")["rows"].tolist() for name, run in runs.items()}
    assert rows["first"] == rows["again"] != rows["other"]


def test_the_global_random_state_neither_matters_nor_changes(classes, fit, tmp_path):
    texts = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        states = torch.get_rng_state(), np.random.get_state()[1].copy()
        run = fit(classes, form="stacked", out=tmp_path / str(seed), network=OwnNet)
        texts.append((run.path / "records.jsonl").read_bytes())
        assert torch.equal(states[0], torch.get_rng_state())
        assert np.array_equal(states[1], np.random.get_state()[1])
    assert texts[0] == texts[1]


# -- parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["valid", "test"])
def test_rows_outside_training_move_no_fitted_statistic(part, classes, fit, tmp_path):
    """An outlier, a missing value and a new category are planted in a part; what was fitted does not move."""
    clean = classes.assign(kind=np.where(classes["a"] > 0, "u", "v"))[["a", "b", "c", "kind", "answer"]]
    first = fit(clean, out=tmp_path / "clean", epochs=1)
    rows = rows_of_parts(first, clean)[part]
    planted = clean.copy()
    planted.loc[rows[0], "a"] = 1e9
    planted.loc[rows[1], "b"] = np.nan
    planted.loc[rows[2], "kind"] = "never seen"
    second = fit(planted, out=tmp_path / "planted", epochs=1)
    models = [json.loads((run.path / "best" / "model.json").read_text("utf-8")) for run in (first, second)]
    assert models[0]["preprocessing"] == models[1]["preprocessing"]
    assert models[0]["target"] == models[1]["target"]


def test_planted_training_rows_do_move_them(classes, fit, tmp_path):
    first = fit(classes, out=tmp_path / "clean", epochs=1)
    planted = classes.copy()
    planted.loc[rows_of_parts(first, classes)["train"][0], "a"] = 1e9
    second = fit(planted, out=tmp_path / "planted", epochs=1)
    models = [json.loads((run.path / "best" / "model.json").read_text("utf-8")) for run in (first, second)]
    assert models[0]["preprocessing"] != models[1]["preprocessing"]


@pytest.mark.parametrize("part", ["valid", "test"])
def test_targets_outside_training_move_no_fitted_statistic(part, prices, fit, tmp_path):
    first = fit(prices, out=tmp_path / "clean", epochs=1)
    planted = prices.copy()
    planted.loc[rows_of_parts(first, prices)[part], "price"] += 1e7
    second = fit(planted, out=tmp_path / "planted", epochs=1)
    models = [json.loads((run.path / "best" / "model.json").read_text("utf-8")) for run in (first, second)]
    assert models[0]["target"] == models[1]["target"]


def rows_of_parts(run, frame):
    """The rows of each part, cut anew by the seed of the run."""
    from tenfold.data import read, split

    parts = split(read(frame), seed=run.info["seed"])
    return {"train": parts.train, "valid": parts.valid, "test": parts.test}


def test_the_test_part_has_no_say_in_training_or_choice(fit, tmp_path):
    """Other test labels change the test score, and not one fact that was recorded before it."""
    x = torch.randn(160, 3, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    parts = [TensorDataset(x[rows], y[rows]) for rows in (slice(0, 80), slice(80, 120), slice(120, 160))]
    flipped = [*parts[:2], TensorDataset(x[120:], 1 - y[120:])]
    first, second = (
        fit(tuple(data), form="stacked", out=tmp_path / name, space={"lr": 0.01}, epochs=5)
        for name, data in (("clean", parts), ("flipped", flipped))
    )
    assert first.result["test"]["value"] == pytest.approx(1 - second.result["test"]["value"])
    for kind in ("trial", "epoch", "rung"):
        assert records_of(first, kind) == records_of(second, kind)
    files = [(run.path / "best" / "weights-0.safetensors").read_bytes() for run in (first, second)]
    assert files[0] == files[1]


def test_the_test_part_is_scored_once(classes, fit, monkeypatch):
    import tenfold.study.scoring as scoring

    seen = []
    original = scoring.score_outputs
    monkeypatch.setattr(scoring, "score_outputs", lambda *args: seen.append(args[3]) or original(*args))
    run = fit(classes, final="refit")
    assert len(seen) == 1
    assert len(seen[0]) == run.info["parts"]["test"]
    assert len(records_of(run, "final")) == 1


# -- networks and spaces -----------------------------------------------------------------------------------------


def test_a_callable_is_a_network_and_is_passed_to_load(classes, fit):
    run = fit(classes, network=OwnNet, space={"width": tenfold.Int(4, 16), "lr": 0.01}, epochs=5)
    assert run.result["best"]["network"] == "OwnNet"
    assert 4 <= run.result["best"]["config"]["width"] <= 16
    assert isinstance(run.best.model, OwnNet)
    with pytest.raises(RunError, match=r"'OwnNet' is your own .* Pass it: tenfold.load\(path, network=OwnNet\)"):
        tenfold.load(run.path)
    model = tenfold.load(run.path, network=OwnNet)
    assert (model.predict(classes) == run.predict(classes)).all()


def space_function(trial):
    return {"width": trial.suggest_int("width", 4, 9), "lr": trial.suggest_float("lr", 1e-3, 1e-1, log=True)}


def test_a_run_side_by_side_gives_the_scores_of_one_in_turn(classes, fit, tmp_path):
    kinds = {"side-by-side": 2, "serial": 1}
    runs = {
        form: fit(classes, network=OwnNet, trials=4, form=form, threads=threads, out=tmp_path / form)
        for form, threads in kinds.items()
    }
    said = [[record["valid"]["log_loss"] for record in records_of(run, "epoch")] for run in runs.values()]
    assert said[0] == pytest.approx(said[1], abs=1e-4)
    info = json.loads((runs["side-by-side"].path / "run.json").read_text("utf-8"))
    assert {line["form"] for line in info["plan_stacks"]} == {"side-by-side"}


@pytest.mark.parametrize(
    "space",
    [
        {"width": tenfold.Int(4, 9), "lr": tenfold.Float(1e-3, 1e-1, log=True)},
        tenfold.Space({"width": tenfold.Categorical([4, 9]), "lr": 0.01}),
        space_function,
    ],
    ids=["dict", "Space", "function"],
)
def test_spaces_come_in_three_kinds_and_are_laid_over_the_default(space, classes, fit, tmp_path):
    run = fit(classes, network=OwnNet, space=space, trials=4, form="stacked")
    configs = [record["config"] for record in records_of(run, "trial")]
    assert all(4 <= config["width"] <= 9 and 1e-3 <= config["lr"] <= 1e-1 for config in configs)
    assert all("weight_decay" in config for config in configs)
    info = json.loads((run.path / "run.json").read_text("utf-8"))
    info["status"] = "interrupted"
    (run.path / "run.json").write_text(json.dumps(info))
    before = (run.path / "records.jsonl").read_bytes()
    tenfold.fit(classes, network=OwnNet, space=space, trials=4, form="stacked", epochs=3, threads=1, out=run.path,
                resume=True)  # fmt: skip
    assert (run.path / "records.jsonl").read_bytes() == before


def test_a_resume_without_the_functions_of_the_run_asks_for_them(classes, fit):
    run = fit(classes, network=OwnNet, space=space_function)
    info = json.loads((run.path / "run.json").read_text("utf-8"))
    (run.path / "run.json").write_text(json.dumps({**info, "status": "interrupted"}))
    with pytest.raises(RunError, match=r"--resume: the network 'OwnNet' is your own .* Pass it again"):
        tenfold.fit(classes, out=run.path, resume=True)
    with pytest.raises(RunError, match=r"--resume: the space 'space_function' is a function .* Pass it again"):
        tenfold.fit(classes, out=run.path, resume=True, network=OwnNet)
    assert (
        tenfold.fit(classes, out=run.path, resume=True, network=OwnNet, space=space_function).info["status"] == "done"
    )


def test_a_trial_of_nan_leaves_and_the_others_go_on(classes, fit):
    space = {"dead": tenfold.Categorical([False, True]), "lr": 0.01}
    run = fit(classes, network=OwnNet, space=space, trials=8, epochs=9, seed=1)
    dead = {record["trial"] for record in records_of(run, "trial") if record["config"]["dead"]}
    assert 0 < len(dead) < 8
    rungs = records_of(run, "rung")
    assert dead & set(rungs[0]["left"])
    assert not dead & set(rungs[-1]["kept"])
    assert run.result["best"]["trial"] not in dead
    assert np.isfinite(run.result["test"]["value"])
    text = (run.path / "records.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert run.report().is_file()


def test_averages_leave_out_what_has_no_score(classes, fit):
    """Two of three arrive, and one of them has never had a finite output."""
    space = {"dead": tenfold.Categorical([False, True]), "lr": 0.01}
    run = fit(classes, network=OwnNet, space=space, trials=4, epochs=1, seed=1, final="average")
    dead = [record["config"]["dead"] for record in records_of(run, "trial")]
    assert any(dead)
    assert np.isfinite(run.result["test"]["value"])
    assert not np.isnan(run.predict_proba(classes)).any()


def test_nothing_but_nan_is_one_sentence(classes, fit, tmp_path):
    with pytest.raises(RunError, match=r"no member has a finite accuracy after epoch .*: all have diverged"):
        fit(classes, network=OwnNet, space={"dead": True})
    assert json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["status"] == "failed"


@pytest.mark.parametrize(
    ("network", "error", "message"),
    [
        (lambda: "no module", TypeError, r"must return an nn.Module, got str"),
        (lambda width: nn.Linear(3, 2), TypeError, r"width"),
        (lambda: nn.Linear(7, 2), Exception, r"(?s)shape|size|mat1"),
    ],
    ids=["no module", "an argument missing", "another input"],
)
def test_networks_that_do_not_fit_leave_nothing_behind(network, error, message, classes, fit, tmp_path):
    with pytest.raises(error, match=message):
        fit(classes, network=network)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_does_not_suit_the_data_is_refused(classes, fit, tmp_path):
    with pytest.raises(
        InputError, match=r"--network resnet18 cannot take this data .* Networks that can: linear, mlp"
    ):
        fit(classes, network="resnet18")
    assert list(tmp_path.iterdir()) == []


def test_a_space_may_not_name_a_network_that_was_not_asked_for(classes, fit, tmp_path):
    with pytest.raises(InputError, match=r"space: network must be one that --network names, got 'linear'"):
        fit(classes, network="mlp", space={"network": "linear"})
    assert list(tmp_path.iterdir()) == []


def test_choices_that_cannot_be_written_down_are_refused(classes, fit, tmp_path):
    def own(activation=nn.ReLU):
        return nn.Sequential(nn.Linear(3, 4), activation(), nn.Linear(4, 2))

    with pytest.raises((InputError, TypeError, ValueError), match=r"activation"):
        fit(classes, network=own, space={"activation": tenfold.Categorical([nn.ReLU, nn.Tanh])})
    assert list(tmp_path.iterdir()) == []


def test_a_keyword_that_is_no_option_is_named(classes, fit):
    with pytest.raises(TypeError, match=r"fit: got an unexpected keyword argument 'trails'"):
        fit(classes, trails=3)


# -- what is heard and kept --------------------------------------------------------------------------------------


def test_a_listener_hears_stages_notes_and_a_share_that_grows(classes, fit):
    heard = Heard()
    fit(classes, listener=heard)
    assert heard.stages == ["read", "plan", "train", "final", "score", "report"]
    assert any("--target" in note for note in heard.notes)
    assert heard.shares == sorted(heard.shares)
    assert 0 < heard.shares[0] <= heard.shares[-1] <= 1


def test_a_refused_resume_lets_go_of_the_folder(classes, fit):
    run = fit(classes)
    for _ in range(2):
        with pytest.raises(RunError, match=r"--trials must be 2"):
            tenfold.fit(classes, out=run.path, resume=True, trials=9)
    assert tenfold.fit(classes, out=run.path, resume=True).result == run.result


def test_a_run_shows_itself(classes, fit):
    run = fit(classes)
    assert "mlp" in repr(run)
    assert "n = 24" in repr(run)
    assert "<table" in run._repr_html_()
    board = run.leaderboard()
    assert board["chosen"].sum() == 1
    assert {"majority", "linear", "gradient-boosted trees"} <= set(board["name"])


def test_versions_commit_and_arguments_are_kept(classes, fit):
    info = fit(classes, seed=5).info
    assert {"tenfold", "python", "torch", "numpy", "scikit-learn"} <= set(info["versions"])
    assert info["arguments"] == {"trials": 2, "epochs": 3, "threads": 1, "seed": 5}
    assert {"read", "plan", "train", "final", "score"} <= set(info["timings"])
    assert info["peak_memory_bytes"] > 1e6
