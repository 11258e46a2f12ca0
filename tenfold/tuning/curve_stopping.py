"""Learning-curve modelling: trials leave that will hardly be the best, whatever shape their curves take.

References:
    Domhan, Springenberg and Hutter, "Speeding Up Automatic Hyperparameter Optimization of Deep Neural Networks by
        Extrapolation of Learning Curves", IJCAI 2015, section 4 (the termination criterion; there each curve is
        judged by itself).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from tenfold.statistics.scores import FloatArray, check_direction
from tenfold.tuning.curve_model import CurvePrior, Ends, curve_prior, forecast_ends
from tenfold.tuning.halving import Rung
from tenfold.tuning.standing import check_whole, epochs, filled

THRESHOLD = 0.018


@dataclass(frozen=True, kw_only=True)
class CurveStopping:
    """Lets trials leave, the least likely first, as long as the best is hardly among them.

    Each trial has a chance of being the best at the full resource. Those leave after an epoch whose chances together
    are below a threshold: of a hundred trials with a chance of 1 % each, one will be the best. So few leave where
    scores hardly tell the trials apart, and many where they do.

    A chance of being the best is the chance of ending above what the best is forecast to end with, divided by the sum
    of these over all trials, because one alone will be the best. Early in training dozens may still pass that level,
    each of them with a chance that is then worth little.

    What is forecast is a trial's best score so far, for its best weights are what it would be kept for. Where scores
    jump from epoch to epoch (high rates, few validation rows) that runs ahead of the scores themselves. It stands
    still between two records, and so how noisy scores are is read off the scores, not off their best so far: taken
    for a curve without noise it would be foreseen to stand still for good.

    The best is the best score that any trial has, or, where that is more, what the leader is forecast to end with:
    trials that train side by side will all pass the leader's present score. A schedule that all share (rates that
    fall to zero) lifts all curves at the end as no curve foresees; since forecast is held against forecast, that does
    little harm. The trial with the best score never leaves.

    Attributes:
        num_trials: trials that start.
        max_resource: epochs of a trial that is never stopped.
        direction: "maximize" or "minimize".
        min_resource: no trial leaves before so many epochs, at least 1.
        threshold: what the chances of those who leave after an epoch stay below together, in (0, 0.5].
        unit: what the resource is counted in, for the reasons in words.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> rule = CurveStopping(num_trials=2, max_resource=50, direction="maximize")
        >>> good = [0.9 - 0.4 / epoch for epoch in range(1, 11)]
        >>> rule.leavers({0: good, 1: [score - 0.3 for score in good]}, {0, 1})
        {1: '0.56 after 10 epochs has a chance of less than 0.1 % to be the best after 50'}
    """

    num_trials: int
    max_resource: int
    direction: str
    min_resource: int = 3
    threshold: float = THRESHOLD
    unit: str = "epoch"

    def __post_init__(self) -> None:
        check_direction("CurveStopping", self.direction)
        for name in ("num_trials", "max_resource", "min_resource"):
            check_whole("CurveStopping", name, getattr(self, name), 1)
        if not 0 < self.threshold <= 0.5:
            raise ValueError(
                f"CurveStopping: threshold must be in (0, 0.5], got {self.threshold!r}. Use {THRESHOLD}."
            )

    @property
    def start_trials(self) -> tuple[int, ...]:
        """All trials may start at once."""
        return (self.num_trials,)

    def rungs(self) -> tuple[tuple[Rung, ...], ...]:
        """The end of training alone: trials leave after any epoch."""
        return ((Rung(resource=self.max_resource, keep=self.num_trials),),)

    def leavers(self, curves: Mapping[int, Sequence[float]], running: Set[int]) -> dict[int, str]:
        """Who leaves now; a trial that is sick does, once the warm-up is over."""
        sign = check_direction("CurveStopping", self.direction)
        rising = {
            trial: sign * np.asarray(curve[: self.max_resource], dtype=float)
            for trial, curve in curves.items()
            if len(curve)
        }
        here = {trial: rising[trial] for trial in sorted(running) if trial in rising}
        leaving = {
            trial: f"its score after {epochs(len(curve), self.unit)} is not a number"
            for trial, curve in here.items()
            if self._may_leave(curve) and not math.isfinite(curve[-1])
        }
        known = {trial: _best_so_far(filled(curve)) for trial, curve in here.items() if math.isfinite(curve[-1])}
        if not any(self._may_leave(curve) for curve in known.values()):
            return leaving
        chances = self._chances(known, list(rising.values()))
        for trial in self._least_likely(chances, known):
            score, age = sign * float(known[trial][-1]), epochs(len(known[trial]), self.unit)
            leaving[trial] = (
                f"{score:.4g} after {age} has a chance of {_percent(chances[trial])} "
                f"to be the best after {self.max_resource}"
            )
        return dict(sorted(leaving.items()))

    def _least_likely(self, chances: Mapping[int, float], known: Mapping[int, FloatArray]) -> list[int]:
        """Those who may leave whose chances together are below the threshold, as many as there can be."""
        order = sorted((chance, trial) for trial, chance in chances.items() if self._may_leave(known[trial]))
        together = np.cumsum([chance for chance, _ in order])
        return [trial for (_, trial), total in zip(order, together, strict=True) if total < self.threshold]

    def _may_leave(self, curve: FloatArray) -> bool:
        return self.min_resource <= len(curve) < self.max_resource

    def _chances(self, known: Mapping[int, FloatArray], everybody: Sequence[FloatArray]) -> dict[int, float]:
        """For each running trial but the leaders the chance that it will be the best of all."""
        bests = [_best_so_far(curve) for curve in everybody]
        ends_with = [float(curve[-1]) for curve in bests if np.isfinite(curve[-1])]
        record = max(ends_with)
        groups: dict[int, list[int]] = {}
        for trial, curve in known.items():
            groups.setdefault(len(curve), []).append(trial)
        prior = _prior(everybody, bests)
        ends = {
            epoch: forecast_ends(np.stack([known[trial] for trial in trials]), self.max_resource, prior)
            for epoch, trials in groups.items()
        }
        level, doubt = _to_beat(list(ends.values()), record)
        above = {
            trial: float(chance)
            for epoch, trials in groups.items()
            for trial, chance in zip(trials, ends[epoch].chance_above(level, doubt), strict=True)
            if known[trial][-1] < record
        }
        everyone = ends_with.count(record) + sum(above.values())
        return {trial: chance / everyone for trial, chance in above.items()}


def _prior(curves: Sequence[FloatArray], bests: Sequence[FloatArray]) -> CurvePrior:
    """How far best scores move, and how noisy scores are: most bends of a best score so far are zero."""
    return replace(curve_prior(bests), noise=curve_prior(curves).noise)


def _best_so_far(curve: FloatArray) -> FloatArray:
    """After each epoch the best of the scores until then; what is not finite counts as none."""
    return np.fmax.accumulate(np.where(np.isfinite(curve), curve, np.nan))


def _percent(chance: float) -> str:
    return "less than 0.1 %" if chance < 0.001 else f"{100 * chance:.2g} %"


def _to_beat(groups: Sequence[Ends], record: float) -> tuple[float, float]:
    """What the best will be, with its standard deviation: the record, or a forecast that surely is above it."""
    level, doubt = record, 0.0
    for ends in groups:
        mean, std = ends.mean(), ends.std()
        surest = int((mean - std).argmax())
        if mean[surest] - std[surest] > level - doubt:
            level, doubt = max(record, float(mean[surest])), float(std[surest])
    return level, doubt
