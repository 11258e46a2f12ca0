"""Over- and underfitting from plain curves: what to do next, with the numbers that say so.

P points of a curve, S seeds
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from tenfold.statistics.means import student_mean
from tenfold.statistics.power_law import fit_power_law
from tenfold.statistics.scores import FloatArray, as_scores, check_direction, number

UNMEASURED_GAP = 10
NORMAL_MEDIAN = NormalDist().inv_cdf(0.75)
CURVES = ("epochs", "sizes", "widths")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Training and validation scores against epochs, training-set size or width.

    Attributes:
        at: epochs, sizes or widths, increasing, shape (P,), at least two.
        train: score on the training part, shape (P,) or (P, S).
        valid: score on the validation part, the same shape.
    """

    at: ArrayLike
    train: ArrayLike
    valid: ArrayLike


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What one thing to do is expected to give, in the units of the metric; positive is better in either direction.

    Attributes:
        name: "train longer", "more data", "more capacity" or "more regularisation".
        gain: expected improvement of the validation score.
        low: lower end of its 95 % interval; NaN where one curve alone does not tell.
        high: its upper end.
        basis: where the number comes from, in words.
    """

    name: str
    gain: float
    low: float
    high: float
    basis: str

    @property
    def sentence(self) -> str:
        """The number, its interval and where it comes from."""
        ends = "" if math.isnan(self.low) else f" ({number(self.low)} to {number(self.high)})"
        return f"{self.name}: {number(self.gain)}{ends}, {self.basis}"


@dataclass(frozen=True, kw_only=True)
class FitDiagnosis:
    """The answer of `diagnose_fit`.

    Attributes:
        verdict: the name of a remedy, or "fine".
        gap: training score minus validation score at the end of the curve, positive where training is better.
        remedies: all that were measured, the largest gain first.
        sentence: the verdict with its numbers.
    """

    verdict: str
    gap: float
    remedies: tuple[Remedy, ...]
    sentence: str


def diagnose_fit(
    *,
    direction: str,
    min_gain: float,
    epochs: Curve | None = None,
    sizes: Curve | None = None,
    widths: Curve | None = None,
    perfect: float | None = None,
) -> FitDiagnosis:
    """Which remedy promises most: more data, more capacity, more regularisation, longer training, or none.

    Each curve measures remedies by what they gave last:

    - epochs: the slope of the last quarter, continued for as long again ("train longer"); and the fall of the
      validation score from its best eighth of the epochs to its last ("more regularisation");
    - sizes: a power law, at twice the data ("more data");
    - widths: the last step ("more capacity"), or the fall from the best width to the largest ("more regularisation").

    The verdict is the remedy with the largest gain, of those that exceed `min_gain` and whose interval, where there
    is one, leaves out zero. Where there is none, but training is better than validation by more than ten times
    `min_gain`, it is "more regularisation" with the remark that this is a bound and no measurement; otherwise "fine".
    Fine means that nothing measured promises more, not that nothing could.

    Args:
        direction: "maximize" or "minimize", of the metric.
        min_gain: the smallest improvement worth an effort, in the units of the metric, above 0.
        epochs: against epochs, at least 4 points.
        sizes: against training-set size, at least 4 points.
        widths: against width, the number of parameters or the like.
        perfect: a score that nothing can pass, which the power law keeps to; see `fit_power_law`.

    Raises:
        ValueError: no curve, too few points, shapes that do not fit, scores that are not finite, or a bad argument.

    Example:
        >>> epoch = np.arange(1, 41)
        >>> valid = 0.9 - 0.3 * np.exp(-epoch / 3) - 0.004 * np.maximum(epoch - 15, 0)
        >>> result = diagnose_fit(
        ...     direction="maximize", min_gain=0.005, epochs=Curve(at=epoch, train=1 - 0.4 / epoch, valid=valid)
        ... )
        >>> result.verdict
        'more regularisation'
    """
    sign = check_direction("diagnose_fit", direction)
    if not min_gain > 0:
        raise ValueError(f"diagnose_fit: min_gain must be above 0, got {min_gain!r}. Use 0.005 for an accuracy, say.")
    given = {name: curve for name, curve in zip(CURVES, (epochs, sizes, widths), strict=True) if curve is not None}
    if not given:
        raise ValueError("diagnose_fit: curves must be at least one, got none. Give epochs, sizes or widths.")
    arrays = {name: _arrays(name, curve, sign) for name, curve in given.items()}
    of_sizes = partial(_of_sizes, perfect=None if perfect is None else sign * perfect)
    measures: dict[str, Callable[[FloatArray, FloatArray], list[Remedy]]] = {
        "epochs": _of_epochs,
        "sizes": of_sizes,
        "widths": _of_widths,
    }
    found = [remedy for name, (at, _, valid) in arrays.items() for remedy in measures[name](at, valid)]
    remedies = tuple(sorted(found, key=lambda remedy: -remedy.gain))
    _, train, valid = next(iter(arrays.values()))
    return _conclude(remedies, float((train[-1] - valid[-1]).mean()), min_gain)


def _conclude(remedies: tuple[Remedy, ...], gap: float, min_gain: float) -> FitDiagnosis:
    worth = [r for r in remedies if r.gain > min_gain and not r.low <= 0]
    told = f"Training is better than validation by {number(gap)}. " + ". ".join(r.sentence for r in remedies) + "."
    if worth:
        verdict, reason = worth[0].name, f"Expected gain {number(worth[0].gain)}, {worth[0].basis}."
    elif gap > UNMEASURED_GAP * min_gain:
        verdict = "more regularisation"
        reason = "No measured remedy gives enough; what this one could give was not measured, the gap bounds it."
    else:
        verdict, reason = "fine", f"Nothing that was measured promises more than {number(min_gain)}."
    return FitDiagnosis(
        verdict=verdict, gap=gap, remedies=remedies, sentence=f"{verdict.capitalize()}. {reason} {told}"
    )


def _of_epochs(at: FloatArray, valid: FloatArray) -> list[Remedy]:
    last = max(3, len(at) // 4)
    x = at[-last:] - at[-last:].mean()
    span = float(at[-1] - at[-last])
    slopes = x @ valid[-last:] / (x @ x)
    residuals = valid[-last:] - valid[-last:].mean(axis=0) - np.outer(x, slopes)
    degrees = (last - 2) * valid.shape[1]
    alone = math.sqrt(float((residuals**2).sum()) / degrees / valid.shape[1] / float(x @ x)) * span
    gain, low, high = _interval(slopes * span, alone)
    basis = f"if the slope of the last {last} points goes on for as long"
    return [Remedy(name="train longer", gain=gain, low=low, high=high, basis=basis), _fall_of_epochs(valid)]


def _fall_of_epochs(valid: FloatArray) -> Remedy:
    """The best window is chosen by the scores, and so the noise of the curve counts for as many as there are."""
    window = max(1, len(valid) // 8)
    sums = np.cumsum(np.concatenate([np.zeros((1, valid.shape[1])), valid]), axis=0)
    means = (sums[window:] - sums[:-window]) / window
    best = int(means.mean(axis=1).argmax())
    steps = np.abs(np.diff(valid, axis=0))
    noise = float(np.median(steps)) / NORMAL_MEDIAN / math.sqrt(2)  # the median does not see the steep beginning
    alone = noise * math.sqrt(2 / window / valid.shape[1])
    gain, low, high = _interval(means[best] - means[-1], alone, num_choices=len(means))
    basis = f"the fall from the best {window} epochs to the last" if window > 1 else "the fall from the best epoch"
    return Remedy(name="more regularisation", gain=gain, low=low, high=high, basis=basis)


def _of_sizes(at: FloatArray, valid: FloatArray, perfect: float | None) -> list[Remedy]:
    law = fit_power_law(at, valid, perfect=perfect)
    basis = f"at {law.factor * law.size:g} samples by a power law"
    return [Remedy(name="more data", gain=law.gain, low=law.gain_low, high=law.gain_high, basis=basis)]


def _of_widths(at: FloatArray, valid: FloatArray) -> list[Remedy]:
    best = int(valid.mean(axis=1).argmax())
    steps = (
        ("more capacity", valid[-1] - valid[-2], f"by the step from {at[-2]:g} to {at[-1]:g}"),
        ("more regularisation", valid[best] - valid[-1], f"the fall from {at[best]:g} to {at[-1]:g}"),
    )
    return [
        Remedy(name=name, gain=gain, low=low, high=high, basis=basis)
        for name, gains, basis in steps
        for gain, low, high in [_interval(gains, math.nan)]
    ]


def _interval(gains: FloatArray, error_alone: float, num_choices: int = 1) -> tuple[float, float, float]:
    """Mean and 95 % ends: by the spread over seeds, or by an error estimated from the curve itself, if that is wider.

    A single seed has the second alone; NaN where there is neither.
    """
    over_seeds = student_mean(gains)
    half_alone = NormalDist().inv_cdf(1 - 0.025 / num_choices) * error_alone
    half = float(np.fmax(over_seeds.high - over_seeds.mean, half_alone))
    return over_seeds.mean, over_seeds.mean - half, over_seeds.mean + half


def _arrays(name: str, curve: Curve, sign: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Positions and oriented scores, shapes (P,), (P, S), (P, S)."""
    at = as_scores("diagnose_fit", f"{name}.at", curve.at, (1,))
    train, valid = (
        as_scores("diagnose_fit", f"{name}.{part}", getattr(curve, part), (1, 2)) for part in ("train", "valid")
    )
    fewest = 2 if name == "widths" else 4
    if len(at) < fewest or not (np.diff(at) > 0).all():
        raise ValueError(
            f"diagnose_fit: {name}.at must be {fewest} or more increasing numbers, got {at.tolist()}. Sort the curve."
        )
    if train.shape != valid.shape or len(train) != len(at) or not np.isfinite(train + valid).all():
        raise ValueError(
            f"diagnose_fit: {name} must have finite training and validation scores of one shape, a row for each of "
            f"{len(at)} points, got shapes {train.shape} and {valid.shape}. Leave diverged seeds out."
        )
    return at, sign * train.reshape(len(at), -1), sign * valid.reshape(len(at), -1)
