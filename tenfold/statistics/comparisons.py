"""Two or more methods compared, paired by seed and fold: once, or after every batch of seeds.

S seeds, F folds
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from tenfold.core.errors import did_you_mean
from tenfold.statistics.pairs import Comparison, Question, compare_pair
from tenfold.statistics.scores import FloatArray, as_scores, check_direction, check_level, fold_overlap

BEST = "best"


def compare_scores(
    scores: Mapping[str, ArrayLike],
    *,
    direction: str,
    against: str | None = None,
    resplit: bool = False,
    test_to_train: float | None = None,
    sequential: bool = False,
    level: float = 0.95,
) -> tuple[Comparison, ...]:
    """Which method is better, and how sure that is; for `compare`.

    Scores in the same place must come from the same seed and the same rows: the differences are what is tested.
    Which randomness the answer speaks of depends on the shape, as in `summarize_replicates`:

    - **Seeds alone**, shape (S,): other seeds, on this data and this test part. The test is the paired t-test.
    - **Folds**, shape (S, F): other data of this size from the same source. The test is the corrected resampled
      t-test; further seeds steady the mean but cannot replace data (see `fold_mean`).
    - **Sequential**, either shape: the folds of a seed are averaged, and the answer speaks of other seeds on this
      data. It may be asked after every batch of seeds, with all scores so far in the order of the seeds: of all
      such looks together at most 1 - level call a winner where there is none, and training may stop at the first
      one that does. The price: `anytime_mean`.

    **Several methods.** The verdicts stand on p-values with Holm's correction: the probability of any false winner
    is at most 1 - level. All pairs are compared, or all methods with a named one. The best of these scores is
    chosen by the scores, so comparisons with it are corrected for all pairs. `low` and `high` hold for one
    comparison, `simultaneous_low` and `simultaneous_high` for all together.

    **Diverged trainings** (NaN or infinite) are no numbers: the mean difference leaves their pairs out. With seeds
    alone the verdict is then that of the exact sign test, in which a diverged training loses against one that is
    not; with folds and in sequential mode there is no verdict, and the sentence says so.

    Args:
        scores: by name of the method, each of shape (S,) or (S, F), all the same; in the units of the metric.
        direction: "maximize" or "minimize".
        against: None for all pairs, a name for all others against it, "best" for the best mean.
        resplit: each seed had folds of its own, the same for all methods.
        test_to_train: rows of a test part / rows of its training part. None: 0 for seeds alone, 1 / (F - 1) for
            folds. Give it for repeated random splits, whose scores have shape (S,). Not used by the sequential mode.
        sequential: the answer stays right however often it is asked.
        level: coverage of intervals; 1 - level is the rate of false winners, in (0, 1).

    Returns:
        A comparison for each pair; against one method, that one is always B.

    Raises:
        ValueError: fewer than two methods, scores of different shapes, an unknown name, or an argument out of range.

    Example:
        >>> wide = [0.912, 0.921, 0.908, 0.917, 0.915]
        >>> deep = [0.903, 0.909, 0.905, 0.907, 0.902]
        >>> [comparison] = compare_scores({"wide": wide, "deep": deep}, direction="maximize")
        >>> comparison.sentence[:88]
        'wide is better than deep: wide - deep = 0.0094 (95 % interval 0.004543 to 0.01426), n = '

    References:
        Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
        Wang and Ramdas, arXiv 2310.03722, 2023 (sequential mode).
    """
    sign = check_direction("compare_scores", direction)
    check_level("compare_scores", level)
    arrays = _same_shapes(scores)
    if sequential:
        arrays = {name: array.mean(axis=1) if array.ndim == 2 else array for name, array in arrays.items()}
    pairs = _pairs(arrays, against, sign)
    first = next(iter(arrays.values()))
    question = Question(
        sign=sign,
        overlap=0.0 if sequential else fold_overlap("compare_scores", first, test_to_train),
        resplit=resplit,
        sequential=sequential,
        level=level,
        num_comparisons=math.comb(len(arrays), 2) if against == BEST else len(pairs),
    )
    comparisons = [compare_pair(a, b, arrays[a], arrays[b], question) for a, b in pairs]
    adjusted = holm([comparison.p_value for comparison in comparisons], question.num_comparisons)
    return tuple(_decide(c, p, question) for c, p in zip(comparisons, adjusted, strict=True))


def holm(p_values: Sequence[float], num_comparisons: int | None = None) -> list[float]:
    """P-values after Holm's correction: that any true hypothesis falls below a level has at most that probability.

    Args:
        p_values: in [0, 1]; NaN stays NaN and counts as a comparison.
        num_comparisons: how many were made, where only some are told; by default their number.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    count = num_comparisons or len(p_values)
    order = sorted(range(len(p_values)), key=lambda i: (math.isnan(p_values[i]), p_values[i]))
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for rank, i in enumerate(order):
        if not math.isnan(p_values[i]):
            largest = max(largest, min(1.0, (count - rank) * p_values[i]))
            adjusted[i] = largest
    return adjusted


def _same_shapes(scores: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    arrays = {name: as_scores("compare_scores", f"scores[{name!r}]", value, (1, 2)) for name, value in scores.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(arrays) < 2 or len(set(shapes.values())) > 1:
        raise ValueError(
            f"compare_scores: scores must be two or more methods of one shape, got {shapes!r}. "
            "Train all of them on the same seeds and folds."
        )
    return arrays


def _pairs(arrays: Mapping[str, FloatArray], against: str | None, sign: float) -> list[tuple[str, str]]:
    if against is None:
        return list(combinations(arrays, 2))
    if against == BEST:
        against = max(arrays, key=lambda name: _oriented_mean(arrays[name], sign))
    if against not in arrays:
        fix = did_you_mean(against, arrays)
        raise ValueError(f"compare_scores: against must be a method, 'best' or None, got {against!r}.{fix}")
    return [(name, against) for name in arrays if name != against]


def _oriented_mean(scores: FloatArray, sign: float) -> float:
    """More is better; a method with a diverged training comes last."""
    return sign * float(scores.mean()) if np.isfinite(scores).all() else -math.inf


def _decide(comparison: Comparison, p_adjusted: float, question: Question) -> Comparison:
    """The winner, on the side to which the pairs lean, where the adjusted p-value is small enough."""
    shown = p_adjusted <= 1 - question.level
    a_leads = comparison.a_better > 0.5 if comparison.test == "sign" else question.sign * comparison.difference > 0
    winner = (comparison.a if a_leads else comparison.b) if shown else None
    return dataclasses.replace(
        comparison, p_adjusted=p_adjusted, winner=winner, more_seeds=0 if shown else comparison.more_seeds
    )
