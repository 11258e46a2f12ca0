"""Samples that are exactly equal, by a hash of each one's content.

Rows of a table are compared as they were parsed, pictures as they were decoded (so that copies of a file are found,
and the same pixels in another lossless format).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from tenfold.data.findings import Finding
from tenfold.data.inputs import ArrayInputs, DatasetInputs, ImageFileInputs, Inputs, TableInputs
from tenfold.data.source import Source

SHOWN = 3
_CHUNK_CELLS = 20_000_000


def content_hashes(inputs: Inputs) -> np.ndarray | None:
    """A number for each sample, uint64 of shape (N,), equal for equal inputs; None for samples not in memory.

    Example:
        >>> hashes = content_hashes(TableInputs(pd.DataFrame({"a": [1.0, 2.0, 1.0], "b": ["x", "x", "x"]})))
        >>> (hashes[0] == hashes).tolist()
        [True, False, True]
    """
    if isinstance(inputs, TableInputs):
        return _of_cells(inputs.frame)
    if isinstance(inputs, ArrayInputs):
        return _of_bytes(inputs.images)
    if isinstance(inputs, ImageFileInputs):
        return _of_bytes(inputs.pixels)[inputs.rows]
    if isinstance(inputs, DatasetInputs) and inputs.samples is not None:
        columns = [_of_bytes(tensor.cpu().numpy()) for tensor in inputs.samples]
        return _of_bytes(np.stack(columns, axis=1))[inputs.rows]
    return None


def _of_cells(frame: pd.DataFrame) -> np.ndarray:
    """As of float64, whatever large tables keep; some rows at a time."""
    rows = max(1, _CHUNK_CELLS // max(1, len(frame.columns)))
    small = [name for name in frame.columns if frame[name].dtype == np.float32]
    pieces = (frame.iloc[start : start + rows] for start in range(0, len(frame), rows))
    return np.concatenate(
        [
            pd.util.hash_pandas_object(piece.astype(dict.fromkeys(small, np.float64)), index=False).to_numpy()
            for piece in pieces
        ]
    )


def _of_bytes(samples: np.ndarray) -> np.ndarray:
    flat = np.ascontiguousarray(samples).reshape(len(samples), -1)
    digests = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in flat)
    return np.frombuffer(digests, np.uint64)


def find_duplicates(source: Source, parts: Mapping[str, np.ndarray]) -> list[Finding]:
    """Samples of one part that another part holds as well.

    Args:
        source: what was cut.
        parts: the rows of each part, by its name.

    Returns:
        One finding, or none. Its rows are all copies, in the order of their content, so that pairs stand together.
    """
    hashes = content_hashes(source.inputs)
    if hashes is None:
        return []
    rows = np.concatenate(list(parts.values()))
    part = np.repeat(np.arange(len(parts)), [len(some) for some in parts.values()])
    spread = spread_over_parts(hashes[rows], part)
    if not spread.any():
        return []
    found = rows[spread]
    found = found[np.argsort(hashes[found], kind="stable")]
    said = source.targets[found]
    targets = pd.Series(said if said.ndim == 1 else _of_bytes(said)).groupby(hashes[found]).nunique()
    groups, contradicting = len(targets), int((targets > 1).sum())
    coarse = isinstance(source.inputs, TableInputs) and _is_coarse(source.inputs.frame)
    others = f", {contradicting} of them with different targets" if contradicting else ""
    advice = (
        "All columns take few values, so that these may be different samples."
        if coarse
        else "Scores on them measure memory: remove the copies, or keep them together by --group."
    )
    return [
        Finding(
            kind="duplicates",
            severity="note" if coarse else "warning",
            sentence=f"{len(found)} samples are copies of samples in another part ({groups} different ones{others}), "
            f"such as {shown_samples(source, found)}. {advice}",
            number=len(found),
            rows=found,
            names=sample_names(source, found),
        )
    ]


def spread_over_parts(keys: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Whether each sample's key also comes in another part, bool of shape (n,).

    Example:
        >>> spread_over_parts(np.array([5, 5, 6, 6, 7]), np.array([0, 1, 0, 0, 1])).tolist()
        [True, True, False, False, False]
    """
    _, places = np.unique(keys, return_inverse=True)
    least = np.full(places.max(initial=-1) + 1, part.max(initial=0))
    most = np.zeros_like(least)
    np.minimum.at(least, places, part)
    np.maximum.at(most, places, part)
    return (least < most)[places]


def sample_names(source: Source, rows: np.ndarray) -> tuple[str, ...]:
    """The file names of some samples, or nothing when they did not come from files."""
    if not isinstance(source.inputs, ImageFileInputs):
        return ()
    return tuple(source.inputs.paths[row] for row in rows)


def shown_samples(source: Source, rows: np.ndarray) -> str:
    """The first few samples for a sentence, by file name or row number.

    Example:
        >>> from tenfold.data import read
        >>> shown_samples(read("iris"), np.array([4, 7, 9, 11]))
        'rows 4, 7, 9'
    """
    names = sample_names(source, rows[:SHOWN])
    return ", ".join(names) if names else "rows " + ", ".join(map(str, source.row_numbers(rows[:SHOWN])))


def _is_coarse(frame: pd.DataFrame) -> bool:
    """Whether no column has values that rarely repeat, so that different samples may well be equal."""
    return not any(frame[name].nunique() > 0.5 * len(frame) for name in frame.columns)
