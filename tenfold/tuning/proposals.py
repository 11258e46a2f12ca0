"""Configurations asked of a sampler a batch at a time, and told what became of them.

A batch is a cohort: its trials train as one program, so that a sampler proposes all of them before it hears of
any. The study is in memory, because asking must not cost what training gains.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import optuna
from optuna.study import StudyDirection
from optuna.trial import FixedTrial, TrialState

from tenfold.core.errors import InputError
from tenfold.core.seeds import derive_seed
from tenfold.tuning.gaussian import GaussianProcessSampler
from tenfold.tuning.grid import Grid, GridRounds
from tenfold.tuning.quiet import quiet_optuna
from tenfold.tuning.samplers import SAMPLERS, Sampler, make_sampler, reseed
from tenfold.tuning.space import MOST_COMBINATIONS, Space

State = Literal["complete", "pruned", "failed"]
_TRIES = 8  # a sampler that repeats itself so often in a row is left for random draws
_TRIES_UNDER_CONSTRAINTS = 32  # and one that keeps missing the constraints
_REPETITIONS = 20  # for each configuration that a function gave, after which it is taken to have no more
_RANDOM_TRIES = 1000  # and these for going through what is left of a countable space


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One configuration, with what Optuna needs to store it as a trial.

    Attributes:
        number: the trial's number, counted from 0.
        config: the whole configuration, constants included.
        params: what was searched: Optuna's parameter names and the values drawn.
        distributions: Optuna's distribution of each entry of `params`.
    """

    number: int
    config: dict[str, Any]
    params: dict[str, Any]
    distributions: dict[str, optuna.distributions.BaseDistribution]


