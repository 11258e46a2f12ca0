"""Multi-label classification: any number of L labels for each sample.

B batch, L labels, M members, N samples
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.task import Batch, MemberView
from tenfold.nn import LOSSES, Loss
from tenfold.tasks.class_weights import checked_weights, refuse_weights_of_own_loss, weight_values, weights_of
from tenfold.tasks.multilabel_metrics import MULTI_LABEL_METRICS
from tenfold.tasks.own_metric import OwnMetric
from tenfold.tasks.several_predictions import for_each, log_mean_exp, outputs_of
from tenfold.tasks.supervised import SupervisedTask
from tenfold.tasks.task_losses import TaskLoss, choose_loss

MULTI_LABEL_LOSSES = {
    "binary_cross_entropy": TaskLoss(function=LOSSES["bce_with_logits"], values={"label_smoothing": 0.0}),
    "focal": TaskLoss(function=LOSSES["binary_focal"], values={"label_smoothing": 0.0, "focal_gamma": 2.0}),
}


class MultiLabel(SupervisedTask):
    """Learns for each label whether it holds, by binary cross-entropies.

    A batch is (*inputs, targets) with targets 0 and 1, float, of shape (B, L); `model(*inputs)` returns log-odds
    (logits), float, shape (B, L), and so does `predict`.

    Values a member, which a search may draw: `label_smoothing` in [0, 1]; with the focal loss `focal_gamma`, at least
    0; with positive weights `class_weight_power`, to which they are raised: 0 for none of them, 1 for all.

    Args:
        label_names: L of them, at least one.
        loss: "binary_cross_entropy" or "focal", or a function `(logits, targets) -> loss` of one's own.
        positive_weights: above 0, shape (L,): how much more a true label counts in the loss than a false one, as
            `pos_weight` of `torch.nn.BCEWithLogitsLoss`; see `balanced_positive_weights`.
        metrics: what `evaluate` computes, the default first: names, or metrics of one's own; None for all named ones.

    Raises:
        ValueError: no label, names that repeat, weights of another shape, negative, or beside a loss of
            one's own.
        InputError: a metric or the loss has no such name.

    Example:
        >>> task = MultiLabel(("sun", "rain", "wind"))
        >>> task.predict(nn.Linear(4, 3), (torch.zeros(5, 4), None)).shape
        torch.Size([5, 3])
        >>> list(task.info.metrics)
        ['micro_f1', 'macro_f1', 'subset_accuracy', 'hamming_loss', 'log_loss', 'average_precision']
    """

    target_axes = 1

    def __init__(
        self,
        label_names: Sequence[str],
        *,
        loss: str | Loss = "binary_cross_entropy",
        positive_weights: Tensor | None = None,
        metrics: Sequence[str | OwnMetric] | None = None,
    ) -> None:
        if not label_names or len(set(label_names)) != len(label_names):
            raise ValueError(
                f"MultiLabel: label_names must be at least one, and differ, got {list(label_names)!r}. "
                "Name each label once."
            )
        self.label_names = tuple(label_names)
        self.loss_name, self._loss = choose_loss("multi-label", loss, MULTI_LABEL_LOSSES)
        values = dict(self._loss.values)
        self.positive_weights = None
        if positive_weights is not None:
            refuse_weights_of_own_loss("MultiLabel", "positive_weights", self._loss)
            self.positive_weights = checked_weights(
                "MultiLabel",
                "positive_weights",
                positive_weights,
                len(self.label_names),
                "label",
                "Use balanced_positive_weights.",
            )
            values |= weight_values(self.positive_weights)
        chosen = tuple(MULTI_LABEL_METRICS) if metrics is None else metrics
        super().__init__(
            name="multilabel",
            metrics=[MULTI_LABEL_METRICS[metric] if isinstance(metric, str) else metric for metric in chosen],
            values=values,
            num_outputs=len(self.label_names),
        )

    def loss(self, model: nn.Module, batch: Batch, member: MemberView) -> Tensor:
        """The mean loss over the samples and labels of a batch; see `tenfold.nn.LOSSES`."""
        logits_BL, num_predictions = self._logits(model, batch[:-1])
        options = {name: member.values[name] for name in self._loss.values if name in member.values}
        if self.positive_weights is not None:
            options["positive_weights"] = weights_of(self.positive_weights, member.values, logits_BL.device)
        return self._loss.function(logits_BL, for_each(batch[-1], num_predictions), **options)

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Log-odds of the labels, float, shape (B, L); of several predictions those of their mean probability.

        Args:
            model: called as `model(*inputs)`.
            batch: (*inputs, targets); the targets are not looked at and may be None.
        """
        logits_BL, num_predictions = self._logits(model, batch[:-1])
        logits_BL = logits_BL.float() if logits_BL.dtype in (torch.float16, torch.bfloat16) else logits_BL
        if num_predictions == 1:
            return logits_BL
        log_true_BL, log_false_BL = (
            log_mean_exp(F.logsigmoid(sign * logits_BL), num_predictions) for sign in (1, -1)
        )
        return log_true_BL - log_false_BL

    def predictions_of(self, outputs: Tensor) -> np.ndarray:
        """1 where a label is more probable than not, int64, shape (N, L)."""
        return (outputs > 0).long().cpu().numpy()

    def truth_of(self, targets: Tensor) -> np.ndarray:
        """0 and 1, int64, shape (N, L)."""
        return targets.long().cpu().numpy()

    def probabilities_of(self, outputs: Tensor) -> np.ndarray:
        """A probability for each label, float64, shape (N, L)."""
        return outputs.double().sigmoid().cpu().numpy()

    def _logits(self, model: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, int]:
        logits_BL, num_predictions = outputs_of(model, inputs)
        if logits_BL.dim() != 2 or logits_BL.shape[1] != self.num_outputs:
            raise ValueError(
                f"MultiLabel: the model must return log-odds of shape (B, {self.num_outputs}), got "
                f"{tuple(logits_BL.shape)}. Give its last layer {self.num_outputs} outputs."
            )
        return logits_BL, num_predictions
