import gzip

import numpy as np
import pandas as pd
import pytest

from tenfold.core.errors import InputError
from tenfold.data import read
from tenfold.data.tables import is_table, part_of, stem

ROWS = "\n".join(f"{i % 7},{'ab'[i % 2]},{i * 0.5}" for i in range(20))


@pytest.mark.parametrize("name", ["t.csv", "t.data", "t.txt", "表格.csv", "no suffix"])
def test_a_table_is_read_whatever_its_name(write, name):
    source = read(write(name, f"x,job,price\n{ROWS}\n"))
    assert (source.kind, source.task, source.target_name, len(source)) == ("table", "regression", "price", 20)
    assert source.inputs.frame.columns.tolist() == ["x", "job"]


def test_a_packed_table_is_read(write):
    assert len(read(write("t.csv.gz", gzip.compress(ROWS.encode())))) == 20


def test_a_torn_archive_is_named(write):
    with pytest.raises(InputError, match=r"t\.csv\.gz: the gzip archive is torn"):
        read(write("t.csv.gz", gzip.compress(ROWS.encode())[:-20]))


def test_a_parquet_table_is_read(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": ["x", "y"] * 2, "y": [0, 1, 0, 1]})
    frame.to_parquet(tmp_path / "t.parquet")
    source = read(tmp_path / "t.parquet")
    assert source.targets.tolist() == [0, 1, 0, 1]


def test_a_file_that_is_no_parquet_is_refused(write):
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match=r"t\.parquet: this is no readable Parquet file"):
        read(write("t.parquet", "a,b\n1,2\n"))


def test_parquet_without_its_library_says_what_to_install(write, monkeypatch):
    def without(path):
        raise ImportError

    monkeypatch.setattr(pd, "read_parquet", without)
    with pytest.raises(InputError, match=r"Parquet needs pyarrow\. Run `pip install 'tenfold\[parquet\]'`"):
        read(write("t.parquet", "x"))


def test_a_spreadsheet_is_refused(write):
    with pytest.raises(InputError, match="Export the table as CSV"):
        read(write("t.xlsx", b"PK\x03\x04"))


@pytest.mark.parametrize("target", ["job", 1, "1", -2])
def test_the_target_may_stand_in_any_column(write, target):
    source = read(write("t.csv", f"x,job,price\n{ROWS}\n"), target=target)
    assert source.target_name == "job"
    assert source.targets[:2].tolist() == ["a", "b"]
    assert source.inputs.frame.columns.tolist() == ["x", "price"]
    assert "target: column 'job' (--target)" in source.notes


def test_columns_of_one_name_are_told_apart(write):
    source = read(write("t.csv", "a,a,y\n" + "\n".join(f"{i % 3},{i % 5},{i % 2}" for i in range(20))))
    assert source.inputs.frame.columns.tolist() == ["a", "a (2)"]
    assert any("comes 2 times" in note for note in source.notes)


def test_rows_without_a_target_are_dropped_with_their_inputs():
    frame = pd.DataFrame({"x": [1.0, 2, 3, 4, 5, 6], "y": ["a", None, "b", "a", "b", "a"]})
    source = read(frame)
    assert source.inputs.frame["x"].tolist() == [1, 3, 4, 5, 6]
    assert len(source.targets) == 5


def test_an_empty_last_column_is_no_target(write):
    source = read(write("t.csv", "\n".join(f"{i % 3},{i % 2}," for i in range(20))))
    assert source.target_name == "column 1"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"x": [], "y": []}), "the table has no rows"),
        (pd.DataFrame({"y": [1, 2]}), "the table has one column, 'y'"),
        (pd.DataFrame({"x": [1.0, 2], "y": [1, 1]}), "is 1 in every row"),
    ],
)
def test_a_frame_that_cannot_be_used_is_refused(frame, message):
    with pytest.raises(InputError, match=message):
        read(frame)


def test_a_frame_keeps_its_caller_untouched():
    frame = pd.DataFrame({"x": ["1", "2"] * 5, "y": [0, 1] * 5}, index=range(10, 20))
    before = frame.copy()
    read(frame)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train.csv", "train"),
        ("adult-test.csv", "test"),
        ("adult.test", "test"),
        ("adult.data", "train"),
        ("x_val.tsv", "valid"),
        ("latest.csv", None),
        ("train_test.csv", None),
    ],
)
def test_a_file_name_tells_its_part(tmp_path, name, part):
    assert part_of(tmp_path / name) == part


