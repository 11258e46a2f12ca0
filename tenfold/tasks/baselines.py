"""What simple models reach on the same split: a network that does not beat them is not worth having.

The majority class (or the mean), a linear model, and for tables gradient-boosted trees, all by scikit-learn, fitted
on the training part alone and scored by the task's own metrics. How they say what a task predicts is in
`baseline_models.py`. Large parts are cut to what one CPU core fits in some
20 seconds, and the note of the result says so.

scikit-learn runs on one thread here: where other work held the cores, its threads waited for one another, and the
logistic regression on 10,000 pictures of 28x28 took 24 s with two threads and 2.4 s with one.

N samples, D features, K classes
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.linalg import LinAlgWarning
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from tenfold.core.seeds import derive_seed, generator
from tenfold.tasks.baseline_models import BaselineModel, baseline_model
from tenfold.tasks.classification import Classification
from tenfold.tasks.intervals import Interval, metric_intervals
from tenfold.tasks.mask_baselines import MapBaseline, fit_majority, fit_prior
from tenfold.tasks.segmentation import Segmentation
from tenfold.tasks.supervised import SupervisedTask

IMAGE_ROWS, TABLE_ROWS, FEWEST_ROWS = 10_000, 100_000, 200
LINEAR_CELLS = 40_000_000
LINEAR_ITERATIONS = 100
TREE_CELLS = 4_000_000_000  # rows x columns x trees
TREE_ROUNDS, TREES = 100, 1000
MOST_CODES = 255
_PIECE_CELLS = 40_000_000  # numbers that a model looks at at once

NOTHING_TO_FIT = "It knows the targets' distribution only: training holds one class, or no column."
SAID_IN_NOTES: dict[type[Warning], str] = {
    ConvergenceWarning: f"Stopped after {LINEAR_ITERATIONS} iterations, before it had converged.",
    LinAlgWarning: "Some columns are nearly dependent, so that its coefficients are not exact.",
}
Notes = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BaselinePart:
    """One part of the data, preprocessed as for a network.

    Attributes:
        x: numbers without NaN, shape (N, D) or an image's (N, C, H, W); uint8 is divided by 255. An array, or what
            has its shape and length and gives arrays when it is asked for rows.
        y: encoded targets: class indices or standardised values, shape (N,), labels, 0 and 1, shape (N, L), or masks,
            shape (N, H, W), beside which x is not looked at.
        codes: categorical columns, int, shape (N, number of columns), or None.
    """

    x: Any
    y: np.ndarray
    codes: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or (self.codes is not None and len(self.codes) != len(self.y)):
            codes = "" if self.codes is None else f", {len(self.codes)} of codes"
            raise ValueError(
                f"BaselinePart: x, y and codes must have the same rows, got {len(self.x)} of x, {len(self.y)} of y"
                f"{codes}. Take the same rows of each."
            )

    @property
    def num_numbers(self) -> int:
        """Numbers in one sample, codes left out."""
        return int(np.prod(self.x.shape[1:]))

    def take(self, rows: np.ndarray | slice) -> BaselinePart:
        """The part that has these rows only."""
        return replace(self, x=self.x[rows], y=self.y[rows], codes=None if self.codes is None else self.codes[rows])

    def numbers(self) -> np.ndarray:
        """`x` as float32, shape (N, D)."""
        flat = np.asarray(self.x[:]).reshape(len(self.x), self.num_numbers)
        return flat.astype(np.float32) / 255 if flat.dtype == np.uint8 else flat.astype(np.float32, copy=False)


@dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """What one baseline reaches.

    Attributes:
        name: "majority", "mean", "linear", "gradient-boosted trees" or "per-pixel prior".
        valid: by metric name its value on the validation part.
        test: by metric name {"value", "n", "low", "high"} on the test part; empty without one.
        seconds: for fitting and scoring.
        note: what a reader should know of how it was fitted; may be empty.
    """

    name: str
    valid: dict[str, float]
    test: dict[str, Interval]
    seconds: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """A baseline after fitting: `predict` gives what the task's `predict` would, as float64."""

    predict: Callable[[BaselinePart], np.ndarray]
    notes: Notes = ()


