"""Simulated annealing in parallel chains.

Each chain stands on a configuration and proposes neighbours of it. A better one is moved to, a worse one with the
probability exp(-difference / temperature), and the temperature falls from move to move. The first configurations are
random; a chain begins at its best one.

A chain's walk follows from the study alone, so that a replay needs no state. Neighbours that are asked for in one
batch start from the same place, where the chain stands before any of them is told.

References:
    Kirkpatrick, Gelatt and Vecchi, "Optimization by Simulated Annealing", Science 220, 1983.
    White, "Concepts of Scale in Simulated Annealing", ICCD 1984 (the first temperature is the spread of the scores).
    Corana, Marchesi, Martini and Ridella, ACM TOMS 13, 1987 (steps that shrink as it cools).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tenfold.tuning.places import neighbour

_CHAIN, _CHANCE, _ORIGIN, _MOVED = (f"tenfold:anneal:{name}" for name in ("chain", "chance", "origin", "moved"))


class AnnealingSampler(BaseSampler):
    """Simulated annealing for one objective, over any space.

    Args:
        seed: >= 0.
        chains: walks side by side, >= 1; a batch is dealt to them in turn.
        temperature: the first one, > 0, in standard deviations of the scores of the random configurations.
        cooling: factor of the temperature from move to move of a chain, in (0, 1].
        scale: standard deviation of the first steps, > 0, as a share of each range; it falls as the root of the
            temperature, to 0.02 at least.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> study = optuna.create_study(sampler=AnnealingSampler(seed=0, chains=2))
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=30)
        >>> study.best_value < 0.01
        True
    """

    def __init__(
        self, *, seed: int, chains: int = 4, temperature: float = 0.5, cooling: float = 0.85, scale: float = 0.25
    ) -> None:
        for name, value, fits in (
            ("chains must be at least 1", chains, chains >= 1),
            ("temperature must be positive", temperature, temperature > 0),
            ("cooling must be above 0 and at most 1", cooling, 0 < cooling <= 1),
            ("scale must be positive", scale, scale > 0),
        ):
            if not fits:
                raise ValueError(f"AnnealingSampler: {name}, got {value!r}. Leave it out for the usual one.")
        self._chains, self._temperature, self._cooling, self._scale = chains, temperature, cooling, scale
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """Nothing: every parameter moves on its own, so that conditions need no care."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]
    ) -> dict[str, Any]:
        """Nothing, see `infer_relative_search_space`."""
        return {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Gives the trial its chain, where it starts from, and which parameters move."""
        trials = study.get_trials(deepcopy=False)
        chain = sum(_CHAIN in one.system_attrs for one in trials if one.state != TrialState.FAIL) % self._chains
        origin, _ = self._walk(study, trials, chain)
        moved: list[str] = []
        if origin is not None and origin.params:
            names = sorted(origin.params)
            moves = self._rng.random(len(names)) < 0.5
            moves[self._rng.integers(len(names))] = True
            moved = [name for name, moves_it in zip(names, moves, strict=True) if moves_it]
        attributes = {
            _CHAIN: chain,
            _CHANCE: float(self._rng.random()),
            _ORIGIN: None if origin is None else origin.number,
            _MOVED: moved,
        }
        for key, value in attributes.items():
            study._storage.set_trial_system_attr(trial._trial_id, key, value)
            trial.system_attrs[key] = value

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """The origin's value or a neighbour of it; random where the origin has no such parameter."""
        number = trial.system_attrs[_ORIGIN]
        trials = study.get_trials(deepcopy=False)
        origin = None if number is None else trials[number]
        if origin is None or origin.distributions.get(param_name) != param_distribution:
            return self._random.sample_independent(study, trial, param_name, param_distribution)
        value = origin.params[param_name]
        if param_name not in trial.system_attrs[_MOVED]:
            return value
        _, moves = self._walk(study, trials, trial.system_attrs[_CHAIN])
        return neighbour(param_distribution, value, max(self._scale * self._cooling ** (moves / 2), 0.02), self._rng)

    def _walk(self, study: optuna.Study, trials: Sequence[FrozenTrial], chain: int) -> tuple[FrozenTrial | None, int]:
        """Where a chain stands now, and after how many moves that were weighed."""
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        told = [one for one in trials if one.state == TrialState.COMPLETE]
        cost = {one.number: sign * one.value for one in told if one.value is not None}
        first = [cost[one.number] for one in told if one.system_attrs.get(_ORIGIN) is None]
        hottest = self._temperature * float(np.std(first)) if first else 0.0
        mine = [one for one in told if one.system_attrs.get(_CHAIN) == chain]
        starts = [one for one in mine if one.system_attrs[_ORIGIN] is None]
        if not starts:
            return None, 0
        current = min(starts, key=lambda one: cost[one.number])
        moves = 0
        for one in mine:
            if one.system_attrs[_ORIGIN] is None:
                continue
            worse = cost[one.number] - cost[current.number]
            temperature = hottest * self._cooling**moves
            if worse <= 0 or (temperature > 0 and one.system_attrs[_CHANCE] < math.exp(-worse / temperature)):
                current = one
            moves += 1
        return current, moves
