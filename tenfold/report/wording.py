"""Numbers and names as a reader wants to see them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.report.records import Score

SHARES = frozenset({"accuracy", "balanced_accuracy", "top_5_accuracy", "subset_accuracy", "coverage"})
NEVER_NEGATIVE = frozenset(
    {"rmse", "mae", "mape", "median_error", "log_loss", "brier", "calibration_error", "hamming_loss", "step_error"}
    | {"pinball", "interval_width"}
)
ABBREVIATIONS = {
    "rmse": "RMSE", "mse": "MSE", "mae": "MAE", "r2": "R²",
    "miou": "mIoU", "mean_dice": "mean Dice", "roc_auc": "ROC AUC", "auc": "AUC", "mcc": "MCC", "mape": "MAPE",
}  # fmt: skip
MISSING = "–"


def metric_words(metric: str) -> str:
    """A metric's name in prose.

    Example:
        >>> metric_words("log_loss"), metric_words("rmse"), metric_words("iou_road")
        ('log loss', 'RMSE', 'IoU of road')
    """
    if metric.startswith("iou_"):
        return f"IoU of {metric.removeprefix('iou_')}"
    return ABBREVIATIONS.get(metric, metric.replace("_", " "))


def is_share(metric: str) -> bool:
    """Whether a metric is a share of the samples and reads best in percent."""
    return metric in SHARES


def format_score(value: float, metric: str) -> str:
    """A metric's value: shares in percent with one decimal, others with four digits, large ones in full.

    Example:
        >>> format_score(0.9722, "accuracy"), format_score(12.3456, "rmse"), format_score(math.nan, "rmse")
        ('97.2 %', '12.35', '–')
        >>> format_score(51_021.4, "rmse")
        '51,021'
    """
    if not math.isfinite(value):
        return MISSING
    if is_share(metric):
        return f"{100 * value:.1f} %"
    return format_number(value)


def format_number(value: float) -> str:
    """Four digits, large numbers in full.

    Example:
        >>> format_number(0.97216), format_number(64_103.7)
        ('0.9722', '64,104')
    """
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def format_scored(value: float, low: float, high: float) -> str:
    """A value of a metric and its interval on one line, as `tenfold fit` and `tenfold evaluate` end.

    Example:
        >>> format_scored(0.97216, 0.93, 1.0), format_scored(64_103.7, 55_670.0, 72_790.2)
        ('0.9722 [0.93, 1]', '64,104 [55,670, 72,790]')
    """
    return f"{format_number(value)} [{format_number(low)}, {format_number(high)}]"


def format_interval(score: Score, metric: str, *, bare: bool = False) -> str:
    """The interval of a score in words, empty when there is none.

    Args:
        score: with its interval.
        metric: says how to write it.
        bare: leave out what kind of interval it is.

    Example:
        >>> format_interval(Score(value=0.97, n=360, low=0.95, high=0.985), "accuracy")
        '95 % interval 95.0 to 98.5 %'
        >>> format_interval(Score(value=0.97, low=0.93, high=1.01), "accuracy", bare=True)
        '93.0 to 100.0 %'
        >>> format_interval(Score(value=0.2, low=-0.1, high=0.5), "rmse", bare=True)
        '0 to 0.5'
    """
    if not score.has_interval:
        return ""
    low, high = score.low, score.high
    if is_share(metric):
        ends = f"{100 * max(low, 0.0):.1f} to {100 * min(high, 1.0):.1f} %"
    else:
        low = max(low, 0.0) if metric in NEVER_NEGATIVE else low
        ends = f"{format_score(low, metric)} to {format_score(high, metric)}"
    return ends if bare else f"{100 * score.level:g} % interval {ends}"


def format_difference(value: float, metric: str, *, signed: bool = True) -> str:
    """A difference of two scores, or a spread: of shares in points of percent.

    Example:
        >>> format_difference(0.0094, "accuracy"), format_difference(-0.25, "rmse")
        ('+0.94 points', '-0.25')
        >>> format_difference(0.0094, "accuracy", signed=False)
        '0.94 points'
    """
    if not math.isfinite(value):
        return MISSING
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.2f} points" if is_share(metric) else f"{value:{sign}.3g}"


def format_p(value: float) -> str:
    """A p-value: two digits, small ones as a bound.

    Example:
        >>> format_p(0.0312), format_p(3e-7)
        ('p = 0.031', 'p < 0.0001')
    """
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"


def as_number(value: Any) -> float:
    """A number of a JSON object; NaN for null and for what is none.

    Example:
        >>> as_number(None), as_number(2)
        (nan, 2.0)
    """
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def score_phrase(value: float, metric: str) -> str:
    """A score with its metric's name, in the order that reads well.

    Example:
        >>> score_phrase(0.9722, "accuracy"), score_phrase(2.31, "rmse")
        ('97.2 % accuracy', 'RMSE 2.31')
    """
    if is_share(metric):
        return f"{format_score(value, metric)} {metric_words(metric)}"
    return f"{metric_words(metric)} {format_score(value, metric)}"


def format_value(value: Any) -> str:
    """A value of a configuration or of a table's cell, short.

    Example:
        >>> format_value(0.00123456), format_value(86_312.4), format_value(None), format_value([64, 64])
        ('0.00123', '86312', 'none', '64, 64')
    """
    if value is None:
        return "none"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, float):
        in_full = abs(value) < 1e9 and (value.is_integer() or abs(value) >= 1e3)
        return f"{value:.0f}" if in_full else f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(format_value(entry) for entry in value)
    return str(value)


def searched(configs: Sequence[Mapping[str, Any]]) -> set[str]:
    """The names whose values differ between configurations; all names where there is one configuration.

    Example:
        >>> searched([{"lr": 0.1, "depth": 2}, {"lr": 0.2, "depth": 2}])
        {'lr'}
    """
    names = {name for config in configs for name in config}
    if len(configs) < 2:
        return names
    return {name for name in names if len({repr(config.get(name)) for config in configs}) > 1}


def format_config(config: Mapping[str, Any]) -> str:
    """A configuration in one line, without the network, which stands beside it.

    Example:
        >>> format_config({"network": "mlp", "lr": 0.003, "depth": 2})
        'lr=0.003 depth=2'
    """
    return " ".join(f"{name}={format_value(value)}" for name, value in config.items() if name != "network")


def format_seconds(seconds: float) -> str:
    """A duration with two or three digits.

    Example:
        >>> [format_seconds(s) for s in (0.0421, 7.38, 312.0, 7260.0)]
        ['42 ms', '7.4 s', '5 min 12 s', '2 h 01 min']
    """
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 99.5:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_bytes(count: float) -> str:
    """A size in binary units.

    Example:
        >>> format_bytes(1_288_490_188)
        '1.2 GiB'
    """
    if not math.isfinite(count):
        return MISSING
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def printable(text: str) -> str:
    """Text on one line, with "?" for halves of characters, as file names of unknown encoding hold them.

    Example:
        >>> printable("two" + chr(10) + "lines, half a character: " + chr(0xDCFF))
        'two lines, half a character: ?'
    """
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
