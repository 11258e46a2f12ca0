"""Whether the probabilities of a classifier mean what they say: reliability diagram, calibration error, Brier score.

K classes, N samples
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import softmax

from tenfold.core.intervals import wilson
from tenfold.core.wording import plural
from tenfold.report.axes import Axis, fit_axis
from tenfold.report.chart import chart, dot, legend, polyline, spans
from tenfold.report.errors import averaged
from tenfold.report.markup import Html, element, empty, figure, join, note, section, table
from tenfold.report.records import RunRecords
from tenfold.report.wording import as_number
from tenfold.statistics import Reliability, brier_score, calibration_error, negative_log_likelihood, reliability

WIDTH, HEIGHT = 540.0, 360.0
NUM_BINS = 15
TINY = np.finfo(np.float64).tiny
UNIT = 1e-3  # how far a row of probabilities may be from a sum of 1


def calibration(records: RunRecords) -> Html | None:
    """The section on calibration; None for a task without classes."""
    if records.task != "classification":
        return None
    title = "Calibration"
    reason = _why_empty(records)
    if reason:
        return section("calibration", title, empty(reason))
    probabilities = records.evaluation["probabilities"].astype(np.float64)
    targets = records.evaluation["targets"].astype(np.int64)
    temperature = as_number(records.run.get("temperature"))
    scaled = _scaled(probabilities, temperature) if temperature > 0 else None
    charts = element("div", _diagram(probabilities, scaled, targets), _histogram(probabilities), class_="grid2")
    return section(
        "calibration",
        title,
        _verdict(probabilities, targets, records.evaluated),
        note(_explain(probabilities, records.evaluated)),
        averaged(records),
        _key(scaled is not None),
        charts,
        _numbers(probabilities, scaled, targets, temperature),
        note(_of_temperature(records)) if scaled is not None else None,
    )


def _why_empty(records: RunRecords) -> str:
    arrays = records.evaluation
    file = records.evaluation_file
    if file in records.problems:
        return f"{file} could not be read: {records.problems[file]}."
    if "probabilities" not in arrays or "targets" not in arrays:
        return "No probabilities have been kept" + (" yet." if records.status in ("running", "interrupted") else ".")
    probabilities, targets = arrays["probabilities"], arrays["targets"]
    if probabilities.ndim != 2 or targets.shape != probabilities.shape[:1] or targets.dtype.kind not in "iu":
        return f"{file} does not fit together: targets {targets.shape}, probabilities {probabilities.shape}."
    if not targets.size or probabilities.shape[1] < 2:
        return "There are no samples or no classes to hold probabilities against."
    if targets.min() < 0 or targets.max() >= probabilities.shape[1]:
        return f"{file} holds a class that has no probability."
    if not np.isfinite(probabilities).all() or np.abs(probabilities.sum(axis=1) - 1).max() > UNIT:
        return "The outputs are no probabilities: some rows do not sum to 1."
    return ""


def _scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities after dividing the logits by a temperature; log probabilities serve as logits."""
    return np.asarray(softmax(np.log(np.maximum(probabilities, TINY)) / temperature, axis=1))


def _bins(probabilities: np.ndarray, targets: np.ndarray) -> Reliability:
    claimed = np.clip(probabilities.max(axis=1), 0, 1)
    return reliability(claimed, probabilities.argmax(axis=1) == targets, num_bins=NUM_BINS)


def _verdict(probabilities: np.ndarray, targets: np.ndarray, sample: str) -> Html:
    claimed = float(probabilities.max(axis=1).mean())
    right = float((probabilities.argmax(axis=1) == targets).mean())
    low, high = wilson(right, len(targets))
    facts = f"on average it claims {100 * claimed:.1f} % and is right in {100 * right:.1f} %"
    interval = f"95 % interval {100 * low:.1f} to {100 * high:.1f} %"
    where = f"of {plural(len(targets), sample)}"
    if low <= claimed <= high:
        text = f"Claims and truth agree on average: {facts} {where} ({interval})."
        return element("p", text, class_="verdict")
    word = "Overconfident" if claimed > high else "Too modest"
    return element("p", f"{word}: {facts} {where} ({interval}).", class_="verdict warn")


def error_of_true_claims(confidences: np.ndarray) -> float:
    """The calibration error that is expected although every claim is true, from the luck of so many samples.

    In each bin the share that comes true is off by sqrt(2 / pi) of its standard deviation on average, as of a normal.

    Args:
        confidences: claimed probabilities, shape (N,).
    """
    bins = np.searchsorted(np.linspace(0, 1, NUM_BINS + 1)[1:-1], confidences)
    variances = np.bincount(bins, weights=confidences * (1 - confidences), minlength=NUM_BINS)
    return math.sqrt(2 / math.pi) * float(np.sqrt(variances).sum()) / len(confidences)


