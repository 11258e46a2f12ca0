"""Two methods on the same seeds and folds: the difference, how often one is better, and a verdict in words.

S seeds, F folds
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from tenfold.core.intervals import wilson
from tenfold.statistics.means import Mean, anytime_mean, fold_mean, one_pass
from tenfold.statistics.power import pairs_needed
from tenfold.statistics.scores import FloatArray, number, population


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of all pairs of methods alike; see `compare_scores`."""

    sign: float
    overlap: float
    resplit: bool
    sequential: bool
    level: float
    num_comparisons: int

    @property
    def simultaneous_level(self) -> float:
        """Of each interval, so that all of them together hold at `level` (Bonferroni)."""
        return 1 - (1 - self.level) / self.num_comparisons


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is known of A against B; differences are A - B in the units of the metric.

    Attributes:
        a: name of A.
        b: name of B.
        n: pairs (seeds, or seeds x folds) in which both scores are finite.
        diverged_a: pairs in which A's score is not finite.
        diverged_b: pairs in which B's score is not finite.
        difference: mean of A - B over the n pairs.
        std: standard deviation of A - B over what the test counts: seeds, or folds.
        low: lower end of the interval of the expected difference, for this comparison alone.
        high: its upper end.
        simultaneous_low: lower end of an interval that holds together with those of all other comparisons
            (Bonferroni; a little wider than Holm's p-values would need).
        simultaneous_high: its upper end.
        p_value: two-sided, of no expected difference; NaN where nothing can be said.
        p_adjusted: after Holm's correction for all comparisons made; the verdict stands on it.
        a_better: share of pairs in which A is better, ties by half, a diverged training worse than any other:
            the estimate of the probability for one more training of each with the same seed and rows.
        a_better_low: lower end of its interval (Wilson's; with folds, of so many independent pairs as carry the same
            information).
        a_better_high: its upper end.
        winner: name of the better one; None where no difference is shown.
        more_seeds: how many more seeds would show the difference with 80 % probability, were it what it seems now;
            0 when it is shown, None when 10,000 would not do or more seeds do not help.
        test: "paired t", "corrected resampled t", "anytime t", "sign", or "none" where nothing can be said.
        level: coverage.
        population: over what the difference is expected.
    """

    a: str
    b: str
    n: int
    diverged_a: int
    diverged_b: int
    difference: float
    std: float
    low: float
    high: float
    simultaneous_low: float
    simultaneous_high: float
    p_value: float
    p_adjusted: float
    a_better: float
    a_better_low: float
    a_better_high: float
    winner: str | None
    more_seeds: int | None
    test: str
    level: float
    population: str

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""
        if self.winner:
            verdict = f"{self.winner} is better than {self.b if self.winner == self.a else self.a}"
        else:
            verdict = f"No difference shown between {self.a} and {self.b}"
        return " ".join([f"{verdict}: {self._difference()}.", self._chance(), *self._remarks()])

    def _difference(self) -> str:
        if not self.n:
            return "no pair in which both trainings ended"
        text = f"{self.a} - {self.b} = {number(self.difference)}"
        if math.isinf(self.low):
            text += " (too few for an interval)"
        elif not math.isnan(self.low):
            text += f" ({100 * self.level:g} % interval {number(self.low)} to {number(self.high)})"
        return f"{text}, n = {self.n}" + ("" if math.isnan(self.p_adjusted) else f", p = {self.p_adjusted:.2g}")

    def _chance(self) -> str:
        ends = f"{self.a_better_low:.0%} to {self.a_better_high:.0%}"
        return f"{self.a} is better in {self.a_better:.0%} of trainings ({ends})."

    def _remarks(self) -> list[str]:
        remarks = []
        if self.diverged_a or self.diverged_b:
            remarks.append(
                f"Trainings diverged: {self.diverged_a} of {self.a}, {self.diverged_b} of {self.b}; the difference "
                "is that of the pairs in which neither did, and the verdict counts a diverged one as worst."
                if self.test == "sign"
                else f"Trainings diverged: {self.diverged_a} of {self.a}, {self.diverged_b} of {self.b}; "
                "the difference leaves them out, and so there is no verdict."
            )
        if not self.winner and self.more_seeds:
            remarks.append(f"If the difference is what it seems, {self.more_seeds} more seeds would show it.")
        if not self.winner and self.test == "corrected resampled t":
            remarks.append("Other data would tell more; further seeds on the same rows hardly do.")
        return remarks


def compare_pair(a: str, b: str, scores_a: FloatArray, scores_b: FloatArray, question: Question) -> Comparison:
    """Everything but Holm's correction and the verdict, which need the other comparisons.

    Args:
        a: name of A.
        b: name of B.
        scores_a: shape (S,) or (S, F).
        scores_b: the same seeds and folds in the same places.
        question: what is asked.
    """
    finite_a, finite_b = np.isfinite(scores_a), np.isfinite(scores_b)
    both = finite_a & finite_b
    differences = np.subtract(scores_a, scores_b, out=np.full(scores_a.shape, math.nan), where=both)
    alone = _mean(differences, question, question.level)
    together = _mean(differences, question, question.simultaneous_level)
    wins = _wins(scores_a, scores_b, question.sign)
    p_value, test = _p_value(alone, wins, bool((~both).any()), question)
    share, low, high = _share(wins, question)
    return Comparison(
        a=a,
        b=b,
        n=int(both.sum()),
        diverged_a=int((~finite_a).sum()),
        diverged_b=int((~finite_b).sum()),
        difference=alone.mean,
        std=alone.std,
        low=alone.low,
        high=alone.high,
        simultaneous_low=together.low,
        simultaneous_high=together.high,
        p_value=p_value,
        p_adjusted=p_value,
        a_better=share,
        a_better_low=low,
        a_better_high=high,
        winner=None,
        more_seeds=_more_seeds(alone, scores_a, question),
        test=test,
        level=question.level,
        population=population(scores_a, question.overlap),
    )


def _mean(differences: FloatArray, question: Question, level: float) -> Mean:
    if question.sequential:
        return anytime_mean(differences[np.isfinite(differences)], level=level)
    return fold_mean(differences, resplit=question.resplit, overlap=question.overlap, level=level)


def _wins(scores_a: FloatArray, scores_b: FloatArray, sign: float) -> FloatArray:
    """1 where A is better, 0 where B is, 1/2 where neither; what is not finite is worse than all."""
    a, b = (np.where(np.isfinite(scores), sign * scores, -math.inf) for scores in (scores_a, scores_b))
    return np.where(a > b, 1.0, np.where(a < b, 0.0, 0.5))


def _p_value(mean: Mean, wins: FloatArray, diverged: bool, question: Question) -> tuple[float, str]:
    """The mean of pairs that did not diverge is no fair judge where others did: then signs decide, or nothing."""
    if diverged:
        if question.overlap or question.sequential or _has_folds(wins):
            return math.nan, "none"
        decided = wins[wins != 0.5]
        return (float(binomtest(int(decided.sum()), decided.size).pvalue) if decided.size else 1.0), "sign"
    if math.isnan(mean.p_value):
        return math.nan, "none"
    if mean.std == 0:
        return mean.p_value, "sign"
    if question.sequential:
        return mean.p_value, "anytime t"
    return mean.p_value, "corrected resampled t" if question.overlap else "paired t"


def _has_folds(scores: FloatArray) -> bool:
    return scores.ndim == 2 and scores.shape[1] > 1


def _share(wins: FloatArray, question: Question) -> tuple[float, float, float]:
    """How often A wins, with Wilson's interval; overlapping folds count as 1 / (1 / n + overlap) pairs."""
    num_units = wins.shape[1] if _has_folds(wins) else one_pass(wins.size, question.overlap)
    share = float(wins.mean())
    low, high = wilson(share, max(1, int(1 / (1 / num_units + question.overlap))), question.level)
    return share, low, high


def _more_seeds(mean: Mean, scores: FloatArray, question: Question) -> int | None:
    """Seeds beyond those there are; None of folds and splits, where more seeds do not replace data."""
    if not mean.std > 0 or question.overlap or _has_folds(scores):
        return None
    needed = pairs_needed(
        abs(mean.mean) / mean.std, level=question.simultaneous_level, sequential=question.sequential
    )
    return None if needed is None else max(1, needed - len(scores))
