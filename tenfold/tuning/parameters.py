"""What one name of a search space can be: a range of floats or integers, a choice, or a constant.

Each is a frozen record that knows its condition (`when`), why its range is what it is (`reason`), and how to
ask an Optuna trial for a value. Choices are what Optuna can store: None, bool, int, float, str.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

import optuna

Scalar = None | bool | int | float | str


def as_when(when: Mapping[str, Any] | None) -> dict[str, tuple[Any, ...]] | None:
    """A condition in its one inner form: each name with the tuple of values that satisfy it.

    Example:
        >>> as_when({"network": "lenet", "optimizer": ["sgd", "adamw"]})
        {'network': ('lenet',), 'optimizer': ('sgd', 'adamw')}
    """
    if not when:
        return None
    return {
        name: tuple(values) if isinstance(values, list | tuple | set | frozenset) else (values,)
        for name, values in when.items()
    }


@dataclass(frozen=True)
class Parameter(ABC):
    """One name's possible values; the concrete kinds are `Float`, `Int`, `Categorical` and `Constant`.

    Attributes:
        when: the parameter exists only where each named, earlier parameter has one of the given values, such
            as `{"network": "lenet"}` or `{"optimizer": ("sgd", "adamw")}`; None = always.
        reason: why these values, in one sentence for the reader of a report.
    """

    type: ClassVar[str]
    when: Mapping[str, Any] | None = field(default=None, kw_only=True)
    reason: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", as_when(self.when))
        self._check()

    @abstractmethod
    def _check(self) -> None:
        """Raises for values that make no sense."""

    @abstractmethod
    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> Any:
        """Asks the trial for a value under this name."""

    @abstractmethod
    def values(self) -> Iterable[Any]:
        """Every value there is; for a continuous range an endless iterator, good for counting only."""

    @abstractmethod
    def holds(self, value: Any) -> bool:
        """Whether a value is one of those that may be drawn; the condition is not looked at."""

    @abstractmethod
    def _fields(self) -> dict[str, Any]:
        """The fields of `to_json` that this kind has."""

    def applies(self, config: Mapping[str, Any]) -> bool:
        """Whether the condition holds for what has been chosen so far.

        Example:
            >>> Float(0.8, 0.99, when={"optimizer": "sgd"}).applies({"optimizer": "adamw"})
            False
        """
        return all(name in config and config[name] in values for name, values in (self.when or {}).items())

    def may_apply(self, config: Mapping[str, Any]) -> bool:
        """Whether the condition can still hold: names that have not been chosen may yet satisfy it.

        Example:
            >>> Float(0.8, 0.99, when={"optimizer": "sgd"}).may_apply({"lr": 0.1})
            True
        """
        return all(name not in config or config[name] in values for name, values in (self.when or {}).items())

    def is_continuous(self) -> bool:
        """Whether there are more values than can be counted."""
        return False

    def describe(self) -> str:
        """The values in words, for tables and messages.

        Example:
            >>> Float(3e-4, 1e-2, log=True).describe(), Int(2, 8, step=3).describe(), Constant("adamw").describe()
            ('0.0003 to 0.01, log', '2 to 8, step 3', 'adamw')
        """
        fields = self._fields()
        if "choices" in fields:
            return ", ".join(map(str, fields["choices"]))
        step = f", step {fields['step']}" if fields["step"] not in (None, 1) else ""
        return f"{fields['low']:g} to {fields['high']:g}{', log' if fields['log'] else ''}{step}"

    def to_json(self, name: str) -> dict[str, Any]:
        """One row for reports and run.json: name, type, low, high, log, step, choices, when, reason."""
        row: dict[str, Any] = dict.fromkeys(("low", "high", "log", "step", "choices"))
        when = None if self.when is None else {key: list(values) for key, values in self.when.items()}
        return {"name": name, "type": self.type, **row, **self._fields(), "when": when, "reason": self.reason}


@dataclass(frozen=True)
class Float(Parameter):
    """A real number in [low, high].

    Args:
        low: the least value, finite.
        high: the largest value, finite, at least `low`.
        log: uniform in the logarithm: for learning rates and everything whose order of magnitude is in
            question.
        step: only low, low + step, ... up to high; not together with `log`.
        when: condition on earlier parameters, see `Parameter`.
        reason: why this range.

    Raises:
        ValueError: the range is empty, not finite, not positive with `log`, or not a whole number of steps.
        TypeError: a bound is not a number.

    Example:
        >>> Float(3e-4, 1e-2, log=True, reason="covers AdamW's useful rates").high
        0.01
    """

    type: ClassVar[str] = "float"
    low: float
    high: float
    log: bool = field(default=False, kw_only=True)
    step: float | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        _check_range("Float", self.low, self.high, self.log, self.step, (int, float))

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> float:
        """A real number of the range."""
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def is_continuous(self) -> bool:
        """Without steps, unless the range is a single number."""
        return self.step is None and self.low < self.high

    def values(self) -> Iterable[float]:
        """The steps from low to high; without steps an endless iterator."""
        if self.low == self.high:
            return [float(self.low)]
        if self.step is None:
            return itertools.repeat(self.low)
        count = int((Decimal(str(self.high)) - Decimal(str(self.low))) / Decimal(str(self.step)))
        return [self.low + index * self.step for index in range(count + 1)]

    def holds(self, value: Any) -> bool:
        """A number in the range, on a step where there are steps (to 1e-8 of one).

        Example:
            >>> [Float(0.0, 0.5, step=0.1).holds(value) for value in (0.3, 0.35, "0.3", float("nan"))]
            [True, False, False, False]
        """
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return abs(steps - round(steps)) < 1e-8

    def _fields(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}


@dataclass(frozen=True)
class Int(Parameter):
    """A whole number in [low, high]; arguments and errors as in `Float`, `step` a whole number, 1 by default.

    Example:
        >>> list(Int(2, 8, step=3).values())
        [2, 5, 8]
    """

    type: ClassVar[str] = "int"
    low: int
    high: int
    log: bool = field(default=False, kw_only=True)
    step: int | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        _check_range("Int", self.low, self.high, self.log, self.step, (int,))

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> int:
        """A whole number of the range."""
        return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step or 1)

    def values(self) -> Iterable[int]:
        """The steps from low to high."""
        return range(*self._range())

    def holds(self, value: Any) -> bool:
        """A whole number of the range, on a step."""
        return isinstance(value, int) and not isinstance(value, bool) and value in range(*self._range())

    def _range(self) -> tuple[int, int, int]:
        return self.low, self.high + 1, self.step or 1

    def _fields(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}


@dataclass(frozen=True)
class Categorical(Parameter):
    """One of some values that have no order, or whose order shall not be used.

    Args:
        choices: at least one None, bool, int, float or str, no value twice.
        when: condition on earlier parameters, see `Parameter`.
        reason: why these choices.

    Raises:
        ValueError: there are no choices, or one stands twice.
        TypeError: a choice is something else, such as a list or a class.

    Example:
        >>> Categorical(["relu", "gelu"]).choices
        ('relu', 'gelu')
    """

    type: ClassVar[str] = "categorical"
    choices: Sequence[Scalar]

    def _check(self) -> None:
        if isinstance(self.choices, str) or not isinstance(self.choices, Iterable):
            raise TypeError(f"Categorical: choices must be a list of values, got {self.choices!r}. Put it in [].")
        object.__setattr__(self, "choices", tuple(self.choices))
        if not self.choices:
            raise ValueError("Categorical: choices must hold at least one value, got (). Add a value.")
        for choice in self.choices:
            if choice is not None and not isinstance(choice, bool | int | float | str):
                raise TypeError(
                    f"Categorical: choices must be None, bool, int, float or str, got {choice!r}. "
                    "Give each choice a name and look the object up in make_model."
                )
        if any(choice in self.choices[:index] for index, choice in enumerate(self.choices)):
            raise ValueError(f"Categorical: choices must differ, got {self.choices!r}. Remove the repeated one.")

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> Scalar:
        """One of the choices."""
        return trial.suggest_categorical(name, self.choices)

    def values(self) -> Iterable[Scalar]:
        """The choices."""
        return self.choices

    def holds(self, value: Any) -> bool:
        """One of the choices, of its type: 1 is not True."""
        return any(type(choice) is type(value) and choice == value for choice in self.choices)

    def _fields(self) -> dict[str, Any]:
        return {"choices": list(self.choices)}


@dataclass(frozen=True)
class Constant(Parameter):
    """A value that is not searched but belongs to the configuration; a plain value in a space means the same.

    Worth writing out for its `reason` and its `when`. Optuna never sees it.

    Example:
        >>> Constant("adamw", reason="robust without tuning").value
        'adamw'
    """

    type: ClassVar[str] = "constant"
    value: Any

    def _check(self) -> None:
        if isinstance(self.value, Parameter):
            raise TypeError(f"Constant: value must be a plain value, got {self.value!r}. Use it without Constant.")

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> Any:
        """The value; the trial is not asked."""
        return self.value

    def values(self) -> Iterable[Any]:
        """The one value."""
        return (self.value,)

    def holds(self, value: Any) -> bool:
        """The one value."""
        return bool(value == self.value)

    def _fields(self) -> dict[str, Any]:
        return {"choices": [self.value]}


def _check_range(kind: str, low: Any, high: Any, log: bool, step: Any, types: tuple[type, ...]) -> None:
    """Checks of `Float` and `Int`; Optuna would silently lower `high` to a whole number of steps."""
    for bound in ("low", "high", "step"):
        value = {"low": low, "high": high, "step": step}[bound]
        if isinstance(value, bool) or not isinstance(value, types if bound != "step" else (*types, type(None))):
            raise TypeError(f"{kind}: {bound} must be {_noun(kind)}, got {value!r}. Convert it first.")
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(
            f"{kind}: low must be finite and at most high, got {low!r} and {high!r}. Swap or bound them."
        )
    if log and low <= 0:
        raise ValueError(f"{kind}: low must be positive with log=True, got {low!r}. Raise it or leave log out.")
    if log and step is not None:
        raise ValueError(f"{kind}: step must be None with log=True, got {step!r}. Leave one of them out.")
    if step is not None and step <= 0:
        raise ValueError(f"{kind}: step must be positive, got {step!r}. Leave it out or give a positive number.")
    if step is not None and (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)) != 0:
        raise ValueError(
            f"{kind}: high must be low plus a whole number of steps, got {low!r}, {high!r} "
            f"and step {step!r}. Change high or step."
        )


def _noun(kind: str) -> str:
    return "a whole number" if kind == "Int" else "a number"
