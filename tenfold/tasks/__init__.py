"""What is learned: tasks with their losses, predictions and metrics, the intervals of test metrics, baselines.

`Classification`, `MultiLabel`, `Regression` and `Segmentation` are the tasks, `supervised.py` what they share; their
losses come from `tenfold.nn`, their metrics, for all members at once, are in files of their own; `metric_of` finds a
metric by name, `OwnMetric` is one of the user's. `metric_intervals` tells how sure they are on a test part,
`metric_differences` how much one model is better than another, and `run_baselines` what simple models reach there.
"""

from tenfold.nn import binary_cross_entropy, cross_entropy, cumulative_cross_entropy
from tenfold.tasks.baselines import BaselinePart, BaselineResult, run_baselines
from tenfold.tasks.class_weights import balanced_class_weights, balanced_positive_weights
from tenfold.tasks.classification import CLASSIFICATION_LOSSES, Classification
from tenfold.tasks.classification_metrics import CLASSIFICATION_METRICS, confusion_matrix
from tenfold.tasks.intervals import metric_differences, metric_intervals
from tenfold.tasks.multilabel import MULTI_LABEL_LOSSES, MultiLabel
from tenfold.tasks.multilabel_metrics import MULTI_LABEL_METRICS
from tenfold.tasks.own_metric import OwnMetric
from tenfold.tasks.registry import TASKS, metric_of, task_from
from tenfold.tasks.regression import REGRESSION_LOSSES, Regression
from tenfold.tasks.regression_metrics import REGRESSION_METRICS
from tenfold.tasks.segmentation import SEGMENTATION_LOSSES, Segmentation
from tenfold.tasks.segmentation_metrics import SEGMENTATION_METRICS, class_counts, counts_of_maps
from tenfold.tasks.supervised import SupervisedTask

__all__ = [
    "CLASSIFICATION_LOSSES",
    "CLASSIFICATION_METRICS",
    "MULTI_LABEL_LOSSES",
    "MULTI_LABEL_METRICS",
    "REGRESSION_LOSSES",
    "REGRESSION_METRICS",
    "SEGMENTATION_LOSSES",
    "SEGMENTATION_METRICS",
    "TASKS",
    "BaselinePart",
    "BaselineResult",
    "Classification",
    "MultiLabel",
    "OwnMetric",
    "Regression",
    "Segmentation",
    "SupervisedTask",
    "balanced_class_weights",
    "balanced_positive_weights",
    "binary_cross_entropy",
    "class_counts",
    "confusion_matrix",
    "counts_of_maps",
    "cross_entropy",
    "cumulative_cross_entropy",
    "metric_differences",
    "metric_intervals",
    "metric_of",
    "run_baselines",
    "task_from",
]
