"""From the scores of members to the answer of a learning curve or a width curve: the curve and what it advises.

P points of the curve, S seeds
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.records import finite
from tenfold.report.learning import curve_sentence
from tenfold.report.wording import is_share
from tenfold.statistics import Curve, FitDiagnosis, diagnose_fit, fit_power_law
from tenfold.tasks import CLASSIFICATION_METRICS, MULTI_LABEL_METRICS, REGRESSION_METRICS

CURVES = ("learning-curve", "width-curve")
WORTH_POINTS = 0.005  # of a share
WORTH = 0.02  # of any other metric, as a share of its last value


def answer_curve(
    info: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    trials: Sequence[Mapping[str, Any]],
    *,
    run: str,
    epochs_trained: float,
    seconds: float,
) -> dict[str, Any]:
    """The answer of a run, as `--json` prints it.

    Args:
        info: `run.json`: "verb", "metric", "direction", "curve" with "over" and "at".
        entries: the `score` records, with "train" beside "valid".
        trials: the `trial` records.
        run: the run folder.
        epochs_trained: by all members together.
        seconds: of the whole run.
    """
    at, metric = [float(value) for value in info["curve"]["at"]], info["metric"]
    place = "fold" if info["verb"] == "learning-curve" else "trial"
    tables = {part: _table(entries, place, part, metric, len(at)) for part in ("train", "valid")}
    whole = np.isfinite(tables["train"] + tables["valid"]).all(axis=0)
    points: list[dict[str, Any]] = [
        {"at": value, **{part: _spread(table[number]) for part, table in tables.items()}}
        for number, value in enumerate(at)
    ]
    curve: dict[str, Any] = {
        "over": info["curve"]["over"],
        "at": at,
        "train": tables["train"].tolist(),
        "valid": tables["valid"].tolist(),
        "points": points,
        **_verdict(info, at, {part: table[:, whole] for part, table in tables.items()}),
    }
    best = trials[-1] if place == "fold" else trials[_best(points, info["direction"])]
    last = points[-1] if place == "fold" else points[_best(points, info["direction"])]
    result = {
        "schema": 1,
        "run": run,
        "verb": info["verb"],
        "task": info.get("task"),
        "metric": metric,
        "direction": info["direction"],
        "valid": {**last["valid"], "over": "folds x seeds"},
        "test": None,
        "curve": curve,
        "trials": len(trials),
        "members": len(entries),
        "epochs_trained": epochs_trained,
        "seconds": seconds,
        "best": {key: best[key] for key in ("trial", "name", "network", "config") if key in best},
    }
    return dict(finite(result | {"sentence": curve_sentence(result)}))


def _table(entries: Sequence[Mapping[str, Any]], place: str, part: str, metric: str, count: int) -> np.ndarray:
    """Scores, shape (P, S); NaN for what diverged."""
    seeds = sorted({entry["seed"] for entry in entries})
    table = np.full((count, len(seeds)), math.nan)
    for entry in entries:
        table[entry[place], seeds.index(entry["seed"])] = entry[part][metric]
    return table


def _spread(values: np.ndarray) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    return {
        "mean": float(known.mean()) if len(known) else math.nan,
        "std": float(known.std(ddof=1)) if len(known) > 1 else math.nan,
        "n": len(known),
    }


def _best(points: Sequence[Mapping[str, Any]], direction: str) -> int:
    sign = 1 if direction == "maximize" else -1
    means = [sign * point["valid"]["mean"] for point in points]
    return int(np.nanargmax(means)) if np.isfinite(means).any() else 0


def perfect_score(metric: str) -> float | None:
    """What no model can pass: 1 of accuracies and the like, 0 of losses and errors; None of a metric of one's own.

    Example:
        >>> perfect_score("accuracy"), perfect_score("rmse"), perfect_score("my_own")
        (1.0, 0.0, None)
    """
    for known in (CLASSIFICATION_METRICS, MULTI_LABEL_METRICS, REGRESSION_METRICS):
        if metric in known:
            return 1.0 if known[metric].direction == "maximize" else 0.0
    return None


def _verdict(info: Mapping[str, Any], at: Sequence[float], tables: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What to do next, of the seeds that diverged nowhere; nothing where there is none."""
    if not tables["valid"].size:
        return {"verdict": None, "gap": None, "remedies": [], "power_law": None, "advice": "Every seed diverged."}
    last = abs(float(tables["valid"][-1].mean()))
    curve = Curve(at=at, train=tables["train"], valid=tables["valid"])
    sizes, perfect = info["verb"] == "learning-curve", perfect_score(info["metric"])
    found: FitDiagnosis = diagnose_fit(
        direction=info["direction"],
        min_gain=WORTH_POINTS if is_share(info["metric"]) else max(WORTH * last, 1e-12),
        perfect=perfect,
        **{"sizes" if sizes else "widths": curve},
    )
    law = fit_power_law(at, tables["valid"], perfect=perfect) if sizes else None
    return {
        "verdict": found.verdict,
        "gap": found.gap,
        "advice": found.sentence,
        "remedies": [
            {"name": one.name, "gain": one.gain, "low": one.low, "high": one.high, "basis": one.basis}
            for one in found.remedies
        ],
        "power_law": None if law is None else {key: getattr(law, key) for key in ("limit", "amount", "exponent")},
    }
