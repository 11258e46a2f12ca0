"""Bayesian optimisation with a Gaussian process, for batches.

A batch has no scores yet, so each of its proposals is believed to score what the model expects of it (the kriging
believer). Such a belief leaves the model's mean as it is and shrinks its variance nearby; so the model is fitted
once a batch, its mean is that of what was told, and only the variance is computed anew for each proposal. Optuna's
own sampler refits and integrates over the whole batch: 64 proposals with 64 told take 20 s of one core.

The expected improvement is looked for among random candidates and neighbours of the best, over all parameters at
once: choices are one column a choice, and a parameter that does not apply stands in the middle of its range. With
more than 256 trials the model sees the better half of that number and the latest ones.

References:
    Jones, Schonlau and Welch, "Efficient Global Optimization of Expensive Black-Box Functions", 1998 (EI).
    Ginsbourger, Le Riche and Carraro, "Kriging Is Well-Suited to Parallelize Optimization", 2010, section 3.
    Snoek, Larochelle and Adams, "Practical Bayesian Optimization of Machine Learning Algorithms", NeurIPS 2012
        (Matern 5/2, a length scale a parameter).
"""

# Shape letters: N trials, P columns (one a number, one a choice of a categorical), C candidates.

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial.distance import cdist
from scipy.special import ndtr

from tenfold.tuning.places import snapped, to_place, to_value

_MOST_TOLD = 256
_MOST_CHECKED = 200  # candidates, the most promising first
_NOISE = 1e-6  # beside the fitted one, so that equal configurations do not make the matrix singular


class GaussianProcessSampler(BaseSampler):
    """Bayesian optimisation for one objective, a batch at a time.

    Args:
        seed: >= 0.
        startup_trials: proposals are random until so many have been told, >= 2.
        candidates: configurations among which the best is proposed, >= 2.

    Attributes:
        admits: whether parameters may be proposed, where there are constraints.

    Raises:
        ValueError: a number is too small.

    Example:
        >>> study = optuna.create_study(sampler=GaussianProcessSampler(seed=0, startup_trials=5))
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=12)
        >>> study.best_value < 0.01
        True
    """

    def __init__(self, *, seed: int, startup_trials: int = 10, candidates: int = 1024) -> None:
        if startup_trials < 2 or candidates < 2:
            raise ValueError(
                "GaussianProcessSampler: startup_trials and candidates must be at least 2, got "
                f"{startup_trials!r} and {candidates!r}. Leave them out for the usual ones."
            )
        self._startup_trials, self._num_candidates = startup_trials, candidates
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._random = RandomSampler(seed=seed)
        self.admits: Callable[[dict[str, Any]], bool] | None = None
        self._fitted: tuple[Any, _Surrogate] | None = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All parameters that any trial had, by name; nothing while too few have been told."""
        trials = study.get_trials(deepcopy=False)
        if sum(one.state == TrialState.COMPLETE for one in trials) < self._startup_trials:
            return {}
        found = {name: each for one in trials for name, each in one.distributions.items() if not each.single()}
        return dict(sorted(found.items()))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The candidate of the largest expected improvement."""
        if not search_space:
            return {}
        columns = _Columns(search_space)
        trials = study.get_trials(deepcopy=False)
        told = _at_most(_MOST_TOLD, [one for one in trials if one.state == TrialState.COMPLETE], study.direction)
        open_ones = [one for one in trials if one.state == TrialState.RUNNING and one.number != trial.number]
        key = (tuple(search_space), tuple(one.number for one in told))
        if self._fitted is None or self._fitted[0] != key:
            sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
            scores = _without_outliers(np.array([sign * (one.value or 0.0) for one in told]))
            self._fitted = key, _Surrogate(columns.places(told), scores)
        model, places_open = self._fitted[1], columns.places(open_ones)
        places_CP = self._candidates(columns, model.places_NP[np.argsort(-model.scores_N)[:5]])
        gain_C = model.expected_improvement(places_CP, places_open)
        known = np.concatenate([model.places_NP, places_open])
        gain_C[cdist(places_CP, known, "chebyshev").min(axis=1) < 1e-9] = -np.inf
        ranked = np.argsort(-gain_C, kind="stable")[: 1 if self.admits is None else _MOST_CHECKED]
        proposals = [columns.params(places_CP[index]) for index in ranked]
        return next((one for one in proposals if self.admits is None or self.admits(one)), proposals[0])

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """Random: of the first trials, and of parameters that no trial had yet."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _candidates(self, columns: _Columns, best: np.ndarray) -> np.ndarray:
        """Half of them anywhere, half near one of the best, at two scales; shape (C, P)."""
        num_columns = best.shape[1]
        near = best[self._rng.integers(len(best), size=self._num_candidates // 2)]
        scale = np.where(self._rng.random((len(near), 1)) < 0.5, 0.15, 0.03)
        moves = self._rng.random(near.shape) < max(0.3, 1 / num_columns)
        near = near + np.where(moves, self._rng.normal(0, 1, near.shape) * scale, 0)
        anywhere = self._rng.random((self._num_candidates - len(near), num_columns))
        return columns.snapped(np.concatenate([anywhere, np.clip(near, 0, 1)]), self._rng)


class _Columns:
    """Configurations as rows of numbers in [0, 1]."""

    def __init__(self, space: dict[str, BaseDistribution]) -> None:
        self._space: dict[str, Any] = space
        self._slices: dict[str, slice] = {}
        end = 0
        for name, each in self._space.items():
            start, end = end, end + (len(each.choices) if isinstance(each, CategoricalDistribution) else 1)
            self._slices[name] = slice(start, end)
        self.width = end

    def places(self, trials: Sequence[FrozenTrial]) -> np.ndarray:
        """Shape (N, P); what a trial has not stands in the middle."""
        rows = np.full((len(trials), self.width), 0.5)
        for row, trial in zip(rows, trials, strict=True):
            for name, where in self._slices.items():
                each = self._space[name]
                if trial.distributions.get(name) != each:
                    continue
                if isinstance(each, CategoricalDistribution):
                    row[where] = 0.0
                    row[where.start + int(each.to_internal_repr(trial.params[name]))] = 1.0
                else:
                    row[where] = to_place(each, trial.params[name])
        return rows

    def snapped(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Rows moved to places that configurations have."""
        for name, where in self._slices.items():
            each = self._space[name]
            if isinstance(each, CategoricalDistribution):
                ranked = rows[:, where] + np.where(
                    rng.random((len(rows), 1)) < 0.1, rng.random(rows[:, where].shape), 0
                )
                rows[:, where] = np.arange(where.stop - where.start) == ranked.argmax(axis=1)[:, None]
            else:
                rows[:, where] = snapped(each, rows[:, where])
        return rows

    def params(self, row: np.ndarray) -> dict[str, Any]:
        """One row as values."""
        return {
            name: each.choices[int(np.argmax(row[self._slices[name]]))]
            if isinstance(each, CategoricalDistribution)
            else to_value(each, float(row[self._slices[name]][0]))
            for name, each in self._space.items()
        }


