"""Classification: one of K classes for each sample.

B batch, K classes, M members, N samples
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tenfold.core.task import Batch, MemberView
from tenfold.tasks.classification_metrics import CLASSIFICATION_METRICS
from tenfold.tasks.supervised import SupervisedTask

ONE_VS_REST_CLASSES = 10


class Classification(SupervisedTask):
    """Learns classes by cross-entropy, with label smoothing as a value a member.

    A batch is (*inputs, targets) with targets int64 class indices of shape (B,); `model(*inputs)` returns logits,
    float, shape (B, K). `predict` gives log-probabilities: they keep their digits where probabilities are near 0.

    Args:
        num_classes: K, at least 2; may be left out when class_names are given.
        class_names: the labels, in the order of their indices.
        class_weights: at least 0, shape (K,): weights of the classes in the loss (not in the metrics), as in
            `torch.nn.CrossEntropyLoss`; see `balanced_class_weights`.
        metrics: names of what `evaluate` computes, the default first; None for all, except `roc_auc` beyond 10
            classes, where sorting once a class would cost more than training.

    Raises:
        ValueError: fewer than two classes, names that repeat or are not K, weights of another shape or negative.
        InputError: a metric has no such name.

    Example:
        >>> task = Classification(class_names=("ant", "bee"))
        >>> task.predict(nn.Linear(3, 2), (torch.zeros(5, 3), None)).shape
        torch.Size([5, 2])
        >>> list(task.info.metrics)
        ['accuracy', 'macro_f1', 'balanced_accuracy', 'log_loss', 'roc_auc']
    """

    def __init__(
        self,
        num_classes: int | None = None,
        *,
        class_names: Sequence[str | int] | None = None,
        class_weights: Tensor | None = None,
        metrics: Sequence[str] | None = None,
    ) -> None:
        self.num_classes = _checked_num_classes(num_classes, class_names)
        self.class_names = tuple(class_names) if class_names is not None else tuple(range(self.num_classes))
        self.class_weights = None if class_weights is None else _checked_weights(class_weights, self.num_classes)
        if metrics is None:
            metrics = [m for m in CLASSIFICATION_METRICS if m != "roc_auc" or self.num_classes <= ONE_VS_REST_CLASSES]
        super().__init__(
            name="classification",
            metrics=[CLASSIFICATION_METRICS[name] for name in metrics],
            values={"label_smoothing": 0.0},
        )

    def loss(self, model: nn.Module, batch: Batch, member: MemberView) -> Tensor:
        """The mean cross-entropy of a batch; see `cross_entropy`."""
        *inputs, targets_B = batch
        logits_BK = self._logits(model, inputs)
        smoothing = member.values.get("label_smoothing")
        return cross_entropy(logits_BK, targets_B, label_smoothing=smoothing, class_weights=self.class_weights)

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

    def in_metric_units(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Both as they are: log-probabilities and class indices."""
        return outputs, targets

    def _logits(self, model: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
        logits_BK = model(*inputs)
        if logits_BK.dim() != 2 or logits_BK.shape[1] != self.num_classes:
            raise ValueError(
                f"Classification: the model must return logits of shape (B, {self.num_classes}), got "
                f"{tuple(logits_BK.shape)}. Give its last layer {self.num_classes} outputs."
            )
        return logits_BK


def cross_entropy(
    logits_BK: Tensor,
    targets_B: Tensor,
    *,
    label_smoothing: float | Tensor | None = None,
    class_weights: Tensor | None = None,
) -> Tensor:
    """`torch.nn.functional.cross_entropy` with a label smoothing that may be a tensor, one value a member under vmap.

    Args:
        logits_BK: float, shape (B, K).
        targets_B: int64 in [0, K), shape (B,).
        label_smoothing: share of the target that is spread evenly over all classes, in [0, 1], a number or a
            0-dimensional tensor; None for 0.
        class_weights: shape (K,); each sample counts by its target's weight, and the mean is over these weights.

    Returns:
        The mean over the batch, in nats, 0-dimensional.

    Example:
        >>> cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]), label_smoothing=torch.tensor(0.1)).item()
        1.386294...

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7.
    """
    losses_KB = -torch.log_softmax(logits_BK.t(), dim=0)  # ten times as quick as over rows of few classes
    hard_B = losses_KB.gather(0, targets_B[None]).squeeze(0)
    if class_weights is None:
        hard, even = hard_B.mean(), losses_KB.mean()
    else:
        weights_K = class_weights.to(logits_BK.device, logits_BK.dtype)
        weights_B = weights_K[targets_B]
        hard = (weights_B * hard_B).sum() / weights_B.sum()
        even = (losses_KB * weights_K[:, None]).mean(dim=0).sum() / weights_B.sum()
    if label_smoothing is None:
        return hard
    share = torch.as_tensor(label_smoothing, dtype=logits_BK.dtype, device=logits_BK.device)
    # A class that is masked by a logit of -inf has an infinite loss: 0 times it would be NaN.
    return (1 - share) * hard + torch.where(share > 0, share * even, 0.0)


def balanced_class_weights(targets_N: Tensor, num_classes: int) -> Tensor:
    """Weights that let every class count alike in the loss: N / (K * number of samples of the class).

    Args:
        targets_N: int64 class indices of the training part (of this fold, and no other), shape (N,).
        num_classes: K.

    Returns:
        float32, shape (K,); a class without a sample has weight 0.

    Example:
        >>> balanced_class_weights(torch.tensor([0, 0, 0, 1]), 2)
        tensor([0.6667, 2.0000])

    References:
        King and Zeng, "Logistic Regression in Rare Events Data", Political Analysis 9, 2001, section 3.2.
    """
    counts_K = torch.bincount(targets_N, minlength=num_classes)
    return torch.where(counts_K > 0, len(targets_N) / (num_classes * counts_K), 0.0)


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


def _checked_weights(class_weights: Tensor, num_classes: int) -> Tensor:
    weights_K = torch.as_tensor(class_weights)
    if weights_K.shape != (num_classes,):
        raise ValueError(
            f"Classification: class_weights must have shape ({num_classes},), got {tuple(weights_K.shape)}. "
            "Give one weight a class."
        )
    if not bool((weights_K >= 0).all() and weights_K.isfinite().all() and (weights_K > 0).any()):
        raise ValueError(
            f"Classification: class_weights must be finite, at least 0 and not all 0, got {weights_K.tolist()!r}. "
            "Use balanced_class_weights."
        )
    return weights_K
