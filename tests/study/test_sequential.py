"""Comparisons that look after every five seeds, and splits that vary by seed."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score

import tenfold
from tenfold.core.records import read_records
from tenfold.data import cut_holdouts, read
from tenfold.statistics import compare_scores, summarize_replicates
from tenfold.study import Listener

QUICK = {"epochs": 3, "form": "stacked", "threads": 1}
FAR = {"small": ("mlp", {"hidden": 4, "lr": 0.0003}), "large": ("mlp", {"hidden": 64, "lr": 0.01})}
NEAR = {"one": ("mlp", {"lr": 0.01}), "other": ("mlp", {"lr": 0.0101})}


def records(run, kind):
    return [record for record in read_records(run.path / "records.jsonl") if record["kind"] == kind]


def table(run, trial, seeds):
    return [s["valid"]["accuracy"] for s in records(run, "score") if s["trial"] == trial and s["seed"] < seeds]


def test_a_comparison_stops_at_the_first_look_that_shows_the_difference(tmp_path):
    run = tenfold.compare(FAR, "iris", seeds=40, sequential=True, out=tmp_path / "run", **QUICK)
    found = run.result["comparison"]
    for look in found["looks"]:
        scores = {name: table(run, trial, look["seeds"]) for trial, name in enumerate(FAR)}
        [pair] = compare_scores(scores, direction="maximize", sequential=True)
        assert look["shown"] == (pair.winner is not None)
    assert [look["shown"] for look in found["looks"]] == [0] * (len(found["looks"]) - 1) + [1]
    assert found["seeds"] == found["looks"][-1]["seeds"] == 5 * len(found["looks"]) < 40
    assert (run.result["members"], found["planned_seeds"]) == (2 * found["seeds"], 40)
    assert run.result["epochs_trained"] == 3 * run.result["members"]
    assert found["pairs"][0]["test"] == "anytime t"
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert f"Stopped after {found['seeds']} of at most 40 seeds" in page


def test_seeds_that_train_in_batches_end_as_those_that_train_at_once(tmp_path):
    batches = tenfold.compare(NEAR, "iris", seeds=7, sequential=True, out=tmp_path / "batches", **QUICK)
    at_once = tenfold.compare(NEAR, "iris", seeds=7, out=tmp_path / "at-once", **QUICK)
    assert [look["seeds"] for look in batches.result["comparison"]["looks"]] == [5, 7]
    for one, other in zip(records(batches, "score"), sorted_scores(at_once, batches), strict=True):
        assert one["valid"]["log_loss"] == pytest.approx(other["valid"]["log_loss"], abs=1e-5)


def sorted_scores(run, like):
    by_member = {(s["trial"], s["fold"], s["seed"]): s for s in records(run, "score")}
    return [by_member[s["trial"], s["fold"], s["seed"]] for s in records(like, "score")]


class StopAt(Listener):
    """Ctrl-C at a step, or when a look is told."""

    def __init__(self, step):
        self.left = step

    def progress(self, progress):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def note(self, sentence):
        if self.left is None and sentence.startswith("after 5 seeds"):
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [2, 14, None])
def test_an_interrupted_comparison_resumes_to_the_same_records(tmp_path, step):
    options = {**QUICK, "seeds": 7, "sequential": True}
    whole = tenfold.compare(NEAR, "iris", out=tmp_path / "whole", **options)
    stop = StopAt(step or -1)
    stop.left = step
    if step is None:
        stop.progress = lambda progress: None
    with pytest.raises(KeyboardInterrupt, match="--resume goes on"):
        tenfold.compare(NEAR, "iris", out=tmp_path / "cut", listener=stop, **options)
    cut = tenfold.compare(NEAR, "iris", out=tmp_path / "cut", resume=True, **options)
    assert (cut.path / "records.jsonl").read_bytes() == (whole.path / "records.jsonl").read_bytes()
    assert cut.result["comparison"] == whole.result["comparison"]
    assert cut.result["epochs_trained"] == whole.result["epochs_trained"]


def test_a_split_of_its_own_for_each_seed(tmp_path):
    x, y = load_iris(return_X_y=True)
    vary = ["init", "order", "split"]
    run = tenfold.replicate("mlp", (x, y), seeds=4, seed=3, vary=vary, final="average", out=tmp_path / "run", **QUICK)
    cuts = cut_holdouts(read((x, y)), [3, 4, 5, 6])
    scores = [s["valid"]["accuracy"] for s in records(run, "score")]
    for place, rows in enumerate(cuts.valid):
        said = run.model.alone(place).predict(x[rows])
        assert scores[place] == pytest.approx(accuracy_score(y[rows], said), abs=1e-9)
    expected = summarize_replicates(scores, direction="maximize", test_to_train=30 / 120)
    valid = run.result["valid"]
    assert (valid["mean"], valid["low"], valid["high"]) == pytest.approx((expected.mean, expected.low, expected.high))
    assert "other data of this size" in valid["speaks_of"]
    assert valid["speaks_of"].endswith("what varies is init, order and split")
    assert run.result["test"] is None


def test_methods_are_paired_by_the_split_of_their_seed(tmp_path):
    run = tenfold.compare(NEAR, "iris", seeds=4, vary=["init", "split"], out=tmp_path / "run", **QUICK)
    [pair] = run.result["comparison"]["pairs"]
    scores = {name: table(run, trial, 4) for trial, name in enumerate(NEAR)}
    [expected] = compare_scores(scores, direction="maximize", test_to_train=30 / 120)
    assert pair["n"] == 4
    assert pair["difference"] == pytest.approx(expected.difference)
    assert run.result["comparison"]["part"] == "valid"
    assert pair["test"] == expected.test


def test_a_method_all_of_whose_trainings_are_sick_counts_as_diverged(tmp_path):
    methods = {"well": "mlp", "sick": ("mlp", {"lr": 1e30, "optimizer": "sgd"})}
    run = tenfold.compare(methods, "iris", seeds=7, out=tmp_path / "run", **QUICK)
    [pair] = run.result["comparison"]["pairs"]
    assert (pair["diverged_a"], pair["diverged_b"]) == (0, 7)
    assert pair["winner"] == "well"
    assert np.isnan([float("nan") if s["valid"]["accuracy"] is None else 0 for s in records(run, "score")]).sum() == 7


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sequential": True, "final": "best"}, "--sequential keeps no model, got --final best"),
        ({"vary": ["split"], "folds": 3}, "--vary split is not for --folds"),
        ({"vary": ["splits"]}, "--vary must name some of init, order, augment, split, got"),
        ({"config": {"patience": 2}}, "--config patience is for fit"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, options, words):
    with pytest.raises(tenfold.InputError, match=words):
        tenfold.compare(NEAR, "iris", out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_fit_does_not_vary_the_split(tmp_path):
    with pytest.raises(tenfold.InputError, match="--vary split is for replicate and compare"):
        tenfold.fit("iris", seeds=2, varies=("init", "split"), out=tmp_path / "run")
