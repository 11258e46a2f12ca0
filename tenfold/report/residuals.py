"""Where a regression errs: predicted against true, and how the residuals are spread."""

from __future__ import annotations

import numpy as np

from tenfold.core.wording import plural
from tenfold.report.axes import Axis, fit_axis
from tenfold.report.chart import chart, dot, spans, thin
from tenfold.report.markup import Html, element, empty, figure, join, note
from tenfold.report.wording import format_number

WIDTH, HEIGHT = 540.0, 340.0
MAX_DOTS = 2000


def residuals(targets: np.ndarray, predictions: np.ndarray, sample: str = "test sample") -> Html:
    """Predicted against true values with the diagonal, and a histogram of predicted minus true.

    Args:
        targets: float, shape (N,), in the target's unit.
        predictions: float, shape (N,).
        sample: what one of them is called.
    """
    finite = np.isfinite(targets) & np.isfinite(predictions)
    if not finite.any():
        return empty("No prediction is a number.")
    true, predicted = targets[finite], predictions[finite]
    errors = predicted - true
    text = (
        f"{plural(len(true), sample)}: half of the predictions are within {format_number(np.median(np.abs(errors)))} "
        f"of the truth, nine of ten within {format_number(np.quantile(np.abs(errors), 0.9))}; on average they are "
        f"{format_number(abs(errors.mean()))} too {'high' if errors.mean() > 0 else 'low'}."
    )
    lost = int((~finite).sum())
    more = f" {plural(lost, 'prediction')} that {'is' if lost == 1 else 'are'} not a number left out." if lost else ""
    if np.ptp(predicted) == 0 and len(predicted) > 1:
        more += " All predictions are equal: the model has learned nothing about its inputs."
    charts = element("div", _scatter(true, predicted), _histogram(errors), class_="grid2")
    return join([note(text + more), charts])


def _scatter(true: np.ndarray, predicted: np.ndarray) -> Html:
    across, up = spans(WIDTH, HEIGHT)
    both = np.concatenate([true, predicted])
    x = fit_axis(both, start=across[0], stop=across[1])
    y = Axis(low=x.low, high=x.high, start=up[0], stop=up[1])
    diagonal = element("line", x1=across[0], y1=up[0], x2=across[1], y2=up[1], class_="reference")
    few = thin(len(true), MAX_DOTS)
    xs, ys = x.place(true[few]), y.place(predicted[few])
    kind = "end trial faint" if len(few) > 300 else "end trial"
    dots = [dot(a, b, 2.5, class_=kind) for a, b in zip(xs, ys, strict=True)]
    drawing = chart(
        x,
        y,
        join([diagonal, *dots]),
        width=WIDTH,
        height=HEIGHT,
        label="predicted against true values",
        x_label="true",
        y_label="predicted",
    )
    beyond = int(((both < x.low) | (both > x.high)).sum())
    notes = [f"{len(few)} of {len(true)} samples are drawn."] if len(few) < len(true) else []
    notes += [f"{plural(beyond, 'value')} beyond the axes."] if beyond else []
    return figure(drawing, " ".join(notes) or None)


def _histogram(errors: np.ndarray) -> Html:
    across, up = spans(WIDTH, HEIGHT)
    x = fit_axis(np.append(errors, 0.0), start=across[0], stop=across[1])
    inside = errors[(errors >= x.low) & (errors <= x.high)]
    counts, edges = np.histogram(inside, bins=int(np.clip(2 * len(errors) ** (1 / 3), 8, 60)), range=(x.low, x.high))
    y = Axis(low=0, high=max(float(counts.max()), 1.0) * 1.08, start=up[0], stop=up[1], whole=True)
    lefts, tops = x.place(edges), y.place(counts)
    bars = [
        element(
            "rect",
            x=float(a) + 0.5,
            y=float(top),
            width=float(b - a) - 1,
            height=float(up[0] - top),
            class_="bar",
        )
        for a, b, top, count in zip(lefts[:-1], lefts[1:], tops, counts, strict=True)
        if count
    ]
    zero = float(x.place(0.0))
    mark = element("line", x1=zero, x2=zero, y1=up[0], y2=up[1], class_="reference")
    drawing = chart(
        x,
        y,
        join([*bars, mark]),
        width=WIDTH,
        height=HEIGHT,
        label="histogram of the residuals",
        x_label="predicted − true",
        y_label="samples",
    )
    beyond = len(errors) - len(inside)
    return figure(drawing, f"{plural(beyond, 'residual')} beyond the axis." if beyond else None)
