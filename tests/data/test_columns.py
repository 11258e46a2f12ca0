import numpy as np
import pandas as pd
import pytest

from tenfold.core.errors import InputError
from tenfold.data.columns import as_text, clean_cells, find_column, leave_out, unique_names


@pytest.mark.parametrize(
    ("target", "position"), [(None, 2), ("b", 1), (0, 0), ("0", 0), (-1, 2), ("-3", 0), (" c ", 2), ("2", 2)]
)
def test_the_target_is_named_numbered_or_last(target, position):
    assert find_column(target, ["a", "b", "c"], "t.csv") == position


def test_a_name_that_looks_like_a_number_is_a_name_first():
    assert find_column("0", ["x", "y", "0"], "t.csv") == 2


def test_an_unknown_target_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"t\.csv: no column 'incme'\. Did you mean 'income'\?"):
        find_column("incme", ["age", "income"], "t.csv")


@pytest.mark.parametrize("target", [3, -4, "99"])
def test_a_column_number_out_of_range_names_the_range(target):
    with pytest.raises(InputError, match="column number from 0 to 2, or from -3 to -1"):
        find_column(target, ["a", "b", "c"], "t.csv")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "a", "a"], ["a", "a (2)", "a (3)"]),
        (["a", "a (2)", "a"], ["a", "a (2)", "a (3)"]),
        (["", "年龄"], ["unnamed 0", "年龄"]),
        ([0, 1.5], ["0", "1.5"]),
    ],
)
def test_column_names_become_unique_text(names, expected):
    assert unique_names(names)[0] == expected


def test_cells_become_numbers_or_text():
    frame = pd.DataFrame(
        {
            "whole": [1, 2, 3],
            "text": [" a", "b ", "?"],
            "number": ["1", " 2.5 ", "NA"],
            "truth": [True, False, None],
            "category": pd.Categorical(["u", "v", None]),
            "huge": [str(10**30), "1", "2"],
        }
    )
    cleaned = clean_cells(frame, "t.csv")
    assert [cleaned[name].dtype.kind for name in cleaned] == ["f", "O", "f", "f", "O", "f"]
    assert cleaned["text"].tolist()[:2] == ["a", "b"]
    assert cleaned["truth"].tolist()[:2] == [1.0, 0.0]
    assert cleaned["huge"][0] == 1e30


@pytest.mark.parametrize("values", [[1.0, np.inf, -np.inf], ["1", "inf", "-inf"], ["1", "1e999", "-1e999"]])
def test_infinite_numbers_are_refused_with_the_row_of_the_source(values):
    frame = pd.DataFrame({"ratio": values}, index=[0, 4, 7])
    with pytest.raises(InputError, match=r"t.csv: column 'ratio' is infinite in 2 of 3 rows, first in row 4 "):
        clean_cells(frame, "t.csv")


def test_numbers_as_text_lose_their_empty_fraction():
    assert as_text(pd.Series([1.0, 2.5, np.nan])).tolist()[:2] == ["1", "2.5"]


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("id", list(range(20)), "it counts the rows"),
        ("PassengerId", list(range(1, 21)), "it counts the rows"),
        ("Name", [f"person {i}" for i in range(20)], "its text hardly repeats"),
        ("when", [f"2020-01-{i + 1:02}" for i in range(20)], "it holds dates"),
        ("日期", [f"2020年1月{i + 1}日" for i in range(20)], "it holds dates"),
        (
            "review",
            ["a long sentence about the food and the room " * 2 + str(i // 2 * 2 % 14) for i in range(20)],
            None,
        ),
        (
            "review",
            ["a long sentence about the food and the room " * 2 + str(i % 15) for i in range(20)],
            "free text",
        ),
        ("empty", [np.nan] * 20, "it is empty"),
        ("year", list(range(20)), None),
        ("job", ["cook", "smith"] * 10, None),
    ],
)
def test_columns_of_no_use_are_left_out_and_said(name, values, reason):
    frame = pd.DataFrame({name: values, "other": np.linspace(0, 1, 20)})
    kept, notes = leave_out(clean_cells(frame, "t.csv"), "t.csv")
    assert (name in kept.columns) == (reason is None)
    assert (reason is None and not notes) or (reason in notes[0] and repr(name) in notes[0])


def test_a_table_without_a_useful_column_is_refused():
    with pytest.raises(InputError, match=r"t\.csv: no input column is left \(column 'a': left out, it is empty\)"):
        leave_out(pd.DataFrame({"a": [np.nan, np.nan]}), "t.csv")


def test_line_ends_in_names_become_blanks():
    assert unique_names(["price\n(Yuan) "])[0] == ["price (Yuan)"]
    assert find_column("price\n(Yuan)", ["x", "price (Yuan)"], "t.csv") == 1


@pytest.mark.parametrize("days", [["2020-01-01", "2020-01-02"], ["2020-01-01", None]])
def test_dates_are_text_and_so_left_out(days):
    frame = clean_cells(pd.DataFrame({"day": pd.to_datetime(days * 10), "a": range(20)}), "t.csv")
    assert frame["day"].dtype == object
    assert leave_out(frame, "t.csv")[1] == ["column 'day': left out, it holds dates"]


def test_categories_are_looked_at_once_and_only_those_that_come():
    values = pd.Categorical([" 1", "2", None, "2"], categories=["never", "2", " 1"])
    frame = pd.DataFrame({"numbers": values, "text": pd.Categorical(["a ", "a", None, "b"])}, index=[4, 5, 6, 7])
    cleaned = clean_cells(frame, "t.csv")
    np.testing.assert_array_equal(cleaned["numbers"], [1.0, 2.0, np.nan, 2.0])
    assert (cleaned["text"].tolist()[::3], cleaned["text"].dtype, cleaned.index.tolist()) == (
        ["a", "b"],
        object,
        [4, 5, 6, 7],
    )
    assert as_text(frame["text"]).tolist()[:2] == ["a", "a"]
    with pytest.raises(InputError, match=r"column 'c' is infinite in 2 of 4 rows, first in row 1 "):
        clean_cells(pd.DataFrame({"c": pd.Categorical([1.0, np.inf, None, np.inf])}), "t.csv")


def clean(columns):
    return clean_cells(pd.DataFrame(columns), "t")


def test_a_column_of_numbers_is_not_left_out_or_made_categories_without_a_word_on_the_mistyped_one():
    numbers = [str(value) for value in range(30)]
    kept, notes = leave_out(clean({"a": [*numbers[:9], "9m", *numbers[10:]], "b": ["1", "2", "x"] * 10}), "t")
    assert list(kept) == ["b"]
    assert notes == [
        "column 'a': left out, its text hardly repeats (30 different values in 30 rows); 1 of 30 values are no "
        "numbers, such as '9m' in row 9: mend or empty these"
    ]
    _, notes = leave_out(clean({"b": ["1", "2", "1", "x"] * 10}), "t")
    assert notes == [
        "column 'b': read as categories; 10 of 40 values are no numbers, such as 'x' in row 3: mend or empty these"
    ]
