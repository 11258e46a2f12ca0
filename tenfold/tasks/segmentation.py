"""Segmentation: one of K classes for each pixel of a picture.

B batch, K classes, H W, N pictures
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.task import Batch, MemberView, Metric
from tenfold.data.mask_codes import IGNORED
from tenfold.nn import Loss, cross_entropy, dice_loss, focal_loss
from tenfold.tasks.class_weights import checked_weights, refuse_weights_of_own_loss, weight_values, weights_of
from tenfold.tasks.own_metric import OwnMetric
from tenfold.tasks.segmentation_metrics import SEGMENTATION_METRICS, class_counts, class_iou
from tenfold.tasks.several_predictions import one_output
from tenfold.tasks.supervised import SupervisedTask
from tenfold.tasks.task_losses import TaskLoss, choose_loss


def cross_entropy_and_dice(
    logits_BKHW: Tensor,
    targets_BHW: Tensor,
    *,
    dice_weight: float | Tensor = 1.0,
    ignore_index: int | None = None,
    **options: Any,
) -> Tensor:
    """Cross-entropy, which learns fast, and Dice, in which a class counts alike however few pixels it has.

    Args:
        logits_BKHW: float.
        targets_BHW: int64 places of classes.
        dice_weight: what Dice counts, at least 0, a number or a 0-dimensional tensor.
        ignore_index: a target that does not count.
        **options: of `tenfold.nn.cross_entropy`.

    Example:
        >>> cross_entropy_and_dice(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]), dice_weight=0.0).item()
        0.693147...

    References:
        Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
            Nature Methods 18, 2021, online methods.
    """
    exact = cross_entropy(logits_BKHW, targets_BHW, ignore_index=ignore_index, **options)
    return exact + dice_weight * dice_loss(logits_BKHW, targets_BHW, ignore_index=ignore_index)


def _ignoring(loss: Loss) -> Loss:
    return partial(loss, ignore_index=IGNORED)


SEGMENTATION_LOSSES: dict[str, TaskLoss] = {
    "cross_entropy": TaskLoss(function=_ignoring(cross_entropy)),
    "dice": TaskLoss(function=_ignoring(dice_loss), takes_weights=False),
    "cross_entropy_dice": TaskLoss(function=_ignoring(cross_entropy_and_dice), values={"dice_weight": 1.0}),
    "focal": TaskLoss(function=_ignoring(focal_loss), values={"focal_gamma": 2.0}),
}


class Segmentation(SupervisedTask):
    """Learns the class of each pixel.

    A batch is (*inputs, targets) with targets of shape (B, H, W): integer places of classes, or 255 for pixels that
    have no label and count nowhere. `model(*inputs)` returns logits, float, shape (B, K, H, W). `predict` gives no
    maps, which would not fit into memory for many members and pictures, but what metrics are made of: of each
    picture and class three counts of pixels, shape (B, 3, K); see `class_counts`.

    Values a member, which a search may draw: `dice_weight`, at least 0, with the loss "cross_entropy_dice";
    `focal_gamma`, at least 0, with "focal"; with class weights `class_weight_power`, to which they are raised.

    Args:
        class_names: of the K classes, in the order of their places; at least two.
        loss: "cross_entropy", "dice", their sum "cross_entropy_dice", or "focal"; or a function `(logits, targets) ->
            loss` of one's own, which gets targets int64, 255 where there is no label.
        class_weights: at least 0, shape (K,), in the cross-entropy or focal loss; see `balanced_class_weights`.
        metrics: what `evaluate` computes, the default first: names, or metrics of one's own, which are called with
            the numbers of pixels of each class, (N, K). None for mean IoU, pixel accuracy, mean Dice, and
            "iou_<name>" of each class.

    Raises:
        ValueError: fewer than two names, names that repeat, weights of another shape or negative.
        InputError: a metric or the loss has no such name, or weights for a loss that has none.

    Example:
        >>> task = Segmentation(("sky", "road"), loss="cross_entropy_dice")
        >>> batch = (torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.uint8))
        >>> task.predict(nn.Conv2d(3, 2, 1), batch).shape, list(task.info.metrics), task.info.values
        (torch.Size([2, 3, 2]), ['miou', 'pixel_accuracy', 'mean_dice', 'iou_sky', 'iou_road'], {'dice_weight': 1.0})
    """

    target_axes: ClassVar[int] = 2
    has_probabilities: ClassVar[bool] = False

    def __init__(
        self,
        class_names: Sequence[str | int],
        *,
        loss: str | Loss = "cross_entropy",
        class_weights: Tensor | None = None,
        metrics: Sequence[str | OwnMetric] | None = None,
    ) -> None:
        self.class_names, self.num_classes = tuple(class_names), len(class_names)
        if self.num_classes < 2 or len(set(self.class_names)) < self.num_classes:
            raise ValueError(
                f"Segmentation: class_names must be at least two different names, got {list(class_names)!r}. "
                "Name each class once."
            )
        self.loss_name, self._loss = choose_loss("segmentation", loss, SEGMENTATION_LOSSES)
        values = dict(self._loss.values)
        self.class_weights = None
        if class_weights is not None:
            if loss == "dice":
                raise InputError("loss 'dice': classes count alike in it, got class weights. Leave them out.")
            refuse_weights_of_own_loss("Segmentation", "class_weights", self._loss)
            advice = "Use balanced_class_weights."
            self.class_weights = checked_weights(
                "Segmentation", "class_weights", class_weights, self.num_classes, "class", advice
            )
            values |= weight_values(self.class_weights)
        known: dict[str, Metric] = {name: SEGMENTATION_METRICS[name] for name in SEGMENTATION_METRICS}
        known |= {metric.name: metric for metric in map(class_iou, self.class_names, range(self.num_classes))}
        super().__init__(
            name="segmentation",
            metrics=[_named(one, known) for one in (known if metrics is None else metrics)],
            values=values,
            num_outputs=self.num_classes,
        )

    def loss(self, model: nn.Module, batch: Batch, member: MemberView) -> Tensor:
        """The mean loss over the labelled pixels of a batch, 0 where there are none; see `tenfold.nn.LOSSES`."""
        *inputs, targets_BHW = batch
        logits_BKHW = self._logits(model, inputs, targets_BHW)
        options = {name: member.values[name] for name in self._loss.values if name in member.values}
        if self.class_weights is not None:
            options["class_weights"] = weights_of(self.class_weights, member.values, logits_BKHW.device)
        return self._loss.function(logits_BKHW, targets_BHW.long(), **options)

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Counts of pixels by picture and class, float64, shape (B, 3, K); NaN for pictures with a NaN among logits.

        Args:
            model: called as `model(*inputs)`.
            batch: (*inputs, targets); unlike in other tasks the targets are counted.
        """
        *inputs, targets_BHW = batch
        logits_BKHW = self._logits(model, inputs, targets_BHW)
        counts_B3K = class_counts(logits_BKHW.argmax(dim=1), targets_BHW, self.num_classes)
        broken_B = logits_BKHW.isnan().flatten(1).any(dim=1)
        return torch.where(broken_B[:, None, None], torch.nan, counts_B3K)

    def predictions_of(self, outputs: Tensor) -> np.ndarray:
        """How many pixels of each picture are said to be of each class, float64, shape (N, K)."""
        return outputs[:, 2].double().cpu().numpy()

    def truth_of(self, targets: Tensor) -> np.ndarray:
        """How many pixels of each picture are of each class, float64, shape (N, K)."""
        return class_counts(torch.zeros_like(targets), targets, self.num_classes)[:, 1].cpu().numpy()

    def _logits(self, model: nn.Module, inputs: Sequence[Tensor], targets_BHW: Tensor) -> Tensor:
        logits_BKHW = one_output(model, inputs)
        expected = (targets_BHW.shape[0], self.num_classes, *targets_BHW.shape[1:])
        if tuple(logits_BKHW.shape) != expected:
            raise ValueError(
                f"Segmentation: the model must return logits of shape {expected} (B, K, H, W), got "
                f"{tuple(logits_BKHW.shape)}. Give it {self.num_classes} outputs for each pixel of the targets."
            )
        return logits_BKHW


def _named(metric: str | OwnMetric, known: dict[str, Metric]) -> Metric | OwnMetric:
    if not isinstance(metric, str):
        return metric
    if metric not in known:
        raise InputError(f"unknown metric {metric!r} for segmentation.{did_you_mean(metric, known)}")
    return known[metric]
