import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import model_selection as sk

from tenfold.core.errors import InputError
from tenfold.core.seeds import derive_seed
from tenfold.data import MANNERS, Source, TableInputs, cut_folds
from tenfold.data import folds as module

RNG = np.random.default_rng(0)
LABELS = RNG.choice(["a", "b", "c"], 120, p=[0.5, 0.3, 0.2])
GROUPS = RNG.integers(0, 20, 120)
SEED = 7
STATE = derive_seed(SEED, "split") % 2**32


def make(targets, task="classification", groups=None) -> Source:
    targets = np.asarray(targets)
    inputs = TableInputs(pd.DataFrame({"x": np.arange(len(targets), dtype=float)}))
    return Source(name="s", kind="table", inputs=inputs, targets=targets, task=task, groups=groups)


SPLITTERS = {
    ("plain", 1): sk.KFold(5, shuffle=True, random_state=STATE),
    ("stratified", 1): sk.StratifiedKFold(5, shuffle=True, random_state=STATE),
    ("stratified", 3): sk.RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=STATE),
    ("plain", 3): sk.RepeatedKFold(n_splits=5, n_repeats=3, random_state=STATE),
    ("grouped", 1): sk.GroupKFold(5),
    ("stratified-grouped", 1): sk.StratifiedGroupKFold(5, shuffle=True, random_state=STATE),
    ("time-series", 1): sk.TimeSeriesSplit(5),
    ("leave-one-group-out", 1): sk.LeaveOneGroupOut(),
}


@pytest.mark.parametrize(("manner", "repeats"), SPLITTERS)
@pytest.mark.parametrize("rows", [None, np.arange(3, 118)])
def test_rows_are_those_of_scikit_learn(manner, repeats, rows):
    kept = np.arange(120) if rows is None else rows
    splitter = SPLITTERS[manner, repeats]
    expected = list(splitter.split(kept, LABELS[kept], GROUPS[kept] if "group" in manner else None))
    found = cut_folds(make(LABELS, groups=GROUPS), 5, seed=SEED, manner=manner, repeats=repeats, rows=rows)
    assert len(found) == len(expected) == len(found.names) == len(set(found.names))
    for train, valid, (train_places, valid_places) in zip(found.train, found.valid, expected, strict=True):
        assert train.tolist() == sorted(kept[train_places].tolist())
        assert valid.tolist() == sorted(kept[valid_places].tolist())
    assert found.random_state in (None, STATE)
    assert found.complete == (manner != "time-series")


@settings(max_examples=60, deadline=None)
@given(
    manner=st.sampled_from(MANNERS),
    counts=st.lists(st.integers(10, 25), min_size=2, max_size=4),
    folds=st.integers(2, 8),
    num_groups=st.integers(8, 12),
    seed=st.integers(0, 2**40),
)
def test_folds_are_disjoint_complete_whole_in_groups_and_stratified_within_one(
    manner, counts, folds, num_groups, seed
):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    groups = rng.permutation(np.arange(len(labels)) % num_groups)
    found = cut_folds(make(labels, groups=groups), folds, seed=seed, manner=manner)
    for train, valid in zip(found.train, found.valid, strict=True):
        assert not set(train) & set(valid)
        assert list(train) == sorted(train)
        if manner != "time-series":
            assert sorted([*train, *valid]) == list(range(len(labels)))
        else:
            assert train.max() < valid.min()
        if "group" in manner:
            assert not set(groups[train]) & set(groups[valid])
    if manner != "time-series":
        assert sorted(np.concatenate(found.valid).tolist()) == list(range(len(labels)))
    if manner == "stratified":
        for label in range(len(counts)):
            shares = [int(np.sum(labels[valid] == label)) for valid in found.valid]
            assert max(shares) - min(shares) <= 1
    again = cut_folds(make(labels, groups=groups), folds, seed=seed, manner=manner)
    assert all(np.array_equal(a, b) for a, b in zip(found.valid, again.valid, strict=True))


