"""Whether probabilities mean what they say: reliability, calibration error, Brier score, log loss, a temperature.

Arrays of probabilities or logits may have any axes in front of (N, K): a member each, say. Numbers then come with
those axes.

N samples, K classes, G bins
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from tenfold.statistics.scores import FloatArray

BINNINGS = ("width", "mass")
TEMPERATURES = (0.01, 100.0)


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """A reliability diagram as numbers: what was claimed and what came true, a value a bin.

    Attributes:
        low: lower edge of each bin, shape (G,); the edge itself belongs to the bin below.
        high: upper edge, shape (G,).
        count: samples, int64, shape (G,).
        confidence: mean claimed probability, shape (G,); NaN where no sample is.
        accuracy: share that came true, shape (G,); NaN where no sample is.
    """

    low: FloatArray
    high: FloatArray
    count: NDArray[np.int64]
    confidence: FloatArray
    accuracy: FloatArray

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance of claim and truth over samples."""
        seen = self.count > 0
        gaps = np.abs(self.confidence[seen] - self.accuracy[seen])
        return float((gaps * self.count[seen]).sum() / self.count.sum())


def reliability(
    confidences: ArrayLike, hits: ArrayLike, *, num_bins: int = 15, binning: str = "width"
) -> Reliability:
    """Claimed probabilities against what came true, in bins.

    Args:
        confidences: in [0, 1], shape (N,): the largest class probability of each sample, or that of one class.
        hits: whether it came true, shape (N,).
        num_bins: G, at least 1.
        binning: "width" for equal parts of [0, 1], "mass" for equal numbers of samples (ties stay together).

    Raises:
        ValueError: shapes differ, no sample, confidences outside [0, 1], or an argument out of its range.

    Example:
        >>> table = reliability([0.9, 0.8, 0.6, 0.7], [True, True, False, True], num_bins=2)
        >>> table.count.tolist(), table.confidence[1].round(3).item(), table.accuracy[1].item()
        ([0, 4], 0.75, 0.75)

    References:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, equations 2 and 3.
        Nixon et al., "Measuring calibration in deep learning", CVPR workshops 2019 (bins of equal mass).
    """
    claimed, came = np.asarray(confidences, dtype=np.float64), np.asarray(hits, dtype=np.float64)
    _check_reliability(claimed, came, num_bins, binning)
    shares = np.linspace(0, 1, num_bins + 1)
    edges = shares if binning == "width" else np.quantile(claimed, shares)
    bins = np.searchsorted(edges[1:-1], claimed)
    count = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(bins, weights=claimed, minlength=num_bins) / count
        accuracy = np.bincount(bins, weights=came, minlength=num_bins) / count
    return Reliability(low=edges[:-1], high=edges[1:], count=count, confidence=confidence, accuracy=accuracy)


def calibration_error(
    probabilities: ArrayLike, targets: ArrayLike, *, num_bins: int = 15, binning: str = "width"
) -> FloatArray:
    """Expected calibration error of the predicted class, a number a member.

    It is biased upwards: with N samples a perfectly calibrated model has about sqrt(G / N) x 0.3, not zero.

    Args:
        probabilities: shape (..., N, K), K >= 2, rows sum to 1.
        targets: class numbers in [0, K), shape (N,).
        num_bins: G.
        binning: as in `reliability`.

    Returns:
        Shape (...), in [0, 1].

    Raises:
        ValueError: see `reliability`; or shapes that do not fit.

    Example:
        >>> calibration_error([[[0.9, 0.1], [0.8, 0.2]]], [0, 1]).round(3).tolist()
        [0.45]
    """
    rows, classes, shape = _flat("calibration_error", probabilities, targets)
    errors = [
        reliability(row.max(axis=1), row.argmax(axis=1) == classes, num_bins=num_bins, binning=binning).error
        for row in rows
    ]
    return np.array(errors).reshape(shape)


def brier_score(probabilities: ArrayLike, targets: ArrayLike) -> FloatArray:
    """Mean squared distance of the probabilities from the truth, a number a member.

    The sum over classes, in [0, 2]; of two classes half of it, in [0, 1], as the binary score is commonly written.

    Args:
        probabilities: shape (..., N, K), K >= 2.
        targets: class numbers in [0, K), shape (N,).

    Returns:
        Shape (...).

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> float(brier_score([[0.9, 0.1], [0.8, 0.2]], [0, 1]).round(3))
        0.325

    References:
        Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.
    """
    rows, classes, shape = _flat("brier_score", probabilities, targets)
    truth = np.eye(rows.shape[-1])[classes]
    scores = ((rows - truth) ** 2).sum(axis=2).mean(axis=1)
    return (scores / 2 if rows.shape[-1] == 2 else scores).reshape(shape)


