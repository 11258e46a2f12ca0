import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.utils.data import TensorDataset

from tenfold.data import ArrayInputs, Source, TableInputs, cut_folds, examine, read, split
from tenfold.data.duplicates import content_hashes, find_duplicates
from tenfold.data.honesty import find_cut_groups, find_imbalance
from tenfold.data.leakage import find_leakage
from tenfold.data.shift import find_shift


def clean(seed=0, n=600, task="classification"):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 5)), columns=list("vwxyz"))
    frame["c"] = rng.choice(list("abcd"), n)
    signal = frame["v"].to_numpy() + rng.normal(size=n)
    targets = (signal > 0).astype(int) if task == "classification" else signal
    return Source(name="s", kind="table", inputs=TableInputs(frame), targets=targets, task=task)


def kinds(findings):
    return [finding.kind for finding in findings]


def test_twenty_clean_data_sets_give_no_finding():
    alarms = []
    for seed in range(20):
        source = clean(seed, n=300 + 100 * seed, task=("classification", "regression")[seed % 2])
        alarms += [*examine(source, split(source, seed=seed), seed=seed)]
        alarms += [*examine(source, cut_folds(source, 5, seed=seed, manner="plain"), seed=seed)]
    assert alarms == []


def test_words_of_which_most_come_once_are_no_shift():
    """Such as tickets: their codes must not tell in which part they come first."""
    source = clean(n=900)
    rng = np.random.default_rng(1)
    frame = source.inputs.frame.assign(ticket=[f"T{number}" for number in rng.integers(0, 2000, 900)])
    tickets = Source(name="s", kind="table", inputs=TableInputs(frame), targets=source.targets, task=source.task)
    assert find_shift(tickets, np.arange(600), np.arange(600, 900), seed=0) == []


def planted_copies(source, cut):
    """Row 0 of the validation part becomes a training row."""
    frame = source.inputs.frame.copy()
    frame.iloc[cut.valid[0]] = frame.iloc[cut.train[3]]
    return Source(name="s", kind="table", inputs=TableInputs(frame), targets=source.targets, task=source.task)


def test_a_training_row_copied_into_validation_is_found_and_named():
    source = clean()
    cut = split(source, seed=0)
    (finding,) = examine(planted_copies(source, cut), cut, seed=0)
    assert (finding.kind, finding.severity, finding.number) == ("duplicates", "warning", 2)
    assert sorted(finding.rows) == sorted([cut.valid[0], cut.train[3]])
    assert "2 samples are copies of samples in another part (1 different ones" in finding.sentence
    assert f"rows {finding.rows[0]}, {finding.rows[1]}" in finding.sentence


def test_copies_in_one_part_are_no_finding():
    source = clean()
    cut = split(source, seed=0)
    frame = source.inputs.frame.copy()
    frame.iloc[cut.train[0]] = frame.iloc[cut.train[3]]
    copied = Source(name="s", kind="table", inputs=TableInputs(frame), targets=source.targets, task=source.task)
    assert examine(copied, cut, seed=0) == ()


def test_copies_with_other_targets_are_counted():
    frame = pd.DataFrame({"x": np.repeat(np.arange(6.0), 2)})
    source = Source(
        name="s", kind="table", inputs=TableInputs(frame), targets=np.array([0, 1, 0, 0] * 3), task="classification"
    )
    (finding,) = find_duplicates(source, {"train": np.arange(0, 12, 2), "valid": np.arange(1, 12, 2)})
    assert (
        "12 samples are copies of samples in another part (6 different ones, 3 of them with different targets)"
        in (finding.sentence)
    )


def test_equal_rows_of_a_coarse_table_are_a_note():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.choice(list("xyz"), 200), "b": rng.integers(0, 3, 200).astype(float)})
    source = Source(
        name="s", kind="table", inputs=TableInputs(frame), targets=rng.integers(0, 2, 200), task="classification"
    )
    (finding,) = find_duplicates(source, {"train": np.arange(150), "valid": np.arange(150, 200)})
    assert finding.severity == "note"
    assert "All columns take few values" in finding.sentence


def test_a_picture_that_lies_in_two_parts_is_named_by_its_files(class_folders):
    folder = class_folders({"cat": 6, "dog": 6})
    copy = folder / "dog" / "copy.png"
    copy.write_bytes((folder / "cat" / "2.png").read_bytes())
    source = read(folder)
    rows = [source.inputs.paths.index(name) for name in ("cat/2.png", "dog/copy.png")]
    parts = {"train": np.setdiff1d(np.arange(len(source)), rows[1:]), "valid": np.array(rows[1:])}
    (finding,) = find_duplicates(source, parts)
    assert sorted(finding.names) == ["cat/2.png", "dog/copy.png"]
    assert "1 of them with different targets" in finding.sentence
    assert find_duplicates(source, {"train": np.array(rows), "valid": np.array([0])}) == []