def _explain(probabilities: np.ndarray, sample: str) -> str:
    n, floor = len(probabilities), error_of_true_claims(np.clip(probabilities.max(axis=1), 0, 1))
    return (
        f"The {plural(n, sample)} in bins by the probability of the predicted class: what was claimed against the "
        "share that came true. On the dashed line claims are true; below it they are too bold. Bars are 95 % Wilson "
        "intervals. Were every claim true, the luck of so many samples would still give a calibration error of about "
        f"{floor:.2g}."
    )


def _key(has_scaled: bool) -> Html | None:
    return legend(("chosen", "as predicted"), ("good2", "after temperature scaling")) if has_scaled else None


def _diagram(probabilities: np.ndarray, scaled: np.ndarray | None, targets: np.ndarray) -> Html:
    across, up = spans(WIDTH, HEIGHT)
    found = _bins(probabilities, targets)
    seen = found.count > 0
    lowest = min(float(found.low[seen][0]), float(found.accuracy[seen].min()))
    low = 0.0 if lowest < 0.5 else 0.5
    x = Axis(low=low - 0.02, high=1.02, start=across[0], stop=across[1], percent=True)
    y = Axis(low=0.0 - 0.02, high=1.02, start=up[0], stop=up[1], percent=True)
    (x0, x1), (y0, y1) = x.place([low, 1]), y.place([low, 1])
    marks: list[Html | None] = [element("line", x1=x0, y1=y0, x2=x1, y2=y1, class_="reference")]
    if scaled is not None:
        marks += _series(_bins(scaled, targets), x, y, "good2", bars=False)
    marks += _series(found, x, y, "chosen", bars=True)
    drawing = chart(
        x,
        y,
        join(marks),
        width=WIDTH,
        height=HEIGHT,
        label="share of right predictions against the claimed probability",
        x_label="claimed probability",
        y_label="share that came true",
    )
    return figure(drawing)


def _series(found: Reliability, x: Axis, y: Axis, kind: str, *, bars: bool) -> list[Html | None]:
    seen = np.flatnonzero(found.count)
    xs, ys = x.place(found.confidence[seen]), y.place(found.accuracy[seen])
    marks: list[Html | None] = [polyline(xs, ys, class_=f"curve {kind}")]
    for i, place in enumerate(seen):
        if bars:
            ends = wilson(float(found.accuracy[place]), int(found.count[place]))
            low, high = y.place(ends)
            marks.append(element("line", x1=xs[i], x2=xs[i], y1=low, y2=high, class_=f"whisker {kind}"))
        marks.append(dot(xs[i], ys[i], 4, class_=f"end {kind}"))
    return marks


def _histogram(probabilities: np.ndarray) -> Html:
    across, up = spans(WIDTH, HEIGHT)
    edges = np.linspace(0, 1, NUM_BINS + 1)
    counts = np.histogram(probabilities.max(axis=1), edges)[0]
    first = int(np.flatnonzero(counts)[0])
    low = 0.0 if edges[first] < 0.5 else 0.5
    x = Axis(low=low - 0.02, high=1.02, start=across[0], stop=across[1], percent=True)
    y = fit_axis([0, counts.max() * 1.08], start=up[0], stop=up[1], whole=True, pad=0.0)
    floor = float(y.place(0))
    bars = [
        element("rect", x=a, y=top, width=max(b - a - 2, 1), height=max(floor - top, 0), class_="bar")
        for a, b, top, count in zip(
            x.place(edges[:-1]).tolist(), x.place(edges[1:]).tolist(), y.place(counts).tolist(), counts, strict=True
        )
        if count
    ]
    drawing = chart(
        x,
        y,
        join(bars),
        width=WIDTH,
        height=HEIGHT,
        label="how many samples were claimed with which probability",
        x_label="claimed probability",
        y_label="samples",
    )
    return figure(drawing)


def _numbers(probabilities: np.ndarray, scaled: np.ndarray | None, targets: np.ndarray, temperature: float) -> Html:
    rows = [("as predicted", *_scores(probabilities, targets))]
    if scaled is not None:
        rows.append((f"temperature {temperature:.3g}", *_scores(scaled, targets)))
    header = ("", "calibration error", "Brier score", "log loss")
    return table(header, rows, numeric=(1, 2, 3))


def _of_temperature(records: RunRecords) -> str:
    if records.verb in ("fit", "search"):
        return "The temperature was fitted on validation data; it changes no predicted class."
    return (
        "The temperature is that of the model that was kept, fitted on some of these very samples: on others it "
        "helps a little less. It changes no predicted class."
    )


def _scores(probabilities: np.ndarray, targets: np.ndarray) -> tuple[str, str, str]:
    error = float(calibration_error(np.clip(probabilities, 0, 1), targets, num_bins=NUM_BINS))
    loss = float(negative_log_likelihood(np.log(np.maximum(probabilities, TINY)), targets))
    return f"{error:.3f}", f"{float(brier_score(probabilities, targets)):.4f}", f"{loss:.4f}"
