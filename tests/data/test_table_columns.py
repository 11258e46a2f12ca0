"""Parquet tables that do not fit into memory: the source, the tensors and the findings that the whole table gives."""

import datetime
import decimal
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tenfold.core.errors import InputError
from tenfold.data import (
    DataPart,
    FoldData,
    TargetEncoder,
    cut_folds,
    examine,
    fit_preprocessor,
    read,
    split,
    tables,
)
from tenfold.data.table_columns import ColumnStore, ParquetColumns, small_numbers

parquet = pytest.importorskip("pyarrow.parquet")
pa = pytest.importorskip("pyarrow")

ROWS = 300


def cells(seed=0) -> dict[str, list]:
    """Columns of every kind, with missing values."""
    rng = np.random.default_rng(seed)
    some = rng.random(ROWS) < 0.1
    words = np.array(["cook", " smith", "clerk ", "?", "42"])[rng.integers(0, 5, ROWS)]
    halves = (rng.integers(0, 9, ROWS) / 2).tolist()

    def with_gaps(values):
        return [None if gap else value for value, gap in zip(values, some, strict=True)]

    return {
        "id": list(range(ROWS)),
        "account": (2**24 + 1 + 2 * rng.integers(0, 1000, ROWS)).tolist(),
        "long": (2**53 + rng.integers(0, 50, ROWS)).tolist(),
        "tenth": (rng.integers(0, 90, ROWS) / 10).tolist(),
        "half": halves,
        "whole": with_gaps(rng.integers(0, 9, ROWS).tolist()),
        "tiny": with_gaps(rng.normal(size=ROWS).tolist()),
        "job": with_gaps(words.tolist()),
        "digits": with_gaps([f" {value}" for value in halves]),
        "truth": (rng.random(ROWS) < 0.5).tolist(),
        "perhaps": with_gaps((rng.random(ROWS) < 0.5).tolist()),
        "day": with_gaps([datetime.date(2020, 1, 1 + int(n)) for n in rng.integers(0, 28, ROWS)]),
        "moment": with_gaps([datetime.datetime(2020, 1, 1, int(n)) for n in rng.integers(0, 24, ROWS)]),
        "price": with_gaps([decimal.Decimal(int(n)) / 4 for n in rng.integers(0, 99, ROWS)]),
        "name": [f"person {n}" for n in range(ROWS)],
        "empty": [None] * ROWS,
        "town": np.array(["Bonn", "Köln", "北京"])[rng.integers(0, 3, ROWS)].tolist(),
    }


def write_table(path: Path, target: list, **more) -> Path:
    table = pa.table(cells() | {"y": target} | more)
    parquet.write_table(table.set_column(16, "town", table["town"].dictionary_encode()), path, row_group_size=70)
    with parquet.ParquetFile(path) as file:
        assert file.num_row_groups == 5
    return path


TARGETS = {
    "classification": ["yes" if n % 3 else "no" for n in range(ROWS)],
    "regression": [n * 0.37 for n in range(ROWS)],
    "numbered": [n % 4 for n in range(ROWS)],
    "with gaps": [None if n % 11 == 0 else "ab"[n % 2] for n in range(ROWS)],
    "truths": [n % 3 == 0 for n in range(ROWS)],
    "sets": [("sun;wind", "wind", "rain;sun")[n % 3] for n in range(ROWS)],
}


