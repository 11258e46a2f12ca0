"""One space out of several of which a configuration uses one: networks, optimisers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tenfold.tuning.parameters import Categorical, Constant, Parameter
from tenfold.tuning.space import Space


def choice_space(key: str, options: Mapping[str, Mapping[str, Parameter]], *, reason: str = "") -> Space:
    """A space that first chooses an option, then draws that option's own parameters.

    Names are never prefixed. A parameter that several options have with the same values is one parameter of
    all of them; with other values it becomes one alternative an option (see `Space`). With one option there
    is nothing to choose: `key` is a constant, and no condition is added.

    Args:
        key: the name of the choice, such as "network".
        options: for each option its parameters by name.
        reason: why these options.

    Returns:
        The joined space, `key` first.

    Raises:
        ValueError: there are no options, or an option has a parameter named `key`.

    Example:
        >>> from tenfold.tuning import Constant, Int
        >>> space = choice_space("network", {
        ...     "mlp": {"activation": Constant("relu"), "depth": Int(2, 3)},
        ...     "lenet": {"activation": Constant("relu")},
        ... })
        >>> [(row["name"], row["when"]) for row in space.to_json()]
        [('network', None), ('activation', {'network': ['mlp', 'lenet']}), ('depth', {'network': ['mlp']})]
    """
    if not options:
        raise ValueError(f"choice_space: options of {key!r} must hold at least one, got none. Name one.")
    if any(key in parameters for parameters in options.values()):
        raise ValueError(f"choice_space: no option may have a parameter {key!r}, got one. Rename it.")
    if len(options) == 1:
        [(name, only)] = options.items()
        return Space({key: Constant(name, reason=reason), **only})
    joined: dict[str, Any] = {key: Categorical(tuple(options), reason=reason)}
    for name in dict.fromkeys(name for parameters in options.values() for name in parameters):
        owners = {option: parameters[name] for option, parameters in options.items() if name in parameters}
        joined[name] = _join(key, owners)
    return Space(joined)


def _join(key: str, owners: Mapping[str, Parameter]) -> tuple[Parameter, ...]:
    """The parameters of one name, equal ones joined into one that holds for all their owners."""
    groups: list[tuple[Parameter, list[str]]] = []
    for option, parameter in owners.items():
        for first, members in groups:
            if _same_values(first, parameter):
                members.append(option)
                break
        else:
            groups.append((parameter, [option]))
    return tuple(
        replace(
            first,
            when={key: tuple(members), **(first.when or {})},
            reason="; ".join(dict.fromkeys(owners[member].reason for member in members if owners[member].reason)),
        )
        for first, members in groups
    )


def _same_values(first: Parameter, second: Parameter) -> bool:
    return replace(first, reason="") == replace(second, reason="")
