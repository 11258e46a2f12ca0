"""Pairwise covering: few rows in which every two values of two columns meet."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def pairwise(*columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Rows of one value a column, such that any two values of two columns stand in one row together.

    Greedy: each row takes, among all combinations, the one with the most pairs that have not met; ties go to the
    first. Good for products of some thousand rows.
    """
    product = list(itertools.product(*columns))
    missing = {pair for row in product for pair in _pairs(row)}
    rows = []
    while missing:
        best = max(product, key=lambda row: len(_pairs(row) & missing))
        missing -= _pairs(best)
        rows.append(best)
    return rows


def _pairs(row: tuple[str, ...]) -> set[tuple[tuple[int, str], ...]]:
    return set(itertools.combinations(enumerate(row), 2))
