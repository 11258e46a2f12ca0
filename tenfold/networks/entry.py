"""What the zoo knows of a network, and the checks that its families share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from tenfold.core.errors import did_you_mean
from tenfold.tuning import Parameter


@dataclass(frozen=True, kw_only=True)
class NetworkEntry:
    """One architecture by name.

    Attributes:
        name: as on the command line.
        build: `build(spec, num_outputs, **config) -> nn.Module` with keyword-only configuration, each with a
            default.
        kinds: kinds of input it takes, among "image" and "table".
        space: its default search space: few structural choices, because members of equal structure train as
            one program.
        reference: the paper or the source.
        min_image_size: least height and width in pixels; 1 where there is no bound.
        dense: whether it gives outputs for each pixel, float, shape (B, K, H, W), rather than for each sample.
        stacks: one sentence on how its members stand in a stack.
    """

    name: str
    build: Callable[..., nn.Module]
    kinds: frozenset[str]
    space: Mapping[str, Parameter] = field(default_factory=dict)
    reference: str
    min_image_size: int = 1
    dense: bool = False
    stacks: str


def check_at_least(network: str, low: int, **config: Any) -> None:
    """Refuses a configuration value that is not a whole number of at least `low`.

    Raises:
        ValueError: it is not.

    Example:
        >>> check_at_least("mlp", 1, hidden=0)
        Traceback (most recent call last):
            ...
        ValueError: mlp: hidden must be a whole number >= 1, got 0. Change the space or the argument.
    """
    for name, value in config.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(
                f"{network}: {name} must be a whole number >= {low}, got {value!r}. Change the space or the argument."
            )


def check_choice(network: str, choices: tuple[str, ...], **config: Any) -> None:
    """Refuses a configuration value that is not one of the choices.

    Raises:
        ValueError: it is not.

    Example:
        >>> check_choice("mlp", ("none", "batch", "layer"), norm="bach")
        Traceback (most recent call last):
            ...
        ValueError: mlp: norm must be one of ('none', 'batch', 'layer'), got 'bach'. Did you mean 'batch'?
    """
    for name, value in config.items():
        if value not in choices:
            raise ValueError(
                f"{network}: {name} must be one of {choices}, got {value!r}." + did_you_mean(str(value), choices)
            )