def test_another_seed_cuts_other_rows():
    first, other = (cut_folds(make(LABELS), 5, seed=seed).valid[0].tolist() for seed in (0, 1))
    assert first != other


@pytest.mark.parametrize(
    ("task", "groups", "manner", "words"),
    [
        ("classification", None, "stratified", "5 folds of 120 rows, stratified by class"),
        ("regression", None, "plain", "5 folds of 120 rows, at random"),
        ("classification", GROUPS, "stratified-grouped", "20 groups kept whole, stratified by class"),
        ("regression", GROUPS, "grouped", "5 folds of 120 rows, 20 groups kept whole"),
    ],
)
def test_the_manner_follows_from_the_data_and_is_said(task, groups, manner, words):
    found = cut_folds(make(LABELS if task == "classification" else np.arange(120.0), task, groups), seed=0)
    assert found.manner == manner
    assert words in found.how
    assert found.n == 120


def test_groups_given_now_go_before_those_of_the_source():
    found = cut_folds(make(LABELS, groups=GROUPS), seed=0, groups=np.arange(120) % 6, manner="leave-one-group-out")
    assert found.names == tuple("012345")


def test_repeats_are_named_and_each_is_complete():
    found = cut_folds(make(LABELS), 2, seed=0, repeats=2)
    assert found.names == ("repeat 1 fold 1", "repeat 1 fold 2", "repeat 2 fold 1", "repeat 2 fold 2")
    assert found.how == "2 folds of 120 rows 2 times, stratified by class"
    assert found.complete
    assert found.repeats == 2


OWN = {
    "fold numbers": np.arange(12) % 3,
    "validation rows": [np.arange(12)[fold::3] for fold in range(3)],
    "pairs": [(np.setdiff1d(np.arange(12), np.arange(fold, 12, 3)), np.arange(fold, 12, 3)) for fold in range(3)],
    "a splitter's": sk.PredefinedSplit(np.arange(12) % 3).split(),
}


@pytest.mark.parametrize("form", OWN)
def test_own_folds_are_taken_as_they_are(form):
    found = cut_folds(make(LABELS[:12]), OWN[form], seed=0)
    expected = list(sk.PredefinedSplit(np.arange(12) % 3).split())
    for train, valid, pair in zip(found.train, found.valid, expected, strict=True):
        assert (train.tolist(), valid.tolist()) == (pair[0].tolist(), pair[1].tolist())
    assert (found.manner, found.complete, found.how) == ("own", True, "3 folds of 12 rows, as given")


def test_rows_that_always_train_and_rows_kept_for_the_test():
    numbers = np.array([-1, 0, 0, 1, 1, 0])
    found = cut_folds(make(LABELS[:6]), numbers, seed=0, rows=np.arange(5))
    assert [rows.tolist() for rows in found.train] == [[0, 3, 4], [0, 1, 2]]
    assert [rows.tolist() for rows in found.valid] == [[1, 2], [3, 4]]
    assert not found.complete


def test_a_class_that_a_fold_cannot_learn_is_noted():
    labels = np.array(["a"] * 6 + ["b"] * 6 + ["rare"] * 2)
    groups = np.array([0, 1, 2, 3, 4, 5] * 2 + [0, 0])
    found = cut_folds(make(labels, groups=groups), 3, seed=0)
    assert len(found.notes) == 1
    assert "its training rows hold no sample of class 'rare', it cannot learn that" in found.notes[0]


FEW = np.array(["a"] * 10 + ["b"] * 3)


