"""Columns that give the target away: equal to it, or enough to predict it all but perfectly."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.tree import DecisionTreeClassifier

from tenfold.core.seeds import generator
from tenfold.data.columns import as_text, called
from tenfold.data.findings import Finding
from tenfold.data.inputs import TableInputs
from tenfold.data.source import Source

MAX_ROWS = 4000
MIN_ROWS = 40
ALMOST_ALL = 0.98  # of the errors of always naming the commonest class
ALMOST_ONE = 0.9995  # correlation of ranks or of values
_LEAVES_A_CLASS = 2


def find_leakage(source: Source, rows: np.ndarray, *, seed: int) -> list[Finding]:
    """Columns of a table of which a single one predicts the target.

    Args:
        source: a table; other sources give no finding.
        rows: the training rows; test rows are not looked at.
        seed: of the run; decides which rows are looked at where there are many.

    Returns:
        A finding for each column; its number is the share of errors that the column alone avoids, or the correlation.
    """
    if not isinstance(source.inputs, TableInputs) or len(rows) < MIN_ROWS:
        return []
    rows = generator(seed, "sample", 1).permutation(rows)[:MAX_ROWS]
    frame, targets = source.inputs.frame.iloc[rows], source.targets[rows]
    findings = []
    for name in frame.columns:
        if _is_target(frame[name], targets):
            how, number = "is the target itself", 1.0
        else:
            number = (
                _avoided(frame[name], targets) if source.task != "regression" else _correlation(frame[name], targets)
            )
            if number < (ALMOST_ALL if source.task != "regression" else ALMOST_ONE):
                continue
            amount = (
                f"{number:.4g} correlation"
                if source.task == "regression"
                else f"{100 * number:.1f} % of the errors avoided"
            )
            how = f"predicts the target all but perfectly, alone ({amount})"
        findings.append(
            Finding(
                kind="leakage",
                severity="warning",
                sentence=f"{called(name)} {how}. If it is not known before the target is, remove it.",
                number=number,
                names=(str(name),),
            )
        )
    return findings


def _is_target(column: pd.Series, targets: np.ndarray) -> bool:
    if targets.dtype.kind in "fi" and pd.api.types.is_numeric_dtype(column.dtype):
        return bool(np.array_equal(column.to_numpy(np.float64), targets.astype(np.float64)))
    return as_text(column).tolist() == [str(target) for target in targets.tolist()]


def _avoided(column: pd.Series, targets: np.ndarray) -> float:
    """Share of the errors of always naming the commonest class that a small tree on the column avoids."""
    classes, codes = np.unique(targets, return_inverse=True)
    learned, judged = np.arange(0, len(codes), 2), np.arange(1, len(codes), 2)
    errors = np.mean(codes[judged] != np.bincount(codes[learned]).argmax())
    if not errors * len(judged) >= 5:
        return 0.0
    if pd.api.types.is_numeric_dtype(column.dtype):
        tree = DecisionTreeClassifier(max_leaf_nodes=_LEAVES_A_CLASS * len(classes), random_state=0)
        values = column.to_numpy(np.float64)[:, None]
        predicted = tree.fit(values[learned], codes[learned]).predict(values[judged])
    else:
        levels = pd.factorize(as_text(column))[0] + 1
        table = np.zeros((levels.max() + 1, len(classes)))
        np.add.at(table, (levels[learned], codes[learned]), 1)
        predicted = np.where(table.any(axis=1), table.argmax(axis=1), -1)[levels[judged]]
    return float(1 - np.mean(predicted != codes[judged]) / errors)


def _correlation(column: pd.Series, targets: np.ndarray) -> float:
    """Of ranks, so that any monotone function of the target is found; 0 for text and for columns of few values."""
    if not pd.api.types.is_numeric_dtype(column.dtype):
        return 0.0
    values = column.to_numpy(np.float64)
    known = ~np.isnan(values)
    if known.sum() < MIN_ROWS or len(np.unique(values[known])) < 10 or len(np.unique(targets[known])) < 2:
        return 0.0
    return float(abs(stats.spearmanr(values[known], targets[known]).statistic))
