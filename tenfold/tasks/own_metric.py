"""A metric of one's own: any function of targets and predictions, as scikit-learn's are.

It is called once a member, and for an interval once a resample: a thousand calls. Metrics of `tenfold.tasks` do all
members at once and are quicker; use those where they say the same.

M members (or resamples), N samples
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from tenfold.core.errors import InputError
from tenfold.core.task import Direction, Metric

if TYPE_CHECKING:
    from tenfold.tasks.supervised import SupervisedTask

Takes = Literal["predictions", "probabilities"]


@dataclass(frozen=True, kw_only=True)
class OwnMetric:
    """A function of one model's targets and predictions, that stands beside the named metrics of a task.

    Attributes:
        function: `(y_true, y_pred) -> float`, called with arrays of N rows. `y_true` and predictions are in the
            user's own terms: labels, raw units, or a column of 0 and 1 for each label; probabilities have a column
            for each class or label, in the task's order.
        name: in records and on the command line.
        direction: whether more or less is better.
        takes: what the function gets as `y_pred`: "predictions" or "probabilities".
        title: its name in a table or a plot.

    Raises:
        ValueError: no function, an empty name, or another word for direction or takes.

    Example:
        >>> from sklearn.metrics import f1_score
        >>> from tenfold.tasks import Classification
        >>> bees = OwnMetric(
        ...     function=lambda y, p: f1_score(y, p, pos_label="bee"), name="f1_of_bees", direction="maximize"
        ... )
        >>> task = Classification(class_names=("ant", "bee"), metrics=["accuracy", bees])
        >>> log_probabilities = torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]).log()
        >>> task.measure(log_probabilities, torch.tensor([0, 1]))["f1_of_bees"].tolist()
        [1.0]
    """

    function: Callable[[np.ndarray, np.ndarray], float]
    name: str
    direction: Direction
    takes: Takes = "predictions"
    title: str = ""

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(
                f"OwnMetric: function must be callable, got {self.function!r}. Give (y_true, y_pred) -> float."
            )
        if not self.name:
            raise ValueError("OwnMetric: name must not be empty, got ''. Choose one that records may bear.")
        for field, choices in (("direction", get_args(Direction)), ("takes", get_args(Takes))):
            if getattr(self, field) not in choices:
                raise ValueError(
                    f"OwnMetric: {field} must be {' or '.join(map(repr, choices))}, got {getattr(self, field)!r}. "
                    "Choose one."
                )

    def bind(self, task: SupervisedTask) -> Metric:
        """The metric as a task has it, for all members at once.

        Raises:
            InputError: it takes probabilities, and the task has none.
        """
        if self.takes == "probabilities" and not task.has_probabilities:
            raise InputError(
                f"metric {self.name!r}: takes must be 'predictions', {task.info.name} has no probabilities."
            )

        def measured(outputs: Tensor, targets: Tensor, weights_MN: Tensor | None = None) -> Tensor:
            values = [self._value(task, *one) for one in _one_by_one(task, outputs, targets, weights_MN)]
            return torch.tensor(values, dtype=torch.float64, device=outputs.device)

        return Metric(name=self.name, direction=self.direction, function=measured, title=self.title or self.name)

    def _value(self, task: SupervisedTask, outputs: Tensor, targets: Tensor, is_resample: bool) -> float:
        """The value of one model, NaN where its outputs hold one; what raises on a resample has no value there."""
        said = task.probabilities_of(outputs) if self.takes == "probabilities" else task.predictions_of(outputs)
        broken = outputs.isnan().any() or (said.dtype.kind == "f" and not np.isfinite(said).all())
        if broken:
            return float("nan")
        truth = task.truth_of(targets)
        try:
            value = self.function(truth, said)
        except Exception as error:
            if is_resample and isinstance(error, ValueError | ArithmeticError):
                return float("nan")  # one class only, say
            reason = " ".join(str(error).split())
            raise InputError(
                f"metric {self.name!r}: its function failed on {len(truth)} samples "
                f"({type(error).__name__}: {reason}). Mend the function."
            ) from error
        return _as_number(value, self.name)


def _as_number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        shape = f" of shape {np.shape(value)}" if np.ndim(value) else ""
        raise InputError(
            f"metric {name!r}: its function must return one number, got {type(value).__name__}{shape}. "
            "Take the mean, say."
        ) from error


def _one_by_one(
    task: SupervisedTask, outputs: Tensor, targets: Tensor, weights_MN: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """For each member or resample its outputs and targets, and whether it is a resample."""
    has_members = targets.dim() > 1 + task.target_axes
    for m in range(len(outputs) if weights_MN is None else max(len(outputs), len(weights_MN))):
        outputs_N = outputs[m if len(outputs) > 1 else 0]
        targets_N = targets[m if len(targets) > 1 else 0] if has_members else targets
        if weights_MN is None:
            yield outputs_N, targets_N, False
        else:
            rows = _rows(weights_MN[m if len(weights_MN) > 1 else 0])
            yield outputs_N[rows], targets_N[rows], True


def _rows(weights_N: Tensor) -> Tensor:
    """Each row as often as its weight says."""
    counts_N = weights_N.long()
    if not torch.equal(counts_N.to(weights_N.dtype), weights_N):
        raise ValueError(
            f"OwnMetric: weights_MN must be whole numbers, got {weights_N[counts_N != weights_N][0].item():g}. "
            "A function of samples can repeat them, not weigh them."
        )
    return torch.arange(len(counts_N), device=counts_N.device).repeat_interleave(counts_N)
