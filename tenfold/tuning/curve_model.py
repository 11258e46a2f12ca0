"""Where learning curves will end, with how much doubt: many curves and many shapes in one closed-form fit.

Given its shape, a curve is a straight line with normal noise, and with a normal-inverse-gamma prior everything about
it is known in closed form: the forecast is Student's t, and how well the shape explains the epochs so far is the
evidence. Shapes are averaged by their evidence (families weigh alike before anything is seen): Bayesian model
averaging without sampling, so that 256 curves against some hundred shapes take 13 to 26 ms of one core.

The prior is taken from the curves themselves, all trials together: a curve is expected to move on by about as much as
curves moved since half of their epochs, and what is left when a line through three epochs is taken away is noise.
Without the first, two steep epochs would be continued to accuracies far above 1.

Known to be missing: learning rates that fall to zero may make curves rise at the end, which no family foresees;
intervals of the trials that win are too low. `docs/early_stopping.md` has the numbers.

G shapes, T trials, n epochs seen

References:
    Domhan, Springenberg and Hutter, IJCAI 2015, section 3 (families weighed by how well they explain the curve).
    Bishop, "Pattern Recognition and Machine Learning", 2006, sections 3.3 to 3.5 and exercise 3.12.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from tenfold.tuning.curve_families import FloatArray, shapes

PRIOR_DEGREES = 3.0  # the noise of all trials counts as so many residuals of each one's own
NORMAL_MEDIAN = 0.6745  # the median of |x| of a standard normal x
RECENT = 8  # epochs whose bends tell the noise: the steep beginning bends by itself


@dataclass(frozen=True, kw_only=True)
class Ends:
    """What is known about the scores at the full resource: for each curve a mixture of Student's t over shapes.

    Attributes:
        weight_GT: the probability of each shape, float, shape (G, T).
        middle_GT: the location of the end.
        scale_GT: its scale.
        degrees: degrees of freedom, the same for all.
    """

    weight_GT: FloatArray
    middle_GT: FloatArray
    scale_GT: FloatArray
    degrees: float

    def mean(self) -> FloatArray:
        """The expected end, shape (T,)."""
        return (self.weight_GT * self.middle_GT).sum(axis=0)

    def std(self) -> FloatArray:
        """Its standard deviation, shape (T,)."""
        inner = self.scale_GT**2 * self.degrees / (self.degrees - 2)
        return np.sqrt((self.weight_GT * (inner + (self.middle_GT - self.mean()) ** 2)).sum(axis=0))

    def chance_above(self, level: FloatArray | float, doubt: float = 0.0) -> FloatArray:
        """The probability that the end is above a level, shape (T,).

        Args:
            level: one, or one a curve.
            doubt: the standard deviation of the level itself.
        """
        scale = np.sqrt(self.scale_GT**2 + doubt**2)
        return (self.weight_GT * stdtr(self.degrees, (self.middle_GT - level) / scale)).sum(axis=0)

    def quantile(self, probability: float) -> FloatArray:
        """The level that the end is below with this probability, by bisection, shape (T,)."""
        reach = 50 * self.std()
        low, high = self.mean() - reach, self.mean() + reach
        for _ in range(50):
            middle = (low + high) / 2
            below = 1 - self.chance_above(middle) < probability
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2


@dataclass(frozen=True, kw_only=True)
class CurvePrior:
    """What curves of one question have in common.

    Attributes:
        spread: how far their scores lie apart, > 0.
        noise: standard deviation of a score around its curve, > 0.
        steps: after each epoch n the usual distance between the scores of epochs n and (n + 1) // 2, >= 0; the last
            one holds for all later epochs.
    """

    spread: float
    noise: float
    steps: tuple[float, ...]


def curve_prior(curves: Sequence[ArrayLike]) -> CurvePrior:
    """The prior of these curves.

    Args:
        curves: scores by epoch; what is not finite is left out.

    Example:
        >>> prior = curve_prior([[0.5, 0.7, 0.8, 0.85], [0.1, 0.1, 0.1, 0.1]])
        >>> round(prior.spread, 3), [round(step, 3) for step in prior.steps]
        (0.75, [0.375, 0.1, 0.05, 0.075])
    """
    longest = max((np.size(curve) for curve in curves), default=0)
    scores_TR = np.full((len(curves), max(longest, 1)), np.nan)
    for row, curve in zip(scores_TR, curves, strict=True):
        row[: np.size(curve)] = np.asarray(curve, dtype=float)
    scores_TR[~np.isfinite(scores_TR)] = np.nan
    known = scores_TR[np.isfinite(scores_TR)]
    spread = float(np.ptp(known)) if known.size else 0.0
    spread = spread or 1e-3 * max(abs(float(known[0])) if known.size else 0.0, 1.0)
    half = (np.arange(1, scores_TR.shape[1] + 1) - 1) // 2
    steps = [_middle(np.abs(column), 0.5 * spread) for column in (scores_TR - scores_TR[:, half]).T]
    recent = [scores_TR[row, max(0, np.size(curve) - RECENT) :] for row, curve in enumerate(curves)]
    bends = np.concatenate([np.abs(np.diff(row, 2)) for row in recent if row.size > 2] or [np.zeros(0)])
    noise = _middle(bends / (NORMAL_MEDIAN * np.sqrt(6)), 0.05 * spread)
    return CurvePrior(spread=spread, noise=max(noise, 1e-3 * spread), steps=(0.5 * spread, *steps[1:]))


def _middle(values: FloatArray, otherwise: float) -> float:
    """The median of what is finite, or another number where nothing is."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else otherwise