class Proposer:
    """Asks a sampler for configurations, a batch at a time, and tells it what became of them.

    No configuration is proposed twice: training it again with the same seed tells nothing. The same asks and tells
    in the same order propose the same, in any process: before each ask the sampler is seeded from the run's seed
    and the number of the first proposal.

    A trial that left early counts with its last value. One that failed counts as bad as the worst told so far, so
    that its neighbourhood is left.

    Args:
        space: what to propose from.
        sampler: a name in `SAMPLERS`, with settings as in "grid:points=5,zoom=2", a `Grid`, or any sampler of
            Optuna's, which is copied and whose own seed is overruled.
        seed: the run's seed.
        directions: "maximize" or "minimize" for each objective.

    Raises:
        ValueError: a direction has no such name, or there is none.
        InputError: the sampler or a setting is unknown, or it does not take several objectives; a grid cannot be
            laid over this space; a constraint speaks of a name that the space has not.

    Example:
        >>> from tenfold.tuning import Int
        >>> proposer = Proposer(Space({"depth": Int(1, 3)}), sampler="tpe", seed=0)
        >>> for draw in proposer.ask(2):
        ...     proposer.tell(draw.number, [draw.config["depth"]], state="complete")
        >>> len(proposer.ask(5)), proposer.exhausted
        (1, True)
    """

    def __init__(
        self,
        space: Space,
        *,
        sampler: str | Sampler = "random",
        seed: int,
        directions: Sequence[str] = ("maximize",),
    ) -> None:
        self.space = space
        space.check_constraints()
        self.directions = _checked_directions(directions, sampler)
        self.exhausted = False
        self._seed = seed
        self._asked_for = sampler
        self._sampler = make_sampler(sampler, self._stream(0))
        chosen = self._sampler
        self._random = (
            chosen if isinstance(chosen, optuna.samplers.RandomSampler) else optuna.samplers.RandomSampler()
        )
        self._trials: list[optuna.trial.Trial] = []
        self._configs: list[dict[str, Any]] = []
        self._keys: set[str] = set()
        self._queue: list[dict[str, Any]] = []
        self._told: dict[int, tuple[float, ...] | None] = {}
        self._failed: list[int] = []
        self._count: int | None = None
        self._nearly_over = False  # new configurations are rare among random ones
        self._rounds = GridRounds(self._sampler, space, self._stream(0)) if isinstance(self._sampler, Grid) else None
        with quiet_optuna():
            self._study = optuna.create_study(
                sampler=self._random, directions=[StudyDirection[way.upper()] for way in self.directions]
            )

    @property
    def size(self) -> int | None:
        """Configurations of the grid's first round; None for the other samplers."""
        return self._rounds.size if self._rounds else None

    def enqueue(self, config: Mapping[str, Any]) -> None:
        """Proposes a configuration of one's own before all others; names that it leaves out are drawn.

        Raises:
            InputError: a name is unknown or does not apply, or a value is not in its range.

        Example:
            >>> from tenfold.tuning import Float
            >>> proposer = Proposer(Space({"lr": Float(1e-4, 1e-1, log=True)}), seed=0)
            >>> proposer.enqueue({"lr": 0.01})
            >>> [draw] = proposer.ask(1)
            >>> draw.config
            {'lr': 0.01}
        """
        self._queue.append(self.space.params_of(config))

    def ask(self, n: int) -> list[Draw]:
        """The next configurations; numbers go on counting.

        Args:
            n: number of configurations, at least 1.

        Returns:
            n draws. Fewer, or none, when the space has no more that differ (`exhausted` is then true; of a
            function, when hardly any new one turns up), or when a grid's zoom waits to be told its last round.

        Raises:
            ValueError: n is less than 1.
            InputError: no configuration satisfies the space's constraints.
        """
        if n < 1:
            raise ValueError(f"Proposer.ask: n must be at least 1, got {n!r}. Ask for one trial or more.")
        wanted = len(self._keys) + n
        available = self._available(wanted)
        first = len(self._trials)
        with quiet_optuna(), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if not self._trials:
                self._made_for(n)
            self._settle_failed()
            reseed(self._random, self._stream(first, 1))
            reseed(self._sampler, self._stream(first))
            while len(self._keys) < min(wanted, available) and self._next():
                pass
        self.exhausted = self.exhausted or len(self._keys) == available < wanted
        if not self._trials and self.space.constraints:
            limits = " and ".join(repr(one.text) for one in self.space.constraints)
            raise InputError(
                f"Proposer: some configuration must satisfy {limits}, got none of all that were tried. "
                "Loosen the constraints or the ranges."
            )
        return [self._draw(number) for number in range(first, len(self._trials))]

    def retake(self, first: int, configs: Sequence[Mapping[str, Any]]) -> list[Draw]:
        """Takes these configurations as the proposals from a number on, in place of those that were asked for.

        For a resumed run, whose records count more than what a sampler says now.

        Args:
            first: the number of the first of them; none from there on has been told.
            configs: whole configurations.

        Raises:
            InputError: a name is unknown or does not apply, or a value is not in its range.
            ValueError: one of them has been told.

        Example:
            >>> from tenfold.tuning import Int
            >>> proposer = Proposer(Space({"depth": Int(1, 99)}), seed=0)
            >>> _ = proposer.ask(2)
            >>> [draw.config["depth"] for draw in proposer.retake(1, [{"depth": 7}])]
            [7]
        """
        known = [number for number in (*self._told, *self._failed) if number >= first]
        if known:
            raise ValueError(f"Proposer.retake: none of them must have been told, got {known[0]}. Retake sooner.")
        queued = [self.space.params_of(config) for config in configs]
        with quiet_optuna():
            for number in range(first, len(self._trials)):
                self._keys.discard(_key(self._configs[number]))
                self._study.tell(self._trials[number], state=TrialState.FAIL)
            del self._trials[first:], self._configs[first:]
            for params in queued:
                self._try(self._random, params)
        return [self._draw(number) for number in range(first, len(self._trials))]

    def tell(
        self,
        number: int,
        values: Sequence[float] | None,
        *,
        state: State,
        curve: Mapping[int, float] = {},
    ) -> None:
        """What became of a proposal.

        Args:
            number: as in its `Draw`.
            values: one for each objective; None where there are none. Values that are not finite count as failed.
            state: "complete", "pruned" (left early) or "failed".
            curve: of a pruned trial with one objective, the score by epoch. TPE ranks those that left by how far
                they came; the others take the last value as if it were the final one.

        Raises:
            ValueError: the number was not proposed or has been told, the state has no such name, or there are
                more or fewer values than objectives.
        """
        self._check_told(number, values, state)
        if values is None and curve:
            values = (curve[max(curve)],)
        usable = values is not None and all(math.isfinite(value) for value in values)
        if state == "failed" or values is None or not usable:
            self._told[number] = None
            self._failed.append(number)
            return
        self._told[number] = tuple(float(value) for value in values)
        with quiet_optuna():
            if state == "pruned" and curve and self._ranks_pruned():
                for epoch, value in sorted(curve.items()):
                    self._trials[number].report(value, epoch)
                self._study.tell(self._trials[number], state=TrialState.PRUNED)
            else:
                self._study.tell(self._trials[number], list(values))

    def _stream(self, number: int, use: int = 0) -> int:
        """The seed of an ask that begins with this number; the first one has the stream's own."""
        indices = [number, use] if number or use else []
        return derive_seed(self._seed, "sample", *indices) % 2**32

    def _available(self, wanted: int) -> int:
        """How many configurations there are, counted up to `wanted`; under constraints once, as that is slow."""
        if not self.space.constraints:
            return self.space.num_configurations(limit=wanted)
        if self._count is None:
            self._count = self.space.num_configurations(limit=MOST_COMBINATIONS)
        return wanted if self._count == MOST_COMBINATIONS else min(wanted, self._count)

    def _made_for(self, batch: int) -> None:
        """Builds a sampler by name anew for the size of the first batch, and tells it the constraints if it asks."""
        if isinstance(self._asked_for, str) and not self._rounds:
            self._sampler = make_sampler(self._asked_for, self._stream(0), batch)
        if isinstance(self._sampler, GaussianProcessSampler) and self.space.constraints:
            self._sampler.admits = lambda params: self.space.admits(self.space.suggest(FixedTrial(params)))

    def _next(self) -> bool:
        """Proposes one more, and says whether there was one."""
        while self._queue:
            params, sampler = self._queue.pop(0), self._random if self._rounds else self._sampler
            if any(self._try(sampler, params) for _ in range(_TRIES)):
                return True
        if self._rounds is None:
            return self._sampled()
        while (config := self._rounds.next(self._best(), waiting=len(self._told) < len(self._trials))) is not None:
            if self._try(self._random, self.space.params_of(config)):
                return True
        self.exhausted = self._rounds.over
        return False

    def _sampled(self) -> bool:
        """One more by the sampler; where it repeats itself by random; where that does, by going through the rest."""
        tries = _TRIES_UNDER_CONSTRAINTS if self.space.constraints else _TRIES
        for misses in itertools.count():
            if self._try(self._sampler if misses < tries or self._is_random() else self._random):
                return True
            if self.space.function is not None and misses >= _REPETITIONS * (len(self._keys) + 1):
                self.exhausted = True
                return False
            if self.space.function is None and misses >= (tries if self._nearly_over else _RANDOM_TRIES):
                self._nearly_over = True
                return self._one_of_the_rest()
        raise AssertionError("unreachable")

    def _one_of_the_rest(self) -> bool:
        for config in itertools.islice(self.space.configurations(), MOST_COMBINATIONS):
            if _key(config) not in self._keys:
                return self._try(self._random, self.space.params_of(config))
        self.exhausted = True
        return False

    def _try(self, sampler: Any, params: dict[str, Any] | None = None) -> bool:
        """Asks for one configuration and keeps it if it is new; a repeated one is a failed trial to the sampler."""
        self._study.sampler = sampler
        if params is not None:
            self._study.enqueue_trial(params)
        trial = self._study.ask()
        config = self.space.suggest(trial)
        if _key(config) in self._keys or not self.space.admits(config):
            self._study.tell(trial, state=TrialState.FAIL)
            return False
        self._keys.add(_key(config))
        self._trials.append(trial)
        self._configs.append(config)
        return True

    def _draw(self, number: int) -> Draw:
        trial = self._trials[number]
        return Draw(
            number=number, config=self._configs[number], params=trial.params, distributions=trial.distributions
        )

    def _best(self) -> dict[str, Any] | None:
        """The best configuration told so far by the first objective; ties go to the lower number."""
        sign = 1 if self.directions[0] == "maximize" else -1
        scored = {number: sign * values[0] for number, values in sorted(self._told.items()) if values is not None}
        return self._configs[max(scored, key=scored.__getitem__)] if scored else None

    def _settle_failed(self) -> None:
        """Tells the failed ones with the worst values there are; until there are any, they stay open."""
        told = [values for values in self._told.values() if values is not None]
        if not told:
            return
        worst = [
            min(column) if way == "maximize" else max(column)
            for way, column in zip(self.directions, zip(*told, strict=True), strict=True)
        ]
        for number in self._failed:
            if self._ranks_pruned():  # behind all others: it left before its first epoch
                self._study.tell(self._trials[number], state=TrialState.PRUNED)
            else:
                self._study.tell(self._trials[number], worst)
        self._failed.clear()

    def _is_random(self) -> bool:
        return isinstance(self._sampler, optuna.samplers.RandomSampler)

    def _ranks_pruned(self) -> bool:
        return isinstance(self._sampler, optuna.samplers.TPESampler) and len(self.directions) == 1

    def _check_told(self, number: int, values: Sequence[float] | None, state: str) -> None:
        if state not in get_args(State):
            raise ValueError(f"Proposer.tell: state must be one of {get_args(State)}, got {state!r}. Choose one.")
        if not 0 <= number < len(self._trials):
            raise ValueError(
                f"Proposer.tell: number must be of a proposal, 0 to {len(self._trials) - 1}, got {number!r}. "
                "Ask first."
            )
        if number in self._told:
            raise ValueError(f"Proposer.tell: each number is told once, got {number} again. Tell its last values.")
        if values is not None and len(values) != len(self.directions):
            raise ValueError(
                f"Proposer.tell: values must be {len(self.directions)}, one for each objective, got {len(values)}. "
                "Give directions as many entries as there are objectives."
            )


def _key(config: Mapping[str, Any]) -> str:
    return repr(sorted(config.items()))


def _checked_directions(directions: Sequence[str], sampler: str | Sampler) -> tuple[str, ...]:
    directions = (directions,) if isinstance(directions, str) else tuple(directions)
    if not directions or any(one not in ("maximize", "minimize") for one in directions):
        raise ValueError(
            f"Proposer: directions must be 'maximize' or 'minimize' for each objective, got {directions!r}. "
            "Write directions=('maximize',)."
        )
    name = sampler.partition(":")[0] if isinstance(sampler, str) else None
    if len(directions) > 1 and name is not None and SAMPLERS[name].objectives == "one":
        several = [name for name in SAMPLERS if SAMPLERS[name].objectives == "several"]
        raise InputError(
            f"sampler {name!r} takes one objective, got {len(directions)}. Choose from {', '.join(several)}."
        )
    return directions
