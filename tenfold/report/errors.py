"""The section on errors: what the evaluation file holds decides which figures stand there."""

from __future__ import annotations

import numpy as np

from tenfold.report.class_scores import class_scores
from tenfold.report.confusion import confusion
from tenfold.report.labels import labels
from tenfold.report.markup import Html, empty, join, note, section
from tenfold.report.quantiles import quantile_chart
from tenfold.report.records import RunRecords
from tenfold.report.residuals import residuals


def errors(records: RunRecords) -> Html:
    """Confusion matrix, labels found, scores of classes of pixels, or residuals, on test or out-of-fold rows."""
    title = "Where it errs"
    reason = _why_no_counts(records) if records.task == "segmentation" else _why_empty(records)
    if reason:
        return section("errors", title, empty(reason))
    if records.task == "segmentation":
        return section("errors", title, averaged(records), class_scores(records))
    targets, predictions = records.evaluation["targets"], records.evaluation["predictions"]
    if records.task == "classification":
        body = confusion(records, targets.astype(np.int64), predictions.astype(np.int64))
    elif records.task == "multilabel":
        body = labels(records, targets.astype(np.int64), predictions.astype(np.int64))
    else:
        true, predicted = (array.astype(np.float64).ravel() for array in (targets, predictions))
        body = join([residuals(true, predicted, records.evaluated), _quantiles(records, true)])
    return section("errors", title, averaged(records), body)


def _quantiles(records: RunRecords, targets: np.ndarray) -> Html | None:
    """Of a regression that predicts quantiles, whether they hold what they claim."""
    found = records.evaluation.get("quantiles")
    levels = (records.run.get("arguments") or {}).get("quantiles") or ()
    if found is None or found.shape != (len(targets), len(levels)):
        return None
    return quantile_chart(targets, found, levels, records.evaluated)


def averaged(records: RunRecords) -> Html | None:
    """That predictions are means over seeds, which a single model does not reach."""
    seeds = records.run.get("seeds")
    if (
        records.verb in ("fit", "search")
        or not isinstance(seeds, int)
        or seeds < 2
        or "split" in (records.run.get("varies") or ())
    ):
        return None
    best = records.trials.get(records.best_trial)
    name = best.title if best else ""
    whose = f" of {name}" if len(records.trials) > 1 else ""
    return note(
        f"Of each sample the mean of what {seeds} seeds{whose} predict, which one model alone seldom reaches."
    )


def _why_no_counts(records: RunRecords) -> str:
    """The reason for having no scores of classes, empty when there are some."""
    file, counts = records.evaluation_file, records.evaluation.get("counts")
    if file in records.problems:
        return f"{file} could not be read: {records.problems[file]}."
    if counts is None:
        return "The chosen model has not been evaluated on the test part."
    if counts.ndim != 3 or counts.shape[1] != 3 or not counts.size:
        return f"{file} does not fit together: counts {counts.shape}."
    return ""


def _why_empty(records: RunRecords) -> str:
    """The reason for having no figures, empty when there are some."""
    file = records.evaluation_file
    if file in records.problems:
        return f"{file} could not be read: {records.problems[file]}."
    arrays = records.evaluation
    if not arrays:
        return "The chosen model has not been evaluated on the test part" + (
            " yet." if records.status in ("running", "interrupted") else "."
        )
    missing = [name for name in ("targets", "predictions") if name not in arrays]
    if missing:
        return f"{file} lacks {' and '.join(missing)}."
    targets, predictions = arrays["targets"], arrays["predictions"]
    if targets.shape[:1] != predictions.shape[:1] or targets.dtype.kind not in "iufb":
        return f"{file} does not fit together: targets {targets.shape}, predictions {predictions.shape}."
    if not targets.size:
        return "The test part is empty."
    if records.task not in ("classification", "multilabel", "regression"):
        return f"There are no figures yet for the task {records.task or 'that was not recorded'}."
    if records.task == "classification" and (targets.min() < 0 or predictions.min() < 0):
        return f"{file} holds class indices below 0."
    return ""
