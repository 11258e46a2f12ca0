"""Who proposes configurations, by name, and how a sampler's randomness is made to follow from a run's seed.

References:
    Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012.
    Bergstra, Bardenet, Bengio and Kegl, "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011 (TPE).
"""

from __future__ import annotations

import ast
import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeAlias

import numpy as np
import optuna
from optuna.samplers import BaseSampler

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.registry import Registry
from tenfold.tuning.grid import Grid

Sampler: TypeAlias = BaseSampler | Grid


@dataclass(frozen=True, kw_only=True)
class SamplerEntry:
    """A sampler by name.

    Attributes:
        build: `build(seed=..., **settings)`; the seed is below 2**32, and every setting has a default.
        objectives: how many objectives it takes: "one" or "several" (which includes one).
        about: one sentence on what it is and when to take it.
        reference: its paper.
    """

    build: Callable[..., Sampler]
    objectives: str
    about: str
    reference: str

    @property
    def settings(self) -> dict[str, Any]:
        """The names and defaults of what `"name:setting=value"` may set."""
        return {name: one.default for name, one in signature(self.build).parameters.items() if name != "seed"}


def _grid(*, seed: int, points: int | None = None, zoom: int = 0) -> Grid:
    return Grid(points=points, zoom=zoom)


def _random(*, seed: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _tpe(*, seed: int, startup_trials: int = 10) -> BaseSampler:
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=startup_trials, multivariate=True, group=True, constant_liar=True
    )


SAMPLERS: Registry[SamplerEntry] = Registry("sampler")
SAMPLERS.add(
    "grid",
    SamplerEntry(
        build=_grid,
        objectives="several",
        about="every combination of some values; for one to three parameters, and to see a whole landscape",
        reference="Bergstra and Bengio, JMLR 13, 2012, section 1",
    ),
)
SAMPLERS.add(
    "random",
    SamplerEntry(
        build=_random,
        objectives="several",
        about="each configuration independent of all others; the yardstick, and hard to beat with few trials",
        reference="Bergstra and Bengio, JMLR 13, 2012",
    ),
)
SAMPLERS.add(
    "tpe",
    SamplerEntry(
        build=_tpe,
        objectives="several",
        about="Bayesian, by densities of good and bad configurations; takes conditions and choices, quick",
        reference="Bergstra, Bardenet, Bengio and Kegl, NeurIPS 2011, section 4",
    ),
)


def make_sampler(sampler: str | Sampler, seed: int) -> Sampler:
    """The sampler that a name, a name with settings, or an object stands for.

    Args:
        sampler: a name in `SAMPLERS`, with settings as in "grid:points=5,zoom=2"; or any sampler of Optuna's,
            which is copied.
        seed: >= 0 and below 2**32; for an object it is set by `reseed`.

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