@pytest.mark.parametrize("kind", ["array", "dataset"])
def test_equal_pictures_in_memory_have_equal_hashes(kind):
    images = np.random.default_rng(0).integers(0, 256, (9, 1, 5, 5), dtype=np.uint8)
    images[7] = images[2]
    tensors = TensorDataset(torch.from_numpy(images), torch.arange(9) % 2)
    hashes = content_hashes(ArrayInputs(images) if kind == "array" else read(tensors).inputs)
    equal = hashes[:, None] == hashes
    assert np.argwhere(np.triu(equal, 1)).tolist() == [[2, 7]]


def test_samples_that_are_not_in_memory_are_not_compared():
    class Random(TensorDataset):
        def __getitem__(self, row):
            return torch.rand(3), row % 2

    source = read(Random(torch.zeros(60)))
    assert content_hashes(source.inputs) is None
    assert examine(source, split(source, seed=0), seed=0) == ()


def test_a_group_in_two_parts_is_found():
    source = clean(n=100)
    groups = np.arange(100) // 10
    parts = {"train": np.arange(75), "valid": np.arange(75, 100)}
    (finding,) = find_cut_groups(source, parts, groups)
    assert (finding.number, finding.names, finding.rows.tolist()) == (1, ("7",), list(range(70, 80)))
    assert "1 of 10 groups have samples in more than one part, such as 7. Scores say little of new groups" in (
        finding.sentence
    )
    assert find_cut_groups(source, {"train": np.arange(70), "valid": np.arange(70, 100)}, groups) == []


def test_groups_are_looked_at_in_splits_and_folds():
    source = clean(n=200)
    groups = np.arange(200) // 2
    assert kinds(examine(source, split(source, seed=0), seed=0, groups=groups)) == ["groups"]
    assert kinds(examine(source, cut_folds(source, 4, seed=0), seed=0, groups=groups)) == ["groups"]
    assert kinds(examine(source, cut_folds(source, 4, seed=0, groups=groups), seed=0, groups=groups)) == []


def test_rare_and_unequal_classes_are_noted():
    source = clean()
    targets = np.array(["common"] * 500 + ["middle"] * 92 + ["rare"] * 8)
    source = Source(name="s", kind="table", inputs=source.inputs, targets=targets, task="classification")
    unequal, rare = find_imbalance(source, np.arange(600))
    assert (unequal.kind, unequal.number, unequal.names) == ("imbalance", 62.5, ("common", "rare"))
    assert "62 times as common as class 'rare': always naming it scores 0.833" in unequal.sentence
    assert (rare.kind, rare.names, rare.rows.tolist()) == ("rare-classes", ("rare",), list(range(592, 600)))
    assert "1 of 3 classes have fewer than 10 training samples: 'rare' (8)" in rare.sentence
    assert find_imbalance(clean(task="regression"), np.arange(600)) == []


@pytest.mark.parametrize("column", ["x", "c"])
def test_a_column_that_differs_between_the_parts_is_named(column):
    source = clean(n=2000)
    frame = source.inputs.frame.copy()
    late = np.arange(1500, 2000)
    frame.loc[late, column] = frame.loc[late, column] + 1 if column == "x" else "a"
    shifted = Source(name="s", kind="table", inputs=TableInputs(frame), targets=source.targets, task=source.task)
    (finding,) = find_shift(shifted, np.arange(1500), late, seed=0, name="test")
    assert (finding.kind, finding.names) == ("shift", (column,))
    assert finding.number > 0.65
    assert finding.sentence.startswith("the test part looks different from the training part: a classifier tells")
    assert f"columns that differ: {column!r} (distance" in finding.sentence
    assert find_shift(shifted, np.arange(0, 1500, 2), np.arange(1, 1500, 2), seed=0) == []


