"""A search space: named parameters with conditions, or any function of an Optuna trial, or both."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import optuna

from tenfold.core.errors import InputError, did_you_mean
from tenfold.tuning.constraints import Constraint
from tenfold.tuning.parameters import Categorical, Constant, Float, Int, Parameter

SpaceFunction: TypeAlias = Callable[[optuna.trial.Trial], dict[str, Any]]
ValuesOf: TypeAlias = Callable[[str, Parameter], Iterable[Any]]
ConstraintLike: TypeAlias = str | Constraint | Callable[[Mapping[str, Any]], Any]
MOST_COMBINATIONS = 100_000
_A_FUNCTION = "a function of the configuration"
_KINDS: dict[str, type[Parameter]] = {"float": Float, "int": Int, "categorical": Categorical}


class Space:
    """The configurations a search may try.

    A name maps to a parameter, to a plain value (a constant), or to a tuple of parameters whose conditions
    exclude each other: the same name with other ranges in other networks. Parameters are drawn in the order
    in which they stand; a condition looks at earlier names. One Optuna parameter has one distribution, so the
    alternatives of a name go to Optuna as `"depth (network=mlp)"`; in the configuration the name is
    `"depth"`.

    Args:
        parameters: the mapping, or a function that asks an Optuna trial and returns the configuration.
        constraints: what every configuration has to satisfy: expressions over the names, such as
            "hidden * depth <= 512", or functions of the configuration; see `Constraint`. A configuration that does
            not is drawn anew.

    Raises:
        TypeError: neither a mapping nor a function, or a value is a list (choices or constant?).
        ValueError: a condition looks at a name that is not earlier, or two alternatives can both apply.
        InputError: a constraint does not parse, or holds what is not allowed.

    Example:
        >>> space = Space({
        ...     "optimizer": Categorical(["adamw", "sgd"]),
        ...     "lr": Float(1e-4, 1e-1, log=True),
        ...     "momentum": Float(0.8, 0.99, when={"optimizer": "sgd"}),
        ...     "epochs": 20,
        ... })
        >>> space.suggest(optuna.trial.FixedTrial({"optimizer": "adamw", "lr": 1e-3}))
        {'optimizer': 'adamw', 'lr': 0.001, 'epochs': 20}
    """

    def __init__(
        self, parameters: Mapping[str, Any] | SpaceFunction, *, constraints: Iterable[ConstraintLike] = ()
    ) -> None:
        self.function: SpaceFunction | None = None
        self.parameters: dict[str, tuple[Parameter, ...]] = {}
        if isinstance(parameters, Mapping):
            self.parameters = {name: _alternatives(name, value) for name, value in parameters.items()}
        elif callable(parameters):
            self.function = parameters
        else:
            raise TypeError(
                f"Space: parameters must be a mapping or a function of a trial, got {parameters!r}. "
                'Write {"lr": Float(1e-4, 1e-2, log=True)}.'
            )
        if isinstance(constraints, str) or callable(constraints):
            constraints = (constraints,)
        self.constraints = tuple(dict.fromkeys(map(Constraint, constraints)))
        self._check_conditions()

    def admits(self, config: Mapping[str, Any]) -> bool:
        """Whether a configuration satisfies the constraints.

        Example:
            >>> Space({"a": Int(1, 9), "b": Int(1, 9)}, constraints=["a < b"]).admits({"a": 3, "b": 2})
            False
        """
        return all(constraint.holds(config) for constraint in self.constraints)

    def check_constraints(self) -> None:
        """Raises where a constraint speaks of a name that is not in the space; of a function nothing is known.

        Raises:
            InputError: with the near miss.

        Example:
            >>> Space({"depth": Int(1, 3)}, constraints=["dept < 3"]).check_constraints()
            Traceback (most recent call last):
                ...
            tenfold.core.errors.InputError: constraint 'dept < 3': there is no 'dept' ... Did you mean 'depth'?
        """
        for constraint in self.constraints if self.function is None else ():
            constraint.check_names(self.parameters)

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """One configuration, asked of an Optuna trial. What the function suggests stands; the rest is added.

        Raises:
            TypeError: the function returned something other than a dict.
        """
        config = {} if self.function is None else _call(self.function, trial)
        for name, alternatives in self.parameters.items():
            if name in config:
                continue
            for parameter in alternatives:
                if parameter.applies(config):
                    config[name] = parameter.suggest(trial, _label(name, parameter, alternatives))
        return config

    def num_configurations(self, limit: int) -> int:
        """How many different configurations there are, counted up to `limit`; `limit` for a function.

        Of a space with constraints the first 100,000 combinations are looked at, and if there are more, `limit` is
        the answer; so it is where a range is continuous.

        Example:
            >>> Space({"depth": Int(2, 3), "width": Categorical([64, 128])}).num_configurations(limit=100)
            4
        """
        if self.function is not None:
            return limit
        if not self.constraints:
            return sum(1 for _ in itertools.islice(self.configurations(), limit))
        if any(one.is_continuous() for alternatives in self.parameters.values() for one in alternatives):
            return limit
        combinations = self._descend({}, list(self.parameters), _all_values)
        count = looked_at = 0
        for looked_at, config in enumerate(itertools.islice(combinations, MOST_COMBINATIONS), 1):  # noqa: B007
            count += self.admits(config)
        return limit if looked_at == MOST_COMBINATIONS else min(count, limit)

    def configurations(self, values: ValuesOf | None = None) -> Iterator[dict[str, Any]]:
        """Every configuration by depth-first descent, the last name varying fastest.

        Of a space with constraints, those among the first 100,000 combinations that satisfy them.

        Args:
            values: `values(name, parameter)`, those that are gone through; all of them by default, which makes an
                endless iterator of a continuous range.

        Raises:
            TypeError: the space is a function, which cannot be gone through.

        Example:
            >>> [config["depth"] for config in Space({"depth": Int(2, 4)}).configurations()]
            [2, 3, 4]
        """
        if self.function is not None:
            raise TypeError("Space.configurations: the space must be a mapping, got a function. Write it as a dict.")
        combinations = self._descend({}, list(self.parameters), values or _all_values)
        if not self.constraints:
            return combinations
        return filter(self.admits, itertools.islice(combinations, MOST_COMBINATIONS))

    def params_of(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration, whole or in part, under the names that Optuna has for it; constants are left out.

        What a function of the trial asks for is passed on as it is.

        Raises:
            InputError: a name is unknown or does not apply beside the others, or a value is not in its range.

        Example:
            >>> depth = (Int(2, 3, when={"network": "mlp"}), Int(18, 34, when={"network": "resnet"}))
            >>> space = Space({"network": Categorical(["mlp", "resnet"]), "depth": depth, "epochs": 20})
            >>> space.params_of({"network": "mlp", "depth": 3, "epochs": 20})
            {'network': 'mlp', 'depth (network=mlp)': 3}
        """
        params: dict[str, Any] = {}
        for name, value in config.items():
            if name not in self.parameters:
                if self.function is None:
                    raise InputError(f"space: there is no {name!r} in it.{did_you_mean(name, self.parameters)}")
                params[name] = value
                continue
            alternatives = self.parameters[name]
            possible = [one for one in alternatives if one.may_apply(config)]
            fitting = [one for one in possible if one.holds(value)]
            if not possible:
                raise InputError(
                    f"space: {name!r} does not apply here, got {name}={value!r} beside {_beside(name, config)}. "
                    "Leave it out."
                )
            if not fitting:
                ranges = " or ".join(one.describe() for one in possible)
                raise InputError(f"space: {name} must be {ranges}, got {value!r}. Change it or the space.")
            labels = [_label(name, one, alternatives) for one in fitting if not isinstance(one, Constant)]
            params |= dict.fromkeys(labels, value)
        return params

    def to_json(self) -> list[dict[str, Any]]:
        """One row a parameter with name, type, low, high, log, step, choices, when and reason.

        A constant has its value as the only choice; a function is one row of type "function" with its name, and so is
        a constraint one of type "constraint" with its expression.
        """
        rows = [
            parameter.to_json(name) for name, alternatives in self.parameters.items() for parameter in alternatives
        ]
        blank = dict.fromkeys(("low", "high", "log", "step", "choices", "when"))
        for one in self.constraints:
            reason = "every configuration satisfies it" if one.function is None else _A_FUNCTION
            rows.append({"name": one.text, "type": "constraint", **blank, "reason": reason})
        if self.function is None:
            return rows
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return [{"name": name, "type": "function", **blank, "reason": "a function of the trial"}, *rows]

    @classmethod
    def from_json(cls, rows: list[dict[str, Any]]) -> Space:
        """The space that `to_json` wrote.

        Raises:
            ValueError: the rows hold a function, which JSON cannot carry.
        """
        parameters: dict[str, tuple[Parameter, ...]] = {}
        constraints = []
        for row in rows:
            if row["type"] == "function" or (row["type"] == "constraint" and row["reason"] == _A_FUNCTION):
                raise ValueError(
                    f"Space.from_json: {row['name']!r} must not be a function, got one. Pass it in Python again."
                )
            if row["type"] == "constraint":
                constraints.append(row["name"])
            else:
                parameters[row["name"]] = (*parameters.get(row["name"], ()), _from_row(row))
        return cls(parameters, constraints=constraints)

    @classmethod
    def from_toml(cls, path: str | Path) -> Space:
        """The space that a TOML file describes, a table a parameter; `tenfold.tuning.toml` has the schema.

        Raises:
            InputError: the file cannot be read or does not say a space; the message names file, key, and what was
                expected.
        """
        from tenfold.tuning.toml import parse_space

        return parse_space(path)

    def __or__(self, other: Space | Mapping[str, Any] | SpaceFunction) -> Space:
        """Both spaces as one; names of the right one replace those of the left, in the left one's place.

        The constraints of both hold. A function is asked first and its names stand, on whichever side it is.

        Raises:
            TypeError: both are functions.

        Example:
            >>> (Space({"lr": 0.1, "depth": 2}) | {"lr": 0.2}).suggest(optuna.trial.FixedTrial({}))
            {'lr': 0.2, 'depth': 2}
        """
        right = other if isinstance(other, Space) else Space(other)
        if self.function is not None and right.function is not None:
            raise TypeError("Space: one side of | must be a mapping, got two functions. Call one from the other.")
        merged = Space({})
        merged.function = self.function or right.function
        merged.parameters = self.parameters | right.parameters
        merged.constraints = tuple(dict.fromkeys((*self.constraints, *right.constraints)))
        merged._check_conditions()
        return merged

    def __contains__(self, name: object) -> bool:
        return name in self.parameters

    def __repr__(self) -> str:
        shown = {name: values[0] if len(values) == 1 else values for name, values in self.parameters.items()}
        limits = f", constraints={[one.text for one in self.constraints]}" if self.constraints else ""
        return f"Space({'' if self.function is None else f'{self.function!r}, '}{shown!r}{limits})"

    def _descend(self, config: dict[str, Any], names: list[str], values: ValuesOf) -> Iterator[dict[str, Any]]:
        if not names:
            yield config
            return
        active = [parameter for parameter in self.parameters[names[0]] if parameter.applies(config)]
        if not active:
            yield from self._descend(config, names[1:], values)
            return
        for value in values(names[0], active[0]):
            yield from self._descend({**config, names[0]: value}, names[1:], values)

    def _check_conditions(self) -> None:
        earlier: list[str] = []
        for name, alternatives in self.parameters.items():
            for parameter in alternatives:
                for key in parameter.when or {}:
                    if key not in earlier and self.function is None:
                        raise ValueError(
                            f"Space: {name!r} may depend on earlier names only, got when={{{key!r}: ...}}."
                            + (did_you_mean(key, earlier) or " Put that parameter first.")
                        )
            earlier.append(name)


