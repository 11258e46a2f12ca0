"""Whether the best values stand on the edge of the range that was searched, and which range to try next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tenfold.tuning.halving import promote
from tenfold.tuning.parameters import Float, Int
from tenfold.tuning.space import Space
from tenfold.tuning.verdicts import Verdict

ON_THE_EDGE = "best value on the edge of its range"
EDGE = 0.05  # of the range: so near to an end the best value must be
OUTER = 0.25  # of the range: so near two thirds of the best trials must be
FEWEST_TRIALS = 8

Range = Float | Int


def on_the_edge(
    configs: Mapping[int, Mapping[str, Any]], scores: Mapping[int, float], space: Space, direction: str
) -> list[Verdict]:
    """The parameters whose best value stands at an end of its range, with the range to try next.

    One best trial of a few may stand there by luck. So two thirds of the best tenth of the trials, three at least,
    must stand in the outer quarter on the same side; and below eight trials nothing is said. The next range is as
    wide as the last and has its end in the middle; it does not leave what a number that cannot be negative, or a
    share, can be. An end that is such a limit already is no edge.

    Args:
        configs: each trial's configuration.
        scores: each trial's best score; trials without one, or with NaN, are left out.
        space: what was searched; parameters that a function of a trial suggests are not known here.
        direction: "maximize" or "minimize".

    Raises:
        ValueError: the direction has no such name.

    Example:
        >>> configs = {trial: {"lr": 10 ** (-4 + trial / 10)} for trial in range(21)}
        >>> scores = {trial: trial / 21 for trial in range(21)}
        >>> space = Space({"lr": Float(1e-4, 1e-2, log=True)})
        >>> for verdict in on_the_edge(configs, scores, space, "maximize"):
        ...     print(verdict.sentence)
        lr: the best value, 0.01, stands at the upper end of 0.0001 to 0.01, and 3 of the best 3 of 21 trials near it.
        Try 0.001 to 0.1.
    """
    known = {trial: score for trial, score in scores.items() if trial in configs and not math.isnan(score)}
    order = promote(known, len(known), direction)
    if len(order) < FEWEST_TRIALS:
        return []
    found = (_edge_of(name, [configs[trial] for trial in order], space) for name in space.parameters)
    return [verdict for verdict in found if verdict is not None]


def _edge_of(name: str, configs: list[Mapping[str, Any]], space: Space) -> Verdict | None:
    """The verdict on one name; its configurations come best first."""
    if name not in configs[0]:
        return None
    active = [parameter for parameter in space.parameters[name] if parameter.applies(configs[0])]
    if not active or not isinstance(active[0], Float | Int) or active[0].low == active[0].high:
        return None
    parameter: Range = active[0]
    values = [config[name] for config in configs if name in config and parameter.applies(config)]
    places = [_place(parameter, value) for value in values[: max(3, len(configs) // 10)]]
    upper = places[0] > 0.5
    near = [place if not upper else 1 - place for place in places]
    if near[0] > EDGE or 3 * sum(place <= OUTER for place in near) < 2 * len(near) or len(near) < 3:
        return None
    following = _next_range(parameter, upper)
    if following is None:
        return None
    side, count = "upper" if upper else "lower", sum(place <= OUTER for place in near)
    sentence = (
        f"{name}: the best value, {values[0]:.4g}, stands at the {side} end of {parameter.low:.4g} to "
        f"{parameter.high:.4g}, and {count} of the best {len(near)} of {len(values)} trials near it. "
        f"Try {following[0]:.4g} to {following[1]:.4g}."
    )
    return Verdict(kind=ON_THE_EDGE, sentence=sentence, number=float(values[0]), name=name, next_range=following)


def _place(parameter: Range, value: float) -> float:
    """Where in its range a value is, in [0, 1], on the scale that it is drawn on."""
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


def _next_range(parameter: Range, upper: bool) -> tuple[float, float] | None:
    """A range as wide whose middle is the end; None where the end is a limit of its own."""
    low, high = float(parameter.low), float(parameter.high)
    end = high if upper else low
    if parameter.log:
        half = math.sqrt(high / low)
        ends = (end / half, end * half)
    else:
        half = (high - low) / 2
        share = isinstance(parameter, Float) and low >= 0 and high <= 1
        ends = (max(end - half, 0.0) if low >= 0 else end - half, min(end + half, 1.0) if share else end + half)
    if isinstance(parameter, Int):
        least = 1 if low >= 1 else -math.inf
        step = parameter.step or 1
        ends = (
            max(low + step * round((ends[0] - low) / step), least),
            low + step * math.ceil((ends[1] - low) / step),
        )
    moved = ends[1] > high if upper else ends[0] < low
    return ends if moved else None
