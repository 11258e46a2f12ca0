"""Who proposes configurations, by name, and how a sampler's randomness is made to follow from a run's seed.

Grid, annealing, the genetic algorithm and the Gaussian process are ours, because Optuna's are not made for batches or
do not count trials that left early; the others are Optuna's. `docs/samplers.md` compares them.
"""

from __future__ import annotations

import ast
import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal, TypeAlias

import numpy as np
import optuna
from optuna.samplers import BaseSampler

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.registry import Registry
from tenfold.tuning.annealing import AnnealingSampler
from tenfold.tuning.gaussian import GaussianProcessSampler
from tenfold.tuning.genetic import GeneticSampler
from tenfold.tuning.grid import Grid

Sampler: TypeAlias = BaseSampler | Grid


@dataclass(frozen=True, kw_only=True)
class SamplerEntry:
    """A sampler by name.

    Attributes:
        build: `build(seed=..., **settings)`, every setting with a default; the seed is below 2**32. One that has a
            parameter `batch` is given the size of the first batch, None before it is known.
        objectives: how many it takes: "one" or "several" (one among them).
        about: one sentence on what it is and when to take it.
        reference: its paper.
    """

    build: Callable[..., Sampler]
    objectives: Literal["one", "several"]
    about: str
    reference: str

    @property
    def settings(self) -> dict[str, Any]:
        """The names and defaults of what `"name:setting=value"` may set."""
        given = ("seed", "batch")
        return {name: one.default for name, one in signature(self.build).parameters.items() if name not in given}

    @property
    def wants_batch(self) -> bool:
        """Whether it is built for a size of batch."""
        return "batch" in signature(self.build).parameters


def _grid(*, seed: int, points: int | None = None, zoom: int = 0) -> Grid:
    return Grid(points=points, zoom=zoom)


def _random(*, seed: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _tpe(*, seed: int, startup_trials: int = 10) -> BaseSampler:
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=startup_trials, multivariate=True, group=True, constant_liar=True
    )


def _cmaes(*, seed: int, batch: int | None = None, population: int | None = None) -> BaseSampler:
    size = population or max(batch or 0, 4)
    return optuna.samplers.CmaEsSampler(seed=seed, popsize=size, warn_independent_sampling=False)


def _qmc(*, seed: int) -> BaseSampler:
    return optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)


def _nsga2(*, seed: int, batch: int | None = None, population: int | None = None) -> BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=population or max(batch or 0, 4))


SAMPLERS: Registry[SamplerEntry] = Registry("sampler")


def _add(
    name: str, build: Callable[..., Sampler], objectives: Literal["one", "several"], about: str, paper: str
) -> None:
    SAMPLERS.add(name, SamplerEntry(build=build, objectives=objectives, about=about, reference=paper))


_add(
    "grid",
    _grid,
    "several",
    "every combination of some values; for one to three parameters, and to see a whole landscape",
    "Bergstra and Bengio, Random Search for Hyper-Parameter Optimization, JMLR 13, 2012, section 1",
)
_add(
    "random",
    _random,
    "several",
    "each configuration independent of all others; the yardstick, hard to beat with few trials",
    "Bergstra and Bengio, Random Search for Hyper-Parameter Optimization, JMLR 13, 2012",
)
_add(
    "qmc",
    _qmc,
    "several",
    "as random, but spread evenly (a scrambled Sobol sequence); for one large batch without conditions",
    "Bergstra and Bengio, JMLR 13, 2012, section 4.1; Owen, Scrambling Sobol and Niederreiter-Xing Points, 1998",
)
_add(
    "tpe",
    _tpe,
    "several",
    "Bayesian, by densities of good and bad configurations; the first to try when results come in several batches",
    "Bergstra, Bardenet, Bengio and Kegl, Algorithms for Hyper-Parameter Optimization, NeurIPS 2011, section 4",
)
_add(
    "gp",
    GaussianProcessSampler,
    "one",
    "Bayesian, by a Gaussian process; for few trials in small batches and up to about ten parameters",
    "Snoek, Larochelle and Adams, Practical Bayesian Optimization of Machine Learning Algorithms, NeurIPS 2012",
)
_add(
    "anneal",
    AnnealingSampler,
    "one",
    "simulated annealing in parallel chains; for many small batches, and spaces full of conditions and choices",
    "Kirkpatrick, Gelatt and Vecchi, Optimization by Simulated Annealing, Science 220, 1983",
)
_add(
    "genetic",
    GeneticSampler,
    "one",
    "a genetic algorithm, a generation a batch; for several large batches, conditions and choices",
    "Holland, Adaptation in Natural and Artificial Systems, 1975; Eshelman and Schaffer, FOGA 1993 (BLX-alpha)",
)
_add(
    "cmaes",
    _cmaes,
    "one",
    "adapts a normal distribution; for numbers (choices and conditional ones are drawn at random), many batches",
    "Hansen and Ostermeier, Completely Derandomized Self-Adaptation in Evolution Strategies, 2001",
)
_add(
    "nsga2",
    _nsga2,
    "several",
    "a genetic algorithm for several objectives, whose best are a front; a generation a batch",
    "Deb, Pratap, Agarwal and Meyarivan, A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, 2002",
)


