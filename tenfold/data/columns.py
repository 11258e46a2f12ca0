"""The columns of a table: names made unique, cells made numbers or text, useless columns left out and said."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tenfold.core.errors import InputError, did_you_mean

_DATE = re.compile(
    r"\d{4}[-/.年]\d{1,2}([-/.月]\d{1,2}日?)?([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?Z?)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}"
)
_ID_NAME = re.compile(r"(.*[_\s-])?(id|no|nr|number|index|row)|[a-z]+Id|unnamed.*|编号|序号|", re.IGNORECASE)
_MIN_ROWS_TO_JUDGE = 10
_FEW_TEXTS = 0.25  # of the values of a column, which are numbers otherwise
MISSING = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "null", "NULL", "None", "#N/A", "<NA>")


def unique_names(names: Sequence[object]) -> tuple[list[str], list[str]]:
    """Column names as text, each one once, and a note for what was renamed.

    Example:
        >>> unique_names(["a", "b", "a", 3])
        (['a', 'b', 'a (2)', '3'], ["columns: 'a' comes 2 times, the later ones are called 'a (2)' and so on"])
    """
    seen: dict[str, int] = {}
    unique: list[str] = []
    for position, given in enumerate(names):
        name = one_line(str(given)) or f"unnamed {position}"
        seen[name] = seen.get(name, 0) + 1
        candidate, number = name, seen[name]
        while candidate in unique or (number > 1 and candidate == name):
            candidate, number = f"{name} ({number})", number + 1
        unique.append(candidate)
    notes = [
        f"columns: {name!r} comes {count} times, the later ones are called '{name} (2)' and so on"
        for name, count in seen.items()
        if count > 1
    ]
    return unique, notes


def one_line(name: str) -> str:
    r"""A column name without line ends and outer blanks.

    Example:
        >>> one_line(" price\n(Yuan) ")
        'price (Yuan)'
    """
    return re.sub(r"\s*[\r\n\t]\s*", " ", name.strip())


def called(name: str) -> str:
    """A column in words; one that the table has no name for goes by its place.

    Example:
        >>> called("age"), called("column 14")
        ("column 'age'", 'column 14')
    """
    return name if is_nameless(name) else f"column {name!r}"


def is_nameless(name: str) -> bool:
    """Whether a column was named by its place, because the table has no name for it."""
    return re.fullmatch(r"(column|unnamed) \d+", name) is not None


def find_column(target: str | int | None, names: Sequence[str], where: str, what: str = "target") -> int:
    """The position of the target column, the last one unless named or numbered.

    Args:
        target: a name, a number from 0, or a negative number from the end; text that is no name is read as a
            number if it is one.
        names: the column names.
        where: the source's name for messages.
        what: what the column is, for messages.

    Raises:
        InputError: there is no such column.

    Example:
        >>> find_column("-1", ["age", "income"], "t.csv")
        1
        >>> find_column("incme", ["age", "income"], "t.csv")
        Traceback (most recent call last):
            ...
        tenfold.core.errors.InputError: t.csv: no column 'incme'. Did you mean 'income'?
    """
    if target is None:
        return len(names) - 1
    if one_line(str(target)) in names:
        return list(names).index(one_line(str(target)))
    if re.fullmatch(r"[+-]?\d{1,9}", str(target).strip()):
        number = int(target)
        if -len(names) <= number < len(names):
            return number % len(names)
        raise InputError(
            f"{where}: {what} {number} must be a column number from 0 to {len(names) - 1}, or from "
            f"-{len(names)} to -1 counted from the end."
        )
    raise InputError(f"{where}: no column {str(target)!r}.{did_you_mean(str(target), names)}")


def clean_cells(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Every column as float64 or as stripped text, NaN where a value is missing.

    Booleans become 0 and 1, categoricals become text, text that is all numbers becomes numbers.

    Args:
        frame: the columns; its index holds the source's row numbers.
        where: the source's name for messages.

    Raises:
        InputError: a number is infinite: a division by zero, most often, and no measurement.

    Example:
        >>> frame = clean_cells(pd.DataFrame({"a": [" 1", "2"], "b": [True, False], "c": ["x ", None]}), "t")
        >>> frame.values.tolist()
        [[1.0, 1.0, 'x'], [2.0, 0.0, nan]]
    """
    columns = {}
    for position, name in enumerate(frame.columns):
        columns[name], infinite = clean_column(frame.iloc[:, position])
        if len(infinite):
            raise InputError(
                f"{where}: {called(str(name))} is infinite in {len(infinite)} of {len(frame)} rows, first in row "
                f"{frame.index[infinite[0]]} (counted from 0). Mend these values, or leave them empty."
            )
    return pd.DataFrame(columns, index=frame.index)


