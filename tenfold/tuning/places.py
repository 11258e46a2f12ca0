"""Values as places in [0, 1], where a logarithmic range is as long as it has orders of magnitude.

What moves through a space (grids, neighbours, crossings, models of the score) moves in places.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tenfold.tuning.parameters import Float, Int

Range: TypeAlias = Float | Int | FloatDistribution | IntDistribution


def to_place(between: Range, value: Any) -> Any:
    """Where a value lies between low (0) and high (1), in the logarithm where the range is logarithmic.

    Args:
        between: a range of numbers, ours or Optuna's.
        value: a number or an array of numbers of the range.

    Example:
        >>> round(float(to_place(Float(1e-4, 1e-2, log=True), 1e-3)), 9), float(to_place(Int(3, 3), 3))
        (0.5, 0.0)
    """
    low, high = _bounds(between)
    place = (np.log(value) if between.log else np.asarray(value, float)) - low
    return place / (high - low) if high > low else place * 0.0


def to_value(between: Range, place: float) -> Any:
    """The value of a range nearest to a place: on a step, a whole number, as the range demands.

    Example:
        >>> to_value(Float(1e-4, 1e-2, log=True), 0.5), to_value(Int(0, 10, step=5), 0.7)
        (0.001, 5)
    """
    value = min(
        max(float(f"{float(_values(between, place)):.12g}"), between.low), between.high
    )  # no 0.30000000000000004
    return round(value) if isinstance(between, Int | IntDistribution) else float(value)


def snapped(between: Range, places: np.ndarray) -> np.ndarray:
    """Places moved to those of the nearest values that there are, shape as given.

    Example:
        >>> snapped(Int(0, 2), np.array([0.1, 0.6, 0.9]))
        array([0. , 0.5, 1. ])
    """
    return np.asarray(to_place(between, _values(between, places)))


def neighbour(distribution: BaseDistribution, value: Any, scale: float, rng: np.random.Generator) -> Any:
    """Another value close by: a normal step in places, reflected at the ends; of a choice, any other one.

    Args:
        distribution: of the parameter.
        value: where to start; the only value there is stays.
        scale: standard deviation of the step, in places; a whole number or a step moves by one at least.
        rng: is drawn from.

    Example:
        >>> neighbour(IntDistribution(1, 9), 5, 1e-9, np.random.default_rng(0)) in (4, 6)
        True
    """
    if isinstance(distribution, CategoricalDistribution):
        others = [choice for choice in distribution.choices if not (type(choice) is type(value) and choice == value)]
        return others[rng.integers(len(others))] if others else value
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    place = abs(to_place(distribution, value) + rng.normal(0, scale)) % 2
    moved = to_value(distribution, min(place, 2 - place))
    if moved != value or distribution.step is None:
        return moved
    steps = [value + sign * distribution.step for sign in (-1, 1)]
    inside = [one for one in steps if distribution.low <= one <= distribution.high]
    return inside[rng.integers(len(inside))] if inside else value


def _bounds(between: Range) -> tuple[float, float]:
    low, high = float(between.low), float(between.high)
    return (float(np.log(low)), float(np.log(high))) if between.log else (low, high)


def _values(between: Range, places: Any) -> Any:
    low, high = _bounds(between)
    values = low + np.asarray(places, float) * (high - low)
    values = np.exp(values) if between.log else values
    if between.step is not None or isinstance(between, Int):
        step = between.step or 1
        values = between.low + np.round((values - between.low) / step) * step
    return np.clip(values, between.low, between.high)
