"""Resources other than epochs: fractions of the training data, or models of growing scale, as steps of a ladder.

On a ladder a trial is trained for its full number of epochs on each step, and is compared with others when the step
is done: the curve that a stopping rule sees has one score a step, in place of one an epoch. On data, the next step
goes on from the weights of the last; a larger model begins anew. The optimiser and the schedule begin anew either
way: each step is a training of its own, whose rate has come down when trials are compared, as it will have come
down at the end.

References:
    Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, JMLR 18, 2018, section 5.2 (training-set size as resource).
    Klein, Falkner, Bartels, Hennig and Hutter, "Fast Bayesian Optimization of Machine Learning Hyperparameters on
        Large Datasets", AISTATS 2017 (small subsets tell good configurations from bad ones).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenfold.statistics.scores import check_direction
from tenfold.tuning.curve_stopping import CurveStopping
from tenfold.tuning.halving import Rung
from tenfold.tuning.hyperband import Bracket, Halving, hyperband_brackets
from tenfold.tuning.median import MedianStopping
from tenfold.tuning.standing import check_whole
from tenfold.tuning.stopping import HALVINGS, NoStopping, StoppingRule


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """What each step trains on or with, and the rule that says who climbs.

    Attributes:
        values: the fraction of the data, or the name or width of the model, of each step, cheapest first.
        rule: sees for each trial one score a step; `max_resource` is the number of steps. A step that a trial did not
            take, because its bracket begins higher up, counts as NaN.
        epochs: that a trial trains on each step.
        costs: what an epoch on each step takes, of one on the last; 1 each where nothing is said.
        labels: what each step is called; the values where nothing is said.
        anew: whether a step begins with a model of its own, which no score of the steps before is about.

    Example:
        >>> ladder = replace(make_ladder("none", (0.5, 1.0), 3, "maximize"), epochs=4, costs=(0.5, 1.0))
        >>> ladder.first_step(0), ladder.length(0), ladder.spent(0, 3)
        (1, 4, 3.0)
    """

    values: tuple[Any, ...]
    rule: StoppingRule
    epochs: int = 1
    costs: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    anew: bool = False

    @property
    def last(self) -> int:
        """The last step, counted from 0."""
        return len(self.values) - 1

    def first_step(self, trial: int) -> int:
        """The step on which a trial begins, counted from 0: that of its bracket's first rung."""
        if isinstance(self.rule, NoStopping):
            return self.last
        if not isinstance(self.rule, Halving):
            return 0
        bracket = self.rule.brackets[self.rule.bracket_of(trial) % len(self.rule.brackets)]
        return bracket.rungs[0].resource - 1

    def reached(self, trial: int, epochs: int) -> float:
        """Where a trial stands after so many epochs of its own, in steps from the bottom of the ladder."""
        return self.first_step(trial) + epochs / self.epochs

    def step_of(self, trial: int, epoch: int) -> int:
        """The step on which a trial trained an epoch of its own, that being counted from 1."""
        return self.first_step(trial) + (epoch - 1) // self.epochs

    def length(self, trial: int) -> int:
        """Epochs of its own that a trial trains which is never stopped."""
        return (len(self.values) - self.first_step(trial)) * self.epochs

    def cost(self, step: int) -> float:
        """What an epoch on a step takes, of one on the last."""
        return self.costs[step] if self.costs else 1.0

    def spent(self, trial: int, epochs: int) -> float:
        """So many epochs of a trial's own, counted in epochs on the last step."""
        first = self.first_step(trial)
        whole, rest = divmod(epochs, self.epochs)
        done = sum(self.epochs * self.cost(first + step) for step in range(whole))
        return done + (rest * self.cost(first + whole) if rest else 0.0)

    def ahead(self, epochs: Mapping[int, int]) -> float:
        """What all trials together have before them, counted likewise, if nobody leaves but at rungs.

        Args:
            epochs: how many of its own each has behind it.
        """
        if not isinstance(self.rule, Halving):
            return sum(self.spent(one, self.length(one)) - self.spent(one, own) for one, own in epochs.items())
        brackets: dict[int, list[int]] = {}
        for trial in epochs:
            brackets.setdefault(self.rule.bracket_of(trial), []).append(trial)
        return sum(self._ahead_in(number, trials, epochs) for number, trials in brackets.items())

    def _ahead_in(self, number: int, trials: Sequence[int], epochs: Mapping[int, int]) -> float:
        rungs = self.rule.rungs()[number % len(self.rule.rungs())]
        keeps = {rung.resource: rung.keep for rung in rungs}
        present, reached, total = len(trials), max(self.reached(trial, epochs[trial]) for trial in trials), 0.0
        while reached < len(self.values):
            step = math.floor(reached)
            total += present * (step + 1 - reached) * self.epochs * self.cost(step)
            reached = step + 1
            present = min(present, keeps.get(reached, present))
        return total

    def curve(self, trial: int, standings: Sequence[float]) -> list[float]:
        """What the rule sees of a trial: its score on each step that it has done.

        Args:
            trial: its number.
            standings: after each epoch of its own, its best score on the step that it was on.
        """
        return [math.nan] * self.first_step(trial) + list(standings[self.epochs - 1 :: self.epochs])

    def words(self, step: int) -> str:
        """A step in words."""
        return self.labels[step] if self.labels else str(self.values[step])


