"""Classification: one of K classes for each sample.

B batch, K classes, M members, N samples
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.core.task import Batch, MemberView
from tenfold.nn import LOSSES, Loss
from tenfold.tasks.class_weights import checked_weights, refuse_weights_of_own_loss, weight_values, weights_of
from tenfold.tasks.classification_metrics import CLASSIFICATION_METRICS
from tenfold.tasks.own_metric import OwnMetric
from tenfold.tasks.several_predictions import for_each, log_mean_exp, outputs_of
from tenfold.tasks.supervised import SupervisedTask
from tenfold.tasks.task_losses import TaskLoss, choose_loss

ONE_VS_REST_CLASSES = 10
DEAR_METRICS = ("roc_auc", "average_precision")
ORDINAL_METRICS = ("quadratic_kappa", "step_error")
CLASSIFICATION_LOSSES = {
    "cross_entropy": TaskLoss(function=LOSSES["cross_entropy"], values={"label_smoothing": 0.0}),
    "focal": TaskLoss(function=LOSSES["focal"], values={"label_smoothing": 0.0, "focal_gamma": 2.0}),
    "ordinal": TaskLoss(function=LOSSES["ordinal"]),
}


class Classification(SupervisedTask):
    """Learns classes; the options of its loss are values a member.

    A batch is (*inputs, targets) with targets int64 class indices of shape (B,); `model(*inputs)` returns logits,
    float, shape (B, K). `predict` gives log-probabilities: they keep their digits where probabilities are near 0.

    Values a member, which a search may draw: `label_smoothing` in [0, 1]; with the focal loss `focal_gamma`, at least
    0; with class weights `class_weight_power`, to which they are raised: 0 for none of them, 1 for all.

    Args:
        num_classes: K, at least 2; may be left out when class_names are given.
        class_names: the labels, in the order of their indices.
        loss: "cross_entropy", "focal", or "ordinal" for classes that stand in their order (see
            `tenfold.nn.cumulative_cross_entropy`); or a function `(logits, targets) -> loss` of one's own.
        class_weights: at least 0, shape (K,): weights of the classes in the loss (not in the metrics), as in
            `torch.nn.CrossEntropyLoss`; see `balanced_class_weights`.
        metrics: what `evaluate` computes, the default first: names, or metrics of one's own. None for those that say
            something here: `top_5_accuracy` from 6 classes on, `roc_auc` and `average_precision` up to 10 classes
            (beyond, sorting once a class would cost more than training), `quadratic_kappa` and `step_error` with the
            ordinal loss.

    Raises:
        ValueError: fewer than two classes, names that repeat or are not K, weights of another shape, negative, or
            beside a loss of one's own.
        InputError: a metric or the loss has no such name.

    Example:
        >>> task = Classification(class_names=("ant", "bee"), loss="focal")
        >>> task.predict(nn.Linear(3, 2), (torch.zeros(5, 3), None)).shape
        torch.Size([5, 2])
        >>> task.info.values
        {'label_smoothing': 0.0, 'focal_gamma': 2.0}
        >>> list(task.info.metrics)[:5]
        ['accuracy', 'macro_f1', 'balanced_accuracy', 'mcc', 'log_loss']
    """

    def __init__(
        self,
        num_classes: int | None = None,
        *,
        class_names: Sequence[str | int] | None = None,
        loss: str | Loss = "cross_entropy",
        class_weights: Tensor | None = None,
        metrics: Sequence[str | OwnMetric] | None = None,
    ) -> None:
        self.num_classes = _checked_num_classes(num_classes, class_names)
        self.class_names = tuple(class_names) if class_names is not None else tuple(range(self.num_classes))
        self.loss_name, self._loss = choose_loss("classification", loss, CLASSIFICATION_LOSSES)
        values = dict(self._loss.values)
        self.class_weights = None
        if class_weights is not None:
            refuse_weights_of_own_loss("Classification", "class_weights", self._loss)
            advice = "Use balanced_class_weights."
            self.class_weights = checked_weights(
                "Classification", "class_weights", class_weights, self.num_classes, "class", advice
            )
            values |= weight_values(self.class_weights)
        chosen = self._usual_metrics() if metrics is None else metrics
        super().__init__(
            name="classification",
            metrics=[CLASSIFICATION_METRICS[metric] if isinstance(metric, str) else metric for metric in chosen],
            values=values,
            num_outputs=self.num_classes,
        )

    def _usual_metrics(self) -> list[str]:
        left_out: set[str] = set() if self.num_classes > 5 else {"top_5_accuracy"}
        left_out |= set(DEAR_METRICS) if self.num_classes > ONE_VS_REST_CLASSES else set()
        left_out |= set() if self.loss_name == "ordinal" else set(ORDINAL_METRICS)
        return [name for name in CLASSIFICATION_METRICS if name not in left_out]

    def loss(self, model: nn.Module, batch: Batch, member: MemberView) -> Tensor:
        """The mean loss of a batch; see `tenfold.nn.LOSSES`."""
        *inputs, targets_B = batch
        logits_BK, num_predictions = self._logits(model, inputs)
        options = {name: member.values[name] for name in self._loss.values if name in member.values}
        if self.class_weights is not None:
            options["class_weights"] = weights_of(self.class_weights, member.values, logits_BK.device)
        return self._loss.function(logits_BK, for_each(targets_B, num_predictions), **options)

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Log-probabilities of the classes, float64, shape (B, K); of several predictions those of their mean.

        In float32 they would sum to one to seven digits only, and no log loss could be checked by another library.

        Args:
            model: called as `model(*inputs)`.
            batch: (*inputs, targets); the targets are not looked at and may be None.
        """
        logits_BK, num_predictions = self._logits(model, batch[:-1])
        log_p_BK = torch.log_softmax(logits_BK, dim=1, dtype=torch.float64)
        return log_p_BK if num_predictions == 1 else log_mean_exp(log_p_BK, num_predictions)

    def predictions_of(self, outputs: Tensor) -> np.ndarray:
        """The most probable labels, shape (N,)."""
        return self.truth_of(outputs.argmax(dim=-1))

    def truth_of(self, targets: Tensor) -> np.ndarray:
        """The labels of class indices, shape (N,)."""
        return np.array(self.class_names)[targets.cpu().numpy()]

    def probabilities_of(self, outputs: Tensor) -> np.ndarray:
        """Probabilities of the classes, float64, shape (N, K)."""
        return outputs.double().exp().cpu().numpy()

    def _logits(self, model: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, int]:
        logits_BK, num_predictions = outputs_of(model, inputs)
        if logits_BK.dim() != 2 or logits_BK.shape[1] != self.num_classes:
            raise ValueError(
                f"Classification: the model must return logits of shape (B, {self.num_classes}), got "
                f"{tuple(logits_BK.shape)}. Give its last layer {self.num_classes} outputs."
            )
        return logits_BK, num_predictions


def _checked_num_classes(num_classes: int | None, class_names: Sequence[str | int] | None) -> int:
    if class_names is not None and len(set(class_names)) != len(class_names):
        raise ValueError(f"Classification: class_names must differ, got {list(class_names)!r}. Remove repetitions.")
    count = len(class_names) if num_classes is None and class_names is not None else num_classes
    if count is None or count < 2:
        raise ValueError(f"Classification: num_classes must be at least 2, got {count!r}. Give it, or class_names.")
    if class_names is not None and len(class_names) != count:
        raise ValueError(
            f"Classification: class_names must be num_classes = {count} names, got {len(class_names)}. "
            "Leave num_classes out."
        )
    return count