def make_sampler(sampler: str | Sampler, seed: int, batch: int | None = None) -> Sampler:
    """The sampler that a name, a name with settings, or an object stands for.

    Args:
        sampler: a name in `SAMPLERS`, with settings as in "grid:points=5,zoom=2"; or any sampler of Optuna's,
            which is copied.
        seed: >= 0 and below 2**32; for an object it is set by `reseed`.
        batch: configurations that are asked for at a time, where that is known.

    Raises:
        InputError: the name or a setting is unknown, or a setting's value is refused.
        TypeError: it is neither a name nor a sampler.

    Example:
        >>> make_sampler("grid:points=5,zoom=2", seed=0)
        Grid(points=5, zoom=2)
    """
    if isinstance(sampler, BaseSampler | Grid):
        return copy.deepcopy(sampler)
    if not isinstance(sampler, str):
        raise TypeError(f"sampler: must be a name or a sampler of Optuna's, got {sampler!r}. Write sampler='tpe'.")
    name, _, rest = sampler.partition(":")
    entry = SAMPLERS[name]
    settings = dict(_setting(name, entry, text) for text in rest.split(",") if text)
    if entry.wants_batch:
        settings["batch"] = batch
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return entry.build(seed=seed, **settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"sampler {sampler!r}: {error}") from error


def _setting(name: str, entry: SamplerEntry, text: str) -> tuple[str, Any]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if key not in entry.settings or not equals:
        known = did_you_mean(key, entry.settings) or " It has none: leave it out."
        raise InputError(f"sampler {name!r}: settings are written 'name:setting=value', got {text!r}.{known}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def reseed(sampler: object, seed: int) -> None:
    """Sets every NumPy generator that a sampler holds, and those of the samplers inside it.

    After this, what it proposes follows from the seed and the study alone, for all of Optuna's samplers.

    Args:
        sampler: is changed in place. Generators are found among its attributes, and among those of whatever
            of Optuna's it holds.
        seed: >= 0 and below 2**32.

    Example:
        >>> sampler = optuna.samplers.RandomSampler()
        >>> reseed(sampler, 7)
        >>> sampler._rng.rng.uniform() == np.random.RandomState(7).uniform()
        True
    """
    _reseed(sampler, seed, set())


def _reseed(holder: object, seed: int, seen: set[int]) -> None:
    seen.add(id(holder))
    for name, value in list(getattr(holder, "__dict__", {}).items()):
        if isinstance(value, np.random.RandomState):
            value.seed(seed)
        elif isinstance(value, np.random.Generator):
            setattr(holder, name, np.random.Generator(np.random.PCG64(seed)))
        elif type(value).__name__ == "LazyRandomState":
            value.rng.seed(seed)
        elif id(value) not in seen and (
            isinstance(value, BaseSampler) or type(value).__module__.startswith("optuna.")
        ):
            _reseed(value, seed, seen)
