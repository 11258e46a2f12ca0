"""The networks by name: building one, finding those that suit an input, joining their spaces."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.registry import Registry
from tenfold.core.specs import InputSpec
from tenfold.networks.alexnet import ALEXNET
from tenfold.networks.cnn import CNN_ENTRY
from tenfold.networks.convnext import CONVNEXTS
from tenfold.networks.deep import DEEP_TWINS
from tenfold.networks.entry import NetworkEntry
from tenfold.networks.googlenet import GOOGLENET, INCEPTION_V3
from tenfold.networks.lenet import LENET
from tenfold.networks.linear import LINEAR
from tenfold.networks.mlp import MLP_ENTRY
from tenfold.networks.nin import NIN
from tenfold.networks.pretrained import TIMM, load_pretrained
from tenfold.networks.realmlp import REALMLP
from tenfold.networks.recurrent import RECURRENT
from tenfold.networks.resnet import RESNETS
from tenfold.networks.swin import SWINS
from tenfold.networks.tabm import TABM
from tenfold.networks.timm_models import timm_entry
from tenfold.networks.transformer import TRANSFORMER
from tenfold.networks.unet import UNET
from tenfold.networks.vgg import VGGS
from tenfold.networks.vit import VITS
from tenfold.tuning import Space, choice_space

IMAGE_NETWORKS = (CNN_ENTRY, *DEEP_TWINS, ALEXNET, *VGGS, NIN, GOOGLENET, INCEPTION_V3, *CONVNEXTS, *SWINS, *VITS)


class NetworkRegistry(Registry[NetworkEntry]):
    """The registered networks, and any of timm's under "timm:NAME", which are not listed."""

    def __getitem__(self, name: str) -> NetworkEntry:
        return timm_entry(name) if name.startswith(TIMM) else super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and name.startswith(TIMM))


NETWORKS = NetworkRegistry("network")
_TABLES_AND_SEQUENCES = (TABM, REALMLP, *RECURRENT)
for _entry in (LINEAR, MLP_ENTRY, *_TABLES_AND_SEQUENCES, LENET, *RESNETS, TRANSFORMER, UNET, *IMAGE_NETWORKS):
    NETWORKS.add(_entry.name, _entry, aliases=_entry.aliases)


def build_network(name: str, spec: InputSpec, num_outputs: int, **config: Any) -> nn.Module:
    """A new network of this name for this input; its weights come from torch's current random state.

    Args:
        name: a name in `NETWORKS`.
        spec: the input.
        num_outputs: number of classes, or 1 for a regression, at least 1.
        **config: the network's own configuration; what is left out keeps its default. `weights` names pretrained
            weights for the networks that take them: a file, or "default"; see `tenfold.networks.pretrained`.

    Returns:
        A plain module that maps a batch to outputs, float, shape (B, num_outputs), or for a dense spec
        (B, num_outputs, H, W).

    Raises:
        InputError: there is no such network, it cannot take this input, or its pretrained weights are not to be had.
        ValueError: num_outputs or a configuration value is out of its range, or a key is not the network's.

    Example:
        >>> spec = InputSpec(kind="table", shape=(5,))
        >>> build_network("mlp", spec, 3, dept=2)
        Traceback (most recent call last):
            ...
        ValueError: mlp: 'dept' is not one of its settings. Did you mean 'depth'?
    """
    entry = NETWORKS[name]
    if isinstance(num_outputs, bool) or not isinstance(num_outputs, int) or num_outputs < 1:
        raise ValueError(
            f"build_network: num_outputs must be a whole number >= 1, got {num_outputs!r}. "
            "Give the number of classes, or 1 for a regression."
        )
    reason = obstacle(name, spec)
    if reason:
        fitting = ", ".join(suitable(spec))
        raise InputError(f"{name}: {reason}. Networks that suit: {fitting or 'none'}.")
    known = network_settings(name)
    for key in config:
        if key not in known:
            fix = did_you_mean(key, known) or " It has none."
            raise ValueError(f"{name}: {key!r} is not one of its settings.{fix}")
    weights = config.pop("weights", None)
    network = entry.build(spec, num_outputs, **config)
    return network if weights is None else load_pretrained(name, network, weights)


