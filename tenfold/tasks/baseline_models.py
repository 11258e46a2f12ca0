"""scikit-learn's models as baselines of a task: fitted to its targets, they say what its `predict` would say.

N samples, K classes, L labels, Q quantiles
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor

from tenfold.tasks.classification import Classification
from tenfold.tasks.regression import Regression
from tenfold.tasks.supervised import SupervisedTask

SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


class BaselineModel(ABC):
    """A model of a task's targets."""

    @abstractmethod
    def fit(self, x: Any, y: np.ndarray) -> None:
        """Fits to columns and encoded targets."""

    @abstractmethod
    def outputs(self, x: Any) -> np.ndarray:
        """What the task's `predict` would say, float64."""


def baseline_model(task: SupervisedTask, classifier: Any, regressor: Any) -> BaselineModel:
    """The model that suits a task, made of one of scikit-learn's.

    Args:
        task: what is learned.
        classifier: for classes and for each label.
        regressor: for a number, and for quantiles.

    Example:
        >>> from sklearn.dummy import DummyClassifier, DummyRegressor
        >>> model = baseline_model(Regression(quantiles=(0.25, 0.5, 0.75)), DummyClassifier(), DummyRegressor())
        >>> model.fit(np.zeros((5, 1)), np.arange(5.0))
        >>> model.outputs(np.zeros((1, 1))).tolist()
        [[1.0, 2.0, 3.0]]
    """
    if isinstance(task, Classification):
        return _Classes(classifier, task.num_classes)
    if not isinstance(task, Regression):
        return _Labels(classifier)
    if not task.quantiles:
        return _Values(regressor)
    if isinstance(regressor, HistGradientBoostingRegressor):
        return _BoostedQuantiles(regressor, task.quantiles)
    return _QuantilesOfErrors(regressor, task.quantiles)


class _Classes(BaselineModel):
    def __init__(self, model: Any, num_classes: int) -> None:
        self.model, self.num_classes = model, num_classes

    def fit(self, x: Any, y: np.ndarray) -> None:
        self.model.fit(x, y)

    def outputs(self, x: Any) -> np.ndarray:
        """Log-probabilities of all classes, those absent from training included, shape (N, K)."""
        known = self.model.predict_proba(x).astype(np.float64)
        probabilities = np.zeros((len(known), self.num_classes))
        probabilities[:, self.model.classes_] = known
        probabilities = np.clip(probabilities, SMALLEST_PROBABILITY, None)
        return np.log(probabilities / probabilities.sum(axis=1, keepdims=True))


class _Labels(BaselineModel):
    """A model for each label; a label that is true everywhere or nowhere in training needs none."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, x: Any, y: np.ndarray) -> None:
        truth = y.astype(np.int64)
        self.shares = truth.mean(axis=0)
        self.models = [
            clone(self.model).fit(x, column) if 0 < share < 1 else None
            for column, share in zip(truth.T, self.shares, strict=True)
        ]

    def outputs(self, x: Any) -> np.ndarray:
        """Log-odds of the labels, shape (N, L)."""
        columns = [
            np.full(x.shape[0], share) if model is None else model.predict_proba(x)[:, 1].astype(np.float64)
            for model, share in zip(self.models, self.shares, strict=True)
        ]
        probabilities = np.clip(np.stack(columns, axis=1), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        return np.log(probabilities) - np.log1p(-probabilities)


class _Values(BaselineModel):
    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, x: Any, y: np.ndarray) -> None:
        self.model.fit(x, y)

    def outputs(self, x: Any) -> np.ndarray:
        """Standardised values, shape (N,)."""
        return self.model.predict(x).astype(np.float64)


class _QuantilesOfErrors(_Values):
    """A model of the mean, and around it the quantiles of its errors in training, the same for every sample."""

    def __init__(self, model: Any, levels: tuple[float, ...]) -> None:
        super().__init__(model)
        self.levels = levels

    def fit(self, x: Any, y: np.ndarray) -> None:
        super().fit(x, y)
        self.errors = np.quantile(y - self.model.predict(x), self.levels)

    def outputs(self, x: Any) -> np.ndarray:
        """Standardised quantiles, shape (N, Q)."""
        return super().outputs(x)[:, None] + self.errors


class _BoostedQuantiles(BaselineModel):
    """Trees of their own for each quantile, since errors in training say too little of trees."""

    def __init__(self, model: HistGradientBoostingRegressor, levels: tuple[float, ...]) -> None:
        self.models = [clone(model).set_params(loss="quantile", quantile=level) for level in levels]

    def fit(self, x: Any, y: np.ndarray) -> None:
        for model in self.models:
            model.fit(x, y)

    def outputs(self, x: Any) -> np.ndarray:
        """Standardised quantiles in rising order, shape (N, Q)."""
        return np.sort(np.stack([model.predict(x).astype(np.float64) for model in self.models], axis=1), axis=1)
