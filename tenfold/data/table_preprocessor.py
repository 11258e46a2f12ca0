"""Tables to tensors: numbers standardised, missing ones filled and flagged, categories as codes.

Numbers: a missing one becomes the training median, and a column that missed some in training gets a second column
of 0 and 1 that says where; then mean 0 and standard deviation 1, clipped at +-10, so that one wild value cannot
blow up a network. Categories: code 0 is missing or never seen; the rarest levels of a column with many share the
last code, and then a level never seen gets that one as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.specs import InputSpec
from tenfold.data.columns import as_text, called, clean_column
from tenfold.data.inputs import Inputs, TableInputs
from tenfold.data.preprocessor import Preprocessor, Tensors, refuse_inputs
from tenfold.data.scratch import roomy
from tenfold.data.target_encoder import SEPARATOR

CLIP = 10.0
MAX_LEVELS = 128
RARE_BELOW = 3
MANY_LEVELS = 32
_CHUNK_CELLS = 20_000_000


@dataclass(frozen=True, kw_only=True)
class NumberColumn:
    """What training rows told of a column of numbers.

    Attributes:
        name: the column.
        median: fills what is missing.
        mean: after filling.
        std: after filling; 1 for a constant column.
        flagged: whether a missing value also sets a column of its own.
        silent: whether that column is there and always 0: these training rows missed nothing, those of another fold
            did.
    """

    name: str
    median: float
    mean: float
    std: float
    flagged: bool
    silent: bool = False

    @classmethod
    def fit(cls, name: str, values: np.ndarray) -> NumberColumn:
        """The statistics of training values, float64 of shape (n,), NaN where missing."""
        missing = np.isnan(values)
        median = float(np.median(values[~missing])) if not missing.all() else 0.0
        filled = np.where(missing, median, values)
        # In units of the largest value, sums and squares of huge numbers stay finite.
        span = max(float(np.abs(filled).max(initial=0.0)), 1e-300)
        mean, std = float(np.mean(filled / span)) * span, float(np.std(filled / span)) * span
        usable = std > 1e-12 * span
        return cls(name=name, median=median, mean=mean, std=std if usable else 1.0, flagged=bool(missing.any()))


@dataclass(frozen=True, kw_only=True)
class CategoryColumn:
    """What training rows told of a column of categories.

    Attributes:
        name: the column.
        levels: level number i has code i + 1.
        rare: whether one more code stands for all other levels.
        unused: codes that never come, because another fold has more levels.
    """

    name: str
    levels: tuple[str, ...]
    rare: bool
    unused: int = 0

    @classmethod
    def fit(cls, name: str, values: pd.Series) -> CategoryColumn:
        """The levels of training values, text of shape (n,), commonest first and then by name."""
        counts = values.value_counts()
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        least = RARE_BELOW if len(ordered) > MANY_LEVELS else 1
        levels = tuple(str(level) for level, count in ordered[:MAX_LEVELS] if count >= least)
        return cls(name=name, levels=levels, rare=len(levels) < len(ordered))

    @property
    def cardinality(self) -> int:
        """Number of codes."""
        return 1 + len(self.levels) + self.rare + self.unused

    def codes(self, values: pd.Series) -> np.ndarray:
        """Codes of text values, int64 of shape (N,)."""
        codes = pd.Categorical(values.where(values.isin(self.levels)), categories=list(self.levels)).codes + 1
        codes = codes.astype(np.int64)
        if self.rare:
            codes[(codes == 0) & values.notna().to_numpy()] = len(self.levels) + 1
        return codes


class TablePreprocessor(Preprocessor):
    """Numbers and codes from the columns of a table.

    Args:
        numbers: the columns of numbers.
        categories: the columns of categories.
        columns: all columns of the source, in order, target included.
        target_name: the target's name among `columns`, or None.

    Example:
        >>> inputs = TableInputs(pd.DataFrame({"age": [20.0, 40.0, np.nan], "job": ["cook", "smith", None]}))
        >>> preprocessor = TablePreprocessor.fit(inputs, np.array([0, 1]))
        >>> numbers, codes = preprocessor.transform(inputs)
        >>> numbers.tolist(), codes.tolist()
        ([[-1.0], [1.0], [0.0]], [[1], [2], [0]])
    """

    def __init__(
        self,
        *,
        numbers: tuple[NumberColumn, ...],
        categories: tuple[CategoryColumn, ...],
        columns: tuple[str, ...],
        target_name: str | None,
    ) -> None:
        self.numbers, self.categories = numbers, categories
        self.columns, self.target_name = columns, target_name
        self.target_names = _names_of(target_name, columns)
        width = len(numbers) + sum(column.flagged or column.silent for column in numbers)
        cardinalities = tuple(column.cardinality for column in categories)
        self.spec = InputSpec(kind="table", shape=(width,), cardinalities=cardinalities)

    @classmethod
    def fit(cls, inputs: TableInputs, rows: np.ndarray, **options: Any) -> TablePreprocessor:
        """Medians, means, spreads and levels of these rows; there are no options.

        Raises:
            TypeError: the inputs are no table.
            InputError: all these rows are alike.
        """
        if not isinstance(inputs, TableInputs):
            raise refuse_inputs("TablePreprocessor", inputs)
        _refuse_alike(inputs, rows)
        numbers, categories = [], []
        for name in inputs.frame.columns:
            values = inputs.frame[name].iloc[rows]
            if pd.api.types.is_numeric_dtype(values.dtype):
                numbers.append(NumberColumn.fit(name, values.to_numpy(np.float64)))
            else:
                categories.append(CategoryColumn.fit(name, as_text(values)))
        return cls(
            numbers=tuple(numbers),
            categories=tuple(categories),
            columns=inputs.columns,
            target_name=inputs.target_name,
        )

    @staticmethod
    def of_one_width(fitted: Sequence[TablePreprocessor]) -> list[TablePreprocessor]:
        """The same, with columns and codes that never speak where others have more, so that all specs are equal.

        What a fold has not seen stays unknown to it: a column that flags missing values is 0 throughout, in
        validation too, and a code is never given.

        Args:
            fitted: on different rows of the same columns.
        """
        flagged = [
            any(column.flagged for column in columns) for columns in zip(*(f.numbers for f in fitted), strict=True)
        ]
        codes = [
            max(column.cardinality for column in columns)
            for columns in zip(*(f.categories for f in fitted), strict=True)
        ]
        return [
            TablePreprocessor(
                numbers=tuple(
                    replace(column, silent=any_flagged and not column.flagged)
                    for column, any_flagged in zip(one.numbers, flagged, strict=True)
                ),
                categories=tuple(
                    replace(column, unused=most - column.cardinality)
                    for column, most in zip(one.categories, codes, strict=True)
                ),
                columns=one.columns,
                target_name=one.target_name,
            )
            for one in fitted
        ]

    @property
    def used(self) -> tuple[str, ...]:
        """The columns that inputs must have."""
        return tuple(column.name for column in self.numbers) + tuple(column.name for column in self.categories)

    def transform(self, inputs: TableInputs) -> Tensors:
        """Numbers, float32 of shape (N, D), and codes, int64 of shape (N, L), when there are categories.

        Raises:
            TypeError: the inputs are no table.
            InputError: a column is missing, or one of numbers holds text or infinite values.
        """
        return self.transform_rows(inputs, np.arange(len(inputs)))

    def transform_rows(self, inputs: Inputs, rows: np.ndarray) -> Tensors:
        """What `transform` makes of some rows, int64 of shape (n,); in a file where it would fill the memory.

        Raises:
            TypeError: the inputs are no table.
            InputError: a column is missing, or one of numbers holds text or infinite values.
        """
        if not isinstance(inputs, TableInputs):
            raise refuse_inputs("TablePreprocessor", inputs)
        frame = inputs.frame
        self.check_columns(frame, inputs.where)
        count, what, advice = len(rows), f"{inputs.where}: {len(rows):,} rows", "Choose fewer by --max-rows"
        numbers = roomy((count, self.spec.shape[0]), np.float32, what, advice)
        codes = roomy((count, len(self.categories)), np.int64, what, advice)
        whole = np.array_equal(rows, np.arange(len(frame)))
        step = max(1, _CHUNK_CELLS // max(1, len(self.used)))
        for start in range(0, count, step):
            chosen = slice(start, start + step) if whole else rows[start : start + step]
            place = 0
            for column in self.numbers:
                block = self._standardised(column, frame[column.name].iloc[chosen], inputs.where)
                numbers[start : start + step, place : place + block.shape[1]] = block
                place += block.shape[1]
            for place, category in enumerate(self.categories):
                codes[start : start + step, place] = category.codes(as_text(frame[category.name].iloc[chosen]))
        if not self.categories:
            return (torch.from_numpy(numbers),)
        return torch.from_numpy(numbers), torch.from_numpy(codes)

    def check_columns(self, frame: pd.DataFrame, where: str) -> None:
        """Refuses a table that lacks columns.

        Args:
            frame: the table.
            where: what to call it in messages.

        Raises:
            InputError: a column is missing.
        """
        missing = [name for name in self.used if name not in frame.columns]
        if not missing:
            return
        near = did_you_mean(missing[0], [str(name) for name in frame.columns if name not in self.columns])
        raise InputError(
            f"{where}: {len(missing)} of the {len(self.used)} columns that the model takes "
            f"{'is' if len(missing) == 1 else 'are'} missing: {', '.join(map(repr, missing[:5]))}"
            f"{', ...' if len(missing) > 5 else ''}. Give the columns that were there in training."
            + (near if near.startswith(" Did you mean") else "")
        )

    def strangers(self, inputs: TableInputs) -> tuple[str, ...]:
        """A sentence for each column with values that training never saw, and what becomes of them.

        Args:
            inputs: with the columns of training.

        Raises:
            InputError: a column is missing, or one of numbers holds text or infinite values.
        """
        said = []
        for column in self.numbers:
            values = self._numbers(column, inputs.frame[column.name], inputs.where)
            far = np.abs(values / 2 - column.mean / 2) > CLIP / 2 * column.std
            if far.any():
                said.append(
                    f"{called(column.name)}: {int(far.sum())} of {len(far)} values lie more than {CLIP:g} standard "
                    f"deviations from the mean of training, such as {values[far][0]:g}; they are cut there"
                )
        for category in self.categories:
            texts = as_text(inputs.frame[category.name])
            new = (texts.notna() & ~texts.isin(category.levels)).to_numpy()
            if new.any() and not category.rare:  # else they may be levels that were too rare
                said.append(
                    f"{called(category.name)}: {int(new.sum())} of {len(new)} values never came in training, such "
                    f"as {texts[new].iloc[0]!r}; they count as missing"
                )
        return tuple(said)

    def _standardised(self, column: NumberColumn, raw: pd.Series, where: str) -> np.ndarray:
        array = self._numbers(column, raw, where)
        missing = np.isnan(array)
        filled = (np.where(missing, column.median, array) / 2 - column.mean / 2) / column.std * 2
        scaled = np.clip(filled, -CLIP, CLIP)[:, None].astype(np.float32)
        if column.silent:
            return np.hstack([scaled, np.zeros_like(scaled)])
        return np.hstack([scaled, missing[:, None].astype(np.float32)]) if column.flagged else scaled

    def _numbers(self, column: NumberColumn, raw: pd.Series, where: str) -> np.ndarray:
        """A column's values, float64 of shape (n,), NaN where missing."""
        values, infinite = clean_column(raw)
        if values.dtype == object:
            wrong = np.flatnonzero(pd.to_numeric(values, errors="coerce").isna() & values.notna())[0]
            raise InputError(
                f"{where}: {called(column.name)} holds numbers, got {values.iloc[wrong]!r} in row {raw.index[wrong]} "
                "(counted from 0). Mend it or leave it empty."
            )
        if len(infinite):
            raise InputError(
                f"{where}: {called(column.name)} is infinite in {len(infinite)} of {len(raw)} rows, first in row "
                f"{raw.index[infinite[0]]} (counted from 0). Mend these values, or leave them empty."
            )
        return values.to_numpy(np.float64)

    def to_json(self) -> dict[str, Any]:
        """This preprocessor as plain JSON types."""
        return {
            "kind": "table",
            "numbers": [dict(vars(column)) for column in self.numbers],
            "categories": [{**vars(column), "levels": list(column.levels)} for column in self.categories],
            "columns": list(self.columns),
            "target_name": self.target_name,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> TablePreprocessor:
        """The preprocessor that `to_json` wrote."""
        return cls(
            numbers=tuple(NumberColumn(**column) for column in record["numbers"]),
            categories=tuple(
                CategoryColumn(**{**column, "levels": tuple(column["levels"])}) for column in record["categories"]
            ),
            columns=tuple(record["columns"]),
            target_name=record["target_name"],
        )


def _refuse_alike(inputs: TableInputs, rows: np.ndarray) -> None:
    names = [str(name) for name in inputs.frame.columns]
    if not any(inputs.frame[name].iloc[rows].nunique(dropna=False) > 1 for name in names):
        raise InputError(
            f"{inputs.where}: no input takes two values in the {len(rows)} training rows ({called(names[0])} is "
            f"{inputs.frame[names[0]].iloc[rows[0]]} in all), there is nothing to learn from. Give columns that "
            "differ from row to row."
        )


def _names_of(target_name: str | None, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The target columns; several come joined."""
    if target_name is None:
        return ()
    return (target_name,) if target_name in columns else tuple(target_name.split(SEPARATOR))
