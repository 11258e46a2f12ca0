import csv

import numpy as np
import pandas as pd
import pytest

from tenfold.core.errors import InputError
from tenfold.data.delimited import has_header, parse_delimited, sniff_dialect


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("1,2,3\n4,5,6\n", ","),
        ("1;2;3\n4;5;6\n", ";"),
        ("1,5;2,5\n3,5;4,5\n", ";"),
        ("1\t2\n3\t4\n", "\t"),
        ("a b c\n1 2 3\n", " "),
        ("1|2\n3|4\n", "|"),
        ("New York\t1\nLos Angeles\t2\n", "\t"),
        ('18.0   8\t"chevy malibu"\n15.0   9\t"buick"\n', " "),
        ('"a;b",1\n"c;d",2\n', ","),
        ("   1  2\n  10 20\n", " "),
    ],
)
def test_the_separator_is_found(text, separator):
    assert sniff_dialect(text).separator == separator


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([["age", "job"], ["31", "cook"]], True),
        ([["31", "cook"], ["40", "cook"]], False),
        ([["id", "2019", "2020"], ["1", "5", "6"]], True),
        ([["?", "1"], ["2", "3"]], False),
        ([["color", "label"], ["red", "a"], ["blue", "b"]], True),
        ([["red", "a"], ["blue", "a"], ["red", "b"]], False),
        ([["年龄", "性别"], ["3", "男"]], True),
        ([["x", "x"], ["a", "b"], ["a", "c"]], False),
    ],
)
def test_a_header_is_told_from_a_row(rows, expected):
    assert has_header(rows) is expected


def test_the_header_flag_overrules_what_the_first_row_looks_like():
    assert len(parse_delimited("a,b\n1,2\n", "t.csv", header=False)[0]) == 2
    assert parse_delimited("1,2\n3,4\n", "t.csv", header=True)[0].columns.tolist() == ["1", "2"]


@pytest.mark.parametrize("missing", ["", "?", "NA", "nan", "null", "N/A"])
def test_missing_marks_become_nan(missing):
    frame, _, _ = parse_delimited(f"a,b\n1,x\n{missing},y\n3,{missing}\n", "t.csv")
    assert np.isnan(frame["a"][1])
    assert pd.isna(frame["b"][2])


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_read(newline):
    frame, _, _ = parse_delimited(newline.join(["a,b", "1,2", "3,4", ""]), "t.csv")
    assert frame.to_numpy().tolist() == [[1, 2], [3, 4]]


def test_decimal_commas_are_numbers_when_semicolons_separate():
    frame, _, dialect = parse_delimited("x;y\n1,5;a\n2,25;b\n", "t.csv")
    assert (frame["x"].tolist(), dialect.decimal) == ([1.5, 2.25], ",")


def test_quoted_fields_may_hold_separators_and_line_ends():
    frame, _, _ = parse_delimited('a,b\n1,"x, y"\n2,"first\nsecond"\n', "t.csv")
    assert frame["b"].tolist() == ["x, y", "first\nsecond"]


def test_stray_quotes_are_ordinary_characters_when_that_makes_the_rows_fit():
    text = 'text\tlabel\n"open quote\t1\nplain\t0\nplain\t1\n'
    frame, _, dialect = parse_delimited(text, "t.tsv")
    assert dialect.quoting == csv.QUOTE_NONE
    assert frame["label"].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("text", "line"), [("a,b\n1,2\n3\n4,5\n", 3), ("a,b\n1,2\n\n3,4,5\n", 4), ('a,b\n1,"x\ny"\n3,4,5\n6,7\n', 4)]
)
def test_a_ragged_row_is_named_by_its_line(text, line):
    with pytest.raises(InputError, match=rf"t\.csv: line {line} has \d fields where the others have 2"):
        parse_delimited(text, "t.csv")


def test_blank_lines_are_passed_over():
    assert len(parse_delimited("\n\na,b\n1,2\n\n3,4\n\n", "t.csv")[0]) == 2


@pytest.mark.parametrize("text", ["", "  \n\n", '"', '  "\n'])
def test_an_empty_file_is_refused(text):
    with pytest.raises(InputError, match="the file is empty"):
        parse_delimited(text, "t.csv")


def test_a_header_without_rows_is_refused():
    with pytest.raises(InputError, match="no rows below the header"):
        parse_delimited("a,b\n", "t.csv")


def test_known_names_decide_whether_there_is_a_header():
    known = frozenset({"1", "2"})
    assert parse_delimited("1,2\n3,4\n", "t.csv", known=known)[1] is True
    assert parse_delimited("5,6\n3,4\n", "t.csv", known=known)[1] is False


def test_values_agree_with_pandas_on_a_table_of_numbers():
    values = np.random.default_rng(0).normal(size=(50, 4))
    expected = pd.DataFrame(values, columns=list("abcd"))
    frame, _, _ = parse_delimited(expected.to_csv(index=False), "t.csv")
    np.testing.assert_allclose(frame.to_numpy(), values, rtol=1e-15)


@pytest.mark.parametrize("text", ['a;b\n1;"x\n2;y;z\n', 'a;b\n1;x\n2;"y;z'])
def test_a_quote_that_is_never_closed_is_named(text):
    with pytest.raises(InputError, match=r"t\.csv: the quote that opens after line [12] is never closed"):
        parse_delimited(text, "t.csv")


def test_a_stray_quote_in_the_last_row_is_an_ordinary_character():
    frame, _, _ = parse_delimited('a;b\n1;x\n2;"\n', "t.csv")
    assert frame["b"].tolist() == ["x", '"']