def run_baselines(
    task: SupervisedTask,
    train: BaselinePart,
    valid: BaselinePart,
    test: BaselinePart | None = None,
    *,
    kind: str = "table",
    cardinalities: tuple[int, ...] = (),
    seed: int = 0,
) -> list[BaselineResult]:
    """Fits every baseline on the training part and scores it on the others.

    Where the training part holds one class only, every baseline predicts that class. Probabilities are kept above
    2.2e-16, so that the log loss stays finite. Convergence warnings of scikit-learn become a sentence in `note`.

    Args:
        task: a `Classification`, `MultiLabel`, `Regression` or `Segmentation`, whose metrics are computed.
        train: at least one row.
        valid: at least one row.
        test: None when there is none.
        kind: "table" or "image"; trees are for tables, and the linear model sees at most 10,000 images.
        cardinalities: for each column of codes the number of its codes.
        seed: of the rows that are drawn where there are too many, of the trees, and of the intervals.

    Returns:
        The results in order of effort.

    Raises:
        ValueError: kind is unknown, or cardinalities are not one a column of codes.

    Example:
        >>> from tenfold.tasks import Regression
        >>> x = np.arange(20.0)[:, None]
        >>> part = BaselinePart(x=x, y=x[:, 0] / 10)
        >>> [(r.name, round(r.valid["mae"], 2)) for r in run_baselines(Regression(), part, part, kind="image")]
        [('mean', 0.5), ('linear', 0.0)]

    References:
        Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", NeurIPS 2017, which
            scikit-learn's histogram-based trees follow.
    """
    _check(train, kind, cardinalities)
    return [_score(task, name, fit, valid, test, seed) for name, fit in _fits(task, train, kind, cardinalities, seed)]


def _fits(
    task: SupervisedTask, train: BaselinePart, kind: str, cardinalities: tuple[int, ...], seed: int
) -> list[tuple[str, Callable[[], _Fitted]]]:
    """The baselines of a task by name."""
    if isinstance(task, Segmentation):
        return [
            ("majority", lambda: _fit_map(task, train, fit_majority)),
            ("per-pixel prior", lambda: _fit_map(task, train, fit_prior)),
        ]
    fits = [
        ("majority" if task.has_probabilities else "mean", lambda: _fit_constant(task, train)),
        ("linear", lambda: _fit_linear(task, train, kind, cardinalities, seed)),
    ]
    if kind == "table":
        fits.append(("gradient-boosted trees", lambda: _fit_trees(task, train, cardinalities, seed)))
    return fits


def _score(
    task: SupervisedTask,
    name: str,
    fit: Callable[[], _Fitted],
    valid: BaselinePart,
    test: BaselinePart | None,
    seed: int,
) -> BaselineResult:
    start = time.perf_counter()
    with threadpool_limits(1):
        fitted = fit()
        outputs = [torch.from_numpy(fitted.predict(part)) for part in (valid, test) if part is not None]
    measured = task.measure(outputs[0][None], torch.from_numpy(valid.y))
    intervals: dict[str, Interval] = {}
    if test is not None:
        intervals = metric_intervals(task, outputs[1], torch.from_numpy(test.y), seed=seed)
    return BaselineResult(
        name=name,
        valid={metric: value.item() for metric, value in measured.items()},
        test=intervals,
        seconds=time.perf_counter() - start,
        note=" ".join(fitted.notes),
    )


def _fit_map(task: Segmentation, train: BaselinePart, fit: Callable[[np.ndarray, int], MapBaseline]) -> _Fitted:
    """A map that is the same for every picture."""
    baseline = fit(train.y, task.num_classes)
    return _Fitted(predict=lambda part: baseline.counts(part.y))


def _fit_constant(task: SupervisedTask, train: BaselinePart, notes: Notes = ()) -> _Fitted:
    """The share of each class or label in training, or the mean."""
    model = baseline_model(task, DummyClassifier(strategy="prior"), DummyRegressor())
    return _fit(model, lambda part: np.zeros((len(part.y), 1)), train, notes)


