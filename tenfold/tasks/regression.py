"""Regression: one number for each sample.

B batch, M members, N samples
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.registry import Registry
from tenfold.core.task import Batch, MemberView
from tenfold.tasks.regression_metrics import REGRESSION_METRICS
from tenfold.tasks.supervised import SupervisedTask

REGRESSION_LOSSES: Registry[Callable[[Tensor, Tensor], Tensor]] = Registry("regression loss")
REGRESSION_LOSSES.add("mse", F.mse_loss)
REGRESSION_LOSSES.add("l1", F.l1_loss)
REGRESSION_LOSSES.add("huber", F.huber_loss)


class Regression(SupervisedTask):
    """Learns a number from standardised targets, and is measured in the target's own units.

    A batch is (*inputs, targets) with targets float of shape (B,), standardised as (raw - mean) / scale;
    `model(*inputs)` returns float of shape (B, 1) or (B,). `predict` gives standardised values; `to_raw` turns them
    into raw units in float64, since float32 would lose the digits of a target that lies far from 0.

    Args:
        mean: of the raw training targets.
        scale: standard deviation of the raw training targets, positive.
        loss: "mse", "l1", or "huber", whose errors are squared up to one standard deviation and absolute beyond.

    Raises:
        ValueError: mean or scale is not finite, or scale not positive.
        InputError: the loss has no such name.

    Example:
        >>> import torch
        >>> task = Regression(mean=20.0, scale=5.0, loss="huber")
        >>> values_M = task.evaluate([torch.tensor([[0.0, 1.0]])], [(torch.zeros(2, 3), torch.tensor([0.0, 2.0]))])
        >>> values_M["mae"].tolist()
        [2.5]

    References:
        Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35, 1964.
    """

    def __init__(self, *, mean: float = 0.0, scale: float = 1.0, loss: str = "mse") -> None:
        if not (math.isfinite(mean) and math.isfinite(scale) and scale > 0):
            raise ValueError(
                f"Regression: mean must be finite and scale positive, got {mean!r} and {scale!r}. "
                "Take them from the training targets."
            )
        self.mean, self.scale, self.loss_name = float(mean), float(scale), loss
        self._loss = REGRESSION_LOSSES[loss]
        metrics = [REGRESSION_METRICS[name] for name in REGRESSION_METRICS]
        super().__init__(name="regression", metrics=metrics, values={})

    def loss(self, model: nn.Module, batch: Batch, member: MemberView) -> Tensor:
        """The mean loss of a batch, on standardised targets."""
        output_B = self.predict(model, batch)
        return self._loss(output_B, batch[-1].to(output_B.dtype))

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Standardised predictions, float, shape (B,).

        Args:
            model: called as `model(*inputs)`.
            batch: (*inputs, targets); the targets are not looked at and may be None.
        """
        output = model(*batch[:-1])
        if output.dim() == 2 and output.shape[1] == 1:
            return output.squeeze(1)
        if output.dim() != 1:
            raise ValueError(
                f"Regression: the model must return shape (B, 1) or (B,), got {tuple(output.shape)}. "
                "Give its last layer 1 output."
            )
        return output

    def to_raw(self, standardised: Tensor) -> Tensor:
        """Standardised values in raw units, float64, of the same shape."""
        return standardised.double() * self.scale + self.mean

    def in_metric_units(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Both in raw units, float64."""
        return self.to_raw(outputs), self.to_raw(targets)