def forecast_ends(scores_Tn: FloatArray, max_resource: int, prior: CurvePrior) -> Ends:
    """Fits all shapes to all curves and says which scores they will end with, the noise of a score included.

    Args:
        scores_Tn: finite scores after epochs 1 to n, shape (T, n), 1 <= n.
        max_resource: the epoch of the end, at least n and at least 2.
        prior: what the curves have in common.

    Example:
        >>> curve = np.array([[0.9 - 0.5 / epoch for epoch in range(1, 11)]])
        >>> ends = forecast_ends(curve, 100, curve_prior(curve))
        >>> round(float(ends.mean()[0]), 2)
        0.9
    """
    n = scores_Tn.shape[1]
    shape_GR, families = shapes(max_resource)
    shape_Gn = shape_GR[:, :n]
    last_T = scores_Tn[:, -1]
    moved_nT = (scores_Tn - last_T[:, None]).T
    step = prior.steps[min(n, len(prior.steps)) - 1]
    # Posterior of (end - last, drop) given each shape: 2 x 2 systems, written out.
    p, q = (prior.noise / (step + prior.noise)) ** 2, (prior.noise / prior.spread) ** 2
    a, b_G, c_G = n + p, shape_Gn.sum(axis=1), (shape_Gn**2).sum(axis=1) + q
    determinant_G = a * c_G - b_G**2
    sum_T, product_GT = moved_nT.sum(axis=0), shape_Gn @ moved_nT
    end_GT = (c_G[:, None] * sum_T - b_G[:, None] * product_GT) / determinant_G[:, None]
    drop_GT = (a * product_GT - b_G[:, None] * sum_T) / determinant_G[:, None]
    squares_T = (moved_nT**2).sum(axis=0)
    residual_GT = np.maximum(squares_T - end_GT * sum_T - drop_GT * product_GT, 0.0)
    degrees = PRIOR_DEGREES + n
    noise_GT = (PRIOR_DEGREES * prior.noise**2 + residual_GT) / degrees
    evidence_GT = -0.5 * np.log(determinant_G)[:, None] - 0.5 * degrees * np.log(noise_GT)
    weight_GT = _weights(evidence_GT, families)
    scale_GT = np.sqrt(noise_GT * (c_G / determinant_G + 1)[:, None])
    return Ends(weight_GT=weight_GT, middle_GT=end_GT + last_T, scale_GT=scale_GT, degrees=degrees)


def _weights(evidence_GT: FloatArray, families: Sequence[str]) -> FloatArray:
    sizes = {name: families.count(name) for name in set(families)}
    log_GT = evidence_GT - np.log([sizes[name] for name in families])[:, None]
    weight_GT = np.exp(log_GT - log_GT.max(axis=0))
    return weight_GT / weight_GT.sum(axis=0)
