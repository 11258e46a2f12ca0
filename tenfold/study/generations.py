"""A search's generations: how many trials are asked for at a time, when, and what the sampler is told of them.

Where the sampler does not learn, all trials are one generation. Where it learns, a generation is a bracket of the
halving, or as many trials as a share of all, so that later ones profit from those before. A generation is asked for
when others have made room, while the best of them train on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tenfold.core.errors import InputError, RunError
from tenfold.core.records import finite
from tenfold.core.task import Direction
from tenfold.core.wording import plural
from tenfold.report import load_run
from tenfold.report.ranking import TrialScore, score_trials
from tenfold.study.search_options import SearchOptions
from tenfold.study.steps import Steps
from tenfold.tuning import HALVINGS, Draw, Halving, Proposer, Space, StoppingRule
from tenfold.tuning.proposals import State

_SHARE = 4  # generations that trials make where the sampler learns
_FEWEST = 8  # trials of a generation, where there are so many: a stack pays from a handful of members on


@dataclass(frozen=True, kw_only=True)
class Told:
    """A trial of an earlier run, for the sampler to learn from.

    Attributes:
        config: what was searched, by name.
        score: its best score.
        state: "complete" or "pruned".
        curve: the score by epoch.
    """

    config: dict[str, Any]
    score: float
    state: State
    curve: dict[int, float]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {**vars(self), "curve": {str(epoch): score for epoch, score in self.curve.items()}}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Told:
        """What `to_json` wrote."""
        return cls(**{**record, "curve": {int(epoch): score for epoch, score in record["curve"].items()}})


def told_of(folder: str | Path, metric: str) -> list[Told]:
    """The scored trials of an earlier run.

    Raises:
        RunError: there is no run.
        InputError: it was decided by another metric.
    """
    records = load_run(folder)
    if records.metric != metric:
        raise InputError(
            f"--warm-start: the run in {folder} was decided by {records.metric}, this one is by {metric}. "
            f"Choose --metric {records.metric}, or another run."
        )
    gone = {trial for rung in records.rungs for trial in rung.left}
    gone |= {left.trial for left in records.departures if left.how != "complete"}
    through = set(records.trials) - gone
    return [
        Told(
            config=dict(score.trial.config),
            score=score.valid,
            state="complete" if score.trial.number in through else "pruned",
            curve=_by_step(score, records.ladder) if records.ladder else score.course,
        )
        for score in score_trials(records)
        if math.isfinite(score.valid)
    ]


def _by_step(score: TrialScore, ladder: Mapping[str, Any]) -> dict[int, float]:
    """A trial's last score on each step that it took, in the order of the steps."""
    return {(epoch - 1) // int(ladder["epochs"]) + 1: value for epoch, value in sorted(score.course.items())}


class Generations:
    """Asks for trials, a generation at a time, and tells the sampler what became of them.

    Args:
        space: what is searched.
        options: who proposes and who leaves.
        direction: of the metric.
        trials: how many in all, at least 1.
        epochs: of a trial that is never stopped.
        warm: trials of an earlier run; what does not fit the space is left out.
        steps: what trials climb, where the resource is not epochs.

    Attributes:
        rule: who leaves.
        ladder: the steps under that rule; None where the resource is epochs.
        num_asked: trials asked for so far.
        num_warm: of the earlier run's trials those that fit.
    """

    def __init__(
        self,
        space: Space,
        options: SearchOptions,
        direction: Direction,
        *,
        trials: int,
        epochs: int,
        warm: Sequence[Told] = (),
        steps: Steps | None = None,
    ) -> None:
        self.options, self.trials = options, trials
        self.population = self._population()
        compared = self.population if options.halving == "successive" else trials
        self.ladder = None if steps is None else steps.ladder(options, compared, direction, epochs)
        self.rule = self._rule(direction, epochs) if self.ladder is None else self.ladder.rule
        directions = (direction, *("minimize" for _ in options.objectives))
        self._proposer = Proposer(space, sampler=options.sampler, seed=options.seed, directions=directions)
        self.num_warm = self._warm_up(space, warm)
        for config in options.enqueue:
            self._proposer.enqueue(config)
        self.num_asked = 0
        self._told: set[int] = set()
        self._news = True

    def _population(self) -> int:
        """Trials of a generation."""
        if not self.options.learns:
            return self.trials
        return min(self.options.population or max(_FEWEST, math.ceil(self.trials / _SHARE)), self.trials)

    def _rule(self, direction: Direction, epochs: int) -> StoppingRule:
        """One that compares the trials of each generation among themselves, where it compares at rungs."""
        whole = self.options.halving != "successive"
        least = self.options.min_resource
        if not whole and least is None:
            least = max(1, epochs // 10)  # as `fit`: in the first tenth the warm-up still rules
        return HALVINGS[self.options.halving](
            self.trials if whole else self.population,
            epochs,
            direction,
            reduction_factor=self.options.reduction_factor,
            min_resource=None if least is None else min(least, epochs),
        )

    def _warm_up(self, space: Space, warm: Sequence[Told]) -> int:
        """Tells the sampler of an earlier run's trials; returns how many it could take."""
        known: dict[str, tuple[dict[str, Any], Told]] = {}
        for told in warm:
            own = {name: value for name, value in told.config.items() if name in space}
            if (key := repr(sorted(own.items()))) in known:
                continue
            try:
                self._proposer.enqueue(own)
            except InputError:
                continue  # out of the ranges of this space
            known[key] = own, told
        draws = self._proposer.ask(len(known)) if known else []
        for drawn in draws:  # others stand in for those that break a constraint
            for own, told in known.values():
                if all(drawn.config.get(name) == value for name, value in own.items()):
                    self._proposer.tell(drawn.number, [told.score], state=told.state, curve=told.curve)
                    break
        return len(draws)

    def describe(self) -> str:
        """Who proposes how many at a time, who leaves, in one sentence."""
        options = self.options
        sampler = options.sampler if isinstance(options.sampler, str) else type(options.sampler).__name__
        sizes = self.rule.start_trials if isinstance(self.rule, Halving) and options.learns else (self.population,)
        brackets = f", {len(self.rule.rungs())} brackets" if len(self.rule.rungs()) > 1 else ""
        at_a_time = "all at once" if not options.learns else f"{', '.join(map(str, sizes))} at a time"
        warm = f", told of {plural(self.num_warm, 'earlier trial')}" if self.num_warm else ""
        leaving = f"{options.halving} over {options.resource}{brackets}" if options.halving != "none" else ""
        return f"{sampler} proposes {at_a_time}{warm}; {leaving or self._nobody_leaves()}"

    def _nobody_leaves(self) -> str:
        """What is said where trials train to the end: on which resource, where it has steps."""
        return "nobody leaves early" + (
            "" if self.options.resource == "epochs" else f", over {self.options.resource}"
        )

    def climb_at(self, steps: Steps) -> None:
        """Takes the costs of the steps over, which are known once there are trials."""
        assert self.ladder is not None
        self.ladder = replace(self.ladder, costs=steps.costs)

    # -- asking --------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether there will be no more trials."""
        return self.num_asked >= self.trials or self._proposer.exhausted

    def size(self, num_running: int) -> int:
        """How many trials may begin beside those that train; 0 for none yet."""
        if self.is_over or (num_running and not self._news):
            return 0
        left = self.trials - self.num_asked
        if not isinstance(self.rule, Halving):
            room = self.population - num_running
            return min(room, left) if not num_running or 2 * room >= self.population else 0
        if not self.options.learns:
            return left
        whole = sum(self.rule.start_trials)
        place, sizes = self.num_asked % whole, list(self.rule.start_trials)
        while place >= sizes[0]:
            place -= sizes.pop(0)
        size = sizes[0] - place
        capacity = max(self.rule.start_trials) + math.ceil(size / self.options.reduction_factor)
        return min(size, left) if not num_running or num_running + size <= capacity else 0

    def ask(self, n: int) -> list[Draw]:
        """The next n trials, or fewer where the space has no more."""
        draws = [replace(drawn, number=drawn.number - self.num_warm) for drawn in self._proposer.ask(n)]
        self.num_asked += len(draws)
        self._news = False
        return draws

    def retake(self, draws: Sequence[Draw], recorded: Sequence[Mapping[str, Any]]) -> list[Draw]:
        """Takes recorded trials in place of the last draws.

        Raises:
            RunError: one is not in the space.
        """
        self.num_asked += len(recorded) - len(draws)
        try:
            taken = self._proposer.retake(
                recorded[0]["trial"] + self.num_warm, [record["config"] for record in recorded]
            )
        except InputError as error:
            raise RunError(
                f"--resume: the recorded trials from {recorded[0]['trial']} on must lie in the space, got: {error} "
                "Pass the space that the run was begun with."
            ) from error
        return [replace(drawn, number=drawn.number - self.num_warm) for drawn in taken]

    def tell(self, trial: int, values: Sequence[float] | None, state: State, curve: Mapping[int, float]) -> bool:
        """Tells what became of a trial; whether that was new."""
        if trial in self._told:
            return False
        self._told.add(trial)
        self._news = True
        self._proposer.tell(trial + self.num_warm, values, state=state, curve=curve)
        return True


def replays(draws: Sequence[Draw], recorded: Sequence[Mapping[str, Any]]) -> bool:
    """Whether draws are those that were recorded."""
    own = [json.loads(json.dumps(finite(drawn.config))) for drawn in draws]
    return own == [record["config"] for record in recorded]