def network_settings(name: str) -> dict[str, Any]:
    """The configuration keys of a network with their defaults.

    Raises:
        InputError: there is no such network.

    Example:
        >>> network_settings("mlp")
        {'hidden': 128, 'depth': 2, 'activation': 'relu', 'norm': 'none', 'drop_prob': 0.0, 'residual': False}
    """
    entry = NETWORKS[name]
    arguments = inspect.signature(entry.build).parameters.values()
    own = {argument.name: argument.default for argument in arguments if argument.kind is argument.KEYWORD_ONLY}
    return own | ({"weights": None} if entry.pretrained else {})


def suitable(spec: InputSpec) -> tuple[str, ...]:
    """The names of the networks to begin with for this input, the simplest first.

    They are few (`NetworkEntry.default`); any other one that has no `obstacle` can be asked for.

    Example:
        >>> suitable(InputSpec(kind="image", shape=(1, 8, 8)))
        ('linear', 'mlp', 'lenet', 'resnet18')
        >>> suitable(InputSpec(kind="table", shape=(5,)))
        ('linear', 'mlp')
        >>> suitable(InputSpec(kind="image", shape=(3, 96, 128), dense=True))
        ('unet',)
    """
    return tuple(name for name in NETWORKS if NETWORKS[name].default and not obstacle(name, spec))


def ladder(name: str, by: str = "family") -> tuple[tuple[str, dict[str, Any]], ...]:
    """Networks from small to large for a search by scale: those up to this one are its cheaper stand-ins.

    Args:
        name: a name in `NETWORKS`.
        by: "family" (resnet18 < resnet34 < resnet50) or "width" (values of the network's own width).

    Returns:
        The rungs, smallest first, each a name and its settings; a network without such a ladder is its only rung.

    Raises:
        InputError: there is no such network.
        ValueError: `by` is neither.

    Example:
        >>> ladder("resnet50")
        (('resnet18', {}), ('resnet34', {}), ('resnet50', {}), ('resnet101', {}))
        >>> ladder("resnet50", by="width")
        (('resnet50', {'width': 0.25}), ('resnet50', {'width': 0.5}), ('resnet50', {'width': 1.0}))
    """
    entry = NETWORKS[name]
    if by not in ("family", "width"):
        raise ValueError(f"ladder: by must be 'family' or 'width', got {by!r}. Choose one.")
    if by == "width":
        return tuple((name, {entry.width_setting: width}) for width in entry.widths) or ((name, {}),)
    family = [other for other in NETWORKS if entry.family and NETWORKS[other].family == entry.family]
    return tuple((other, {}) for other in family or [name])


def merge_network_spaces(names: Sequence[str]) -> Space:
    """The joined default search space of several networks, with "network" as its first parameter.

    Args:
        names: names in `NETWORKS`; a repeated one counts once. With one network "network" is a constant.

    Returns:
        The space; see `tenfold.tuning.choice_space` for names that several networks have.

    Raises:
        InputError: there is no such network.
        ValueError: no network is named.

    Example:
        >>> merge_network_spaces(["linear", "mlp"]).num_configurations(limit=100)
        5
    """
    options = {name: NETWORKS[name].space for name in names}
    return choice_space("network", options, reason="the networks to compare")


def obstacle(name: str, spec: InputSpec) -> str:
    """Why a network cannot take this input, or the empty string.

    Raises:
        InputError: there is no such network.

    Example:
        >>> obstacle("lenet", InputSpec(kind="table", shape=(5,)))
        'the input must be of kind image, got a table'
    """
    entry = NETWORKS[name]
    if spec.kind not in entry.kinds:
        article = "an" if spec.kind[0] in "aeiou" else "a"
        return f"the input must be of kind {' or '.join(sorted(entry.kinds))}, got {article} {spec.kind}"
    if spec.dense != entry.dense:
        each = ("sample", "pixel")
        return f"it says something of each {each[entry.dense]}, the task asks for each {each[spec.dense]}"
    if spec.kind == "image" and min(spec.shape[1:]) < entry.min_image_size:
        size = entry.min_image_size
        return f"images must be at least {size}x{size} pixels, got {spec.shape[1]}x{spec.shape[2]}"
    if spec.num_features == 0 and not spec.cardinalities:
        return "the input must have at least one column, got none"
    if spec.num_features == 0 and entry.needs_numbers:
        return "the table must have a numeric column, got categories alone"
    return ""
