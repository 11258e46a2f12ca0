"""Several networks side by side: what each costs, how long it takes, and, where it is a run's, how good it is."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tenfold.diagnosis import inspect_module
from tenfold.report.tradeoff import CostRow
from tenfold.study.inspecting import Input, Subject, subject_of
from tenfold.study.run_folder import read_info

_SECONDS = 0.5  # to time one network


def side_by_side(
    networks: Sequence[Any], *, input: Input = None, classes: int | None = None, config: Mapping[str, Any] = {}
) -> list[CostRow]:
    """A row for each network, to stand in one table and one plot.

    Args:
        networks: each as in `tenfold.inspect`.
        input: as there, for all.
        classes: as there, for all.
        config: as there, for functions.

    Raises:
        InputError: as there.
        RunError: as there.

    Example:
        >>> rows = side_by_side(["linear", "lenet"], input="3x32x32", classes=10)
        >>> [(row.name, row.parameters, row.flops) for row in rows]
        [('linear', 30730, 61440), ('lenet', 62006, 1303440)]
    """
    rows = []
    for network in networks:
        subject = subject_of(network, input, classes, config, numbers=True)
        seen = inspect_module(subject.model, subject.inputs, name=subject.name, fields=False)
        score, metric, direction = _score_of(subject)
        rows.append(
            CostRow(
                name=subject.name,
                parameters=seen.parameters,
                flops=seen.flops,
                activation_bytes=seen.activation_bytes,
                seconds=seconds_of(subject),
                score=score,
                metric=metric,
                direction=direction,
            )
        )
    return rows


def seconds_of(subject: Subject) -> float:
    """Seconds of one forward pass of one sample, the quickest of those that fit into half a second."""
    model, best, began = subject.model.eval(), math.inf, time.perf_counter()
    with torch.inference_mode():
        model(*subject.inputs)
        while time.perf_counter() - began < _SECONDS or best == math.inf:
            start = time.perf_counter()
            model(*subject.inputs)
            best = min(best, time.perf_counter() - start)
    return best


def _score_of(subject: Subject) -> tuple[float, str, str]:
    """A run's score on the test part, or on the validation part where there is none."""
    if subject.run is None:
        return math.nan, "", "maximize"
    result = read_info(subject.run).get("result") or {}
    part = result.get("test") or result.get("valid") or {}
    value = part.get("value", part.get("mean"))
    score = float(value) if isinstance(value, int | float) else math.nan
    return score, str(result.get("metric") or ""), str(result.get("direction") or "maximize")
