"""How sure a test metric is: a 95 % interval beside each value, from the predictions of one trained model.

The interval tells what another test part of the same size might have given. It does not tell what another training
would have: that is what seeds and folds are for. A thousand resamples of 10,000 samples of ten classes take about
2 s on one CPU core, most of it for `roc_auc` and `average_precision`; a metric of one's own is called once a
resample.

R resamples, N samples, K classes
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from tenfold.core.intervals import wilson
from tenfold.statistics import percentiles, resampled_rows
from tenfold.tasks.classification_metrics import accuracy, top_5_accuracy
from tenfold.tasks.multilabel_metrics import subset_accuracy
from tenfold.tasks.quantile_metrics import coverage
from tenfold.tasks.supervised import SupervisedTask

Interval = dict[str, float | int]
SHARES = (accuracy, top_5_accuracy, subset_accuracy, coverage)
CHUNK_NUMBERS = 1 << 18  # 2 MB a chunk stays in the cache: twice as quick as 8 MB


def metric_intervals(
    task: SupervisedTask,
    outputs_N: Tensor,
    targets_N: Tensor,
    *,
    seed: int = 0,
    level: float = 0.95,
    num_resamples: int = 1000,
) -> dict[str, Interval]:
    """Every metric of a task on one part, with its interval.

    Shares of the samples, such as accuracy, get Wilson's interval; the others the percentiles of a bootstrap over
    the samples.

    Args:
        task: says the metrics.
        outputs_N: what one model's `predict` said, without a member axis: shape (N,) or (N, K).
        targets_N: encoded targets, shape (N,) or (N, L).
        seed: of the resamples, which all metrics share: stream "sample".
        level: coverage, in (0, 1).
        num_resamples: R, at least 1.

    Returns:
        By metric name {"value", "n", "low", "high"}. An end is NaN when the value is, or when no resample has one;
        resamples without a value (an area under the curve without a positive sample, say) are left out.

    Raises:
        ValueError: no sample, not one output for each target, a level outside (0, 1), or no resample.

    Example:
        >>> from tenfold.tasks import Regression
        >>> result = metric_intervals(Regression(), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 4.0]))
        >>> result["mae"]["n"], round(result["mae"]["value"], 3), result["mae"]["low"]
        (3, 0.333, 0.0)

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3 (percentile interval).
    """
    _check("metric_intervals", outputs_N, targets_N, level, num_resamples)
    n = len(targets_N)
    values = {name: value.item() for name, value in task.measure(outputs_N[None], targets_N).items()}
    resampled = _resample(task, outputs_N[None], targets_N, seed=seed, num_resamples=num_resamples)
    intervals: dict[str, Interval] = {}
    for name, value in values.items():
        is_share = task.info.metrics[name].function in SHARES
        low, high = wilson(value, n, level) if is_share else percentiles(value, resampled[name], level)
        intervals[name] = {"value": value, "n": n, "low": low, "high": high}
    return intervals


def metric_differences(
    task: SupervisedTask,
    outputs_a: Tensor,
    outputs_b: Tensor,
    targets_N: Tensor,
    *,
    seed: int = 0,
    level: float = 0.95,
    num_resamples: int = 1000,
) -> dict[str, Interval]:
    """Every metric of model A minus that of model B on one part, both on the same resamples of its samples.

    Paired, as `tenfold.statistics.bootstrap_difference`, and quicker for a task's own metrics.

    Args:
        task: says the metrics.
        outputs_a: what A's `predict` said, without a member axis: shape (N,) or (N, K).
        outputs_b: what B's said of the same samples, in the same units.
        targets_N: encoded targets, shape (N,) or (N, L).
        seed: of the resamples: stream "sample".
        level: coverage, in (0, 1).
        num_resamples: R, at least 1.

    Returns:
        By metric name {"value", "n", "low", "high"}, as `metric_intervals` has them.

    Raises:
        ValueError: as `metric_intervals`.

    Example:
        >>> from tenfold.tasks import Regression
        >>> truth, a, b = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2.0, 3.0, 5.0])
        >>> round(metric_differences(Regression(), a, b, truth)["mae"]["value"], 3)
        -1.0

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3 (percentile interval).
    """
    for outputs_N in (outputs_a, outputs_b):
        _check("metric_differences", outputs_N, targets_N, level, num_resamples)
    both = (outputs_a[None], outputs_b[None])
    value_a, value_b = (task.measure(outputs_1N, targets_N) for outputs_1N in both)
    draws_a, draws_b = (_resample(task, own, targets_N, seed=seed, num_resamples=num_resamples) for own in both)
    differences: dict[str, Interval] = {}
    for name in value_a:
        value = (value_a[name] - value_b[name]).item()
        with np.errstate(invalid="ignore"):  # between two infinite values there is no number: NaN
            low, high = percentiles(value, draws_a[name] - draws_b[name], level)
        differences[name] = {"value": value, "n": len(targets_N), "low": low, "high": high}
    return differences


def _resample(
    task: SupervisedTask, outputs_1N: Tensor, targets_N: Tensor, *, seed: int, num_resamples: int
) -> dict[str, np.ndarray]:
    """By metric name its values on the resamples, shape (R,); resample r is the stream's r-th draw of N rows."""
    n = len(targets_N)
    draws = resampled_rows(n, num_resamples, seed)
    chunks = []
    while drawn := list(itertools.islice(draws, max(1, CHUNK_NUMBERS // n))):
        counts_RN = np.stack([np.bincount(rows, minlength=n) for rows in drawn])
        weights_RN = torch.from_numpy(counts_RN).to(outputs_1N.device, torch.float64)
        chunks.append(task.measure(outputs_1N, targets_N, weights_RN))
    return {name: torch.cat([chunk[name] for chunk in chunks]).cpu().numpy() for name in chunks[0]}


def _check(caller: str, outputs_N: Tensor, targets_N: Tensor, level: float, num_resamples: int) -> None:
    if not len(targets_N) or len(outputs_N) != len(targets_N):
        raise ValueError(
            f"{caller}: outputs_N must be one for each of at least one target, got {len(outputs_N)} outputs "
            f"and {len(targets_N)} targets. Give both for the same part, without a member axis."
        )
    if not 0 < level < 1:
        raise ValueError(f"{caller}: level must be in (0, 1), got {level!r}. Use 0.95.")
    if num_resamples < 1:
        raise ValueError(f"{caller}: num_resamples must be at least 1, got {num_resamples!r}. Use 1000.")
