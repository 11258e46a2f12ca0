"""Whether predicted quantiles hold what they claim: the share of targets below each, against its level.

N samples, Q quantiles
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tenfold.core.intervals import wilson
from tenfold.core.wording import plural
from tenfold.report.axes import Axis
from tenfold.report.chart import chart, dot, polyline, spans
from tenfold.report.markup import Html, element, figure, join, note

WIDTH, HEIGHT = 540.0, 340.0


def quantile_chart(targets: np.ndarray, quantiles: np.ndarray, levels: Sequence[float], sample: str) -> Html:
    """A dot for each level, on the diagonal where the claim is true.

    Args:
        targets: float, shape (N,).
        quantiles: of each sample the predicted ones, shape (N, Q).
        levels: of the quantiles, rising, in (0, 1).
        sample: what one of them is called.
    """
    below = [float((targets <= quantiles[:, place]).mean()) for place in range(len(levels))]
    n = len(targets)
    inside = float(((targets >= quantiles[:, 0]) & (targets <= quantiles[:, -1])).mean())
    low, high = wilson(inside, n)
    text = (
        f"{100 * inside:.1f} % of {plural(n, sample)} lie between the outer quantiles, which claim "
        f"{100 * (levels[-1] - levels[0]):.3g} % (95 % interval {100 * low:.1f} to {100 * high:.1f} %). On the "
        "dashed line claims are true."
    )
    across, up = spans(WIDTH, HEIGHT)
    x = Axis(low=-0.02, high=1.02, start=across[0], stop=across[1], percent=True)
    y = Axis(low=-0.02, high=1.02, start=up[0], stop=up[1], percent=True)
    (x0, x1), (y0, y1) = x.place([0, 1]), y.place([0, 1])
    xs, ys = x.place(levels), y.place(below)
    marks: list[Html | None] = [element("line", x1=x0, y1=y0, x2=x1, y2=y1, class_="reference")]
    marks.append(polyline(xs, ys, class_="curve chosen"))
    for place, share in enumerate(below):
        ends = y.place(wilson(share, n))
        marks.append(element("line", x1=xs[place], x2=xs[place], y1=ends[0], y2=ends[1], class_="whisker chosen"))
        marks.append(dot(xs[place], ys[place], 4, class_="end chosen"))
    drawing = chart(
        x,
        y,
        join(marks),
        width=WIDTH,
        height=HEIGHT,
        label="share of targets below each quantile against its level",
        x_label="level of the quantile",
        y_label="share of targets below it",
    )
    return join([element("h3", "Quantiles"), note(text), element("div", figure(drawing), class_="grid2")])
