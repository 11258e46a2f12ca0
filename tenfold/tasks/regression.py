"""Regression: one number for each sample, or several quantiles of it.

Several targets at once are not here: each would need a scale, metrics and an interval of its own.

B batch, M members, N samples, Q quantiles
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from tenfold.core.errors import InputError
from tenfold.core.registry import Registry
from tenfold.core.task import Batch, MemberView, Metric
from tenfold.nn import LOSSES, Loss
from tenfold.tasks.own_metric import OwnMetric
from tenfold.tasks.quantile_metrics import of_middle, pinball_losses, quantile_metrics
from tenfold.tasks.regression_metrics import REGRESSION_METRICS
from tenfold.tasks.several_predictions import for_each, outputs_of
from tenfold.tasks.supervised import SupervisedTask
from tenfold.tasks.task_losses import TaskLoss, choose_loss

QUANTILE_LOSS = "pinball"


REGRESSION_LOSSES = {name: TaskLoss(function=LOSSES[name]) for name in ("mse", "l1", "huber", "log_cosh")}


class Regression(SupervisedTask):
    """Learns a number from standardised targets, and is measured in the target's own units.

    A batch is (*inputs, targets) with targets float of shape (B,), standardised as (raw - mean) / scale;
    `model(*inputs)` returns float of shape (B, 1) or (B,). `predict` gives standardised values; `to_raw` turns them
    into raw units in float64, since float32 would lose the digits of a target that lies far from 0.

    With `quantiles` the loss is the pinball loss, the model has one output for each, `predict` gives them in rising
    order, and metrics of single predictions are of the middle one. The interval from the lowest to the highest is a
    prediction interval: what it covers is measured.

    Args:
        mean: of the raw training targets.
        scale: standard deviation of the raw training targets, positive.
        loss: "mse", "l1", "huber", whose errors are squared up to one standard deviation and absolute beyond, or
            "log_cosh", which is smooth between the two; or a function `(predictions, targets) -> loss` of one's own.
            None for "mse", and with quantiles for "pinball".
        quantiles: an odd number of levels in (0, 1), rising, such as (0.05, 0.5, 0.95); none for the mean.
        metrics: what `evaluate` computes, the default first: names, or metrics of one's own; None for all named ones.

    Raises:
        ValueError: mean or scale is not finite, scale not positive, or quantiles are not as said.
        InputError: the loss or a metric has no such name, or the loss does not go with quantiles.

    Example:
        >>> import torch
        >>> task = Regression(mean=20.0, scale=5.0, loss="huber")
        >>> values_M = task.evaluate([torch.tensor([[0.0, 1.0]])], [(torch.zeros(2, 3), torch.tensor([0.0, 2.0]))])
        >>> values_M["mae"].tolist()
        [2.5]
        >>> list(Regression(quantiles=(0.05, 0.5, 0.95)).info.metrics)[:3]
        ['pinball', 'coverage', 'interval_width']

    References:
        Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35, 1964.
        Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978.
    """

    has_probabilities = False

    def __init__(
        self,
        *,
        mean: float = 0.0,
        scale: float = 1.0,
        loss: str | Loss | None = None,
        quantiles: Sequence[float] = (),
        metrics: Sequence[str | OwnMetric] | None = None,
    ) -> None:
        if not (math.isfinite(mean) and math.isfinite(scale) and scale > 0):
            raise ValueError(
                f"Regression: mean must be finite and scale positive, got {mean!r} and {scale!r}. "
                "Take them from the training targets."
            )
        self.mean, self.scale, self.quantiles = float(mean), float(scale), _checked_quantiles(quantiles)
        loss = loss or (QUANTILE_LOSS if self.quantiles else "mse")
        if (loss == QUANTILE_LOSS) != bool(self.quantiles):
            raise InputError(
                f"regression loss {loss!r}: quantiles go with the loss 'pinball', and it with them, got "
                f"{list(self.quantiles)!r}. Give quantiles and no loss."
            )
        if self.quantiles:
            self.loss_name, self._loss = QUANTILE_LOSS, TaskLoss(function=self._pinball)
        else:
            self.loss_name, self._loss = choose_loss("regression", loss, REGRESSION_LOSSES)
        known = _metrics_for(self.quantiles)
        chosen = tuple(known) if metrics is None else metrics
        super().__init__(
            name="regression",
            metrics=[known[metric] if isinstance(metric, str) else metric for metric in chosen],
            values={},
            num_outputs=max(1, len(self.quantiles)),
        )

    def loss(self, model: nn.Module, batch: Batch, member: MemberView) -> Tensor:
        """The mean loss of a batch, on standardised targets."""
        output, num_predictions = self._output(model, batch[:-1])
        return self._loss.function(output, for_each(batch[-1].to(output.dtype), num_predictions))

    def _pinball(self, quantiles_BQ: Tensor, targets_B: Tensor) -> Tensor:
        return pinball_losses(quantiles_BQ, targets_B, self.quantiles).mean()

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Standardised predictions, float, shape (B,), or (B, Q) in rising order; of several their mean.

        Quantiles that cross are sorted, which never raises the pinball loss.

        Args:
            model: called as `model(*inputs)`.
            batch: (*inputs, targets); the targets are not looked at and may be None.

        References:
            Chernozhukov, Fernández-Val and Galichon, "Quantile and probability curves without crossing",
                Econometrica 78, 2010.
        """
        output, num_predictions = self._output(model, batch[:-1])
        output = output.sort(dim=1).values if self.quantiles else output
        return output if num_predictions == 1 else output.unflatten(0, (-1, num_predictions)).mean(dim=1)

    def _output(self, model: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, int]:
        output, num_predictions = outputs_of(model, inputs)
        if self.quantiles:
            wanted, fits = f"(B, {self.num_outputs})", output.dim() == 2 and output.shape[1] == self.num_outputs
        else:
            output = output.squeeze(1) if output.dim() == 2 and output.shape[1] == 1 else output
            wanted, fits = "(B, 1) or (B,)", output.dim() == 1
        if not fits:
            raise ValueError(
                f"Regression: the model must return shape {wanted}, got {tuple(output.shape)}. "
                f"Give its last layer {self.num_outputs} output{'s' if self.num_outputs > 1 else ''}."
            )
        return output, num_predictions

    def to_raw(self, standardised: Tensor) -> Tensor:
        """Standardised values in raw units, float64, of the same shape."""
        return standardised.double() * self.scale + self.mean

    def in_metric_units(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Both in raw units, float64."""
        return self.to_raw(outputs), self.to_raw(targets)

    def predictions_of(self, outputs: Tensor) -> np.ndarray:
        """Values in raw units, float64, shape (N,); of quantiles the middle one."""
        return (outputs[:, len(self.quantiles) // 2] if self.quantiles else outputs).cpu().numpy()

    def truth_of(self, targets: Tensor) -> np.ndarray:
        """Values in raw units, float64, shape (N,)."""
        return targets.cpu().numpy()


def _metrics_for(quantiles: tuple[float, ...]) -> Registry[Metric]:
    known: Registry[Metric] = Registry("metric")
    if not quantiles:
        return REGRESSION_METRICS
    for metric in quantile_metrics(quantiles):
        known.add(metric.name, metric)
    for name in REGRESSION_METRICS:
        metric = REGRESSION_METRICS[name]
        known.add(name, replace(metric, function=of_middle(metric.function)))
    return known


def _checked_quantiles(quantiles: Sequence[float]) -> tuple[float, ...]:
    levels = tuple(float(level) for level in quantiles)
    rising = all(low < high for low, high in zip((0.0, *levels), (*levels, 1.0), strict=True))
    if levels and not (rising and len(levels) % 2):
        raise ValueError(
            f"Regression: quantiles must be an odd number of levels in (0, 1), rising, got {levels!r}. "
            "The middle one is the prediction: take (0.05, 0.5, 0.95), say."
        )
    return levels
