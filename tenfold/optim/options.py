"""The options of a group of parameters, checked at the door."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.core.errors import did_you_mean
from tenfold.optim.values import Value
from tenfold.stacking import Stack

Group = dict[str, Any]


@dataclass(frozen=True)
class OptionCheck:
    """What an optimiser's options may be.

    Attributes:
        owner: the optimiser's name, for the messages.
        stack: whose members the values belong to.
        flags: options that are on or off for all members of a group; the others are numbers, or values a member.
        below_one: options that must be < 1; all must be >= 0.
    """

    owner: str
    stack: Stack
    flags: Collection[str]
    below_one: Collection[str]

    def group(self, group: Mapping[str, Any], defaults: Mapping[str, Any]) -> Group:
        """The group with its parameters and all options, checked; those it does not give are the defaults."""
        names = [name for name in defaults if name != "params"]
        for name in group:
            if name not in defaults and name != "params":
                raise ValueError(f"{self.owner}: a group has the unknown option {name!r}.{did_you_mean(name, names)}")
        return {
            "params": group["params"],
            **{name: self._option(name, {**defaults, **group}[name]) for name in names},
        }

    def _option(self, name: str, value: Any) -> Any:
        if name in self.flags:
            if not isinstance(value, bool):
                raise TypeError(
                    f"{self.owner}: {name} must be True or False for all members of a group, got {value!r}. "
                    "Stack members that differ in it apart."
                )
            return value
        if name == "betas":
            if isinstance(value, Tensor) or len(value) != 2:
                raise ValueError(f"{self.owner}: betas must be a pair, got {value!r}. (0.9, 0.999) is common.")
            return tuple(self._value(name, f"betas[{i}]", part) for i, part in enumerate(value))
        return self._value(name, name, value)

    def _value(self, name: str, shown: str, value: Any) -> Value:
        """A plain number stays one, a value a member becomes float64 of shape (M,)."""
        wrong_kind = not isinstance(value, Real | Tensor | Sequence | np.ndarray) or isinstance(value, str | bool)
        if wrong_kind:
            raise TypeError(f"{self.owner}: {shown} must be a number or one value a member, got {value!r}.")
        if not isinstance(value, Real):
            value = torch.as_tensor(value, dtype=torch.float64, device=self.stack.device)
            if value.shape != (len(self.stack),):
                raise ValueError(
                    f"{self.owner}: {shown} must be a number or one value a member, shape ({len(self.stack)},), "
                    f"got shape {tuple(value.shape)}."
                )
            smallest, largest = float(value.min()), float(value.max())
        else:
            smallest = largest = value = float(value)
        high = 1.0 if name in self.below_one else float("inf")
        if not (smallest >= 0.0 and largest < high):
            bounds = ">= 0.0" + (f" and < {high}" if high != float("inf") else "")
            raise ValueError(
                f"{self.owner}: {shown} must be {bounds} and finite, got {largest if smallest >= 0.0 else smallest}."
            )
        return value
