"""Classification: one of K classes for each sample.

B batch, K classes, M members, N samples
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.task import Batch, MemberView
from tenfold.tasks.classification_losses import checked_weights, cross_entropy, cumulative_cross_entropy
from tenfold.tasks.classification_metrics import CLASSIFICATION_METRICS
from tenfold.tasks.own_metric import OwnMetric
from tenfold.tasks.supervised import SupervisedTask

ONE_VS_REST_CLASSES = 10
DEAR_METRICS = ("roc_auc", "average_precision")
ORDINAL_METRICS = ("quadratic_kappa", "step_error")
CLASSIFICATION_LOSSES = {
    "cross_entropy": {"label_smoothing": 0.0},
    "focal": {"label_smoothing": 0.0, "focal_gamma": 2.0},
    "ordinal": {},
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
        loss: "cross_entropy", "focal", or "ordinal" for classes that stand in their order: see
            `cumulative_cross_entropy`.
        class_weights: at least 0, shape (K,): weights of the classes in the loss (not in the metrics), as in
            `torch.nn.CrossEntropyLoss`; see `balanced_class_weights`.
        metrics: what `evaluate` computes, the default first: names, or metrics of one's own. None for those that say
            something here: `top_5_accuracy` from 6 classes on, `roc_auc` and `average_precision` up to 10 classes
            (beyond, sorting once a class would cost more than training), `quadratic_kappa` and `step_error` with the
            ordinal loss.

    Raises:
        ValueError: fewer than two classes, names that repeat or are not K, weights of another shape or negative.
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
        loss: str = "cross_entropy",
        class_weights: Tensor | None = None,
        metrics: Sequence[str | OwnMetric] | None = None,
    ) -> None:
        self.num_classes = _checked_num_classes(num_classes, class_names)
        self.class_names = tuple(class_names) if class_names is not None else tuple(range(self.num_classes))
        if loss not in CLASSIFICATION_LOSSES:
            raise InputError(f"unknown classification loss {loss!r}.{did_you_mean(loss, CLASSIFICATION_LOSSES)}")
        self.loss_name, values = loss, dict(CLASSIFICATION_LOSSES[loss])
        self.class_weights = None
        if class_weights is not None:
            advice = "Use balanced_class_weights."
            self.class_weights = checked_weights(
                "Classification", "class_weights", class_weights, self.num_classes, "class", advice
            )
            values["class_weight_power"] = 1.0
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
        """The mean loss of a batch; see `cross_entropy` and `cumulative_cross_entropy`."""
        *inputs, targets_B = batch
        logits_BK = self._logits(model, inputs)
        weights_K = self.class_weights
        if weights_K is not None and "class_weight_power" in member.values:
            weights_K = weights_K.to(logits_BK.device) ** member.values["class_weight_power"]
        if self.loss_name == "ordinal":
            return cumulative_cross_entropy(logits_BK, targets_B, class_weights=weights_K)
        return cross_entropy(
            logits_BK,
            targets_B,
            label_smoothing=member.values.get("label_smoothing"),
            class_weights=weights_K,
            focal_gamma=member.values["focal_gamma"] if self.loss_name == "focal" else None,
        )

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Log-probabilities of the classes, float, shape (B, K).

        Args:
            model: called as `model(*inputs)`.
            batch: (*inputs, targets); the targets are not looked at and may be None.
        """
        logits_BK = self._logits(model, batch[:-1])
        if logits_BK.dtype in (torch.float16, torch.bfloat16):
            logits_BK = logits_BK.float()
        return torch.log_softmax(logits_BK, dim=1)

    def predictions_of(self, outputs: Tensor) -> np.ndarray:
        """The most probable labels, shape (N,)."""
        return self.truth_of(outputs.argmax(dim=-1))

    def truth_of(self, targets: Tensor) -> np.ndarray:
        """The labels of class indices, shape (N,)."""
        return np.array(self.class_names)[targets.cpu().numpy()]

    def probabilities_of(self, outputs: Tensor) -> np.ndarray:
        """Probabilities of the classes, float64, shape (N, K)."""
        return outputs.double().exp().cpu().numpy()

    def _logits(self, model: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
        logits_BK = model(*inputs)
        if logits_BK.dim() != 2 or logits_BK.shape[1] != self.num_classes:
            raise ValueError(
                f"Classification: the model must return logits of shape (B, {self.num_classes}), got "
                f"{tuple(logits_BK.shape)}. Give its last layer {self.num_classes} outputs."
            )
        return logits_BK


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
