"""What the supervised tasks share: inputs and targets, one loss, metrics over a whole part.

M members, N samples of a part, B samples of a batch, K classes
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.core.errors import InputError
from tenfold.core.task import Batch, MemberView, Metric, Objective, Task, TaskInfo
from tenfold.stacking import PerMember
from tenfold.tasks.own_metric import OwnMetric
from tenfold.tasks.task_losses import TaskLoss


class SupervisedTask(Task):
    """A task whose batches are (*inputs, targets), with the targets last, and whose model is called `model(*inputs)`.

    Subclasses say the loss, what to predict, and in which units metrics are told.

    Attributes:
        num_outputs: outputs that a network needs.
        target_axes: axes of the targets of one sample: 0 for a class or a number, 1 for a row of labels.
        has_probabilities: whether `probabilities_of` has an answer.

    Args:
        name: as in `--task`.
        metrics: what `evaluate` computes, the default first.
        values: hyper-parameters that may differ by member, with their defaults.
        num_outputs: see above.

    Raises:
        InputError: two metrics of one name, or one that takes probabilities where there are none.
    """

    target_axes: ClassVar[int] = 0
    has_probabilities: ClassVar[bool] = True

    def __init__(
        self, *, name: str, metrics: Sequence[Metric | OwnMetric], values: Mapping[str, float], num_outputs: int
    ) -> None:
        self.num_outputs = num_outputs
        self.info = TaskInfo(name=name, metrics={}, values=dict(values))
        bound: dict[str, Metric] = {}
        for metric in metrics:
            if metric.name in bound:
                raise InputError(f"metric {metric.name!r}: the name is taken. Name each metric once.")
            bound[metric.name] = metric.bind(self) if isinstance(metric, OwnMetric) else metric
        self.info = TaskInfo(name=name, metrics=bound, values=dict(values))

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, member: MemberView) -> Tensor:
        """The mean loss of one plain model over a batch, 0-dimensional."""

    @abstractmethod
    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """What one plain model says of a batch, shape (B, ...); its targets may be None."""

    @abstractmethod
    def predictions_of(self, outputs: Tensor) -> np.ndarray:
        """Outputs of one model, in metric units, as predictions in the user's own terms, shape (N, ...)."""

    @abstractmethod
    def truth_of(self, targets: Tensor) -> np.ndarray:
        """Targets, in metric units, in the user's own terms, shape (N, ...)."""

    def probabilities_of(self, outputs: Tensor) -> np.ndarray:
        """Outputs of one model, in metric units, as probabilities, float64, shape (N, K); not for every task."""
        raise NotImplementedError

    def in_metric_units(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs as `predict` gives them and encoded targets, in the units of metrics: as they are, or raw ones."""
        return outputs, targets

    def objectives(self) -> Sequence[Objective]:
        """The one objective, "loss", over all parameters."""
        return (Objective(name="loss", loss=self.loss, repeats=self._loss_repeats()),)

    def _loss_repeats(self) -> bool:
        """Whether all of the loss is known: a user's own function may count its calls."""
        chosen: TaskLoss | None = getattr(self, "_loss", None)
        known = type(self).loss.__module__.startswith("tenfold.tasks.")
        return known and chosen is not None and not chosen.is_own

    def evaluate(self, outputs: Sequence[Tensor], batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Every metric for every member, over all batches together.

        Args:
            outputs: for each batch what `predict` said, float, shape (M, B, ...).
            batches: the batches, the targets last: shape (B, ...), or (M, B, ...) where marked by
                `tenfold.per_member`.

        Returns:
            By metric name, float64, shape (M,), on the device of the outputs. A member whose outputs hold a NaN
            has NaN in every metric; the others do not notice.

        Raises:
            ValueError: there is no batch, or not one output for each.
        """
        if not batches or len(outputs) != len(batches):
            raise ValueError(
                f"evaluate: outputs and batches must be as many and at least one, got {len(outputs)} and "
                f"{len(batches)}. Give the batches of one part and what predict said of each."
            )
        targets = torch.cat([_targets(batch) for batch in batches], dim=-1 - self.target_axes)
        return self.measure(torch.cat(list(outputs), dim=1), targets)

    def measure(self, outputs: Tensor, targets: Tensor, weights_MN: Tensor | None = None) -> dict[str, Tensor]:
        """Every metric for every member, of outputs and targets in one piece.

        Args:
            outputs: as `predict` gives them, with the member axis in front: shape (M, N, ...).
            targets: encoded, shape (N, ...) or (M, N, ...).
            weights_MN: how often each sample counts, shape (M, N), or (R, N) beside outputs of one member (M = 1)
                for R resamples of it; None for once.

        Returns:
            By metric name, float64, shape (M,) or (R,).
        """
        outputs, targets = self.in_metric_units(outputs, targets.to(outputs.device))
        given = () if weights_MN is None else (weights_MN,)
        return {name: metric.function(outputs, targets, *given) for name, metric in self.info.metrics.items()}


def _targets(batch: Batch) -> Tensor:
    last = batch[-1]
    return last.value if isinstance(last, PerMember) else last
