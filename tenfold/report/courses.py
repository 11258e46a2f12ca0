"""Learning curves of folds, seeds and methods: training loss against validation loss, and what they tell.

The training loss is the mean over an epoch while the weights still move, the validation loss that of the weights at
its end; early in training the second may therefore be the lower one.

E epochs, N members
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.report.axes import Axis, fit_axis, wants_log
from tenfold.report.chart import chart, legend, polyline, spans, thin
from tenfold.report.markup import Html, element, empty, figure, join, note, section, table
from tenfold.report.members import member_key
from tenfold.report.paired import series_of
from tenfold.report.records import Curve, RunRecords
from tenfold.report.wording import is_share, metric_words
from tenfold.statistics import Curve as FitCurve
from tenfold.statistics import FitDiagnosis, diagnose_fit

WIDTH, HEIGHT = 540.0, 330.0
MAX_POINTS = 160
MAX_LINES = 120
FEWEST_EPOCHS = 4
WORTH = 0.02  # a fall of the loss by this share is worth an effort


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One curve of a chart."""

    epochs: np.ndarray
    values: np.ndarray
    kind: str
    key: str | None = None


def courses(records: RunRecords) -> Html:
    """Two charts over the epochs and the verdict on over- and underfitting."""
    title = "Over- and underfitting"
    if not records.curves:
        return section("curves", title, empty("No epoch has been recorded yet."))
    many = records.verb == "compare"
    trials = sorted(records.trials) if many else [records.best_trial]
    curves = [curve for curve in records.curves.values() if curve.trial in trials]
    losses = [_loss_lines(records, curves, trial, many) for trial in trials]
    metric = metric_words(records.metric)
    scores = [_metric_lines(records, curves, trial, many) for trial in trials]
    charts = [
        _chart([line for lines in losses for line in lines], "loss" if _pairs(records, curves) else "training loss"),
        _chart(
            [line for lines in scores for line in lines],
            f"validation {metric}",
            percent=is_share(records.metric),
        ),
    ]
    return section(
        "curves",
        title,
        *_diagnoses(records, curves, trials),
        _legend(records, trials, many, bool(_pairs(records, curves))),
        element("div", *charts, class_="grid2"),
    )


def validation_loss(records: RunRecords, curve: Curve) -> np.ndarray | None:
    """The validation loss that compares with the training loss, float, shape (E,); None where there is none.

    Of a classifier the log loss. Of a regression the metric that is its loss, in units of the spread of the scored
    targets, as the training loss is in units of that of the training targets: by squared error 1 - R², by absolute
    error the MAE, of quantiles the pinball loss.
    """
    trial = records.trials.get(curve.trial)
    config = trial.config if trial else {}
    arguments = records.run.get("arguments") or {}
    if records.task == "classification":
        plain = not config.get("label_smoothing") and not arguments.get("balanced")
        return curve.valid.get("log_loss") if plain else None
    if records.task != "regression" or "r2" not in curve.valid:
        return None
    loss = "pinball" if arguments.get("quantiles") else arguments.get("loss") or "mse"
    if loss == "mse":
        return 1 - curve.valid["r2"]
    value, rmse = curve.valid.get({"l1": "mae"}.get(loss, loss)), curve.valid.get("rmse")
    if loss not in ("l1", "pinball") or value is None or rmse is None:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        return value * np.sqrt(1 - curve.valid["r2"]) / rmse  # 1 - R² is the squared RMSE over the targets' variance


def diagnose(records: RunRecords, curves: Sequence[Curve]) -> FitDiagnosis | None:
    """The verdict on the members of one trial; None where their curves do not tell.

    Args:
        records: the run.
        curves: of one trial; those that diverged, or have fewer epochs than the longest, are left out.
    """
    found = _pairs(records, curves)
    longest = max((len(train) for _, train, _ in found), default=0)
    whole = [p for p in found if len(p[1]) == longest and np.isfinite(p[1]).all() and np.isfinite(p[2]).all()]
    if longest < FEWEST_EPOCHS or not whole:
        return None
    train_EN = np.stack([train for _, train, _ in whole], axis=1)
    valid_EN = np.stack([valid for _, _, valid in whole], axis=1)
    end = float(valid_EN[-1].mean())
    if not end > 0:
        return None
    epochs = FitCurve(at=whole[0][0].epochs, train=train_EN, valid=valid_EN)
    return diagnose_fit(direction="minimize", min_gain=WORTH * end, epochs=epochs)


def _pairs(records: RunRecords, curves: Sequence[Curve]) -> list[tuple[Curve, np.ndarray, np.ndarray]]:
    """The curves that have a training and a comparable validation loss."""
    losses = [(curve, validation_loss(records, curve)) for curve in curves]
    return [(curve, curve.train_loss, loss) for curve, loss in losses if loss is not None]


