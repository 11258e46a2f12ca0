"""The grid: every combination of some values of each parameter, and its zoom around the best.

The zoom is coarse-to-fine search: when a round has been told, each range of numbers is halved around the best
configuration so far and the grid is laid anew; what has no order stays as the best has it.

Slow: a grid of k points in d dimensions has k^d configurations, so that the parameters that matter least cost as
much as those that matter most (Bergstra and Bengio, JMLR 13, 2012, figure 1).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tenfold.core.errors import InputError, did_you_mean
from tenfold.tuning.parameters import Categorical, Constant, Float, Int, Parameter
from tenfold.tuning.places import to_place, to_value
from tenfold.tuning.space import MOST_COMBINATIONS, Space


@dataclass(frozen=True, kw_only=True)
class Grid:
    """How a grid is laid over a space.

    Attributes:
        points: values of each range of numbers, >= 1, or a number for each name; evenly spread from low to high,
            in the logarithm where the range is logarithmic. None takes every value of whole numbers and steps. A
            range that has fewer values than points gives all of them.
        zoom: rounds after the first, >= 0, each on half the range of the one before, around the best so far.

    Raises:
        ValueError: points or zoom is too small.
        TypeError: points or zoom is not a whole number.

    Example:
        >>> space = Space({"lr": Float(1e-4, 1e-2, log=True), "depth": Int(2, 3)})
        >>> Grid(points=3, zoom=1).describe(space)
        'a grid of 6 configurations (lr 3 x depth 2), and 1 zoom on half the ranges around the best'
    """

    points: int | Mapping[str, int] | None = None
    zoom: int = 0

    def __post_init__(self) -> None:
        points = dict(self.points) if isinstance(self.points, Mapping) else {"points": self.points}
        for name, value, least in (*((name, value, 1) for name, value in points.items()), ("zoom", self.zoom, 0)):
            if value is None and self.points is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"Grid: {name} must be a whole number, got {value!r}. Write Grid(points=5, zoom=2).")
            if value < least:
                raise ValueError(f"Grid: {name} must be at least {least}, got {value!r}. Give a larger one.")

    def configurations(self, space: Space) -> list[dict[str, Any]]:
        """The first round, the last name varying fastest.

        Raises:
            InputError: the space is a function, has a continuous range without points, or makes a grid of more
                than 100,000 configurations; or `points` has a name that the space has not.
        """
        self._check(space)
        unconstrained = Space(space.parameters)
        found = list(itertools.islice(unconstrained.configurations(self._values), MOST_COMBINATIONS + 1))
        if len(found) > MOST_COMBINATIONS:
            raise InputError(
                f"Grid: there must be at most {MOST_COMBINATIONS:,} configurations, got more "
                f"({self._sizes(space)}). Take fewer points, or the sampler 'random', which needs no grid."
            )
        return [config for config in found if space.admits(config)]

    def zoomed(self, space: Space, best: Mapping[str, Any], round_number: int) -> list[dict[str, Any]]:
        """The configurations of a later round.

        Args:
            space: as in the first round.
            best: the best configuration so far.
            round_number: 1 for the first zoom, whose ranges are half as wide as the space's.
        """
        narrowed: dict[str, Parameter | tuple[Parameter, ...]] = {}
        for name, value in best.items():
            [parameter] = [one for one in space.parameters[name] if one.applies(best)]
            narrowed[name] = self._narrowed(name, replace(parameter, when=None), value, round_number)
        return [config for config in Space(narrowed).configurations() if space.admits(config)]

    def describe(self, space: Space) -> str:
        """What will be tried, in words with numbers, to be said before it starts."""
        size = len(self.configurations(space))
        limits = f" that satisfy {' and '.join(one.text for one in space.constraints)}" if space.constraints else ""
        zooms = f", and {self.zoom} zoom{'s' * (self.zoom > 1)} on half the ranges around the best"
        return f"a grid of {size:,} configurations ({self._sizes(space)}){limits}{zooms if self.zoom else ''}"

    def _check(self, space: Space) -> None:
        if space.function is not None:
            raise InputError(
                "Grid: the space must be a mapping, got a function. Write it as a dict, or choose 'random'."
            )
        if isinstance(self.points, Mapping):
            for name in self.points:
                if name not in space:
                    raise InputError(f"Grid: points has no parameter {name!r}.{did_you_mean(name, space.parameters)}")
        for name, alternatives in space.parameters.items():
            for one in alternatives:
                if one.is_continuous() and not self._count(name):
                    raise InputError(
                        f"Grid: {name} must have points or a step, got the continuous range {one.describe()}. "
                        f"Take 'grid:points=5', or Grid(points={{{name!r}: 5}}) in Python."
                    )

    def _count(self, name: str) -> int | None:
        return self.points.get(name) if isinstance(self.points, Mapping) else self.points

    def _values(self, name: str, parameter: Parameter) -> Iterable[Any]:
        count = self._count(name)
        if isinstance(parameter, Float | Int) and count is not None:
            return spread(parameter, parameter.low, parameter.high, count)
        return parameter.values()

    def _narrowed(self, name: str, parameter: Parameter, value: Any, round_number: int) -> Categorical | Constant:
        """The values of one parameter in a zoomed round, as a choice; what has no order stays."""
        if not isinstance(parameter, Float | Int):
            return Constant(value)
        half = 0.5 ** (round_number + 1)
        middle = min(max(float(to_place(parameter, value)), half), 1 - half)
        low, high = to_value(parameter, middle - half), to_value(parameter, middle + half)
        count = self._count(name) or max(2, len(list(parameter.values())) // 2**round_number)
        return Categorical(tuple(spread(parameter, low, high, count)))

    def _sizes(self, space: Space) -> str:
        """Such as "lr 5 x depth 2"; parameters of one value are left out."""
        sizes = {
            name: max(sum(1 for _ in self._values(name, one)) for one in alternatives)
            for name, alternatives in space.parameters.items()
        }
        return " x ".join(f"{name} {size}" for name, size in sizes.items() if size > 1) or "nothing to vary"


class GridRounds:
    """A grid and its zooms, one configuration after another.

    Within a round the order is random, so that a search that is cut short has seen all of the space.

    Args:
        grid: how it is laid.
        space: over what.
        seed: of the order.

    Attributes:
        size: configurations of the first round.
        over: whether there is none left, whatever is told.

    Example:
        >>> rounds = GridRounds(Grid(), Space({"depth": Int(1, 2)}), seed=0)
        >>> [rounds.next(None, waiting=True)["depth"] for _ in range(2)], rounds.next(None, waiting=True), rounds.over
        ([2, 1], None, True)
    """

    def __init__(self, grid: Grid, space: Space, seed: int) -> None:
        self._grid, self._space, self._seed = grid, space, seed
        self._round = 0
        self._left = self._shuffled(grid.configurations(space))
        self.size = len(self._left)
        self.over = False

    def next(self, best: Mapping[str, Any] | None, *, waiting: bool) -> dict[str, Any] | None:
        """The next configuration, or None when the grid is over or waits for its last round to be told.

        Args:
            best: the best configuration so far; without one there is nothing to zoom on.
            waiting: whether proposals have not been told yet.
        """
        while not self._left:
            if self._round == self._grid.zoom or (best is None and not waiting):
                self.over = True
                return None
            if waiting or best is None:
                return None
            self._round += 1
            self._left = self._shuffled(self._grid.zoomed(self._space, best, self._round))
        return self._left.pop()

    def _shuffled(self, configurations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        order = np.random.Generator(np.random.PCG64([self._seed, self._round])).permutation(len(configurations))
        return [configurations[index] for index in order]


def spread(parameter: Float | Int, low: float, high: float, count: int) -> list[Any]:
    """At most `count` different values of a range between two bounds, evenly spread, the bounds among them.

    Args:
        parameter: gives the kind, the logarithm and the steps.
        low: in the parameter's range.
        high: at least `low`.
        count: >= 1; one value is the middle.

    Example:
        >>> spread(Int(16, 256, log=True), 16, 256, 5), spread(Float(0.0, 1.0, step=0.25), 0.0, 1.0, 3)
        ([16, 32, 64, 128, 256], [0.0, 0.5, 1.0])
    """
    first, last = float(to_place(parameter, low)), float(to_place(parameter, high))
    places = np.linspace(first, last, count) if count > 1 else [(first + last) / 2]
    return list(dict.fromkeys(to_value(parameter, float(place)) for place in places))