class _Surrogate:
    """The model of the scores, fitted once; larger is better."""

    def __init__(self, places_NP: np.ndarray, scores_N: np.ndarray) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        spread = float(scores_N.std()) or 1.0
        self.places_NP, self.scores_N = places_NP, (scores_N - scores_N.mean()) / spread
        lengths = np.full(places_NP.shape[1], 0.5)
        kernel = ConstantKernel(1.0, (0.05, 20.0)) * Matern(lengths, (0.05, 10.0), nu=2.5) + WhiteKernel(
            0.01, (1e-5, 1.0)
        )
        model = GaussianProcessRegressor(kernel, alpha=_NOISE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound is a parameter without effect
            model.fit(places_NP, self.scores_N)
        self._kernel, self._noise = model.kernel_.k1, model.kernel_.k2.noise_level + _NOISE
        self._mean_weights = model.alpha_
        self._best = float((self._kernel(places_NP) @ model.alpha_).max())

    def expected_improvement(self, places_CP: np.ndarray, open_NP: np.ndarray) -> np.ndarray:
        """Over the best expected score, shape (C,), with the open ones' scores believed to be as expected."""
        mean_C = self._kernel(places_CP, self.places_NP) @ self._mean_weights
        all_NP = np.concatenate([self.places_NP, open_NP])
        factor = cholesky(self._kernel(all_NP) + self._noise * np.eye(len(all_NP)), lower=True)
        explained = solve_triangular(factor, self._kernel(all_NP, places_CP), lower=True)
        std_C = np.sqrt(np.maximum(self._kernel.diag(places_CP) - (explained**2).sum(axis=0), 1e-12))
        z_C = (mean_C - self._best) / std_C
        density_C = np.exp(-0.5 * z_C**2) / np.sqrt(2 * np.pi)
        return std_C * (z_C * ndtr(z_C) + density_C)


def _at_most(count: int, told: list[FrozenTrial], direction: StudyDirection) -> list[FrozenTrial]:
    """The better half and the latest ones, in the order of their numbers."""
    if len(told) <= count:
        return told
    ranked = sorted(told, key=lambda one: one.value or 0.0, reverse=direction == StudyDirection.MAXIMIZE)
    kept = {one.number for one in ranked[: count // 2]}
    latest = [one.number for one in reversed(told) if one.number not in kept][: count - len(kept)]
    return [one for one in told if one.number in kept or one.number in latest]


def _without_outliers(scores_N: np.ndarray) -> np.ndarray:
    """Scores with the far worse ones pulled to Tukey's fence: a diverged training must not flatten all others."""
    low, high = np.quantile(scores_N, [0.25, 0.75])
    return np.maximum(scores_N, low - 1.5 * (high - low)) if high > low else scores_N