@pytest.fixture
def memory(monkeypatch, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    return lambda num_bytes: monkeypatch.setenv("TENFOLD_DATA_MEMORY", str(num_bytes))


@pytest.fixture
def both(memory):
    """A source read whole, and column by column."""

    def read_twice(path, limit=0, **options):
        memory(10**9)
        whole = read(path, **options)
        memory(limit)
        large = read(path, **options)
        assert any(note.startswith("table: ") for note in large.notes)
        return whole, large

    return read_twice


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as float64, text as objects."""
    return pd.DataFrame(
        {
            name: frame[name].astype(np.float64 if pd.api.types.is_numeric_dtype(frame[name].dtype) else object)
            for name in frame.columns
        }
    )


def assert_same(whole, large):
    assert (whole.task, whole.target_name, whole.name) == (large.task, large.target_name, large.name)
    assert [note for note in large.notes if not note.startswith("table: ")] == list(whole.notes)
    assert (whole.targets.dtype, whole.targets.tolist()) == (large.targets.dtype, large.targets.tolist())
    for one, other in ((whole.rows, large.rows), (whole.groups, large.groups)):
        assert (one is None and other is None) or one.tolist() == other.tolist()
    assert (whole.inputs.columns, whole.inputs.target_name) == (large.inputs.columns, large.inputs.target_name)
    pd.testing.assert_frame_equal(plain(whole.inputs.frame), plain(large.inputs.frame))


@pytest.mark.parametrize("limit", [0, 4000, 25_000], ids=["in files", "some in files", "in memory"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_source_is_that_of_the_whole_table(both, tmp_path, target, limit):
    whole, large = both(write_table(tmp_path / "t.parquet", TARGETS[target]), limit=limit)
    assert_same(whole, large)
    left_out = {"day", "moment", "name", "empty"} | ({"id"} if target != "with gaps" else set())
    assert left_out == {*large.inputs.columns, "y"} - {*large.inputs.frame.columns, "y"}


def test_numbers_are_small_where_that_changes_none(both, tmp_path):
    _, large = both(write_table(tmp_path / "t.parquet", TARGETS["regression"]))
    kinds = {name: str(large.inputs.frame[name].dtype) for name in large.inputs.frame}
    assert {name for name, kind in kinds.items() if kind == "float64"} == {"account", "long", "tenth", "tiny"}
    assert {name for name, kind in kinds.items() if kind == "category"} == {"job", "town"}
    assert large.inputs.frame["account"].tolist() == cells()["account"]


def test_columns_lie_in_files_that_have_no_name(both, tmp_path):
    path = write_table(tmp_path / "t.parquet", TARGETS["regression"])
    _, in_files = both(path)
    [note] = [note for note in in_files.notes if note.startswith("table: ")]
    assert note.endswith("since data take at most 0.0 MiB of memory (TENFOLD_DATA_MEMORY, TMPDIR)")
    assert os.listdir(tmp_path / "scratch") == []
    _, in_memory = both(path, limit=25_000)
    assert "table: large, its columns are kept compact (TENFOLD_DATA_MEMORY)" in in_memory.notes


def test_values_of_a_column_in_a_file_are_not_copied(memory):
    memory(0)
    store = ColumnStore("t", compact=True)
    store.add("a", pd.Series([0.5, 1.5]))
    store.add("b", pd.Series(["x", None], dtype=object))
    frame = store.frame().set_axis(["u", "v"], axis=1).reset_index(drop=True)
    assert np.shares_memory(frame["u"].to_numpy(), store.columns["a"].to_numpy())
    assert store.file_bytes == 2 * 4 + 2 * 1


def test_no_more_than_a_column_is_read_at_a_time(memory, tmp_path, monkeypatch):
    path = write_table(tmp_path / "t.parquet", TARGETS["regression"])
    memory(0)
    asked, read_table = [], parquet.read_table

    def watch(*args, **options):
        asked.append(options["columns"])
        return read_table(*args, **options)

    monkeypatch.setattr(parquet, "read_table", watch)
    monkeypatch.setattr(pd, "read_parquet", None)
    read(path)
    assert sorted(asked) == sorted([name] for name in [*cells(), "y"])


@pytest.mark.parametrize(
    "options", [{"target": "job"}, {"target": -2}, {"group": "town"}, {"target": ["truth", "y"]}]
)
def test_targets_and_groups_are_those_of_the_whole_table(both, tmp_path, options):
    path = write_table(tmp_path / "t.parquet", [n % 2 for n in range(ROWS)])
    assert_same(*both(path, **options))


@pytest.mark.parametrize("target", ["classification", "regression", "with gaps"])
@pytest.mark.parametrize("max_rows", [10, 120, 10**6])
def test_rows_that_are_drawn_are_those_of_the_whole_table(both, tmp_path, target, max_rows):
    path = write_table(tmp_path / "t.parquet", TARGETS[target])
    whole, large = both(path, max_rows=max_rows, seed=3)
    assert len(large) == min(max_rows, len(whole)) == len(large.inputs.frame)
    assert_same(whole, large)


def test_tensors_and_findings_are_those_of_the_whole_table(both, tmp_path, monkeypatch):
    path = write_table(tmp_path / "t.parquet", TARGETS["with gaps"])
    made = []
    for chunk, source in zip((10**9, 100), both(path), strict=True):
        monkeypatch.setattr("tenfold.data.table_preprocessor._CHUNK_CELLS", chunk)
        monkeypatch.setattr("tenfold.data.duplicates._CHUNK_CELLS", chunk)
        cut = split(source, seed=0)
        preprocessor = fit_preprocessor(source.inputs, cut.train)
        encoder = TargetEncoder.fit(source.targets, source.task, cut.train)
        parts = [DataPart.of(source, rows, preprocessor, encoder) for rows in (cut.train, cut.valid, cut.test)]
        folds = FoldData.of(source, cut_folds(source, 3, seed=0))
        tensors = [tensor for part in (*parts, *folds.inputs) for tensor in getattr(part, "inputs", part)]
        found = [(one.sentence, one.rows.tolist(), one.names) for one in examine(source, cut, seed=0)]
        made.append((preprocessor.to_json(), tensors, found))
    (json, tensors, found), (other_json, other_tensors, other_found) = made
    assert json == other_json
    assert all(map(torch.equal, tensors, other_tensors))
    assert len(tensors) == 3 * 2 + 3 * 2
    assert found == other_found


def test_copies_are_found_in_the_same_order(both, tmp_path):
    rng = np.random.default_rng(0)
    half = {"a": rng.normal(size=100), "b": rng.integers(0, 9, 100) / 2, "c": rng.choice(["x", "y"], 100)}
    frame = pd.DataFrame({name: np.tile(values, 2) for name, values in half.items()} | {"y": np.arange(200) % 2})
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=30)
    whole, large = (examine(source, split(source, seed=0), seed=0) for source in both(tmp_path / "t.parquet"))
    assert whole[0].kind == "duplicates"
    assert [(one.sentence, one.rows.tolist()) for one in whole] == [
        (one.sentence, one.rows.tolist()) for one in large
    ]


@pytest.mark.parametrize("index", [range(5, 305), [f"r{n}" for n in range(300)]], ids=["counted", "named"])
def test_an_index_that_pandas_stored_is_no_column(both, tmp_path, index):
    frame = pd.DataFrame({"a": np.arange(300) % 7 / 2, "b": ["x", "y", None] * 100, "y": [0, 1] * 150}, index=index)
    frame.to_parquet(tmp_path / "t.parquet")
    whole, large = both(tmp_path / "t.parquet")
    assert large.inputs.columns == ("a", "b", "y")
    assert_same(whole, large)


def test_kinds_that_pandas_alone_knows_are_read_alike(both, tmp_path):
    frame = pd.DataFrame(
        {
            "nullable": pd.array([1, None, 3] * 100, dtype="Int64"),
            "kind": pd.Categorical(["u", "v", None] * 100, categories=["w", "v", "u"]),
            "level": pd.Categorical([1, 2, None] * 100),
            "y": [0, 1] * 150,
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    assert_same(*both(tmp_path / "t.parquet"))


def test_columns_of_one_name_are_no_matter_of_size(memory, tmp_path):
    parquet.write_table(pa.table([[1, 2], [3, 4]], names=["a", "a"]), tmp_path / "t.parquet")
    memory(0)
    with pytest.raises(InputError, match=r"t\.parquet: this is no readable Parquet file"):
        read(tmp_path / "t.parquet")


def test_an_infinite_number_is_named_with_its_row(memory, tmp_path):
    path = write_table(
        tmp_path / "t.parquet", TARGETS["regression"], wild=[np.inf if n == 71 else n % 5 for n in range(ROWS)]
    )
    memory(0)
    with pytest.raises(InputError, match=r"column 'wild' is infinite in 1 of 300 rows, first in row 71 "):
        read(path, target="y")


def test_a_torn_file_is_refused_as_ever(memory, tmp_path):
    path = write_table(tmp_path / "t.parquet", TARGETS["regression"])
    path.write_bytes(path.read_bytes()[:-100])
    memory(0)
    with pytest.raises(InputError, match=r"t\.parquet: this is no readable Parquet file"):
        read(path)


def test_a_column_that_is_torn_is_named(memory, tmp_path):
    path = write_table(tmp_path / "t.parquet", TARGETS["regression"])
    with parquet.ParquetFile(path) as file:
        start = file.metadata.row_group(2).column(3).dictionary_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    memory(0)
    with pytest.raises(InputError, match=r"t\.parquet: column 'tenth' cannot be read \(.*\)\. Copy it again\."):
        read(path)


def test_the_size_of_a_frame_is_told_from_the_file_alone(tmp_path):
    columns = ParquetColumns(write_table(tmp_path / "t.parquet", TARGETS["regression"]))
    assert (len(columns), columns.frame_bytes) == (ROWS, ROWS * (3 * 60 + 15 * 8))


def test_text_is_kept_compact_where_its_frame_would_fill_the_memory(memory, write):
    lines = [f"{n % 7},{'ab'[n % 2] if n % 5 else '?'},{16777217 + n % 3},{n * 0.5}" for n in range(60)]
    path = write("t.csv", "x,job,account,price\n" + "\n".join(lines))
    memory(10**9)
    whole = read(path)
    memory(0)
    large = read(path)
    pd.testing.assert_frame_equal(plain(whole.inputs.frame), plain(large.inputs.frame))
    assert large.inputs.frame.dtypes.astype(str).tolist() == ["float32", "category", "float64"]
    assert large.notes[: len(whole.notes)] == whole.notes


def test_adult_is_the_same_in_files(memory, data_root):
    memory(10**9)
    whole = read(data_root / "tabular" / "adult")
    memory(0)
    large = read(data_root / "tabular" / "adult")
    pd.testing.assert_frame_equal(plain(whole.inputs.frame), plain(large.inputs.frame))
    preprocessors = [fit_preprocessor(source.inputs, np.arange(20_000)) for source in (whole, large)]
    assert preprocessors[0].to_json() == preprocessors[1].to_json()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.5, np.nan], "float32"),
        ([0.1], "float64"),
        ([2.0**24], "float32"),
        ([2.0**24 + 1], "float64"),
        ([1e300], "float64"),
        ([1e-300], "float64"),
        ([np.nan], "float32"),
    ],
)
def test_small_numbers_are_the_same_numbers(values, kind):
    small = small_numbers(np.array(values))
    assert small.dtype == kind
    np.testing.assert_array_equal(small.astype(np.float64), values)


def test_text_larger_than_memory_is_refused_with_a_way_out(write, monkeypatch):
    monkeypatch.setattr(tables, "available_memory_bytes", lambda: 20)
    with pytest.raises(
        InputError, match=r"t\.csv: its 0\.0 MiB of text need twice as much memory.* Save it as Parquet"
    ):
        read(write("t.csv", "a,y\n1,0\n2,1\n3,0\n"))
