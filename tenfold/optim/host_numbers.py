"""Numbers that may differ between members and are worked with on the host, a few a step.

Schedules, weight averaging, loss scaling and early stopping hold their options in this form; an optimiser's own
options live on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[np.float64]
Numbers = float | Array
"""One number for all members, or one a member, shape (M,)."""


class Range(NamedTuple):
    """What an option may be, in words and as a test of every number."""

    words: str
    holds: Callable[[Any], Any]


AT_LEAST_0 = Range(">= 0 and finite", lambda value: (value >= 0) & np.isfinite(value))
POSITIVE = Range("> 0 and finite", lambda value: (value > 0) & np.isfinite(value))
UNIT = Range("in [0, 1]", lambda value: (value >= 0) & (value <= 1))
BELOW_1 = Range("in [0, 1)", lambda value: (value >= 0) & (value < 1))
WITHIN_UNIT = Range("in (0, 1)", lambda value: (value > 0) & (value < 1))
COUNT = Range("a whole number >= 0", lambda value: (value >= 0) & np.isfinite(value) & (np.floor(value) == value))
COUNT_FROM_1 = Range("a whole number >= 1", lambda value: COUNT.holds(value) & (value >= 1))


def read_numbers(owner: str, name: str, value: Any, num_members: int, allowed: Range) -> Numbers:
    """Checks an option: a number stays one, a list, array or tensor becomes one number a member.

    Args:
        owner: whose option it is, for the message.
        name: the option.
        value: a number, or one a member, shape (M,).
        num_members: M.
        allowed: what each number may be.

    Raises:
        TypeError: it is neither a number nor a list, array or tensor of numbers.
        ValueError: it does not hold one number a member, or one that is not allowed.

    Example:
        >>> read_numbers("Step", "gamma", [0.1, 0.5], 2, POSITIVE)
        array([0.1, 0.5])
    """
    try:
        numbers: Any = float(value) if isinstance(value, Real) else _array(value)
    except (TypeError, ValueError):
        raise TypeError(f"{owner}: {name} must be a number or one a member, got {value!r}.") from None
    if not isinstance(numbers, float) and numbers.shape != (num_members,):
        raise ValueError(
            f"{owner}: {name} must be a number or one a member, shape ({num_members},), got shape {numbers.shape}."
        )
    check_numbers(owner, name, numbers, allowed, got=value)
    return numbers


def read_scores(owner: str, score_M: Any, num_members: int) -> Array:
    """Each member's score; NaN and infinity are scores too.

    Raises:
        ValueError: not one score a member.
    """
    scores_M = _array(score_M)
    if scores_M.shape != (num_members,):
        raise ValueError(
            f"{owner}: score_M must have shape ({num_members},), one score a member, got shape {scores_M.shape}."
        )
    return scores_M


def check_numbers(owner: str, name: str, numbers: Any, allowed: Range, got: Any) -> None:
    """Refuses an option of which a number is not allowed.

    Raises:
        ValueError: in the words of the range.
    """
    if not np.all(allowed.holds(numbers)):
        raise ValueError(f"{owner}: {name} must be {allowed.words}, got {got!r}.")


def check_choice(owner: str, name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuses an option that is none of these words.

    Raises:
        ValueError: with the choices.
    """
    if value not in choices:
        raise ValueError(f"{owner}: {name} must be {' or '.join(map(repr, choices))}, got {value!r}.")


def choose(condition: Any, yes: Numbers, no: Numbers) -> Numbers:
    """One or the other, for each member; for numbers ten times as quick as `np.where`, and called every step."""
    return np.where(condition, yes, no) if isinstance(condition, np.ndarray) else (yes if condition else no)


def at_most(numbers: Numbers, high: float) -> Numbers:
    """The numbers, cut off at the top."""
    return choose(numbers < high, numbers, high)


def at_least(numbers: Numbers, low: float) -> Numbers:
    """The numbers, cut off at the bottom."""
    return choose(numbers > low, numbers, low)


def keep_numbers(numbers: Any, indices: Tensor) -> Any:
    """The numbers of the members at these places; what is no array holds for all and stays."""
    return numbers[indices.cpu().numpy()] if isinstance(numbers, np.ndarray) else numbers


def on_device(numbers: Any, device: torch.device) -> float | Tensor:
    """A number as it is; one a member as float64, shape (M,), on the members' device."""
    is_array = isinstance(numbers, np.ndarray) and numbers.ndim > 0
    return torch.from_numpy(numbers).to(device) if is_array else float(numbers)


def to_saved(numbers: Any) -> Any:
    """For a state dict: a tensor, which `torch.load` takes without executing code, in the place of an array."""
    return torch.from_numpy(numbers.copy()) if isinstance(numbers, np.ndarray) else numbers


def from_saved(saved: Any) -> Any:
    """What `to_saved` was given."""
    return saved.cpu().numpy().copy() if isinstance(saved, Tensor) else saved


def _array(values: Any) -> Array:
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    return np.array(values, dtype=np.float64)
