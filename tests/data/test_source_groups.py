import numpy as np
import pandas as pd
import pytest

from tenfold.core.errors import InputError
from tenfold.data import Source, TableInputs, cut_folds, read, split

ROWS = "patient,age,risk\n" + "".join(f"p{row // 3},{20 + row * 1.5},{row % 2}\n" for row in range(30))


@pytest.mark.parametrize("group", ["patient", "0", 0])
def test_a_group_column_keeps_its_rows_together_and_is_no_input(write, group):
    source = read(write("t.csv", ROWS), target="risk", group=group)
    assert source.groups.tolist() == [f"p{row // 3}" for row in range(30)]
    assert list(source.inputs.frame.columns) == ["age"]
    assert "groups: 10 by column 'patient', which is no input then (--group)" in source.notes
    folds = cut_folds(source, 5, seed=0)
    for train, valid in zip(folds.train, folds.valid, strict=True):
        assert not set(source.groups[train]) & set(source.groups[valid])
    assert source.take(np.arange(4)).groups.tolist() == ["p0"] * 3 + ["p1"]


def test_groups_of_a_data_frame_may_be_numbers():
    frame = pd.DataFrame({"site": [1, 1, 2, 2, 3, 3] * 4, "x": np.arange(24.0), "y": ["a", "b"] * 12})
    assert read(frame, group="site").groups.tolist() == ["1", "1", "2", "2", "3", "3"] * 4


def test_tables_in_parts_have_groups_too(write):
    write("folder/train.csv", ROWS)
    path = write("folder/test.csv", ROWS)
    source = read(path.parent, target="risk", group="patient")
    assert len(source.groups) == 60
    assert set(source.parts) == {"train", "test"}


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("patien", r"t.csv: no column 'patien'\. Did you mean 'patient'\?"),
        (7, "group 7 must be a column number from 0 to 2"),
        ("risk", "--group 'risk' is the target. Choose another column"),
    ],
)
def test_columns_that_are_no_groups_are_refused(write, group, message):
    with pytest.raises(InputError, match=message):
        read(write("t.csv", ROWS), target="risk", group=group)


def test_rows_without_a_group_are_refused(write):
    path = write("t.csv", ROWS.replace("p1,", ","))
    with pytest.raises(
        InputError, match=r"column 'patient' names no group in 3 of 30 rows, first in row 3 \(counted"
    ):
        read(path, target="risk", group="patient")


def test_sources_without_columns_or_names_are_refused():
    with pytest.raises(InputError, match="digits: has neither columns nor file names to group by, got --group 'a'"):
        read("digits", group="a")


def test_file_names_tell_groups(class_folders):
    folder = class_folders({"cat": 4, "dog": 4})
    for label in ("cat", "dog"):
        for number in range(4):
            (folder / label / f"{number}.png").rename(folder / label / f"camera{number // 2}_{number}.png")
    source = read(folder, group=r"(camera\d)")
    assert source.groups.tolist() == ["camera0", "camera0", "camera1", "camera1"] * 2
    assert any("groups: 2 by the file names (--group)" in note for note in source.notes)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("(", r"--group '\(' is no pattern"),
        ("x", "must have one part in parentheses that names the group, got 0"),
        ("(a)(b)", "got 2"),
        ("(zebra)", r"--group '\(zebra\)' does not match the file cat/0.png\. Write a wider pattern"),
    ],
)
def test_patterns_of_no_use_are_refused(class_folders, group, message):
    with pytest.raises(InputError, match=message):
        read(class_folders({"cat": 2, "dog": 2}), group=group)


def grouped(num_groups, task="classification", n=120):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, n) if task == "classification" else rng.normal(size=n)
    inputs = TableInputs(pd.DataFrame({"x": np.arange(float(n))}))
    groups = rng.permutation(np.arange(n) % num_groups)
    return Source(name="s", kind="table", inputs=inputs, targets=targets, task=task, groups=groups)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("num_groups", [3, 12, 40])
def test_a_split_keeps_groups_whole(task, num_groups):
    source = grouped(num_groups, task)
    found = split(source, seed=1)
    parts = [set(source.groups[rows]) for rows in (found.train, found.valid, found.test)]
    assert all(parts)
    assert sum(map(len, parts)) == num_groups
    assert sorted([*found.train, *found.valid, *found.test]) == list(range(120))
    assert "groups kept whole" in found.how
    if num_groups == 40:
        assert abs(len(found.valid) - 24) <= 6
        assert abs(len(found.test) - 24) <= 6


def test_a_single_group_cannot_be_split():
    with pytest.raises(InputError, match=r"s: the 120 rows to cut 24 off are of one group\. Give more groups"):
        split(grouped(1), seed=0)


def test_the_encoding_can_be_named(write):
    text = "ümlaut,y\n" + "1.5,a\n2.5,b\n" * 5
    path = write("t.csv", text.encode("cp1252"))
    assert list(read(path, encoding="mac_roman").inputs.frame.columns) == ["¸mlaut"]
    source = read(path, encoding="cp1252")
    assert list(source.inputs.frame.columns) == ["ümlaut"]
    assert source.notes[0].endswith("cp1252, the first row names the columns (--header)")


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("utf-9", r"t.csv: there is no encoding 'utf-9'\. 'utf-8', 'gb18030'"), ("utf-8", "cannot be decoded as utf-8")],
)
def test_encodings_that_do_not_fit_are_refused(write, encoding, message):
    path = write("t.csv", "ümlaut,y\n1.5,a\n2.5,b\n".encode("cp1252"))
    with pytest.raises(InputError, match=message):
        read(path, encoding=encoding)


def test_an_encoding_for_pictures_is_refused():
    with pytest.raises(InputError, match=r"digits: is no table of text, got --encoding 'utf-8'\. Leave it out"):
        read("digits", encoding="utf-8")