def _diagnoses(records: RunRecords, curves: Sequence[Curve], trials: Sequence[int]) -> list[Html]:
    """The verdict on each trial with what it stands on, or why there is none."""
    found = {t: diagnose(records, [curve for curve in curves if curve.trial == t]) for t in trials}
    verdicts = {trial: verdict for trial, verdict in found.items() if verdict is not None}
    if not verdicts:
        reason = (
            f"There is no verdict: it takes {FEWEST_EPOCHS} epochs and a validation loss that compares with that of "
            "training (log loss without label smoothing or class weights; of a regression R² after squared error, "
            "MAE after absolute error, the pinball loss of quantiles)."
        )
        return [note(reason)]
    lines = []
    for trial, verdict in verdicts.items():
        name = f"{records.trials[trial].title}: " if len(trials) > 1 else ""
        kind = "verdict" if verdict.verdict == "fine" else "verdict warn"
        lines.append(element("p", f"{name}{verdict.verdict}", class_=kind))
    rows = [row for trial, verdict in verdicts.items() for row in _remedies(records, trial, verdict, len(trials) > 1)]
    header = ("", "expected gain", "95 % interval", "from")
    text = (
        "Gains are falls of the validation loss. A remedy is named when it promises more than "
        f"{100 * WORTH:g} % of the loss and its interval leaves out zero, or, though nothing measured it, when "
        "training is far better than validation."
    )
    shown = table(header, rows, numeric=(1, 2), wide=True)
    if len(trials) > 1:
        shown = element("details", element("summary", "What the verdicts stand on"), shown)
    return [element("div", *lines, class_="verdicts"), shown, note(text)]


def _remedies(records: RunRecords, trial: int, found: FitDiagnosis, named: bool) -> list[tuple[str, ...]]:
    name = f"{records.trials[trial].title}: " if named else ""
    rows = [
        (f"{name}{remedy.name}", f"{remedy.gain:.3g}", _ends(remedy.low, remedy.high), remedy.basis)
        for remedy in found.remedies
    ]
    gap = (
        "training is better than validation by so much" if found.gap > 0 else "training is no better than validation"
    )
    return [*rows, (f"{name}gap", f"{found.gap:.3g}", "", gap)]


def _ends(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}" if np.isfinite(low + high) else ""


def _loss_lines(records: RunRecords, curves: Sequence[Curve], trial: int, many: bool) -> list[_Line]:
    """Training and validation loss; members pale, means strong. Of several methods the means alone."""
    own = [curve for curve in curves if curve.trial == trial]
    found = _pairs(records, own)
    train = [(curve, curve.train_loss) for curve in own]
    valid = [(curve, loss) for curve, _, loss in found]
    colour = f" {series_of(records, trial)}" if many else ""
    pale = [] if many else [*_each(train, "course train"), *_each(valid, "course valid")]
    return [*pale, *_mean(train, f"mean train{colour}"), *_mean(valid, f"mean valid{colour}")]


def _metric_lines(records: RunRecords, curves: Sequence[Curve], trial: int, many: bool) -> list[_Line]:
    own = [(c, c.valid[records.metric]) for c in curves if c.trial == trial and records.metric in c.valid]
    colour = f" {series_of(records, trial)}" if many else ""
    return [*_each(own, f"course valid{colour}"), *_mean(own, f"mean valid{colour}")]


def _each(curves: Sequence[tuple[Curve, np.ndarray]], kind: str) -> list[_Line]:
    return [
        _Line(epochs=curve.epochs, values=values, kind=kind, key=member_key(curve.trial, curve.fold, curve.seed))
        for curve, values in curves[:MAX_LINES]
    ]


def _mean(curves: Sequence[tuple[Curve, np.ndarray]], kind: str) -> list[_Line]:
    """The mean over members after each epoch that all of them have finished; of those that did not diverge."""
    whole = [(curve, values) for curve, values in curves if len(values) and np.isfinite(values).all()]
    if not whole:
        return []
    shortest = min((curve for curve, _ in whole), key=lambda curve: len(curve.epochs))
    values = np.mean([values[: len(shortest.epochs)] for _, values in whole], axis=0)
    return [_Line(epochs=shortest.epochs, values=values, kind=kind)]


def _chart(lines: Sequence[_Line], title: str, *, percent: bool = False) -> Html:
    values = np.concatenate([line.values for line in lines]) if lines else np.zeros(0)
    if not np.isfinite(values).any():
        return figure(empty(f"No epoch has a {title} that is a number."))
    across, up = spans(WIDTH, HEIGHT)
    epochs = np.concatenate([line.epochs for line in lines])
    x = fit_axis(epochs, start=across[0], stop=across[1], whole=True, robust=False, pad=0.02)
    log = not percent and wants_log(values)
    y = fit_axis(values, start=up[0], stop=up[1], log=log, percent=percent)
    order = sorted(lines, key=lambda line: line.kind.startswith("mean"))
    drawing = chart(
        x,
        y,
        join(_drawn(line, x, y) for line in order),
        width=WIDTH,
        height=HEIGHT,
        label=f"{title} by epoch",
        x_label="epoch",
        y_label=title + (" (log)" if log else ""),
        near=True,
    )
    return figure(drawing, _outside(values, y))


def _drawn(line: _Line, x: Axis, y: Axis) -> Html | None:
    few = thin(len(line.epochs), MAX_POINTS)
    return polyline(
        x.place(line.epochs[few]), y.place(line.values[few]), class_=f"curve {line.kind}", data_trial=line.key
    )


def _outside(values: np.ndarray, y: Axis) -> str | None:
    beyond = int(((values < y.low) | (values > y.high)).sum())
    wild = int((~np.isfinite(values)).sum())
    notes = [f"{beyond} of {len(values)} values lie beyond the axis"] if beyond else []
    notes += [f"{wild} of {len(values)} values are not a number"] if wild else []
    return "; ".join(notes).capitalize() + "." if notes else None


def _legend(records: RunRecords, trials: Sequence[int], many: bool, paired: bool) -> Html:
    if many:
        names = [(series_of(records, trial), records.trials[trial].title) for trial in trials]
        return legend(*names, ("train dashed", "training, mean"), ("valid plain", "validation, mean"))
    return legend(("train", "training"), *([("valid", "validation")] if paired else []))
