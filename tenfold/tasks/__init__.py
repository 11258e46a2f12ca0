"""What is learned: tasks with their losses, predictions and metrics, the intervals of test metrics, baselines.

`Classification` and `Regression` are the tasks, `supervised.py` what they share; `classification_metrics.py` and
`regression_metrics.py` hold the metrics, for all members at once; `metric_of` finds one by name. `metric_intervals`
tells how sure they are on a test part, and `run_baselines` what simple models reach there.
"""

from tenfold.tasks.baselines import BaselinePart, BaselineResult, run_baselines
from tenfold.tasks.classification import Classification, balanced_class_weights, cross_entropy
from tenfold.tasks.classification_metrics import CLASSIFICATION_METRICS, confusion_matrix
from tenfold.tasks.intervals import metric_intervals
from tenfold.tasks.registry import TASKS, metric_of, task_from
from tenfold.tasks.regression import REGRESSION_LOSSES, Regression
from tenfold.tasks.regression_metrics import REGRESSION_METRICS
from tenfold.tasks.supervised import SupervisedTask

__all__ = [
    "CLASSIFICATION_METRICS",
    "REGRESSION_LOSSES",
    "REGRESSION_METRICS",
    "TASKS",
    "BaselinePart",
    "BaselineResult",
    "Classification",
    "Regression",
    "SupervisedTask",
    "balanced_class_weights",
    "confusion_matrix",
    "cross_entropy",
    "metric_intervals",
    "metric_of",
    "run_baselines",
    "task_from",
]
