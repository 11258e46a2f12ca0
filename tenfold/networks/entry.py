"""What the zoo knows of a network, and the checks that its families share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from tenfold.core.errors import did_you_mean
from tenfold.tuning import Parameter

Stages = Callable[[Any], Mapping[str, nn.Module]]


@dataclass(frozen=True, kw_only=True)
class Published:
    """The figures that others give for a network, to hold ours against.

    Attributes:
        parameters: trainable numbers of the form for inputs of `shape` and `num_outputs`, exactly.
        shape: of one sample, (C, H, W).
        num_outputs: K.
        multiply_adds: of one forward pass, None where nobody gives them. torchvision's column "GFLOPS" counts
            these; by the convention of two FLOPs a multiply-add there are twice as many.
        accuracy: in percent, with the data set and the recipe.
        config: the settings of that form, where they are not the defaults.
    """

    parameters: int
    shape: tuple[int, int, int] = (3, 224, 224)
    num_outputs: int = 1000
    multiply_adds: float | None = None
    accuracy: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


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
        aliases: other names that it answers to.
        needs_numbers: whether a table must have a numeric column; else categories alone will do.
        stacks: one sentence on how its members stand in a stack.
        default: whether `suitable` names it, and with it `fit` and what is said after a mistake; the others are
            taken when they are asked for.
        family: networks of one family, in the order of the registry, are each larger than the one before; the
            empty string where it stands alone.
        widths: values of its width from small to large, a ladder within one network; empty where it has none.
        width_setting: the setting that is its width.
        published: what others measured of it.
        small: settings with which it is quickly built and trained, for checks.
        heavy: whether its checks take long in spite of `small`.
        pretrained: whether it takes the setting `weights`; see `tenfold.networks.pretrained`.
        stages: its layers in order, without the head, by the names of the feature maps that they give; None
            where it gives none.
        fixed_size: whether it takes images of the size it was built for, and no others.
    """

    name: str
    build: Callable[..., nn.Module]
    kinds: frozenset[str]
    space: Mapping[str, Parameter] = field(default_factory=dict)
    reference: str
    min_image_size: int = 1
    dense: bool = False
    aliases: tuple[str, ...] = ()
    needs_numbers: bool = False
    stacks: str
    default: bool = False
    family: str = ""
    widths: tuple[float, ...] = ()
    width_setting: str = "width"
    published: Published | None = None
    small: Mapping[str, Any] = field(default_factory=dict)
    heavy: bool = False
    pretrained: bool = False
    stages: Stages | None = None
    fixed_size: bool = False


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


def check_choice(network: str, choices: tuple[str | bool, ...], **config: Any) -> None:
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
                f"{network}: {name} must be one of {choices}, got {value!r}."
                + did_you_mean(str(value), map(str, choices))
            )


def check_positive(network: str, **config: Any) -> None:
    """Refuses a configuration value that is not a positive number.

    Raises:
        ValueError: it is not.

    Example:
        >>> check_positive("lenet", width=0)
        Traceback (most recent call last):
            ...
        ValueError: lenet: width must be a positive number, got 0. The paper's is 1.0.
    """
    for name, value in config.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise ValueError(f"{network}: {name} must be a positive number, got {value!r}. The paper's is 1.0.")


def check_rate(network: str, **config: Any) -> None:
    """Refuses a configuration value that is not a number in [0, 1).

    Raises:
        ValueError: it is not.

    Example:
        >>> check_rate("alexnet", dropout=1.0)
        Traceback (most recent call last):
            ...
        ValueError: alexnet: dropout must be a number in [0, 1), got 1.0. 0 switches it off.
    """
    for name, value in config.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ValueError(f"{network}: {name} must be a number in [0, 1), got {value!r}. 0 switches it off.")


def widened(units: int, width: float) -> int:
    """A number of channels or units times the width multiplier: rounded, at least 1.

    Example:
        >>> widened(64, 0.25), widened(6, 0.1)
        (16, 1)
    """
    return max(1, round(units * width))


def dropout(drop_prob: float) -> list[nn.Module]:
    """A dropout as a list of layers to be joined to others, empty where nothing is dropped.

    Example:
        >>> dropout(0.1), dropout(0.0)
        ([Dropout(p=0.1, inplace=False)], [])
    """
    return [nn.Dropout(drop_prob)] if drop_prob else []
