"""The steps of a search whose resource is the data or the scale of the model: what each trains on or with.

On data a step is a fraction of the training rows. On scale it is a network of the family, smaller ones first, or a
width: each trial's own width setting times a factor. The last step is the whole: all rows, the network as asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from tenfold.core.errors import InputError
from tenfold.core.specs import InputSpec
from tenfold.core.wording import plural
from tenfold.data import num_of
from tenfold.networks import NETWORKS, ladder, network_settings, obstacle
from tenfold.study.options import Network
from tenfold.study.search_options import SearchOptions
from tenfold.tuning import Ladder, Space, data_fractions, make_ladder

_FEWEST_ROWS = 100  # that a fraction has which the data choose; below, scores are mostly luck
_MOST_STEPS = 4  # as many as Hyperband's deepest bracket of 27 trials has
_OWN_WIDTHS = ("width", "hidden")  # settings of a user's network that a width multiplies, the first that it has
_WIDTHS = (0.25, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What trials climb.

    Attributes:
        resource: "data" or "scale".
        values: of each step, cheapest first: fractions of the rows, factors of the width, or names of networks.
        labels: likewise in words.
        costs: what an epoch on each takes, of one on the last: of data the rows, of scale the FLOPs.
    """

    resource: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]
    costs: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types; `from_json` reads it back."""
        return {name: value if isinstance(value, str) else list(value) for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Steps:
        """What `to_json` wrote; further entries are passed over."""
        own = {name: tuple(record[name]) for name in ("values", "labels", "costs")}
        return cls(resource=record["resource"], **own)

    def ladder(self, options: SearchOptions, trials: int, direction: str, epochs: int) -> Ladder:
        """These steps under the stopping rule that was asked for."""
        made = make_ladder(options.halving, self.values, trials, direction, reduction_factor=options.reduction_factor)
        return replace(made, epochs=epochs, costs=self.costs, labels=self.labels, anew=self.resource == "scale")

    def describe(self, epochs: int, rows: int) -> str:
        """The steps in one sentence.

        Args:
            epochs: that a trial trains on each.
            rows: to train on.
        """
        if self.resource == "data":
            named = [f"{label} ({num_of(own, rows):,})" for label, own in zip(self.labels, self.values, strict=True)]
            carried = "each goes on from the weights of the one before"
        else:
            named, carried = list(self.labels), "each begins with new weights"
        return f"steps: {', '.join(named)}; {plural(epochs, 'epoch')} on each; {carried}"

    def config_on(self, step: int, config: Mapping[str, Any], networks: Mapping[str, Network]) -> dict[str, Any]:
        """A configuration as it trains on a step, its network among it."""
        value, name = self.values[step], config["network"]
        if self.resource == "data" or step == len(self.values) - 1 or name not in networks:
            return dict(config)
        if isinstance(value, str):
            unknown = network_settings(name).keys() - network_settings(value).keys()
            return {**{key: own for key, own in config.items() if key not in unknown}, "network": value}
        key, default = _width_setting(name, networks[name], config)
        return {**config, key: _times(config.get(key, default), value)}


def make_steps(
    options: SearchOptions, networks: Mapping[str, Network], space: Space, spec: InputSpec, rows: int
) -> Steps | None:
    """The steps asked for, or those that suit the data and the networks; None where epochs are the resource.

    Args:
        options: with the resource and the steps.
        networks: that are searched.
        space: what is searched.
        spec: the input.
        rows: to train on.

    Raises:
        InputError: steps that there cannot be, or a network that has no ladder.
    """
    if options.resource == "data":
        return _data_steps(options, rows)
    if options.resource == "scale":
        names = [step for step in options.steps if isinstance(step, str)]
        if names or not options.steps:
            family = _family(options, networks, spec)
            if family is not None:
                return Steps(resource="scale", values=family, labels=family)
        return _width_steps(options, networks, space, spec)
    return None


def _data_steps(options: SearchOptions, rows: int) -> Steps:
    fractions = tuple(float(step) for step in options.steps)
    if not fractions:
        eta = options.reduction_factor
        fractions = data_fractions(rows, reduction_factor=eta, min_rows=min(_FEWEST_ROWS, max(rows // eta, 1)))
        fractions = fractions[-_MOST_STEPS:]
    counts = [num_of(fraction, rows) for fraction in fractions]
    if counts[0] < 2 or sorted(set(counts)) != counts:
        raise InputError(
            f"--steps must be rising fractions with at least 2 rows, got {_listed(fractions)} of {rows} rows, which "
            f"are {_listed(counts)} rows. Raise them."
        )
    labels = tuple("all rows" if fraction == 1 else f"{in_words(fraction)} of the rows" for fraction in fractions)
    return Steps(resource="data", values=fractions, labels=labels, costs=tuple(count / rows for count in counts))


def _family(options: SearchOptions, networks: Mapping[str, Network], spec: InputSpec) -> tuple[str, ...] | None:
    """The networks asked for, or the smaller ones of the only network's family; None where it is the smallest."""
    name, network = next(iter(networks.items()))
    if options.steps:
        steps = tuple(NETWORKS.own_name(str(step)) for step in options.steps)
        if len(networks) > 1 or not isinstance(network, str) or steps[-1] != name:
            raise InputError(
                f"--steps of networks must end with the only network that is searched, got {_listed(steps)} for "
                f"--network {' and '.join(networks)}. Write --network {steps[-1]}."
            )
        for step in steps:
            if obstacle(step, spec):
                raise InputError(f"--steps: {step} cannot take these data: {obstacle(step, spec)}. Leave it out.")
        return steps
    if len(networks) > 1 or not isinstance(network, str):
        return None
    names = [other for other, _ in ladder(name)]
    family = tuple(other for other in names[: names.index(name) + 1] if not obstacle(other, spec))
    return family if len(family) > 1 else None


