"""Stopping rules by name: who leaves after an epoch, on plain values.

A rule sees the scores of all trials after each of their epochs and answers who leaves, and why, in words. It keeps
nothing between two calls: the same curves give the same answer, so that a resumed run needs no state of it. What it
compares are plain numbers, so that it can be replayed on recorded curves (`benchmarks/curve_replays.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from tenfold.core.registry import Registry
from tenfold.tuning.curve_stopping import CurveStopping
from tenfold.tuning.halving import Rung, successive_halving_rungs
from tenfold.tuning.hyperband import Bracket, Halving, hyperband_brackets
from tenfold.tuning.median import MedianStopping
from tenfold.tuning.standing import check_whole


class StoppingRule(Protocol):
    """Says after each epoch who leaves: a pure function of the curves so far.

    Attributes:
        max_resource: epochs of a trial that is never stopped.
        start_trials: how many trials start in each bracket, in the order of their numbers.
    """

    @property
    def max_resource(self) -> int:
        """Epochs of a trial that is never stopped."""

    @property
    def start_trials(self) -> tuple[int, ...]:
        """How many trials start in each bracket, in the order of their numbers."""

    def rungs(self) -> tuple[tuple[Rung, ...], ...]:
        """For each bracket when its trials are compared; the end alone where trials may leave after any epoch."""

    def leavers(self, curves: Mapping[int, Sequence[float]], running: Set[int]) -> dict[int, str]:
        """Who leaves now, and why.

        To be asked after every epoch. A trial that has reached `max_resource` is never named.

        Args:
            curves: for every trial that ever ran, finished and left ones too, its score after each of its own epochs
                (the mean over folds and seeds), NaN where it was sick. A trial that trains no more but stays in the
                race (its patience is at an end) is given with its curve prolonged.
            running: the trials still in the race.

        Returns:
            For each leaver a reason with its number, in words.
        """


class StoppingRuleFactory(Protocol):
    """Makes a rule. All take these arguments, and leave aside those that mean nothing to them."""

    def __call__(
        self,
        num_trials: int,
        max_resource: int,
        direction: str,
        *,
        reduction_factor: int = 3,
        min_resource: int | None = None,
    ) -> StoppingRule:
        """The rule for so many trials.

        Args:
            num_trials: trials that start.
            max_resource: epochs of a trial that is never stopped.
            direction: "maximize" or "minimize".
            reduction_factor: eta: one of so many goes on at a rung.
            min_resource: nobody leaves before so many epochs; None for the rule's own default.
        """


@dataclass(frozen=True, kw_only=True)
class NoStopping:
    """Everybody trains to the end.

    Attributes:
        num_trials: trials that start.
        max_resource: epochs of each.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> NoStopping(num_trials=2, max_resource=9).leavers({0: [0.1], 1: [0.9]}, {0, 1})
        {}
    """

    num_trials: int
    max_resource: int

    def __post_init__(self) -> None:
        check_whole("NoStopping", "num_trials", self.num_trials, 1)
        check_whole("NoStopping", "max_resource", self.max_resource, 1)

    @property
    def start_trials(self) -> tuple[int, ...]:
        """All trials may start at once."""
        return (self.num_trials,)

    def rungs(self) -> tuple[tuple[Rung, ...], ...]:
        """The end of training alone."""
        return ((Rung(resource=self.max_resource, keep=self.num_trials),),)

    def leavers(self, curves: Mapping[int, Sequence[float]], running: Set[int]) -> dict[int, str]:
        """Nobody."""
        return {}


def _none(
    num_trials: int,
    max_resource: int,
    direction: str,
    *,
    reduction_factor: int = 3,
    min_resource: int | None = None,
) -> StoppingRule:
    return NoStopping(num_trials=num_trials, max_resource=max_resource)


def _successive(
    num_trials: int,
    max_resource: int,
    direction: str,
    *,
    reduction_factor: int = 3,
    min_resource: int | None = None,
) -> StoppingRule:
    rungs = successive_halving_rungs(
        num_trials, 1 if min_resource is None else min_resource, max_resource, reduction_factor
    )
    bracket = Bracket(num_trials=num_trials, rungs=rungs)
    return Halving(brackets=(bracket,), max_resource=max_resource, direction=direction)


def _hyperband(
    num_trials: int,
    max_resource: int,
    direction: str,
    *,
    reduction_factor: int = 3,
    min_resource: int | None = None,
) -> StoppingRule:
    brackets = hyperband_brackets(
        max_resource,
        num_trials=num_trials,
        min_resource=1 if min_resource is None else min_resource,
        reduction_factor=reduction_factor,
    )
    return Halving(brackets=brackets, max_resource=max_resource, direction=direction)


def _median(
    num_trials: int,
    max_resource: int,
    direction: str,
    *,
    reduction_factor: int = 3,
    min_resource: int | None = None,
) -> StoppingRule:
    warm_up = 1 if min_resource is None else min_resource  # averages from the start lag behind: later few leave
    return MedianStopping(num_trials=num_trials, max_resource=max_resource, direction=direction, min_resource=warm_up)


def _curve(
    num_trials: int,
    max_resource: int,
    direction: str,
    *,
    reduction_factor: int = 3,
    min_resource: int | None = None,
) -> StoppingRule:
    warm_up = max(3, max_resource // 4) if min_resource is None else min_resource  # early forecasts are too low
    return CurveStopping(num_trials=num_trials, max_resource=max_resource, direction=direction, min_resource=warm_up)


HALVINGS: Registry[StoppingRuleFactory] = Registry("halving")
HALVINGS.add("none", _none)
HALVINGS.add("successive", _successive)
HALVINGS.add("hyperband", _hyperband)
HALVINGS.add("median", _median)
HALVINGS.add("curve", _curve)
