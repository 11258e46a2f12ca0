"""Tasks by name, and their metrics by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.registry import Registry
from tenfold.core.task import Metric, Task
from tenfold.tasks.classification import Classification
from tenfold.tasks.regression import Regression
from tenfold.tasks.supervised import SupervisedTask

if TYPE_CHECKING:
    from tenfold.data.target_encoder import TargetEncoder

TASKS: Registry[type[SupervisedTask]] = Registry("task")
TASKS.add("classification", Classification)
TASKS.add("regression", Regression)


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


def task_from(encoder: TargetEncoder, *, metric: str | None = None, loss: str = "mse") -> SupervisedTask:
    """The task that belongs to encoded targets: their classes, or their mean and scale.

    Args:
        encoder: fitted to the training targets.
        metric: a metric that must be among those of the task, however dear; None for the usual ones.
        loss: of a regression; see `Regression`.

    Raises:
        InputError: there is no such metric or loss.

    Example:
        >>> from tenfold.data import TargetEncoder
        >>> task_from(TargetEncoder(task="regression", mean=20.0, std=5.0)).info.name
        'regression'
    """
    if encoder.classes is None:
        task: SupervisedTask = Regression(mean=encoder.mean, scale=encoder.std, loss=loss)
    else:
        task = Classification(class_names=encoder.classes)
        if metric == "roc_auc" and metric not in task.info.metrics:
            task = Classification(class_names=encoder.classes, metrics=(*task.info.metrics, metric))
    metric_of(task, metric)
    return task
