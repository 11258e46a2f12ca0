"""`learning_curve` and `width_curve`: nested training sets, scores as scikit-learn's, members as if alone."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_iris

import tenfold
from tenfold.core.records import read_records
from tenfold.data import read, split
from tenfold.statistics import fit_power_law
from tenfold.study.nested import nested_folds

QUICK = {"epochs": 4, "form": "stacked", "threads": 1}


def records(run, kind):
    return [record for record in read_records(run.path / "records.jsonl") if record["kind"] == kind]


def test_smaller_training_sets_are_parts_of_larger_ones_with_classes_in_proportion():
    source = read("digits")
    parts = split(source, seed=0, test_fraction=0.0)
    folds = nested_folds(source, parts, [1.0, 0.05, 0.1, 0.5], seed=0)
    sizes = [len(rows) for rows in folds.train]
    assert sizes == sorted(sizes) == [72, 144, 719, 1438]
    for small, large in zip(folds.train, folds.train[1:], strict=False):
        assert set(small) < set(large)
    assert all(np.array_equal(rows, parts.valid) for rows in folds.valid)
    shares = np.unique(source.targets[parts.train], return_counts=True)[1] / 1438
    counts = np.unique(source.targets[folds.train[0]], return_counts=True)[1]
    assert np.abs(counts - 72 * shares).max() <= 1.5
    assert np.array_equal(folds.train[-1], parts.train)


def test_a_learning_curve_holds_the_means_of_its_records_and_the_power_law_through_them(tmp_path):
    run = tenfold.learning_curve("mlp", "iris", seeds=2, config={"lr": 0.01}, out=tmp_path / "run", **QUICK)
    curve = run.result["curve"]
    assert curve["at"] == [8, 15, 30, 60, 120]
    for part in ("train", "valid"):
        table = np.full((5, 2), np.nan)
        for line in records(run, "score"):
            table[line["fold"], line["seed"]] = line[part]["accuracy"]
        np.testing.assert_allclose(curve[part], table)
        for point, row in zip(curve["points"], table, strict=True):
            assert point[part]["mean"] == pytest.approx(row.mean())
            assert point[part]["std"] == pytest.approx(row.std(ddof=1))
    law = fit_power_law(curve["at"], curve["valid"], perfect=1.0)
    (remedy,) = curve["remedies"]
    assert (remedy["name"], remedy["gain"]) == ("more data", pytest.approx(law.gain))
    assert run.result["sentence"] in (run.path / "report.html").read_text("utf-8")


def test_training_scores_are_of_the_rows_that_a_size_was_trained_on(tmp_path):
    x, y = load_iris(return_X_y=True)
    y = np.random.default_rng(0).permutation(y)  # nothing to learn: only memory tells training from validation
    run = tenfold.learning_curve(
        "mlp", (x, y), sizes=[6, 12, 24, 48], seeds=2, config={"lr": 0.02, "hidden": 256}, out=tmp_path / "run",
        **{**QUICK, "epochs": 150},
    )  # fmt: skip
    curve = run.result["curve"]
    assert np.mean(curve["train"][0]) > 0.95
    assert np.mean(curve["valid"]) < 0.6


def test_a_width_trains_as_if_it_were_alone(tmp_path):
    options = {**QUICK, "seeds": 2}
    many = tenfold.width_curve("mlp", "iris", widths=(16, 64), config={"lr": 0.01}, out=tmp_path / "many", **options)
    one = tenfold.replicate(
        "mlp", "iris", config={"lr": 0.01, "hidden": 16}, test_fraction=0.0, out=tmp_path / "one", **options
    )
    expected = {(line["seed"], line["epoch"]): line["train_loss"] for line in records(one, "epoch")}
    found = {(r["seed"], r["epoch"]): r["train_loss"] for r in records(many, "epoch") if r["trial"] == 0}
    assert found == pytest.approx(expected, rel=1e-4)
    assert many.result["curve"]["at"] == [16, 64]
    assert {one["name"] for one in many.result["curve"]["remedies"]} == {"more capacity", "more regularisation"}


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda out: tenfold.learning_curve("mlp", "iris", sizes=[0.5, 1], out=out), "--sizes must be 4 or more"),
        (lambda out: tenfold.learning_curve("mlp", "iris", sizes=[1, 5, 9, 900], out=out), "--sizes must be 4 or"),
        (lambda out: tenfold.width_curve("mlp", "iris", widths=[16], out=out), "--widths must be two or more rising"),
        (lambda out: tenfold.width_curve("mlp", "iris", widths=[16, 8], out=out), r"rising numbers, got \[16, 8\]"),
        (lambda out: tenfold.width_curve("mlp", "iris", parameter="witdh", out=out), "cannot be built"),
    ],
)
def test_what_cannot_be_asked_of_a_curve_is_said_and_leaves_nothing(tmp_path, ask, words):
    with pytest.raises(tenfold.TenfoldError, match=words):
        ask(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["learning-curve", "iris", "--sizes", "10,20,40,80"],
        ["width-curve", "iris", "--widths", "4,8"],
        ["width-curve", "digits", "--network", "cnn", "--widths", "0.25,0.5"],
    ],
)
def test_the_command_line_prints_a_curve_as_one_object(tenfold, tmp_path, arguments):
    done = tenfold(*arguments, "--seeds", "2", "--epochs", "2", "--out", "run", "--json", "--threads", "1")
    assert done.code == 0, done.err
    result = json.loads(done.out.strip().splitlines()[-1])
    assert len(result["curve"]["points"]) == len(arguments[-1].split(","))
    assert "points" in done.err or "gives" in done.err or "give" in done.err


def test_numbers_that_are_none_are_one_sentence(tenfold):
    done = tenfold("learning-curve", "iris", "--sizes", "a,b")
    assert done.code == 2
    assert "--sizes must be numbers with commas between, got 'a,b'" in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("network", "data", "over", "at"),
    [
        ("cnn", "digits", "width", [0.25, 0.5, 1.0, 2.0]),
        ("tabm", "iris", "hidden", [8, 16, 32, 64, 128, 256]),
    ],
)
def test_a_network_is_tried_with_its_own_widths(network, data, over, at, tmp_path):
    run = tenfold.width_curve(network, data, seeds=1, epochs=1, batch_size=256, out=tmp_path / "run")
    assert run.result["curve"]["over"] == over
    assert run.result["curve"]["at"] == at
