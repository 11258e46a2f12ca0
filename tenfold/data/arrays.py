"""Arrays and tensors to a Source: which axis is what, and which values pictures take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from tenfold.core.errors import InputError
from tenfold.data.inputs import ArrayInputs
from tenfold.data.source import Source
from tenfold.data.tables import features_source, numbers_of
from tenfold.data.targets import clean_target

USUAL_CHANNELS = (1, 3, 4)


def as_array(values: Any, what: str) -> Any:
    """A NumPy array (DataFrames and Series pass through) from anything array-like; tensors are moved to memory.

    Raises:
        TypeError: the values are no array of numbers or text.
    """
    if isinstance(values, pd.DataFrame | pd.Series):
        return values
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype in (torch.bfloat16, torch.float16) else values).numpy()
    if type(values).__module__.startswith("scipy.sparse"):
        raise TypeError(f"read: {what} must be dense, got {type(values).__name__}. Call .toarray() on it.")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise TypeError(
            f"read: {what} must be a rectangular array, got rows of different lengths ({error})."
        ) from error
    if array.dtype.kind == "c":
        raise TypeError(f"read: {what} must hold real numbers or text, got complex ones. Give their parts.")
    return array


def array_source(
    features: Any, targets: Any, *, task: str | None, name: str, parts: np.ndarray | None = None
) -> Source:
    """A Source from features and targets.

    Args:
        features: shape (N,), (N, D), or pictures of shape (N, H, W), (N, C, H, W) or (N, H, W, C).
        targets: shape (N,) or (N, 1).
        task: as in `read`.
        name: the source's name.
        parts: the part of each row, or None.

    Raises:
        InputError: shapes that do not fit, rows of pandas that stand in two orders, pictures that hold NaN or
            infinity, useless targets.

    Example:
        >>> array_source(np.zeros((10, 28, 28), np.uint8), [0, 1] * 5, task=None, name="x").inputs.images.shape
        (10, 1, 28, 28)
    """
    _refuse_other_order(features, targets, name)
    features, labels = as_array(features, "x"), _flat_targets(as_array(targets, "y"), name)
    if np.ndim(features) == 0 or len(features) != len(labels):
        raise InputError(
            f"{name}: x and y must have one length, got shapes {np.shape(features)} and {np.shape(labels)}. "
            "Give one target for each sample."
        )
    if not len(labels):
        raise InputError(f"{name}: the arrays have no rows. Give at least a few samples.")
    if isinstance(features, pd.Series):
        features = features.to_frame()
    if np.ndim(features) <= 2:
        return features_source(features, labels, task=task, name=name, parts=parts)
    images, notes = as_images(features, name)
    found = clean_target(labels, name="target", task=task, where=name, whole_are_classes=_is_integer(labels))
    kept = found.kept
    return Source(
        name=name,
        kind="image",
        inputs=images if len(kept) == len(images) else images.take(kept),
        targets=found.values,
        task=found.task,
        parts=None if parts is None else parts[kept],
        rows=numbers_of(kept, len(images)),
        notes=(*notes, *found.notes),
        problem=found.problem,
    )


def _refuse_other_order(features: Any, targets: Any, name: str) -> None:
    """Refuses the same rows of pandas in two orders: samples would get the targets of others."""
    if not all(isinstance(values, pd.DataFrame | pd.Series) for values in (features, targets)):
        return
    ours, theirs = features.index, targets.index
    if len(ours) == len(theirs) and not ours.equals(theirs) and ours.is_unique and ours.isin(theirs).all():
        raise InputError(
            f"{name}: x and y hold the same rows in different orders, by their indexes (first {ours[0]!r} and "
            f"{theirs[0]!r}). Give y.loc[x.index]."
        )


def _is_integer(values: Any) -> bool:
    return getattr(values, "dtype", np.asarray(values).dtype).kind in "iu"


def _flat_targets(targets: Any, name: str) -> Any:
    if isinstance(targets, pd.DataFrame):
        targets = targets.iloc[:, 0] if targets.shape[1] == 1 else targets.to_numpy()
    if np.ndim(targets) == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if np.ndim(targets) != 1:
        raise InputError(
            f"{name}: targets must have shape (N,) or (N, 1), got {np.shape(targets)}. "
            "Give class numbers instead of one-hot rows, and one target at a time."
        )
    return targets


def as_images(values: np.ndarray, where: str, *, scale: float | None = None) -> tuple[ArrayInputs, list[str]]:
    """Pictures as uint8 or float32 of shape (N, C, H, W), and a note on the layout.

    The channel axis is the one of size 1, 3 or 4; when both or neither could be, the first one for a tie and the
    smaller one otherwise. Whole numbers between 0 and 255 become uint8; fractions between 0 and 255 are divided by
    255; everything else stays as it is, in float32.

    Args:
        values: shape (N, H, W), (N, C, H, W) or (N, H, W, C).
        where: the source's name for messages.
        scale: that of the training pictures, when these are to be predicted on: 255, 1, or the bundled digits' 16.

    Raises:
        InputError: the shape is no set of pictures, or there are NaN or infinite values (how many, and where).

    Example:
        >>> as_images(np.zeros((5, 32, 32, 3), np.uint8), "x")[0].images.shape
        (5, 3, 32, 32)
    """
    values = np.asarray(values)
    if values.dtype.kind not in "fiub" or values.ndim not in (3, 4) or 0 in values.shape[1:]:
        raise InputError(
            f"{where}: pictures must be numbers of shape (N, H, W), (N, C, H, W) or (N, H, W, C), got "
            f"{values.dtype} {values.shape}. Reshape them."
        )
    shape = values.shape
    if values.ndim == 3:
        values, layout = values[:, None], "(N, H, W)"
    elif _channels_last(shape):
        values, layout = np.moveaxis(values, 3, 1), "(N, H, W, C)"
    else:
        layout = "(N, C, H, W)"
    note = f"pictures: shape {shape} read as {layout}"
    return _plain_values(values, where, scale), [note]


def _channels_last(shape: tuple[int, ...]) -> bool:
    first, last = shape[1] in USUAL_CHANNELS, shape[3] in USUAL_CHANNELS
    return last and not first if first != last else shape[3] < shape[1]


def _plain_values(values: np.ndarray, where: str, scale: float | None) -> ArrayInputs:
    _refuse_not_finite(values, where)
    low, high = values.min(initial=0), values.max(initial=0)
    if scale not in (None, 1.0, 255.0):  # pictures of another range, such as the bundled digits' 0 to 16
        floats = np.ascontiguousarray(values, dtype=np.float32)
        return ArrayInputs(floats / np.float32(scale) if high > 1 else floats, scale)
    if values.dtype == np.uint8:
        return ArrayInputs(np.ascontiguousarray(values), 255.0)
    if scale is None:
        scale = 255.0 if low >= 0 and 1 < high <= 255 else 1.0
        if scale == 255.0 and bool(np.all(values == np.floor(values))):
            return ArrayInputs(np.ascontiguousarray(values).astype(np.uint8), scale)
    floats = np.ascontiguousarray(values, dtype=np.float32)
    return ArrayInputs(floats / np.float32(255) if scale == 255.0 and high > 1 else floats, scale)


def _refuse_not_finite(values: np.ndarray, where: str) -> None:
    if values.dtype.kind != "f":
        return
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if bad.any():
        raise InputError(
            f"{where}: {int(bad.sum())} of {len(values)} pictures hold NaN or infinite values, first sample "
            f"{int(np.flatnonzero(bad)[0])} (counted from 0). Mend or remove them."
        )