@pytest.mark.parametrize(
    ("targets", "arguments", "message"),
    [
        (LABELS, {"folds": 1}, r"s: folds must be at least 2, got 1\. 5 or 10 are common"),
        (LABELS[:4], {"folds": 5, "manner": "plain"}, "4 rows are too few for 5 folds"),
        (LABELS[:5], {"folds": 5, "manner": "time-series"}, "5 rows are too few for 5 folds"),
        (
            FEW,
            {"folds": 5},
            r"class 'b' has 3 of the 5 samples that 5 folds need\. Take 3 folds, add samples, or cut",
        ),
        (np.array(["a"] * 9 + ["b"]), {"folds": 5}, r"class 'b' has 1 of the 5 .*\. Add samples, or cut with manner"),
        (FEW, {"folds": 5, "groups": np.arange(13) % 4}, "4 groups are too few for 5 folds"),
        (np.arange(8) % 4, {"folds": 4, "groups": np.arange(8)}, "class 0 has 2 of the 4 samples that 4 folds need"),
        (LABELS, {"groups": [1, 2]}, r"groups must be one label a row, got shape \(2,\) for 120 rows"),
        (FEW, {"groups": ["x"] * 12 + [None]}, r"1 of 13 rows have no group, first row 12 \(counted from 0\)"),
        (FEW, {"groups": [np.nan] + [1.0] * 12}, r"1 of 13 rows have no group, first row 0"),
        (FEW, {"folds": 2.5}, "must be a number, a fold number for each row, or index arrays, got float"),
        (FEW, {"folds": []}, "there must be at least one, got none"),
        (FEW, {"folds": np.zeros(5, int)}, "fold numbers must be one a row, got 5 for 13 rows"),
        (FEW, {"folds": [[[1, 2], [3, 4], [5]]]}, "fold 1 must be row numbers to score on, or a pair"),
        (FEW, {"folds": [([1, 2], [2, 3])]}, "fold 1 has 1 rows in both parts, first row 2"),
        (FEW, {"folds": [[1, 2], [13]]}, "fold 2 names row 13, rows go from 0 to 12"),
        (FEW, {"folds": [[-1]]}, "fold 1 names row -1, rows go from 0 to 12"),
        (FEW, {"folds": [[1, 1]]}, "fold 1 names 1 scored rows twice"),
        (FEW, {"folds": [([1], [])]}, "fold 1 has no scored rows"),
        (FEW, {"folds": [list(range(13))]}, "fold 1 has no training rows"),
        (FEW, {"folds": [np.arange(13) < 3]}, r"fold 1 must hold integers, got bool\. Turn a mask into indices"),
        (FEW, {"folds": [([1, 2], [12])], "rows": np.arange(12)}, "fold 1 names row 12, which is kept for the test"),
    ],
)
def test_folds_of_no_use_are_refused(targets, arguments, message):
    with pytest.raises(InputError, match=message):
        cut_folds(make(targets), **{"folds": 5, **arguments}, seed=0)


def test_a_fold_without_rows_is_refused(monkeypatch):
    nothing = [(np.arange(42), np.array([], int))]
    monkeypatch.setitem(module._SPLITTERS, "grouped", lambda *_: iter(nothing))
    with pytest.raises(InputError, match=r"fold 1 has no rows to score on\. Take fewer folds: groups are kept whole"):
        cut_folds(make(np.arange(42.0), "regression", np.arange(42) % 3), 2, seed=0)


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("classification", {"manner": "stratifed"}, r"manner has no 'stratifed'\. Did you mean 'stratified'\?"),
        (
            "classification",
            {"manner": "grouped"},
            r"manner 'grouped' needs groups, got none\. Name a column with --group",
        ),
        ("classification", {"repeats": 0}, "repeats must be at least 1"),
        ("classification", {"repeats": 2, "manner": "time-series"}, "repeats .* got 2 for manner 'time-series'"),
        ("regression", {"manner": "stratified"}, r"manner 'stratified' needs classes, the task is regression"),
    ],
)
def test_manners_that_do_not_fit_are_refused(task, arguments, message):
    targets = LABELS if task == "classification" else np.arange(120.0)
    with pytest.raises(ValueError, match=message):
        cut_folds(make(targets, task), 5, seed=0, **arguments)
