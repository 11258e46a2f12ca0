"""What more data would give: a power law through scores against training-set size.

P scores, G exponents of the grid
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import f as fisher_f

from tenfold.statistics.scores import FloatArray, as_scores, check_level

EXPONENTS = np.geomspace(0.02, 3.0, 201)
NUM_PARAMETERS = 3


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """score(n) = limit + amount * n ** -exponent, and what more data would give by it.

    Attributes:
        limit: the score of unlimited data.
        amount: positive where the score falls with n (an error), negative where it rises (an accuracy).
        exponent: in [0.02, 3]; at an end of the range the scores do not tell it.
        size: the largest training set seen.
        factor: times as much data.
        gain: score at factor * size minus score at size.
        gain_low: lower end of its interval.
        gain_high: its upper end.
        degrees: number of scores minus three.
    """

    limit: float
    amount: float
    exponent: float
    size: float
    factor: float
    gain: float
    gain_low: float
    gain_high: float
    degrees: int

    def score(self, size: float) -> float:
        """The score of the fitted law at a training-set size."""
        return float(self.limit + self.amount * size**-self.exponent)


def fit_power_law(
    sizes: ArrayLike, scores: ArrayLike, *, factor: float = 2.0, level: float = 0.95, perfect: float | None = None
) -> PowerLaw:
    """Least squares of a power law with a limit, and the gain that it foresees for more data.

    For each exponent of a grid limit and amount are linear, and solved for. The interval is that of the profile
    likelihood: all gains that some exponent allows without a much larger sum of squares. It takes the law as true and
    the errors of the scores as independent and alike; curves whose training sets are nested err less independently
    than that. The further out, the less it should be believed.

    Args:
        sizes: training-set sizes, above 0, shape (P,), at least four different ones.
        scores: of models trained on so many samples, finite, shape (P,) or (P, S) for S seeds.
        factor: how many times the largest size is asked about, above 1.
        level: coverage, in (0, 1).
        perfect: a score that nothing can pass, such as an accuracy of 1 or an error of 0, on which the limit stops.

    Raises:
        ValueError: an argument is out of its range, or the shapes do not fit.

    Example:
        >>> sizes = np.array([100, 200, 400, 800, 1600])
        >>> law = fit_power_law(sizes, 0.95 - 2 * sizes**-0.5)
        >>> round(law.limit, 2), round(law.exponent, 2), round(law.gain, 4)
        (0.95, 0.5, 0.0146)

    References:
        Cortes, Jackel, Solla, Vapnik and Denker, "Learning curves: asymptotic values and rate of convergence",
            NIPS 1993, equation 1.
        Viering and Loog, "The shape of learning curves: a review", IEEE TPAMI 45, 2023 (when it fails).
        Seber and Wild, "Nonlinear Regression", 1989, section 5.2 (the region).
    """
    x, y = _points(sizes, scores)
    check_level("fit_power_law", level)
    if not factor > 1:
        raise ValueError(f"fit_power_law: factor must be above 1, got {factor!r}. Use 2.")
    if perfect is not None and y.min() < perfect < y.max():
        raise ValueError(f"fit_power_law: perfect must not be passed by any score, got {perfect!r}. Leave it out.")
    last, degrees = float(x.max()), len(x) - NUM_PARAMETERS
    _, _, coarse_G, _ = _lines(x / last, y, EXPONENTS, perfect)
    near = int(np.clip(coarse_G.argmin(), 1, len(EXPONENTS) - 2))
    exponents = np.concatenate([EXPONENTS, np.geomspace(EXPONENTS[near - 1], EXPONENTS[near + 1], len(EXPONENTS))])
    limit_G, amount_G, residual_G, squares_G = _lines(x / last, y, exponents, perfect)
    best = int(residual_G.argmin())
    step_G = factor**-exponents - 1
    room_G = residual_G[best] * (1 + fisher_f.ppf(level, 1, degrees) / degrees) - residual_G
    half_G = np.sqrt(np.maximum(room_G, 0.0) / squares_G)
    allowed = room_G >= 0
    ends = np.stack([(amount_G - half_G) * step_G, (amount_G + half_G) * step_G])[:, allowed]
    if perfect is not None:
        room = perfect - float(limit_G[best] + amount_G[best])
        ends = ends.clip(max=room) if _is_ceiling(y, perfect) else ends.clip(min=room)
    exponent = float(exponents[best])
    return PowerLaw(
        limit=float(limit_G[best]),
        amount=float(amount_G[best] * last**exponent),
        exponent=exponent,
        size=last,
        factor=factor,
        gain=float(amount_G[best] * step_G[best]),
        gain_low=float(ends.min()),
        gain_high=float(ends.max()),
        degrees=degrees,
    )


def _is_ceiling(y: FloatArray, perfect: float) -> bool:
    """Whether a perfect score is above the scores, and not below."""
    return perfect >= float(y.max())


def _lines(x: FloatArray, y: FloatArray, exponents: FloatArray, perfect: float | None) -> tuple[FloatArray, ...]:
    """For each exponent the best limit and amount, their sum of squared errors, and the information on the amount."""
    power_GP = x ** -exponents[:, None]
    middle_G = power_GP.mean(axis=1)
    centred_GP = power_GP - middle_G[:, None]
    squares_G = (centred_GP**2).sum(axis=1)
    amount_G = centred_GP @ y / squares_G
    errors_GP = (y - y.mean()) - amount_G[:, None] * centred_GP
    free = (y.mean() - amount_G * middle_G, amount_G, (errors_GP**2).sum(axis=1), squares_G)
    if perfect is None:
        return free
    beyond_G = free[0] > perfect if _is_ceiling(y, perfect) else free[0] < perfect
    held = _through(perfect, power_GP, y)
    return tuple(np.where(beyond_G, b, a) for a, b in zip(free, held, strict=True))


def _through(limit: float, power_GP: FloatArray, y: FloatArray) -> tuple[FloatArray, ...]:
    """As `_lines`, with the limit given."""
    squares_G = (power_GP**2).sum(axis=1)
    amount_G = power_GP @ (y - limit) / squares_G
    errors_GP = y - limit - amount_G[:, None] * power_GP
    return np.full(len(amount_G), limit), amount_G, (errors_GP**2).sum(axis=1), squares_G


def _points(sizes: ArrayLike, scores: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """One row a score: its size and its value."""
    x, y = as_scores("fit_power_law", "sizes", sizes, (1,)), as_scores("fit_power_law", "scores", scores, (1, 2))
    if len(x) != len(y) or not np.isfinite(y).all() or not ((x > 0) & np.isfinite(x)).all() or len(np.unique(x)) < 4:
        raise ValueError(
            f"fit_power_law: sizes must be four or more different numbers above 0 with a finite score each, got "
            f"sizes {x.tolist()} and scores of shape {y.shape}. Leave diverged trainings out."
        )
    return np.repeat(x, y[0].size), y.reshape(-1)
