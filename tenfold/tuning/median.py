"""Median stopping: a trial leaves whose best score is worse than what the middle one of the others has.

References:
    Golovin, Solnik, Moitra, Kochanski, Karro and Sculley, "Google Vizier: A Service for Black-Box Optimization", KDD
    2017, section 3.2.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from statistics import median

from tenfold.statistics.scores import check_direction
from tenfold.tuning.halving import Rung
from tenfold.tuning.standing import best_by, check_whole, epochs


@dataclass(frozen=True, kw_only=True)
class MedianStopping:
    """Lets a trial leave whose best score so far is worse than the median of the others' running averages.

    The others are the trials that trained to the end, as in the paper, when there are enough of them. Trials that
    train side by side have nobody who is through: then the others are all that ever ran, and one that has left counts
    on with the average that it left with. Without that the median would be taken over ever better survivors, and
    nearly all would leave.

    Attributes:
        num_trials: trials that start.
        max_resource: epochs of a trial that is never stopped.
        direction: "maximize" or "minimize".
        min_resource: no trial leaves before so many epochs (the warm-up), at least 1.
        min_trials: nobody leaves while fewer others can be compared with, at least 1.
        unit: what the resource is counted in, for the reasons in words.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> rule = MedianStopping(num_trials=3, max_resource=9, direction="maximize", min_resource=2, min_trials=2)
        >>> rule.leavers({0: [0.5, 0.75], 1: [0.75, 0.75], 2: [0.25, 0.5]}, {0, 1, 2})
        {2: '0.5 after 2 epochs is worse than 0.6875, the median of 2 others'}
    """

    num_trials: int
    max_resource: int
    direction: str
    min_resource: int = 1
    min_trials: int = 5
    unit: str = "epoch"

    def __post_init__(self) -> None:
        check_direction("MedianStopping", self.direction)
        for name in ("num_trials", "max_resource", "min_resource", "min_trials"):
            check_whole("MedianStopping", name, getattr(self, name), 1)

    @property
    def start_trials(self) -> tuple[int, ...]:
        """All trials may start at once."""
        return (self.num_trials,)

    def rungs(self) -> tuple[tuple[Rung, ...], ...]:
        """The end of training alone: trials leave after any epoch."""
        return ((Rung(resource=self.max_resource, keep=self.num_trials),),)

    def leavers(self, curves: Mapping[int, Sequence[float]], running: Set[int]) -> dict[int, str]:
        """Who leaves now; a trial that is sick does, once the warm-up is over."""
        leaving: dict[int, str] = {}
        averages: dict[int, dict[int, float]] = {}
        for trial in sorted(running):
            epoch = len(curves.get(trial, ()))
            if not self.min_resource <= epoch < self.max_resource:
                continue
            if epoch not in averages:
                averages[epoch] = self._averages(epoch, curves, running)
            others = [average for other, average in averages[epoch].items() if other != trial]
            reason = self._reason(best_by(curves[trial], epoch, self.direction), epoch, others)
            if reason is not None:
                leaving[trial] = reason
        return leaving

    def _reason(self, best: float, epoch: int, others: Sequence[float]) -> str | None:
        """Why a trial of this best score leaves; None when it stays."""
        if math.isnan(best):
            return f"its score after {epochs(epoch, self.unit)} is not a number"
        if len(others) < self.min_trials:
            return None
        middle = median(others)
        worse = best < middle if self.direction == "maximize" else best > middle
        if not worse:
            return None
        after = f"after {epochs(epoch, self.unit)}"
        return f"{best:.4g} {after} is worse than {middle:.4g}, the median of {len(others)} others"

    def _averages(self, epoch: int, curves: Mapping[int, Sequence[float]], running: Set[int]) -> dict[int, float]:
        """The running averages by this epoch of those to compare with; the worst there is for one without a score."""
        through = {trial: curve for trial, curve in curves.items() if len(curve) >= self.max_resource}
        if len(through) < self.min_trials:
            through = {trial: curve for trial, curve in curves.items() if len(curve) >= epoch or trial not in running}
        worst = -math.inf if self.direction == "maximize" else math.inf
        return {trial: _average(curve[:epoch], worst) for trial, curve in through.items()}


def _average(scores: Sequence[float], worst: float) -> float:
    known = [float(score) for score in scores if math.isfinite(score)]
    return sum(known) / len(known) if known else worst
