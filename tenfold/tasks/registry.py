"""Tasks by name, and their metrics by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.registry import Registry
from tenfold.core.task import Metric, Task
from tenfold.nn import Loss
from tenfold.tasks.classification import Classification
from tenfold.tasks.classification_metrics import CLASSIFICATION_METRICS
from tenfold.tasks.multilabel import MultiLabel
from tenfold.tasks.own_metric import OwnMetric
from tenfold.tasks.regression import Regression
from tenfold.tasks.segmentation import Segmentation
from tenfold.tasks.supervised import SupervisedTask

if TYPE_CHECKING:
    from tenfold.data.target_encoder import TargetEncoder

TASKS: Registry[type[SupervisedTask]] = Registry("task")
TASKS.add("classification", Classification)
TASKS.add("regression", Regression)
TASKS.add("multilabel", MultiLabel)
TASKS.add("segmentation", Segmentation)


def metric_of(task: Task, name: str | None = None) -> Metric:
    """A task's metric by name.

    Args:
        task: any task.
        name: as in `--metric`; None for the task's default, which is its first.

    Raises:
        InputError: the task has no metric of this name.

    Example:
        >>> metric_of(Regression()).name, metric_of(Regression(), "r2").direction
        ('rmse', 'maximize')
        >>> metric_of(Regression(), "rsme")
        Traceback (most recent call last):
            ...
        tenfold.core.errors.InputError: unknown metric 'rsme' for regression. Did you mean 'rmse'?
    """
    metrics = task.info.metrics
    if name is None:
        return next(iter(metrics.values()))
    if name not in metrics:
        raise InputError(f"unknown metric {name!r} for {task.info.name}.{did_you_mean(name, metrics)}")
    return metrics[name]


def task_from(
    encoder: TargetEncoder,
    *,
    metric: str | OwnMetric | None = None,
    loss: str | Loss | None = None,
    class_weights: Tensor | None = None,
    metrics: Sequence[str | OwnMetric] | None = None,
) -> SupervisedTask:
    """The task that belongs to encoded targets: their classes, labels, masks, or mean, scale and quantiles.

    Args:
        encoder: fitted to the training targets.
        metric: a metric that must be among those of the task, however dear, or one's own; None for the usual ones.
        loss: of the task, by name, or a function of one's own; None for its default, which of
            classes in order is the ordinal one.
        class_weights: of a classification, or the positive weights of labels.
        metrics: these and no others, in place of `metric`.

    Raises:
        InputError: there is no such metric or loss, or a regression was given weights.

    Example:
        >>> from tenfold.data import TargetEncoder
        >>> task_from(TargetEncoder(task="regression", mean=20.0, std=5.0)).info.name
        'regression'
    """
    if metrics is not None:
        return _task(encoder, loss, class_weights, metrics)
    usual = _task(encoder, loss, class_weights, None)
    name = metric.name if isinstance(metric, OwnMetric) else metric
    if isinstance(metric, OwnMetric) or (
        isinstance(usual, Classification) and name not in usual.info.metrics and name in CLASSIFICATION_METRICS
    ):
        assert metric is not None
        return _task(encoder, loss, class_weights, [*usual.info.metrics, metric])
    metric_of(usual, name)
    return usual


def _task(
    encoder: TargetEncoder, loss: str | Loss | None, weights: Tensor | None, metrics: Sequence[str | OwnMetric] | None
) -> SupervisedTask:
    if encoder.labels is not None:
        return MultiLabel(
            encoder.labels, loss=loss or "binary_cross_entropy", positive_weights=weights, metrics=metrics
        )
    if encoder.codes is not None:
        return Segmentation(encoder.codes.names, loss=loss or "cross_entropy", class_weights=weights, metrics=metrics)
    if encoder.classes is not None:
        loss = loss or ("ordinal" if encoder.ordered else "cross_entropy")
        return Classification(class_names=encoder.classes, loss=loss, class_weights=weights, metrics=metrics)
    if weights is not None:
        raise InputError(
            "task_from: class_weights are for classes and labels, the task is regression. Leave them out."
        )
    return Regression(mean=encoder.mean, scale=encoder.std, loss=loss, quantiles=encoder.quantiles, metrics=metrics)
