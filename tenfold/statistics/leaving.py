"""Which trials may leave a rung: those clearly worse than the leader, not those with one unlucky fold.

T trials, F folds, S seeds
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tenfold.statistics.means import student_mean
from tenfold.statistics.scores import FloatArray, as_scores, check_direction, check_level, fold_overlap


def clearly_worse(
    scores: ArrayLike,
    *,
    direction: str,
    keep: int = 1,
    test_to_train: float | None = None,
    level: float = 0.95,
) -> list[int]:
    """The trials that leave, worst first: for halving on fold-paired scores.

    Each trial is compared with the leader (the best mean) fold by fold; the seeds of a fold are averaged first. It
    leaves when the one-sided corrected resampled t-test says that it is worse, at (1 - level) / (T - 1): the trial
    that is best in truth can only leave by being beaten by one of the T - 1 others, so at one rung it leaves with
    probability at most 1 - level. With one fold, the seeds are the pairs and there is no overlap.

    With two or three folds hardly anything is ever clear, and everybody stays: the rung's plain `promote` remains for
    those in a hurry. A trial whose every training diverged leaves; where some did, the others are compared.

    Args:
        scores: shape (T, F) or (T, F, S), in the units of the metric.
        direction: "maximize" or "minimize".
        keep: at least so many trials stay, the best ones, at least 1.
        test_to_train: rows of a fold's test part / rows of its training part; None for 1 / (F - 1).
        level: one minus the probability that the best trial leaves, in (0, 1).

    Returns:
        Positions on the first axis; at most T - keep.

    Raises:
        ValueError: an argument is out of its range, or scores have another shape.

    Example:
        >>> good, unlucky = [0.91, 0.92, 0.90, 0.93, 0.91], [0.92, 0.91, 0.91, 0.92, 0.60]
        >>> clearly_worse([good, unlucky, [0.51, 0.50, 0.52, 0.53, 0.50]], direction="maximize")
        [2]

    References:
        Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
        Birattari, Stützle, Paquete and Varrentrapp, "A racing algorithm for configuring metaheuristics", GECCO 2002
            (the idea of racing on paired blocks).
    """
    sign = check_direction("clearly_worse", direction)
    check_level("clearly_worse", level)
    if keep < 1:
        raise ValueError(f"clearly_worse: keep must be at least 1, got {keep!r}. Give the rung's keep.")
    array = sign * as_scores("clearly_worse", "scores", scores, (2, 3))
    values_TU, overlap = _paired_units(array, test_to_train)
    means = [float(row[np.isfinite(row)].mean()) if np.isfinite(row).any() else -math.inf for row in values_TU]
    whole = [mean if np.isfinite(row).all() else -math.inf for mean, row in zip(means, values_TU, strict=True)]
    leader = int(np.argmax(whole)) if max(whole) > -math.inf else int(np.argmax(means))
    risk = (1 - level) / max(1, len(values_TU) - 1)
    order = sorted((t for t in range(len(means)) if t != leader), key=lambda t: (means[t], -t))
    leaving = [t for t in order if _is_worse(values_TU[t], values_TU[leader], overlap, risk)]
    return leaving[: max(0, len(values_TU) - keep)]


def _paired_units(scores: FloatArray, test_to_train: float | None) -> tuple[FloatArray, float]:
    """The values that are paired, shape (T, folds) or (T, seeds), and their overlap.

    What diverged, in any seed of a fold, is NaN: trials are compared on pairs of the same seeds.
    """
    finite = np.where(np.isfinite(scores), scores, math.nan)
    folds_TF = finite if scores.ndim == 2 else finite.mean(axis=2)
    overlap = fold_overlap("clearly_worse", folds_TF, test_to_train)
    return (finite.reshape(len(scores), -1) if scores.shape[1] == 1 else folds_TF), overlap


def _is_worse(values: FloatArray, leader: FloatArray, overlap: float, risk: float) -> bool:
    if not np.isfinite(values).any():
        return bool(np.isfinite(leader).any())
    differences = leader - values
    result = student_mean(differences[np.isfinite(differences)], overlap=overlap)
    return result.mean > 0 and result.p_value / 2 <= risk