def test_the_area_is_that_of_the_best_possible_classifier():
    """One normal column moved by d: no classifier can have another AUC than Phi(d / sqrt 2), 0.76 for d = 1."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 4000), rng.normal(1, 1, 4000)])
    source = Source(name="s", kind="table", inputs=TableInputs(pd.DataFrame({"x": x})), targets=x, task="regression")
    (finding,) = find_shift(source, np.arange(4000), np.arange(4000, 8000), seed=0)
    assert finding.number == pytest.approx(0.76, abs=0.02)
    assert roc_auc_score(np.repeat([0, 1], 4000), x) == pytest.approx(0.76, abs=0.02)
    low, high = (float(word) for word in finding.sentence.split("(")[1].split(",")[0].split(" to "))
    assert low < 0.76 < high
    assert high - low == pytest.approx(2 * 1.96 * 0.0075, abs=0.01)


def test_pictures_of_another_light_are_found():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (400, 1, 16, 16), dtype=np.uint8)
    images[300:] += 20
    source = Source(
        name="s", kind="image", inputs=ArrayInputs(images), targets=np.arange(400) % 2, task="classification"
    )
    (finding,) = find_shift(source, np.arange(300), np.arange(300, 400), seed=0)
    assert finding.number > 0.9
    assert finding.names == ()
    assert find_shift(source, np.arange(150), np.arange(150, 300), seed=0) == []


def test_folds_cut_by_time_are_looked_at_for_shift():
    source = clean(n=1000)
    frame = source.inputs.frame.copy()
    frame["x"] += np.arange(1000) / 250
    drifting = Source(name="s", kind="table", inputs=TableInputs(frame), targets=source.targets, task=source.task)
    assert kinds(examine(drifting, cut_folds(drifting, 4, seed=0, manner="time-series"), seed=0)) == ["shift"]
    assert kinds(examine(drifting, cut_folds(drifting, 4, seed=0), seed=0)) == []


LEAKS = {
    "the target itself": (lambda y: y.astype(float), "is the target itself"),
    "as text": (lambda y: y.astype(str), "is the target itself"),
    "renamed": (lambda y: np.where(y == 1, "yes", "no"), "predicts the target all but perfectly, alone"),
    "moved and scaled": (
        lambda y: y * 3.7 - 2 + np.linspace(0, 1e-3, len(y)),
        "predicts the target all but perfectly",
    ),
}


@pytest.mark.parametrize(
    ("task", "leak"),
    [
        *(("classification", leak) for leak in LEAKS),
        ("regression", "the target itself"),
        ("regression", "moved and scaled"),
    ],
)
def test_a_column_that_gives_the_target_away_is_found(leak, task):
    source = clean(task=task)
    make, words = LEAKS[leak]
    frame = source.inputs.frame.assign(leak=make(source.targets))
    leaking = Source(name="s", kind="table", inputs=TableInputs(frame), targets=source.targets, task=task)
    (finding,) = examine(leaking, split(leaking, seed=0), seed=0)
    assert (finding.kind, finding.severity, finding.names) == ("leakage", "warning", ("leak",))
    assert words in finding.sentence
    assert finding.number > 0.98
    assert task == "regression" or "itself" in finding.sentence or "(100.0 % of the errors" in finding.sentence


def test_a_good_column_is_no_leak():
    source = clean()
    good = np.where(np.random.default_rng(1).random(600) < 0.05, 1 - source.targets, source.targets)
    frame = source.inputs.frame.assign(good=good.astype(float))
    assert find_leakage(
        Source(name="s", kind="table", inputs=TableInputs(frame), targets=source.targets, task="classification"),
        np.arange(600), seed=0,
    ) == []  # fmt: skip


def test_a_table_of_few_rows_or_of_a_single_class_gives_no_leak():
    source = clean(n=30)
    assert find_leakage(source, np.arange(30), seed=0) == []
    lonely = Source(
        name="s", kind="table", inputs=clean().inputs, targets=np.array([0] * 598 + [1] * 2), task="classification"
    )
    assert find_leakage(lonely, np.arange(600), seed=0) == []


def test_warnings_come_before_notes():
    source = clean()
    frame = source.inputs.frame.assign(leak=source.targets.astype(float))
    targets = source.targets.copy()
    targets[:] = 0
    targets[:30] = 1
    frame["leak"] = targets.astype(float)
    both = Source(name="s", kind="table", inputs=TableInputs(frame), targets=targets, task="classification")
    assert [finding.severity for finding in examine(both, split(both, seed=0), seed=0)] == ["warning", "note"]


def test_repeated_and_own_folds_are_looked_at_too():
    source = clean()
    cut = cut_folds(source, 3, seed=0, repeats=2)
    frame = source.inputs.frame.copy()
    frame.iloc[cut.valid[0][0]] = frame.iloc[cut.valid[1][0]]
    copied = Source(name="s", kind="table", inputs=TableInputs(frame), targets=source.targets, task=source.task)
    assert kinds(examine(copied, cut, seed=0)) == ["duplicates"]
    own = cut_folds(copied, [cut.valid[0]], seed=0)
    assert kinds(examine(copied, own, seed=0)) == ["duplicates"]