def test_names_of_tables_and_their_stems(tmp_path):
    assert is_table(tmp_path / "a.CSV.gz")
    assert not is_table(tmp_path / "a.gz")
    assert stem(tmp_path / "a.csv.gz") == "a"
    assert stem(tmp_path / "no suffix") == "no suffix"


def test_tables_named_train_and_test_become_parts(write):
    write("people/people.data", ROWS)
    folder = write("people/people.test", "3,a,1.5\n4,b,2.5\n").parent
    source = read(folder)
    assert source.name == "people"
    assert source.parts.tolist() == ["train"] * 20 + ["test"] * 2


def test_a_dot_after_test_labels_is_taken_off(write):
    write("adult/adult-train.csv", "\n".join(f"{i % 7},{'<=50K' if i % 2 else '>50K'}" for i in range(20)))
    source = read(write("adult/adult-test.csv", "3,<=50K.\n4,>50K.\n").parent)
    assert np.unique(source.targets).tolist() == ["<=50K", ">50K"]


def test_a_test_table_without_a_target_is_not_used(write):
    write("t/train.csv", f"x,job,price\n{ROWS}\n")
    source = read(write("t/test.csv", "x,job\n1,a\n2,b\n").parent)
    assert (len(source), "test.csv: not used, it has no target column 'price'" in source.notes) == (20, True)


def test_tables_that_do_not_fit_together_are_refused(write):
    write("t/train.csv", f"x,job,price\n{ROWS}\n")
    with pytest.raises(InputError, match=r"test\.csv: its columns differ .* missing are 'x', 'job'"):
        read(write("t/test.csv", "u,v,price\n1,a,2\n3,b,4\n").parent)


def test_a_folder_of_one_table_is_that_table(write):
    write("t/readme.md", "about")
    assert len(read(write("t/only.csv", ROWS).parent)) == 20


def test_a_folder_of_several_tables_asks_for_one(write):
    write("t/a.csv", ROWS)
    with pytest.raises(InputError, match=r"holds 2 tables \(a\.csv, b\.csv\)\. Name one of them"):
        read(write("t/b.csv", ROWS).parent)


def test_adult_is_read_with_its_own_test_part(data_root):
    source = read(data_root / "tabular" / "adult")
    assert np.unique(source.targets).tolist() == ["<=50K", ">50K"]
    assert [(source.parts == part).sum() for part in ("train", "test")] == [32561, 16281]


@pytest.mark.parametrize(
    ("name", "target", "task", "shape"),
    [
        ("auto-mpg/auto-mpg.data", 0, "regression", (398, 8)),
        ("pima-indians-diabetes/pima-indians-diabetes.csv", None, "classification", (768, 8)),
        ("boston-housing/housing.csv", None, "regression", (506, 13)),
        ("california-housing/housing.csv", "median_house_value", "regression", (20640, 9)),
    ],
)
def test_real_tables_are_read_without_any_help(data_root, name, target, task, shape):
    source = read(data_root / "tabular" / name, target=target)
    assert (source.task, source.inputs.frame.shape) == (task, shape)


def test_titanic_loses_its_names_and_numbers(data_root):
    source = read(data_root / "tabular" / "titanic" / "train.csv", target="Survived")
    assert not {"Name", "PassengerId"} & set(source.inputs.frame.columns)


@pytest.mark.parametrize("target", [None, "y"])
def test_an_empty_target_is_said_and_no_other_column_takes_its_place(target):
    frame = pd.DataFrame({"a": range(20), "b": [0, 1] * 10, "y": [np.nan] * 20})
    with pytest.raises(InputError, match="no row has a value in the target 'y'"):
        read(frame, target=target)


def test_columns_without_a_name_go_by_their_place(write):
    rows = "\n".join(f"{i},{i % 3}," for i in range(20))
    notes = read(write("t.csv", rows)).notes
    assert "column 2: left out, it is empty" in notes
    assert "target: column 1 (last column; --target)" in notes
    assert (
        "target: column 'b' (last column; --target)" in read(write("t.csv", f"a,b\n{ROWS[:0]}1,2.5\n2,3.5\n")).notes
    )
