"""Whether training and validation rows look alike: a classifier that tries to tell them apart, and each column.

References:
    Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017, section 3.
    Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 143, 1982, equation 1.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from tenfold.core.seeds import generator
from tenfold.data.columns import as_text
from tenfold.data.findings import Finding
from tenfold.data.inputs import ArrayInputs, DatasetInputs, ImageFileInputs, Inputs, TableInputs
from tenfold.data.scratch import gather
from tenfold.data.source import Source

MAX_ROWS = 4000  # of each part; more find smaller shifts than matter
MIN_ROWS = 40
CHANCE = 0.001  # of a false alarm by the classifier, and by all columns together
SMALL_AUC = 0.55
SMALL_DISTANCE = 0.1
_SIDE = 6
_MAX_LEVELS = 64
_CHUNK_NUMBERS = 10_000_000


def find_shift(
    source: Source, train: np.ndarray, valid: np.ndarray, *, seed: int, name: str = "valid"
) -> list[Finding]:
    """Whether a part's inputs differ from the training rows' by more than chance.

    A small gradient boosting learns on half of both parts which row is whose; its AUC on the other half is 0.5 when
    they are alike. Columns are compared one by one (Kolmogorov-Smirnov, chi-squared), corrected for their number.

    Args:
        source: what was cut.
        train: the training rows.
        valid: the rows of the other part.
        seed: of the run; decides which rows are looked at where there are many.
        name: of the other part, for the sentence.

    Returns:
        One finding, or none; its number is the AUC, its names are the columns that differ.
    """
    if min(len(train), len(valid)) < MIN_ROWS:
        return []
    rng = generator(seed, "sample")
    train, valid = (rng.permutation(rows)[:MAX_ROWS] for rows in (train, valid))
    frame = features(source.inputs, np.concatenate([train, valid]))
    if frame is None:
        return []
    label = np.repeat([0, 1], [len(train), len(valid)])
    auc, low, high, surely = _classifier(frame, label, rng)
    columns = _columns(frame, label) if isinstance(source.inputs, TableInputs) else {}
    if not (columns or (surely and auc > SMALL_AUC)):
        return []
    differing = ", ".join(f"{column!r} (distance {distance:.2f})" for column, distance in list(columns.items())[:3])
    return [
        Finding(
            kind="shift",
            severity="warning",
            sentence=f"the {name} part looks different from the training part: a classifier tells their rows apart "
            f"with an AUC of {auc:.2f} ({low:.2f} to {high:.2f}, alike would be 0.50)"
            + (f"; columns that differ: {differing}" if columns else "")
            + ". Scores on it say little of data like the training part; check how the parts were made.",
            number=auc,
            rows=np.sort(valid),
            names=tuple(columns),
        )
    ]


def features(inputs: Inputs, rows: np.ndarray) -> pd.DataFrame | None:
    """What may tell samples apart: the columns of a table; of pictures coarse pixels, and each channel's spread."""
    if isinstance(inputs, TableInputs):
        return inputs.frame.iloc[rows].reset_index(drop=True)
    if isinstance(inputs, ArrayInputs):
        return _coarse(inputs.images, rows)
    if isinstance(inputs, ImageFileInputs):
        return _coarse(inputs.pixels, inputs.rows[rows])
    if isinstance(inputs, DatasetInputs) and inputs.samples is not None:
        samples = inputs.samples[0][inputs.rows[rows]].cpu().numpy()
        return (
            _coarse(samples, np.arange(len(rows)))
            if samples.ndim == 4
            else pd.DataFrame(samples.reshape(len(rows), -1)[:, :256])
        )
    return None


