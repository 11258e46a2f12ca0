"""Configurations drawn from a space before anything is trained: random search.

References:
    Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna

from tenfold.core.registry import Registry
from tenfold.core.seeds import derive_seed
from tenfold.tuning.quiet import quiet_optuna
from tenfold.tuning.space import Space

SAMPLERS: Registry[Callable[[int], optuna.samplers.BaseSampler]] = Registry("sampler")
SAMPLERS.add("random", lambda seed: optuna.samplers.RandomSampler(seed=seed))


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


def draw(space: Space, n: int, *, seed: int, sampler: str = "random") -> list[Draw]:
    """Draws n different configurations.

    The first k of them are the same whatever n is. A configuration drawn twice is drawn anew, because
    training it again with the same seed tells nothing.

    Args:
        space: what to draw from.
        n: number of configurations, at least 1.
        seed: the run's seed; the stream "sample" is derived from it.
        sampler: "random".

    Returns:
        n draws, or fewer when the space has fewer different configurations. (Of a function that cannot be
        counted, drawing ends after 20 repetitions for each configuration found.)

    Raises:
        ValueError: n is less than 1.
        InputError: the sampler has no such name.

    Example:
        >>> from tenfold.tuning import Categorical, Space
        >>> [d.config["depth"] for d in draw(Space({"depth": Categorical([2, 3])}), 5, seed=0)]
        [3, 2]
    """
    if n < 1:
        raise ValueError(f"draw: n must be at least 1, got {n!r}. Ask for one trial or more.")
    wanted = space.num_configurations(limit=n)
    draws: dict[str, Draw] = {}
    misses = 0
    with quiet_optuna():
        study = optuna.create_study(sampler=SAMPLERS[sampler](derive_seed(seed, "sample") % 2**32))
        while len(draws) < wanted and (space.function is None or misses <= 20 * (len(draws) + 1)):
            trial = study.ask()
            config = space.suggest(trial)
            key = repr(sorted(config.items()))
            misses += key in draws
            if key not in draws:
                draws[key] = Draw(
                    number=len(draws), config=config, params=trial.params, distributions=trial.distributions
                )
    return list(draws.values())
