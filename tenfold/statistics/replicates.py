"""What several trainings of one configuration say: mean, spread, an interval, and what one more would give.

S seeds, F folds
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student_t

from tenfold.core.intervals import wilson
from tenfold.statistics.means import fold_mean
from tenfold.statistics.scores import (
    FloatArray,
    as_scores,
    check_direction,
    check_level,
    fold_overlap,
    number,
    population,
)


@dataclass(frozen=True, kw_only=True)
class Replicates:
    """The answer of `summarize_replicates`; all in the units of the metric.

    Attributes:
        n: trainings whose score is finite.
        diverged: trainings whose score is not.
        mean: of the finite scores.
        std: standard deviation of the finite scores, n - 1.
        low: lower end of the interval of the expected score.
        high: its upper end.
        next_low: lower end of the interval of the score of one more training.
        next_high: its upper end.
        worst: of the scores; NaN where a training diverged, which is worse than any.
        best: of the finite scores.
        diverged_low: lower end of Wilson's interval of the share of trainings that diverge.
        diverged_high: its upper end.
        level: coverage of each interval.
        population: over what the expectation is taken.
    """

    n: int
    diverged: int
    mean: float
    std: float
    low: float
    high: float
    next_low: float
    next_high: float
    worst: float
    best: float
    diverged_low: float
    diverged_high: float
    level: float
    population: str

    @property
    def sentence(self) -> str:
        """The numbers in words."""
        percent = f"{100 * self.level:g} %"
        if not self.n:
            return f"All {self.diverged} trainings diverged."
        text = f"{number(self.mean)} on average over n = {self.n}"
        if math.isnan(self.low):
            text += ", without a spread to tell how sure that is"
        else:
            text += f" ({percent} interval {number(self.low)} to {number(self.high)}"
            text += f"; one more training: {number(self.next_low)} to {number(self.next_high)})"
        lost = f" {self.diverged} of {self.n + self.diverged} trainings diverged and are not in the mean."
        return f"{text}. Of {self.population}.{lost if self.diverged else ''}"


def summarize_replicates(
    scores: ArrayLike,
    *,
    direction: str,
    resplit: bool = False,
    test_to_train: float | None = None,
    level: float = 0.95,
) -> Replicates:
    """Mean, spread, interval and a forecast from repeated trainings; for `replicate` and `cross_validate`.

    Which randomness the numbers speak of depends on the shape:

    - **Seeds alone**, shape (S,): the data, its split and the test part stay as they are. The expected score is that
      over all seeds, of the streams that were varied; "one more training" is one more seed. Nothing is said about
      another data set: for that, bootstrap the test part, or take folds.
    - **Folds**, shape (S, F): the population is data sets of this size from the same source. The expected score is
      that of a model trained on the n_train rows of one fold, over data sets, seeds, and samples it has not seen;
      "one more training" is such a model, scored on such a test part. Folds share training rows, which the corrected
      resampled variance accounts for (see `student_mean`); further seeds steady the mean but cannot replace data (see
      `fold_mean`).

    The interval of the expected score is exact for normal scores of independent seeds. That of one more training
    relies on the normal shape at any n: skewed scores fall out of it on their long side.

    Args:
        scores: shape (S,) or (S, F), in the units of the metric. NaN or infinite means that the training diverged:
            it is counted, and all but `worst` and the share of diverged speak of trainings that do not diverge.
        direction: "maximize" or "minimize".
        resplit: each seed had folds of its own.
        test_to_train: rows of a test part / rows of its training part. None: 0 for seeds alone, 1 / (F - 1) for
            folds. Give it for repeated random splits, whose scores have shape (S,).
        level: coverage, in (0, 1).

    Returns:
        The numbers; `sentence` says them. Ends are NaN with fewer than two values, and where all are equal.

    Raises:
        ValueError: an argument is out of its range, or scores have another shape.

    Example:
        >>> result = summarize_replicates([0.91, 0.93, 0.92, 0.94, 0.90], direction="maximize")
        >>> result.sentence[:97]
        '0.92 on average over n = 5 (95 % interval 0.9004 to 0.9396; one more training: 0.8719 to 0.9681).'

    References:
        Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
        Hahn and Meeker, "Statistical Intervals", 1991, section 4.2 (prediction interval).
        Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021 (what to vary).
    """
    sign = check_direction("summarize_replicates", direction)
    check_level("summarize_replicates", level)
    array = as_scores("summarize_replicates", "scores", scores, (1, 2))
    overlap = fold_overlap("summarize_replicates", array, test_to_train)
    finite = array[np.isfinite(array)]
    expected = fold_mean(array, resplit=resplit, overlap=overlap, level=level)
    mean = expected.mean
    half = _next_half(finite, expected.n, overlap, level)
    lost = array.size - finite.size
    diverged_low, diverged_high = wilson(lost / array.size, array.size, level)
    return Replicates(
        n=finite.size,
        diverged=lost,
        mean=mean,
        std=float(finite.std(ddof=1)) if finite.size > 1 else math.nan,
        low=expected.low,
        high=expected.high,
        next_low=mean - half,
        next_high=mean + half,
        worst=math.nan if lost else float(sign * (sign * finite).min()),
        best=float(sign * (sign * finite).max()) if finite.size else math.nan,
        diverged_low=diverged_low,
        diverged_high=diverged_high,
        level=level,
        population=population(array, overlap),
    )


def _next_half(finite: FloatArray, num_units: int, overlap: float, level: float) -> float:
    """Half the width of the interval of one more score, s² = (1 - rho) sigma² and rho = overlap / (1 + overlap).

    The new score varies with sigma² = (1 + overlap) s², the mean with (1 / n + overlap) s², and the two are
    independent.
    """
    if num_units < 2 or not np.ptp(finite) > 0:
        return math.nan
    factor = (1 + overlap) + (1 / num_units + overlap)
    return float(student_t.isf((1 - level) / 2, num_units - 1) * finite.std(ddof=1) * math.sqrt(factor))