def _coarse(images: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
    chunks = np.array_split(rows, max(1, len(rows) * images[0].size // _CHUNK_NUMBERS))
    return pd.DataFrame(np.concatenate([_coarsened(gather(images, chunk)) for chunk in chunks]))


def _coarsened(images: np.ndarray) -> np.ndarray:
    height, width = images.shape[2:]
    grey = images.mean(axis=1, dtype=np.float32)
    rows = np.linspace(0, height, min(_SIDE, height) + 1).astype(int)[:-1]
    columns = np.linspace(0, width, min(_SIDE, width) + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=1), columns, axis=2).reshape(len(images), -1)
    spread = images.reshape(*images.shape[:2], -1)[:, :, ::7].std(axis=2, dtype=np.float32)
    return np.hstack([sums, spread])


def _classifier(frame: pd.DataFrame, label: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float, bool]:
    """The AUC on rows that were not learned from, its 95 % interval, and whether it is above chance."""
    values = np.column_stack([_codes(frame[name]) for name in frame.columns])
    order = rng.permutation(len(label))
    learned, judged = np.array_split(order, 2)
    model = HistGradientBoostingClassifier(
        max_iter=20, max_leaf_nodes=8, learning_rate=0.2, min_samples_leaf=10, early_stopping=False, random_state=0
    )
    model.fit(values[learned], label[learned])
    truth = label[judged]
    auc = float(roc_auc_score(truth, model.predict_proba(values[judged])[:, 1]))
    ones, zeros = int(truth.sum()), int(len(truth) - truth.sum())
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (ones - 1) * (first - auc**2) + (zeros - 1) * (second - auc**2)
    half = 1.96 * np.sqrt(max(variance, 0) / (ones * zeros))
    by_chance = np.sqrt((ones + zeros + 1) / (12 * ones * zeros))  # of a classifier that knows nothing
    surely = bool(stats.norm.sf((auc - 0.5) / by_chance) < CHANCE)
    return auc, max(auc - half, 0.0), min(auc + half, 1.0), surely


def _codes(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(np.float64)
    codes = pd.factorize(as_text(column), sort=True)[0].astype(np.float64)  # by appearance they would tell the part
    return np.where(codes < 0, np.nan, codes)


def _columns(frame: pd.DataFrame, label: np.ndarray) -> dict[str, float]:
    """Columns that differ, the most different ones first, with the distance of their distributions in [0, 1]."""
    found = {}
    for name in frame.columns:
        distance, chance = _difference(frame[name], label)
        if chance * len(frame.columns) < CHANCE and distance > SMALL_DISTANCE:
            found[str(name)] = distance
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _difference(column: pd.Series, label: np.ndarray) -> tuple[float, float]:
    """The largest difference of the distribution functions, or half the sum of those of the shares; its p-value."""
    if pd.api.types.is_numeric_dtype(column.dtype) and column.nunique() > _MAX_LEVELS:
        values, known = column.to_numpy(np.float64), column.notna().to_numpy()
        parts = [values[known & (label == one)] for one in (0, 1)]
        if min(map(len, parts)) < MIN_ROWS:
            return 0.0, 1.0
        result = stats.ks_2samp(*parts, method="asymp")
        return float(result.statistic), float(result.pvalue)
    counts = _level_counts(column, label)
    if len(counts) < 2:
        return 0.0, 1.0
    shares = counts / counts.sum(axis=0)
    return float(np.abs(shares[:, 0] - shares[:, 1]).sum() / 2), float(stats.chi2_contingency(counts).pvalue)


def _level_counts(column: pd.Series, label: np.ndarray) -> np.ndarray:
    """How often each level stands in either part; missing is a level, and what is rare is one together."""
    values = column if pd.api.types.is_numeric_dtype(column.dtype) else as_text(column)
    codes = pd.factorize(values)[0]
    codes = np.where(codes < 0, codes.max() + 1, codes)
    sizes = np.bincount(codes)
    common = np.argsort(-sizes, kind="stable")[:_MAX_LEVELS]
    place = np.full(len(sizes), len(common))
    place[common] = np.arange(len(common))
    counts = np.zeros((len(common) + 1, 2), np.int64)
    np.add.at(counts, (place[codes], label), 1)
    return counts[counts.sum(axis=1) > 0]