def _width_steps(options: SearchOptions, networks: Mapping[str, Network], space: Space, spec: InputSpec) -> Steps:
    found: list[tuple[float, ...]] = []
    for name, network in networks.items():
        factors = _factors(name, network, space)
        if len(factors) < 2:
            able = [other for other in NETWORKS if not obstacle(other, spec) and _has_ladder(other)]
            own = (
                f", and functions of yours that take {' or '.join(_OWN_WIDTHS)}"
                if not isinstance(network, str)
                else ""
            )
            raise InputError(
                f"--resource scale: {name} has no smaller relatives and no width to reduce. Networks that have, "
                f"and take these data: {', '.join(able)}{own}."
            )
        found.append(factors)
    asked = tuple(float(step) for step in options.steps)
    values = asked or tuple(one for one in found[0] if all(one in other for other in found))
    if len(values) < 2:
        raise InputError(
            f"--resource scale: {' and '.join(networks)} have no widths in common. Write some: --steps 0.25,0.5,1."
        )
    labels = tuple("full width" if value == 1 else f"{in_words(value)} of the width" for value in values)
    return Steps(resource="scale", values=values, labels=labels)


def _factors(name: str, network: Network, space: Space) -> tuple[float, ...]:
    """By what the width of a network is multiplied on the steps that suit it, up to 1; 1 alone where it has none."""
    if not isinstance(network, str):
        return _WIDTHS if any(key in space or key in _arguments(network) for key in _OWN_WIDTHS) else (1.0,)
    entry = NETWORKS[name]
    if not entry.widths:
        return (1.0,)
    whole = network_settings(name)[entry.width_setting]
    return tuple(width / whole for width in entry.widths if width <= whole)


def _has_ladder(name: str) -> bool:
    return len(_factors(name, name, Space({}))) > 1 or ladder(name)[0][0] != name


def _width_setting(name: str, network: Network, config: Mapping[str, Any]) -> tuple[str, Any]:
    """The setting that a width multiplies, and its default.

    Raises:
        InputError: a user's network whose width has no number.
    """
    if isinstance(network, str):
        key = NETWORKS[name].width_setting
        return key, network_settings(name)[key]
    arguments = _arguments(network)
    for key in _OWN_WIDTHS:
        default = config.get(key, arguments.get(key))
        if isinstance(default, int | float):
            return key, default
    raise InputError(
        f"--resource scale: {name} must have a number for {' or '.join(_OWN_WIDTHS)}, got none. Give it a default, "
        "or put it into the space."
    )


def _arguments(network: Any) -> dict[str, Any]:
    """The arguments of a user's function with their defaults."""
    return {name: argument.default for name, argument in inspect.signature(network).parameters.items()}


def _times(value: Any, factor: float) -> Any:
    """A width times a factor; a whole number stays one, at least 1."""
    return max(1, round(value * factor)) if isinstance(value, int) else value * factor


def in_words(fraction: float) -> str:
    """A fraction as one writes it.

    Example:
        >>> in_words(1 / 9), in_words(0.3), in_words(2 / 3)
        ('1/9', '0.3', '2/3')
    """
    near = Fraction(fraction).limit_denominator(999)
    short = f"{fraction:.3g}"
    exact = abs(float(near) - fraction) < 1e-12
    return f"{near.numerator}/{near.denominator}" if exact and float(short) != fraction else short


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(value if isinstance(value, str) else f"{value:.3g}" for value in values)
