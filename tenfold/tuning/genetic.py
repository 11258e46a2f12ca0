"""A genetic algorithm whose generations are cohorts.

The population is the best of all that were told, whatever generation they came from and whether they trained to the
end: those that left early stand there with their last value. Two parents are chosen by tournaments; each parameter of
a child is blended from both or taken from one of them, and now and then moved to a neighbour.

Optuna's own genetic samplers count trials that completed, and wait for as many as a population has.

References:
    Holland, "Adaptation in Natural and Artificial Systems", 1975.
    Goldberg and Deb, "A Comparative Analysis of Selection Schemes", FOGA 1991 (tournaments).
    Eshelman and Schaffer, "Real-Coded Genetic Algorithms and Interval-Schemata", FOGA 1993 (BLX-alpha).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tenfold.tuning.places import neighbour, to_place, to_value

_PARENTS = "tenfold:genetic:parents"
_ALPHA = 0.5  # a blend reaches half the parents' distance beyond each of them (Eshelman and Schaffer's choice)
_SCALE = 0.1  # of a mutation, as a share of the range


class GeneticSampler(BaseSampler):
    """A genetic algorithm for one objective, over any space.

    Args:
        seed: >= 0.
        population: the best so many are parents, >= 2; proposals are random until half as many have been told.
        crossover: probability that a child has two parents, in [0, 1].
        mutation: probability that a parameter moves to a neighbour, in [0, 1]; None is one parameter a child.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> study = optuna.create_study(sampler=GeneticSampler(seed=0, population=10))
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=40)
        >>> study.best_value < 0.01
        True
    """

    def __init__(
        self, *, seed: int, population: int = 16, crossover: float = 0.9, mutation: float | None = None
    ) -> None:
        for name, value, fits in (
            ("population must be at least 2", population, population >= 2),
            ("crossover must be from 0 to 1", crossover, 0 <= crossover <= 1),
            ("mutation must be from 0 to 1", mutation, mutation is None or 0 <= mutation <= 1),
        ):
            if not fits:
                raise ValueError(f"GeneticSampler: {name}, got {value!r}. Leave it out for the usual one.")
        self._population, self._crossover, self._mutation = population, crossover, mutation
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """Nothing: every parameter is inherited on its own, so that conditions need no care."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]
    ) -> dict[str, Any]:
        """Nothing, see `infer_relative_search_space`."""
        return {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Gives the trial its parents: none, one or two."""
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        told = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        parents: list[int] = []
        if len(told) >= max(2, self._population // 2):
            ranked = sorted(told, key=lambda one: sign * (one.value or 0.0))[: self._population]
            num_parents = 2 if self._rng.random() < self._crossover else 1
            parents = [ranked[int(self._rng.integers(len(ranked), size=2).min())].number for _ in range(num_parents)]
        study._storage.set_trial_system_attr(trial._trial_id, _PARENTS, parents)
        trial.system_attrs[_PARENTS] = parents

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """What the parents have, mixed, perhaps moved; random where none has such a parameter."""
        trials = study.get_trials(deepcopy=False)
        parents = [trials[number] for number in trial.system_attrs[_PARENTS]]
        values = [
            one.params[param_name] for one in parents if one.distributions.get(param_name) == param_distribution
        ]
        if not values:
            return self._random.sample_independent(study, trial, param_name, param_distribution)
        value = self._mixed(param_distribution, values)
        mutation = 1 / len(parents[0].params) if self._mutation is None else self._mutation
        if self._rng.random() < mutation:
            return neighbour(param_distribution, value, _SCALE, self._rng)
        return value

    def _mixed(self, distribution: Any, values: Sequence[Any]) -> Any:
        """One parent's value, or of numbers, half of the time, one drawn around and between both."""
        if len(values) == 1 or isinstance(distribution, CategoricalDistribution) or self._rng.random() < 0.5:
            return values[int(self._rng.integers(len(values)))]
        low, high = sorted(float(to_place(distribution, value)) for value in values)
        reach = _ALPHA * (high - low)
        place = self._rng.uniform(low - reach, high + reach)
        return to_value(distribution, min(max(place, 0.0), 1.0))
