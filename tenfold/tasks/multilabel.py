"""Multi-label classification: any number of L labels for each sample.

B batch, L labels, M members, N samples
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.task import Batch, MemberView
from tenfold.tasks.classification_losses import checked_weights, focal
from tenfold.tasks.multilabel_metrics import MULTI_LABEL_METRICS
from tenfold.tasks.own_metric import OwnMetric
from tenfold.tasks.supervised import SupervisedTask

MULTI_LABEL_LOSSES = {
    "binary_cross_entropy": {"label_smoothing": 0.0},
    "focal": {"label_smoothing": 0.0, "focal_gamma": 2.0},
}


class MultiLabel(SupervisedTask):
    """Learns for each label whether it holds, by binary cross-entropies.

    A batch is (*inputs, targets) with targets 0 and 1, float, of shape (B, L); `model(*inputs)` returns log-odds
    (logits), float, shape (B, L), and so does `predict`.

    Values a member, which a search may draw: `label_smoothing` in [0, 1]; with the focal loss `focal_gamma`, at least
    0; with positive weights `class_weight_power`, to which they are raised: 0 for none of them, 1 for all.

    Args:
        label_names: L of them, at least one.
        loss: "binary_cross_entropy" or "focal".
        positive_weights: above 0, shape (L,): how much more a true label counts in the loss than a false one, as
            `pos_weight` of `torch.nn.BCEWithLogitsLoss`; see `balanced_positive_weights`.
        metrics: what `evaluate` computes, the default first: names, or metrics of one's own; None for all named ones.

    Raises:
        ValueError: no label, names that repeat, weights of another shape or negative.
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
        loss: str = "binary_cross_entropy",
        positive_weights: Tensor | None = None,
        metrics: Sequence[str | OwnMetric] | None = None,
    ) -> None:
        if not label_names or len(set(label_names)) != len(label_names):
            raise ValueError(
                f"MultiLabel: label_names must be at least one, and differ, got {list(label_names)!r}. "
                "Name each label once."
            )
        self.label_names = tuple(label_names)
        if loss not in MULTI_LABEL_LOSSES:
            raise InputError(f"unknown multi-label loss {loss!r}.{did_you_mean(loss, MULTI_LABEL_LOSSES)}")
        self.loss_name, values = loss, dict(MULTI_LABEL_LOSSES[loss])
        self.positive_weights = None
        if positive_weights is not None:
            self.positive_weights = checked_weights(
                "MultiLabel",
                "positive_weights",
                positive_weights,
                len(self.label_names),
                "label",
                "Use balanced_positive_weights.",
            )
            values["class_weight_power"] = 1.0
        chosen = tuple(MULTI_LABEL_METRICS) if metrics is None else metrics
        super().__init__(
            name="multilabel",
            metrics=[MULTI_LABEL_METRICS[metric] if isinstance(metric, str) else metric for metric in chosen],
            values=values,
            num_outputs=len(self.label_names),
        )

    def loss(self, model: nn.Module, batch: Batch, member: MemberView) -> Tensor:
        """The mean loss over the samples and labels of a batch; see `binary_cross_entropy`."""
        logits_BL = self._logits(model, batch[:-1])
        weights_L = self.positive_weights
        if weights_L is not None and "class_weight_power" in member.values:
            weights_L = weights_L.to(logits_BL.device) ** member.values["class_weight_power"]
        return binary_cross_entropy(
            logits_BL,
            batch[-1],
            label_smoothing=member.values.get("label_smoothing"),
            positive_weights=weights_L,
            focal_gamma=member.values["focal_gamma"] if self.loss_name == "focal" else None,
        )

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Log-odds of the labels, float, shape (B, L).

        Args:
            model: called as `model(*inputs)`.
            batch: (*inputs, targets); the targets are not looked at and may be None.
        """
        logits_BL = self._logits(model, batch[:-1])
        return logits_BL.float() if logits_BL.dtype in (torch.float16, torch.bfloat16) else logits_BL

    def predictions_of(self, outputs: Tensor) -> np.ndarray:
        """1 where a label is more probable than not, int64, shape (N, L)."""
        return (outputs > 0).long().cpu().numpy()

    def truth_of(self, targets: Tensor) -> np.ndarray:
        """0 and 1, int64, shape (N, L)."""
        return targets.long().cpu().numpy()

    def probabilities_of(self, outputs: Tensor) -> np.ndarray:
        """A probability for each label, float64, shape (N, L)."""
        return outputs.double().sigmoid().cpu().numpy()

    def _logits(self, model: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
        logits_BL = model(*inputs)
        if logits_BL.dim() != 2 or logits_BL.shape[1] != self.num_outputs:
            raise ValueError(
                f"MultiLabel: the model must return log-odds of shape (B, {self.num_outputs}), got "
                f"{tuple(logits_BL.shape)}. Give its last layer {self.num_outputs} outputs."
            )
        return logits_BL


def binary_cross_entropy(
    logits_BL: Tensor,
    targets_BL: Tensor,
    *,
    label_smoothing: float | Tensor | None = None,
    positive_weights: Tensor | None = None,
    focal_gamma: float | Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of log-odds, with options that may be tensors, one value a member under vmap.

    Args:
        logits_BL: float, shape (B, L).
        targets_BL: 0 and 1, shape (B, L).
        label_smoothing: how far targets are moved towards 1/2, in [0, 1]; None for 0.
        positive_weights: shape (L,): a true label's loss is multiplied by it; the mean is over all labels, as in
            `torch.nn.BCEWithLogitsLoss`.
        focal_gamma: at least 0, as in `cross_entropy`; None for 0.

    Returns:
        The mean over samples and labels, in nats, 0-dimensional.

    Example:
        >>> binary_cross_entropy(torch.zeros(2, 3), torch.ones(2, 3), focal_gamma=1.0).item()
        0.346573...

    References:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    of_true_BL, of_false_BL = -F.logsigmoid(logits_BL), -F.logsigmoid(-logits_BL)
    if focal_gamma is not None:
        of_true_BL, of_false_BL = focal(of_true_BL, focal_gamma), focal(of_false_BL, focal_gamma)
    targets_BL = targets_BL.to(logits_BL.dtype)
    if label_smoothing is not None:
        share = torch.as_tensor(label_smoothing, dtype=logits_BL.dtype, device=logits_BL.device)
        targets_BL = targets_BL * (1 - share) + share / 2
    if positive_weights is not None:
        of_true_BL = of_true_BL * positive_weights.to(logits_BL.device, logits_BL.dtype)
    return (targets_BL * of_true_BL + (1 - targets_BL) * of_false_BL).mean()


def balanced_positive_weights(targets_NL: Tensor) -> Tensor:
    """Weights that let the true samples of a label count as much as its false ones: false / true.

    Args:
        targets_NL: 0 and 1, of the training part, shape (N, L).

    Returns:
        float32, shape (L,); 1 for a label that is true nowhere or everywhere.

    Example:
        >>> balanced_positive_weights(torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 1.0]]))
        tensor([2., 1.])

    References:
        King and Zeng, "Logistic Regression in Rare Events Data", Political Analysis 9, 2001, section 3.2.
    """
    true_L = targets_NL.float().sum(dim=0)
    false_L = len(targets_NL) - true_L
    return torch.where((true_L > 0) & (false_L > 0), false_L / true_L, 1.0)
