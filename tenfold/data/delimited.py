r"""Delimited text to a DataFrame: separator, quoting, header and decimal comma are found, ragged rows are named.

Separators are tab, `;`, `|`, `,` and runs of blanks. The text is walked once with `csv` to count fields, which
finds ragged rows by their line, then parsed by pandas, which is fast. Missing values are empty, `?`, `NA`, `NaN`,
`null` and what else pandas takes for missing.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from tenfold.core.errors import InputError
from tenfold.data.columns import MISSING, one_line

_SEPARATORS = ("\t", ";", "|", ",")
_NAMES = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", " ": "blanks"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?")
_SNIFFED_LINES = 200
_END = "\x1eend\x1e"  # a row of its own at the end, unless a quote is still open


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How one file is written.

    Attributes:
        separator: a single character; a blank stands for any run of blanks and tabs.
        quoting: `csv.QUOTE_MINIMAL`, or `csv.QUOTE_NONE` where quotes are ordinary characters.
        decimal: the decimal mark, "." or ",".
    """

    separator: str
    quoting: int = csv.QUOTE_MINIMAL
    decimal: str = "."

    @property
    def words(self) -> str:
        """The dialect for a person."""
        extra = ", decimal commas" if self.decimal == "," else ""
        return f"separated by {_NAMES[self.separator]}{extra}"


def parse_delimited(
    text: str, where: str, *, header: bool | None = None, known: frozenset[str] = frozenset()
) -> tuple[pd.DataFrame, bool, Dialect]:
    r"""A DataFrame, whether it had a header, and the dialect.

    Args:
        text: the whole file.
        where: the file's name for messages.
        header: whether the first row holds names; None looks.
        known: column names a header would hold, when they are known from training.

    Returns:
        The frame, its columns named by the header (kept as they are, doubles included) or "column 0", "column 1"
        and so on; cells as pandas reads them, text stripped.

    Raises:
        InputError: no rows, or rows with different numbers of fields (the line is named).

    Example:
        >>> frame, header, dialect = parse_delimited("a;b\n1;x\n?;y\n", "t.csv")
        >>> frame.columns.tolist(), frame["a"].tolist(), header, dialect.words
        (['a', 'b'], [1.0, nan], True, 'separated by semicolons')
    """
    if not text.strip(' \t\r\n"\ufeff\u3000'):
        raise InputError(f"{where}: the file is empty. Give a table with at least one row.")
    dialect = _checked(text, sniff_dialect(text), where)
    head = _head(text, dialect)
    if header is None:
        header = any(one_line(cell) in known for cell in head[0]) if known else has_header(head)
    if len(head) <= header:
        raise InputError(f"{where}: no rows below the header. Give a table with at least one row.")
    if header and not known:
        dialect = _with_decimal(dialect, head[1:])
    elif not header:
        dialect = _with_decimal(dialect, head)
    names = head[0] if header else [f"column {i}" for i in range(len(head[0]))]
    frame = _read(text, dialect, header)
    frame.columns = pd.Index(names, dtype=object)
    return frame, header, dialect


def sniff_dialect(text: str) -> Dialect:
    r"""The separator that cuts the first lines into the same number of fields, two or more.

    Example:
        >>> sniff_dialect("18.0  8\t'chevy'\n15.0  8\t'buick'\n").separator
        ' '
    """
    best, score = Dialect(separator=","), 0.0
    blanks = Dialect(separator=" ")
    for candidate in [*(Dialect(separator=mark) for mark in _SEPARATORS), blanks]:
        agreement = _agreement(_head(text, candidate))
        if agreement > score + 0.02:
            best, score = candidate, agreement
    if best.separator == "\t" and _agreement(_head(text, blanks)) == 1.0 and _holds_runs(_head(text, best)):
        return blanks
    return best


