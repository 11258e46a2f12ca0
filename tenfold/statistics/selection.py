"""Which predictors to let predict together: greedy selection with replacement on samples held out from training.

P predictors, N samples
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tenfold.statistics.scores import FloatArray, check_direction

MAX_SIZE = 50


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The answer of `select_ensemble`.

    Attributes:
        counts: how often each predictor was taken, int, shape (P,); its share of the sum is its weight in the mean.
        score: of the mean of those taken, on the samples that it was selected by: flattered by the selection.
        single: of the best predictor alone, on the same samples.
    """

    counts: np.ndarray
    score: float
    single: float

    @property
    def weights(self) -> FloatArray:
        """Shares that sum to 1, float, shape (P,)."""
        return np.asarray(self.counts / self.counts.sum(), dtype=np.float64)


def select_ensemble(
    outputs: ArrayLike,
    score: Callable[[FloatArray], ArrayLike],
    *,
    direction: str,
    max_size: int = MAX_SIZE,
) -> Selection:
    """Predictors whose mean scores best: in each round the one whose addition helps most, also if it is in already.

    The first is the best alone; every further round takes the predictor with which the mean of all that were taken
    scores best, even where that is worse than before, and at the end the best of these means is kept, the smallest
    where several are equal. A coarse score, such as accuracy, is equal often: then a finer one should decide. So the
    ensemble is never worse than its best predictor on the samples that it is selected by; on others it may be. The
    paper's bagging of predictors, which guards against selecting too closely among hundreds, is not here.

    Args:
        outputs: what each predictor says of the same samples, in one unit (probabilities, values), shape (P, N, ...).
        score: of the outputs of C candidates, shape (C, N, ...), a number each, shape (C,), or several, shape (C, S):
            where the first are equal the second decide, and so on. NaN is worst.
        direction: of the score, "maximize" or "minimize".
        max_size: rounds, at least 1.

    Returns:
        How often each predictor counts.

    Raises:
        ValueError: no predictor, `max_size` below 1, an unknown direction, or no predictor with a score.

    Example:
        >>> truth = np.array([1.0, 2.0, 3.0])
        >>> said = np.array([truth + 1, truth - 1, truth + 3])  # the errors of the first two cancel
        >>> found = select_ensemble(said, lambda o: ((o - truth) ** 2).mean(axis=1), direction="minimize")
        >>> found.counts.tolist(), found.score, found.single
        ([1, 1, 0], 0.0, 1.0)

    References:
        Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models", ICML 2004,
            sections 2 (forward selection) and 2.1 (with replacement).
    """
    sign = check_direction("select_ensemble", direction)
    outputs_P = np.asarray(outputs, dtype=np.float64)
    if outputs_P.ndim < 2 or not len(outputs_P) or max_size < 1:
        raise ValueError(
            f"select_ensemble: outputs must be of at least one predictor, shape (P, N, ...), and max_size at least "
            f"1, got shape {outputs_P.shape} and {max_size!r}. Give the predictions of each on the same samples."
        )
    total, taken, found = np.zeros_like(outputs_P[0]), [], []
    for size in range(1, max_size + 1):
        scores_CS = np.asarray(score((total + outputs_P) / size), dtype=np.float64).reshape(len(outputs_P), -1)
        best = _first_best(scores_CS, sign)
        if np.isnan(scores_CS[best, 0]):
            raise ValueError(
                "select_ensemble: score must be a number for some predictor, got none. Check its outputs."
            )
        taken.append(best)
        found.append(scores_CS[best])
        total = total + outputs_P[best]
    size = _first_best(np.stack(found), sign) + 1
    counts = np.bincount(taken[:size], minlength=len(outputs_P))
    return Selection(counts=counts, score=float(found[size - 1][0]), single=float(found[0][0]))


def _first_best(scores_CS: FloatArray, sign: float) -> int:
    """The place of the best row, compared column by column; the first of those that are equal but for rounding."""
    oriented = np.where(np.isnan(scores_CS), -np.inf, sign * scores_CS)
    return max(range(len(oriented)), key=lambda place: tuple(float(f"{value:.12g}") for value in oriented[place]))