def _alternatives(name: str, value: Any) -> tuple[Parameter, ...]:
    """A mapping's value as the parameters it stands for."""
    if isinstance(value, Parameter):
        return (value,)
    if isinstance(value, list):
        raise TypeError(
            f"Space: {name!r} must be a parameter or a plain value, got the list {value!r}. "
            "Write Categorical([...]) to choose from it, Constant([...]) to pass it on."
        )
    if not (isinstance(value, tuple) and value and all(isinstance(item, Parameter) for item in value)):
        return (Constant(value),)
    for first, second in itertools.combinations(value, 2):
        if not _exclude_each_other(first, second):
            raise ValueError(
                f"Space: the alternatives of {name!r} must exclude each other, got when={first.when} and "
                f"when={second.when}. Give them conditions on one name with different values."
            )
    return value


def _exclude_each_other(first: Parameter, second: Parameter) -> bool:
    ours, theirs = first.when or {}, second.when or {}
    return any(not set(ours[name]) & set(theirs[name]) for name in ours.keys() & theirs.keys())


def _label(name: str, parameter: Parameter, alternatives: tuple[Parameter, ...]) -> str:
    """The Optuna name; alternatives carry their condition: one name cannot have two sets of choices."""
    if len(alternatives) == 1:
        return name
    condition = ", ".join(f"{key}={'|'.join(map(str, values))}" for key, values in (parameter.when or {}).items())
    return f"{name} ({condition})"


def _all_values(name: str, parameter: Parameter) -> Iterable[Any]:
    return parameter.values()


def _beside(name: str, config: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in config.items() if key != name)


def _call(function: SpaceFunction, trial: Any) -> dict[str, Any]:
    config = function(trial)
    if not isinstance(config, dict):
        raise TypeError(
            f"Space: the function must return a dict of the configuration, got {config!r}. "
            'Return {"lr": trial.suggest_float(...), ...}.'
        )
    return dict(config)


def _from_row(row: dict[str, Any]) -> Parameter:
    about = {"when": row["when"], "reason": row["reason"]}
    if row["type"] == "constant":
        return Constant(row["choices"][0], **about)
    keys = ("choices",) if row["type"] == "categorical" else ("low", "high", "log", "step")
    return _KINDS[row["type"]](**{key: row[key] for key in keys}, **about)