def has_header(rows: list[list[str]]) -> bool:
    """Whether the first row names columns: it holds words over numbers, or words that never come again.

    Example:
        >>> has_header([["age", "job"], ["31", "cook"]]), has_header([["31", "cook"], ["40", "cook"]])
        (True, False)
    """
    first, columns = [cell.strip() for cell in rows[0]], list(zip(*rows[1:], strict=False))
    if len(rows) < 2 or not columns:
        return bool(first) and not any(map(_is_number, first)) and all(first)
    for cell, below in zip(first, columns, strict=False):
        present = [value.strip() for value in below if value.strip() not in MISSING]
        if present and cell not in MISSING and not _is_number(cell) and all(map(_is_number, present)):
            return True
    if any(map(_is_number, first)) or not all(first) or len(set(first)) < len(first):
        return False
    again = any(cell in {value.strip() for value in below} for cell, below in zip(first, columns, strict=False))
    return len(rows) > 2 and not again


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell.strip()) is not None


def _lines(text: str, separator: str) -> Iterator[str]:
    for line in io.StringIO(text, newline=None):
        yield re.sub(r"[ \t\u3000]+", " ", line.rstrip("\r\n")).strip(" ") + "\n" if separator == " " else line


def _rows(text: str, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Line number (from 1) and fields of each row that is not blank."""
    csv.field_size_limit(1 << 30)
    reader = csv.reader(
        _lines(text, dialect.separator),
        delimiter=dialect.separator,
        quoting=csv.QUOTE_NONE if dialect.quoting == csv.QUOTE_NONE else csv.QUOTE_MINIMAL,
        skipinitialspace=dialect.separator != "\t",
    )
    for fields in reader:
        if fields and not (len(fields) == 1 and not fields[0].strip()):
            yield reader.line_num, fields


def _head(text: str, dialect: Dialect) -> list[list[str]]:
    rows = []
    for _, fields in _rows(text[: 1 << 20], dialect):
        rows.append(fields)
        if len(rows) == _SNIFFED_LINES:
            return rows
    # A head cut from a long text may end within a row.
    return rows[:-1] if len(text) > 1 << 20 and len(rows) > 1 else rows


def _agreement(rows: list[list[str]]) -> float:
    """Share of rows with the commonest number of fields; 0 when that number is 1."""
    if not rows:
        return 0.0
    width, count = Counter(map(len, rows)).most_common(1)[0]
    return count / len(rows) if width > 1 else 0.0


def _holds_runs(rows: list[list[str]]) -> bool:
    """Whether some field holds several numbers in every row: tabs then are blanks like the others."""
    return any(
        all(
            len(field.split()) > 1 and all(_is_number(part) or part == "?" for part in field.split())
            for field in fields
        )
        for fields in zip(*rows, strict=False)
    )


def _checked(text: str, dialect: Dialect, where: str) -> Dialect:
    """The dialect under which all rows have one width; quotes are given up if that alone helps."""
    problem = _ragged(text, dialect)
    plain = replace(dialect, quoting=csv.QUOTE_NONE)
    if problem is None:
        return dialect
    if _ragged(text, plain) is None:
        return plain
    raise InputError(f"{where}: {problem}")


def _ragged(text: str, dialect: Dialect) -> str | None:
    width = Counter(map(len, _head(text, dialect) or [[]])).most_common(1)[0][0]
    last = 0
    for line, fields in _rows(f"{text}\n{_END}\n", dialect):
        if fields == [_END]:
            return None
        if fields[-1].rstrip("\n").endswith(_END):
            return f"the quote that opens after line {last} is never closed. Close it, or take it out."
        if len(fields) != width:
            return (
                f"line {line} has {len(fields)} fields where the others have {width} ({dialect.words}). "
                "Mend that line, or quote fields that hold the separator."
            )
        last = line
    return None


def _with_decimal(dialect: Dialect, rows: list[list[str]]) -> Dialect:
    if dialect.separator == ",":
        return dialect
    for column in zip(*rows, strict=False):
        present = [cell.strip() for cell in column if cell.strip() not in MISSING]
        if any("," in cell for cell in present) and all(map(_DECIMAL_COMMA.fullmatch, present)):
            return replace(dialect, decimal=",")
    return dialect


def _read(text: str, dialect: Dialect, header: bool) -> pd.DataFrame:
    blanks = dialect.separator == " "
    return pd.read_csv(
        io.StringIO("".join(_lines(text, " ")) if blanks else text),
        sep=dialect.separator,
        header=0 if header else None,
        index_col=False,
        quoting=dialect.quoting,
        decimal=dialect.decimal,
        na_values=list(MISSING),
        skipinitialspace=dialect.separator not in "\t ",
        low_memory=False,
    )