def negative_log_likelihood(logits: ArrayLike, targets: ArrayLike, temperature: ArrayLike = 1.0) -> FloatArray:
    """Mean log loss of logits divided by a temperature, a number a member.

    Args:
        logits: or log probabilities, shape (..., N, K), K >= 2.
        targets: class numbers in [0, K), shape (N,).
        temperature: above 0, one for all or shape (...).

    Returns:
        Shape (...).

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> float(negative_log_likelihood([[0.0, 0.0]], [1]).round(4))
        0.6931
    """
    rows, classes, shape = _flat("negative_log_likelihood", logits, targets)
    scale = np.broadcast_to(np.asarray(temperature, dtype=np.float64), shape).reshape(-1, 1, 1)
    picked = np.take_along_axis(log_softmax(rows / scale, axis=2), classes[None, :, None], axis=2)
    return -picked.mean(axis=(1, 2)).reshape(shape)


def fit_temperature(logits: ArrayLike, targets: ArrayLike) -> FloatArray:
    """The temperature that makes validation logits as likely as they can be, a number a member.

    Dividing by it changes no predicted class. Fit it on validation rows, never on those that the model was trained
    on, nor on the test part.

    Args:
        logits: or log probabilities, of validation rows, shape (..., N, K), K >= 2.
        targets: class numbers in [0, K), shape (N,).

    Returns:
        Shape (...), in [0.01, 100]. Where every row is right no temperature is best: the colder the likelier, down
        to where the log loss is zero in float64, and some such value is returned.

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> logits = [[2.0, 0.0]] * 3 + [[0.0, 2.0]]
        >>> temperature = fit_temperature(logits, [0, 0, 0, 0])
        >>> float(temperature.round(3))            # 2 / log(3): three of four are right, and 75 % is then claimed
        1.82

    References:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    rows, classes, shape = _flat("fit_temperature", logits, targets)
    bounds = tuple(np.log(TEMPERATURES))

    def best(row: FloatArray) -> float:
        def loss(log_temperature: float) -> float:
            return float(negative_log_likelihood(row, classes, np.exp(log_temperature)))

        return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9}).x))

    return np.array([best(row) for row in rows]).reshape(shape)


def _flat(
    caller: str, values: ArrayLike, targets: ArrayLike
) -> tuple[FloatArray, NDArray[np.int64], tuple[int, ...]]:
    """Values as (members, N, K), the class numbers, and the axes that stood in front."""
    array, classes = np.asarray(values, dtype=np.float64), np.asarray(targets)
    if (
        array.ndim < 2
        or classes.shape != array.shape[-2:-1]
        or not classes.size
        or array.shape[-1] < 2
        or not np.issubdtype(classes.dtype, np.integer)
        or not ((classes >= 0) & (classes < array.shape[-1])).all()
    ):
        raise ValueError(
            f"{caller}: values must be (..., N, K) with a class number in [0, K) for each of N >= 1 samples, got "
            f"shapes {array.shape} and {classes.shape}. Of a binary model give both columns, 1 - p and p."
        )
    return array.reshape(-1, *array.shape[-2:]), classes.astype(np.int64), array.shape[:-2]


def _check_reliability(claimed: FloatArray, came: FloatArray, num_bins: int, binning: str) -> None:
    if claimed.ndim != 1 or claimed.shape != came.shape or not claimed.size:
        raise ValueError(
            f"reliability: confidences and hits must be 1-dimensional, as many and at least one, got shapes "
            f"{claimed.shape} and {came.shape}. Give one of each a sample."
        )
    if not ((claimed >= 0) & (claimed <= 1)).all():
        raise ValueError(
            f"reliability: confidences must be in [0, 1], got {claimed.min():.4g} to {claimed.max():.4g}. "
            "Give probabilities, not logits."
        )
    if num_bins < 1:
        raise ValueError(f"reliability: num_bins must be at least 1, got {num_bins!r}. Use 15.")
    if binning not in BINNINGS:
        raise ValueError(f"reliability: binning must be 'width' or 'mass', got {binning!r}. Choose one.")