def _fit_linear(
    task: SupervisedTask, train: BaselinePart, kind: str, cardinalities: tuple[int, ...], seed: int
) -> _Fitted:
    """Logistic or ridge regression on the numbers and the one-hot codes."""
    num_columns = train.num_numbers + sum(cardinalities)
    most = IMAGE_ROWS if kind == "image" else TABLE_ROWS
    train, notes = _at_most(train, min(most, LINEAR_CELLS // max(1, num_columns)), seed)
    if not num_columns or _has_one_class(task, train):
        return _fit_constant(task, train, (*notes, NOTHING_TO_FIT))
    model = baseline_model(task, LogisticRegression(max_iter=LINEAR_ITERATIONS), Ridge())
    return _fit(model, lambda part: _one_hot(part, cardinalities), train, notes)


def _fit_trees(task: SupervisedTask, train: BaselinePart, cardinalities: tuple[int, ...], seed: int) -> _Fitted:
    """Histogram-based boosting on the numbers and the codes, which it splits as categories."""
    num_columns = train.num_numbers + len(cardinalities)
    trees_a_round = 1 if isinstance(task, Classification) and task.num_classes == 2 else task.num_outputs
    rounds = max(10, min(TREE_ROUNDS, TREES // trees_a_round))
    work_a_row = max(1, num_columns * trees_a_round * rounds)
    train, notes = _at_most(train, min(TABLE_ROWS, TREE_CELLS // work_a_row), seed)
    if not num_columns or _has_one_class(task, train):
        return _fit_constant(task, train, (*notes, NOTHING_TO_FIT))
    if rounds < TREE_ROUNDS:
        notes = (*notes, f"Boosted for {rounds} rounds only, as each takes {trees_a_round} trees.")
    options: dict[str, Any] = {
        "max_iter": rounds,
        # Without a penalty, rare classes blow up: on the five classes of California's ocean proximity the log loss on
        # the validation part is 3.1 to 9.0 without it and 0.05 to 0.06 with it (three splits); adult does not care.
        "l2_regularization": 1.0,
        "early_stopping": False,  # its split of the rows fails on a class with one sample
        "categorical_features": [False] * train.num_numbers + [size <= MOST_CODES for size in cardinalities],
        "random_state": derive_seed(seed, "sample") % 2**32,
    }
    model = baseline_model(task, HistGradientBoostingClassifier(**options), HistGradientBoostingRegressor(**options))
    return _fit(model, _with_codes, train, notes)


def _fit(model: BaselineModel, columns: Callable[[BaselinePart], Any], train: BaselinePart, notes: Notes) -> _Fitted:
    with warnings.catch_warnings(record=True) as caught:
        for category in SAID_IN_NOTES:
            warnings.simplefilter("always", category)
        model.fit(columns(train), train.y)
    categories = {warning.category for warning in caught}
    notes = (*notes, *(sentence for category, sentence in SAID_IN_NOTES.items() if category in categories))
    return _Fitted(predict=lambda part: _in_pieces(model, columns, part), notes=notes)


def _in_pieces(model: BaselineModel, columns: Callable[[BaselinePart], Any], part: BaselinePart) -> np.ndarray:
    """What a model says of a part, of so many rows at a time that their numbers take little memory."""
    rows = max(1, _PIECE_CELLS // max(1, part.num_numbers))
    starts = range(0, len(part.y), rows)
    return np.concatenate([model.outputs(columns(part.take(slice(start, start + rows)))) for start in starts])


def _at_most(train: BaselinePart, rows: int, seed: int) -> tuple[BaselinePart, Notes]:
    rows = max(rows, FEWEST_ROWS)
    if len(train.y) <= rows:
        return train, ()
    chosen = np.sort(generator(seed, "sample", 0).permutation(len(train.y))[:rows])
    return train.take(chosen), (f"Fitted on {rows:,} of {len(train.y):,} training rows, drawn at random.",)


def _has_one_class(task: SupervisedTask, train: BaselinePart) -> bool:
    return isinstance(task, Classification) and len(np.unique(train.y)) < 2


def _one_hot(part: BaselinePart, cardinalities: tuple[int, ...]) -> Any:
    """The numbers, and a column of 0 and 1 for each code; sparse where there are codes."""
    numbers = part.numbers()
    if not cardinalities or part.codes is None:
        return numbers
    starts = np.cumsum([0, *cardinalities[:-1]])
    rows, width = part.codes.shape
    places = (part.codes + starts).ravel()
    shape = (rows, sum(cardinalities))
    one_hot = sparse.csr_matrix(
        (np.ones(rows * width, dtype=np.float32), places, np.arange(0, rows * width + 1, width)), shape=shape
    )
    return sparse.hstack([sparse.csr_matrix(numbers), one_hot], format="csr")


def _with_codes(part: BaselinePart) -> np.ndarray:
    numbers = part.numbers()
    return numbers if part.codes is None else np.hstack([numbers, part.codes.astype(np.float32)])


def _check(train: BaselinePart, kind: str, cardinalities: tuple[int, ...]) -> None:
    if kind not in ("table", "image"):
        raise ValueError(f"run_baselines: kind must be 'table' or 'image', got {kind!r}. Take it from the InputSpec.")
    columns = 0 if train.codes is None else train.codes.shape[1]
    if columns != len(cardinalities):
        raise ValueError(
            f"run_baselines: cardinalities must be one for each of {columns} columns of codes, got "
            f"{len(cardinalities)}. Take them from the InputSpec."
        )
