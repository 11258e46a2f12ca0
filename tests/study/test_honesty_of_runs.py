"""The look at the data before a run: what is planted is said, kept with the run, and shown in its report."""

import numpy as np
import pandas as pd
import pytest

import tenfold
from tenfold.study import Listener

QUICK = {"epochs": 1, "form": "stacked", "threads": 1}


class Heard(Listener):
    def __init__(self):
        self.notes = []

    def note(self, sentence):
        self.notes.append(sentence)


@pytest.fixture(scope="module")
def planted():
    """120 rows: the first 20 stand twice, and column "leak" is the answer by another name."""
    draws = np.random.default_rng(0).normal(size=(100, 3))
    answer = np.where(draws[:, 0] + draws[:, 1] > 0, "above", "below")
    table = pd.DataFrame(draws, columns=["a", "b", "c"]).assign(
        leak=np.where(answer == "above", "x", "y"), answer=answer
    )
    return pd.concat([table, table.iloc[:20]], ignore_index=True)


def verbs(planted, folder, **more):
    yield tenfold.fit(planted, trials=1, out=folder / "fit", **QUICK, **more)
    yield tenfold.cross_validate("mlp", planted, folds=3, out=folder / "cv", **QUICK, **more)
    yield tenfold.replicate("mlp", planted, seeds=2, out=folder / "rep", **QUICK, **more)
    methods = {"mlp": "mlp", "linear": "linear"}
    yield tenfold.compare(methods, planted, seeds=2, out=folder / "compare", **QUICK, **more)


def test_every_verb_says_what_is_planted_keeps_it_and_shows_it(planted, tmp_path):
    heard = Heard()
    for run in verbs(planted, tmp_path, listener=heard):
        found = {finding["kind"]: finding for finding in run.info["honesty"]}
        assert set(found) == {"duplicates", "leakage"}, run.path
        assert all(finding["severity"] == "warning" for finding in found.values())
        assert found["leakage"]["names"] == ["leak"]
        assert set(found["duplicates"]["rows"]) <= {*range(20), *range(100, 120)}
        assert found["duplicates"]["number"] == len(found["duplicates"]["rows"]) > 0
        page = (run.path / "report.html").read_text(encoding="utf-8")
        assert 'id="honesty"' in page
        assert "Column &#x27;leak&#x27;" in page or "Column 'leak'" in page
    for kind in ("copies of samples in another part", "column 'leak' predicts the target"):
        assert sum(kind in note for note in heard.notes) == 4


def test_no_checks_looks_at_nothing(planted, tmp_path):
    heard = Heard()
    run = next(iter(verbs(planted, tmp_path, no_checks=True, listener=heard)))
    assert run.info["honesty"] == []
    assert not [note for note in heard.notes if "leak" in note]
    assert 'id="honesty"' not in (run.path / "report.html").read_text(encoding="utf-8")


def test_clean_data_get_a_section_that_says_so(tmp_path):
    run = tenfold.fit("iris", trials=1, out=tmp_path / "run", **QUICK)
    assert run.info["honesty"] == []
    assert "Nothing was found." in (run.path / "report.html").read_text(encoding="utf-8")


def test_a_group_column_keeps_groups_whole_in_folds_and_in_the_split(planted, tmp_path):
    owner = np.arange(120) % 100 // 2  # copies have the owner of their original
    run = tenfold.cross_validate(
        "mlp", planted.drop(columns="leak").assign(owner=owner)[["owner", "a", "b", "c", "answer"]],
        folds=3, group="owner", out=tmp_path / "cv", **QUICK,
    )  # fmt: skip
    kept = np.load(run.path / "out-of-fold.npz")
    folds_of = {int(o): set(kept["folds"][owner[kept["rows"]] == o].tolist()) for o in np.unique(owner)}
    assert {len(folds) for folds in folds_of.values()} == {1}
    assert run.info["honesty"] == []


def test_a_search_for_copies_that_would_take_long_is_left_out_and_said(planted, tmp_path, monkeypatch):
    monkeypatch.setattr("tenfold.data.honesty.MAX_NUMBERS", 100)
    run = tenfold.fit(planted, trials=1, out=tmp_path / "run", **QUICK)
    sentences = [finding["sentence"] for finding in run.info["honesty"] if finding["kind"] == "duplicates"]
    assert sentences == ["copies were not looked for: the samples hold 480 numbers, more than 100."]


def test_pictures_that_are_nearly_the_same_are_said_kept_and_shown_in_pairs(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (120, 6, 6, 3), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    images[60:70] = np.clip(images[:10].astype(int) + 20, 0, 255)
    heard = Heard()
    run = tenfold.cross_validate(
        "lenet", (images, np.arange(120) % 2), folds=3, out=tmp_path / "run", listener=heard, **QUICK
    )
    [found] = [finding for finding in run.info["honesty"] if finding["kind"] == "near-duplicates"]
    folds = np.load(run.path / "out-of-fold.npz")
    fold_of = dict(zip(folds["rows"].tolist(), folds["folds"].tolist(), strict=True))
    apart = {(row, 60 + row) for row in range(10) if fold_of[row] != fold_of[60 + row]}
    pairs = list(zip(found["rows"][::2], found["rows"][1::2], strict=True))
    assert {tuple(sorted(pair)) for pair in pairs} == apart
    assert any("nearly the same" in note for note in heard.notes)
    kept = np.load(run.path / "honesty.npz")
    shown = found["rows"][: len(kept["pictures-0"])]
    np.testing.assert_array_equal(kept["pictures-0"], images[shown].transpose(0, 3, 1, 2))
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "In pairs, the nearest first" in page
    assert f"row {shown[0]}: {shown[0] % 2} and row {shown[1]}: {shown[1] % 2}" in page