def clean_column(column: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """One column for `clean_cells`, NaN where it is infinite, and the positions of these values."""
    none = np.array([], dtype=np.int64)
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _clean_categories(column)
    if pd.api.types.is_datetime64_any_dtype(column.dtype) or pd.api.types.is_timedelta64_dtype(column.dtype):
        return column.astype(object).map(str, na_action="ignore").astype(object), none
    if not pd.api.types.is_numeric_dtype(column.dtype):
        column = _numbers_or_text(column)
    if column.dtype == object:
        return column, none
    values = column.to_numpy(np.float64, na_value=np.nan).copy()
    infinite = np.isinf(values)
    values[infinite] = np.nan
    return pd.Series(values, index=column.index), np.flatnonzero(infinite)


def _clean_categories(column: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """As `clean_column`: each category that comes is looked at once, and rows of one share their text."""
    codes = column.cat.codes.to_numpy()
    present = np.unique(codes[codes >= 0])
    cleaned, infinite = clean_column(pd.Series(column.cat.categories[present]))
    values = np.append(cleaned.to_numpy(cleaned.dtype), [np.nan])  # the last is for what is missing
    places = np.full(len(column.cat.categories) + 1, len(present))
    places[present] = np.arange(len(present))
    values = values[places[codes]]
    return pd.Series(values, index=column.index, dtype=values.dtype), np.flatnonzero(
        np.isin(codes, present[infinite])
    )


def as_text(column: pd.Series) -> pd.Series:
    """Values as text, whole numbers without a fraction, missing ones as NaN."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        texts = np.append(_stripped(pd.Series(column.cat.categories)).to_numpy(object), [np.nan])
        return pd.Series(texts[column.cat.codes.to_numpy()], index=column.index, dtype=object)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.astype(object).map(
            lambda value: str(int(value)) if float(value).is_integer() else f"{value:g}", na_action="ignore"
        )
    return _stripped(column)


def _stripped(column: pd.Series) -> pd.Series:
    text = column.astype(object).map(lambda value: str(value).strip(), na_action="ignore")
    return text.where(text.notna() & ~text.isin(MISSING), np.nan)


def _numbers_or_text(column: pd.Series) -> pd.Series:
    present = column.dropna()
    if len(present) and present.map(lambda value: isinstance(value, bool | np.bool_)).all():
        return column.map({True: 1.0, False: 0.0})
    text = _stripped(column)
    numbers = pd.to_numeric(text, errors="coerce")
    if bool((numbers.notna() | text.isna()).all()):
        return numbers.astype(np.float64)
    return text.astype(object)


def leave_out(frame: pd.DataFrame, where: str) -> tuple[pd.DataFrame, list[str]]:
    """The frame without columns that cannot help a network, and a note for each one left out.

    Left out are empty columns, dates, running row numbers that are named like one, text that hardly repeats, and
    long free text.

    Raises:
        InputError: no column is left.
    """
    notes, kept = [], []
    for name in frame.columns:
        reason = why_useless(frame[name], str(name), len(frame.columns))
        if reason is None:
            kept.append(name)
        notes += column_notes(str(name), frame[name], reason)
    if not kept:
        raise no_inputs_left(notes, where)
    return frame[kept], notes


def column_notes(name: str, column: pd.Series, reason: str | None) -> list[str]:
    """What is said of a clean column: why it is left out, and that a few texts keep it from being numbers.

    Args:
        name: its name.
        column: all its rows.
        reason: why it is left out, None where it is not.

    Example:
        >>> column_notes("age", pd.Series(["20", "30", "old", "40"] * 5, dtype=object), None)[0]
        "column 'age': read as categories; 5 of 20 values are no numbers, such as 'old' in row 2: mend or empty these"
        >>> column_notes("age", pd.Series(["20", "young"], dtype=object), None)
        []
    """
    bad = not_numbers(column)
    said = ["read as categories"] if reason is None and len(bad) else []
    said += [f"left out, {reason}"] if reason is not None else []
    if len(bad):
        said.append(
            f"{len(bad)} of {column.notna().sum()} values are no numbers, such as {column.iloc[bad[0]]!r} in row "
            f"{column.index[bad[0]]}: mend or empty these"
        )
    return [f"{called(name)}: {'; '.join(said)}"] if said else []


def not_numbers(column: pd.Series) -> np.ndarray:
    """Positions of the texts in a clean column that would be all numbers without them; none where these are many."""
    if column.dtype != object:
        return np.array([], dtype=np.int64)
    present = column.notna()
    wrong = np.flatnonzero(present & pd.to_numeric(column, errors="coerce").isna())
    return wrong if len(wrong) <= _FEW_TEXTS * int(present.sum()) else wrong[:0]


def no_inputs_left(notes: Sequence[str], where: str) -> InputError:
    """The error for a table of which every column was left out."""
    found = "; ".join(notes) if notes else "the target is the only column"
    return InputError(f"{where}: no input column is left ({found}). Give columns of numbers or categories.")


def why_useless(column: pd.Series, name: str, num_columns: int) -> str | None:
    """In a few words why a clean column cannot help a network, or None.

    Args:
        column: all its rows.
        name: its name, which may tell that it counts the rows.
        num_columns: how many input columns the table has.
    """
    present = column.dropna()
    if not len(present):
        return "it is empty"
    if column.dtype != object:
        return _row_number(present.to_numpy(), name) if num_columns > 1 else None
    if present.head(100).map(lambda value: _DATE.fullmatch(value) is not None).mean() > 0.95:
        return "it holds dates"
    distinct = present.nunique()
    if len(present) >= _MIN_ROWS_TO_JUDGE and distinct > 0.9 * len(present):
        return f"its text hardly repeats ({distinct} different values in {len(present)} rows)"
    if distinct > 0.5 * len(present) and present.str.len().mean() > 40:
        return "it is free text"
    return None


def _row_number(values: np.ndarray, name: str) -> str | None:
    steps = np.diff(values)
    if len(values) < _MIN_ROWS_TO_JUDGE or not np.all(steps == 1) or _ID_NAME.fullmatch(name.strip()) is None:
        return None
    return "it counts the rows"