def make_ladder(
    halving: str,
    values: Sequence[Any],
    num_trials: int,
    direction: str,
    *,
    reduction_factor: int = 3,
) -> Ladder:
    """A ladder of these steps under a stopping rule.

    Successive halving keeps one of `reduction_factor` at each step, and begins so high that it comes down to one on
    the last step at the earliest; with Hyperband there is a bracket that begins on each step, as far as the trials
    reach. Without halving all begin on the last step. The median rule and curve modelling compare after each step.

    Args:
        halving: a name in `HALVINGS`.
        values: of the steps, cheapest first; the last is the full resource.
        num_trials: trials that start.
        direction: "maximize" or "minimize".
        reduction_factor: eta, at least 2.

    Raises:
        InputError: there is no such rule.
        ValueError: an argument is out of its range.

    Example:
        >>> ladder = make_ladder("successive", ("1/9", "1/3", "1"), 20, "maximize")
        >>> [(ladder.values[rung.resource - 1], rung.keep) for rung in ladder.rule.rungs()[0]]
        [('1/9', 6), ('1/3', 2), ('1', 2)]
        >>> ladder = make_ladder("hyperband", ("1/9", "1/3", "1"), 15, "maximize")
        >>> ladder.rule.start_trials, [ladder.values[ladder.first_step(trial)] for trial in (0, 9, 12)]
        ((9, 3, 3), ['1/9', '1/3', '1'])
    """
    check_direction("make_ladder", direction)
    steps = check_whole("make_ladder", "number of values", len(values), 1)
    check_whole("make_ladder", "reduction_factor", reduction_factor, 2)
    factory = HALVINGS[halving]
    if halving == "successive":
        first = _first_step(num_trials, steps, reduction_factor)
        brackets: tuple[Bracket, ...] = (_bracket(num_trials, first, steps, reduction_factor),)
    elif halving == "hyperband":
        table = hyperband_brackets(
            reduction_factor ** (steps - 1), num_trials=num_trials, reduction_factor=reduction_factor
        )
        firsts = range(steps - len(table) + 1, steps + 1)
        brackets = tuple(
            _bracket(bracket.num_trials, first, steps, reduction_factor)
            for bracket, first in zip(table, firsts, strict=True)
        )
    else:
        rule = factory(num_trials, steps, direction, reduction_factor=reduction_factor, min_resource=1)
        if isinstance(rule, MedianStopping | CurveStopping):
            rule = replace(rule, unit="step")
        return Ladder(values=tuple(values), rule=rule)
    rule = Halving(brackets=brackets, max_resource=steps, direction=direction, by_best=False, unit="step")
    return Ladder(values=tuple(values), rule=rule)


def data_fractions(num_rows: int, *, reduction_factor: int = 3, min_rows: int = 200) -> tuple[float, ...]:
    """Fractions of the training data, each `reduction_factor` times the last, up to all of them.

    Args:
        num_rows: rows to train on.
        reduction_factor: eta, at least 2.
        min_rows: no step has fewer, but the last one, at least 1.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> [round(fraction, 3) for fraction in data_fractions(6000)]
        [0.037, 0.111, 0.333, 1.0]
        >>> data_fractions(300)
        (1.0,)
    """
    for name, value, low in (("num_rows", num_rows, 1), ("reduction_factor", reduction_factor, 2)):
        check_whole("data_fractions", name, value, low)
    check_whole("data_fractions", "min_rows", min_rows, 1)
    count = 0
    while num_rows >= min_rows * reduction_factor ** (count + 1):
        count += 1
    return tuple(float(reduction_factor) ** -place for place in range(count, -1, -1))


def _first_step(num_trials: int, steps: int, eta: int) -> int:
    """The step, counted from 1, from which halving at each comes down to one trial on the last."""
    check_whole("make_ladder", "num_trials", num_trials, 1)
    halvings = 0
    while num_trials >= eta:
        num_trials, halvings = num_trials // eta, halvings + 1
    return max(1, steps - halvings)


def _bracket(num_trials: int, first: int, steps: int, eta: int) -> Bracket:
    """A bracket that compares on every step from its first one on."""
    check_whole("make_ladder", "num_trials", num_trials, 1)
    rungs, left = [], num_trials
    for step in range(first, steps):
        left = max(1, left // eta)
        rungs.append(Rung(resource=step, keep=left))
    return Bracket(num_trials=num_trials, rungs=(*rungs, Rung(resource=steps, keep=left)))
