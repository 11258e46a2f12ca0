"""Networks from parts: a backbone that gives feature maps, a neck that makes features of them, a head.

A part is a plain module. A backbone maps the inputs to a dict of maps by name, a neck a dict of maps to another
one or to features, a head features to outputs. Parts say what they give: a backbone and a neck of maps have
`channels` (by name), a neck of features has `out_features`. So each part is made from the one before it, and
`compose` puts them together and sees whether they fit.

B batch, C channels, H W, D features, K outputs
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.core.registry import Registry
from tenfold.core.specs import InputSpec
from tenfold.nn import CategoryEmbedding, activation


class Bottleneck(nn.Module):
    """1x1 convolutions that bring maps to fewer channels, each with batch norm and ReLU.

    Args:
        channels: channels of the maps that come, by name.
        out_channels: of each map that leaves, at least 1.
        maps: names of the maps to take, by default the last one.

    Example:
        >>> neck = Bottleneck({"layer3": 64, "layer4": 128}, out_channels=32)
        >>> neck.channels, neck({"layer4": torch.zeros(2, 128, 4, 4)})["layer4"].shape
        ({'layer4': 32}, torch.Size([2, 32, 4, 4]))

    References:
        Lin, Chen and Yan, "Network In Network", ICLR 2014, section 3.1 (the 1x1 convolution); Szegedy et al.,
        "Going Deeper with Convolutions", CVPR 2015, section 4 (as a reduction).
    """

    def __init__(self, channels: Mapping[str, int], out_channels: int, maps: Sequence[str] | None = None) -> None:
        super().__init__()
        names = _check_names("Bottleneck", channels, maps)
        self.channels = dict.fromkeys(names, out_channels)
        self.convolutions = nn.ModuleDict({name: _pointwise(channels[name], out_channels) for name in names})

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The reduced maps, float, shape (B, C, H, W)."""
        return {name: convolution(maps[name]) for name, convolution in self.convolutions.items()}


def _pointwise(in_channels: int, out_channels: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


class GlobalPool(nn.Module):
    """The mean or the maximum of each channel over all places; several maps stand one after another.

    Args:
        channels: channels of the maps that come, by name.
        kind: "average" or "max".
        maps: names of the maps to take, by default the last one.

    Raises:
        ValueError: kind or a name is not one there is.

    Example:
        >>> neck = GlobalPool({"layer3": 64, "layer4": 128})
        >>> neck.out_features, neck({"layer4": torch.zeros(2, 128, 4, 4)}).shape
        (128, torch.Size([2, 128]))

    References:
        Lin, Chen and Yan, "Network In Network", ICLR 2014, section 3.2.
    """

    def __init__(self, channels: Mapping[str, int], kind: str = "average", maps: Sequence[str] | None = None) -> None:
        super().__init__()
        if kind not in ("average", "max"):
            raise ValueError(f"GlobalPool: kind must be 'average' or 'max', got {kind!r}. Choose one.")
        self.names = _check_names("GlobalPool", channels, maps)
        self.kind = kind
        self.out_features = sum(channels[name] for name in self.names)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Features float, shape (B, D), of maps float, shape (B, C, H, W)."""
        pooled = [maps[name].flatten(2) for name in self.names]
        return torch.cat([map.mean(2) if self.kind == "average" else map.amax(2) for map in pooled], dim=1)


class ReducedPool(nn.Sequential):
    """A bottleneck to a quarter of the last map's channels, then global average pooling.

    Args:
        channels: channels of the maps that come, by name.

    Example:
        >>> ReducedPool({"layer3": 64, "layer4": 128}).out_features
        32
    """

    def __init__(self, channels: Mapping[str, int]) -> None:
        self.out_features = max(1, list(channels.values())[-1] // 4)
        bottleneck = Bottleneck(channels, self.out_features)
        super().__init__(bottleneck, GlobalPool(bottleneck.channels))


class TableColumns(nn.Module):
    """The backbone of a table: its numbers, and an embedding of each categorical column.

    Args:
        spec: a table.

    Example:
        >>> backbone = TableColumns(InputSpec(kind="table", shape=(2,), cardinalities=(3,)))
        >>> backbone.channels
        {'numbers': 2, 'categories': 3}
    """

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.embedding = CategoryEmbedding(spec.cardinalities) if spec.cardinalities else None
        self.channels = {"numbers": spec.num_features}
        if self.embedding is not None:
            self.channels["categories"] = self.embedding.out_features

    def forward(self, x_BD: Tensor, codes_BL: Tensor | None = None) -> dict[str, Tensor]:
        """The columns by kind, float, shape (B, D), of numbers (B, D) and codes int64, shape (B, L)."""
        columns = {"numbers": x_BD}
        if self.embedding is not None and codes_BL is not None:
            columns["categories"] = self.embedding(codes_BL)
        return columns


class Joined(nn.Module):
    """All maps, flattened and one after another: the neck of a table, or of maps of one known size.

    Args:
        channels: numbers in each, by name.

    Example:
        >>> Joined({"numbers": 2, "categories": 3}).out_features
        5
    """

    def __init__(self, channels: Mapping[str, int]) -> None:
        super().__init__()
        self.names = tuple(channels)
        self.out_features = sum(channels.values())

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Features float, shape (B, D)."""
        return torch.cat([maps[name].flatten(1) for name in self.names], dim=1)


class MLPHead(nn.Sequential):
    """One hidden layer with ReLU and dropout, then a linear layer.

    Args:
        in_features: D, at least 1.
        num_outputs: K, at least 1.
        hidden: its units, at least 1.
        dropout: rate before the last layer, in [0, 1).

    Example:
        >>> MLPHead(128, 10)(torch.zeros(3, 128)).shape
        torch.Size([3, 10])
    """

    def __init__(self, in_features: int, num_outputs: int, hidden: int = 128, dropout: float = 0.0) -> None:
        super().__init__(
            nn.Linear(in_features, hidden), activation("relu"), nn.Dropout(dropout), nn.Linear(hidden, num_outputs)
        )


NECKS: Registry[Callable[[Mapping[str, int]], nn.Module]] = Registry("neck")
NECKS.add("average", GlobalPool)
NECKS.add("max", lambda channels: GlobalPool(channels, "max"))
NECKS.add("bottleneck", ReducedPool)
NECKS.add("join", Joined)
HEADS: Registry[Callable[[int, int], nn.Module]] = Registry("head")
HEADS.add("linear", nn.Linear)
HEADS.add("mlp", MLPHead)


class Composed(nn.Module):
    """A backbone, a neck and a head, called one after another; see `compose`.

    Args:
        backbone: inputs -> maps by name.
        neck: maps -> maps or features.
        head: maps or features -> outputs.
    """

    def __init__(self, backbone: nn.Module, neck: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head

    def forward(self, *inputs: Tensor) -> Any:
        """What the head gives for the backbone's inputs."""
        return self.head(self.neck(self.backbone(*inputs)))


def compose(
    backbone: nn.Module,
    neck: str | nn.Module | None = "average",
    head: str | nn.Module = "linear",
    *,
    num_outputs: int | None = None,
) -> Composed:
    """A network from parts.

    Args:
        backbone: inputs to maps by name, with `channels`: from `build_backbone`, or your own.
        neck: maps to features or to other maps: a module, None where the head takes the maps as they come, or
            "average" (global average pooling of the last map), "max", "bottleneck" (a 1x1 convolution to a
            quarter of the channels, then the average) or "join" (all of them flattened: for tables).
        head: features or maps to outputs: a module, or "linear" or "mlp" (one hidden layer of 128).
        num_outputs: K, at least 1; needed where the head is named.

    Returns:
        A plain module with the parts `backbone`, `neck` and `head`.

    Raises:
        InputError: there is no such neck or head.
        TypeError: a part is no module.
        ValueError: a named part cannot be made, because the one before it does not say what it gives, or
            num_outputs is missing.

    Example:
        >>> from tenfold.networks import build_backbone
        >>> backbone = build_backbone("cnn", InputSpec(kind="image", shape=(1, 28, 28)))
        >>> compose(backbone, "average", "linear", num_outputs=10)(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 10])
        >>> both = GlobalPool(backbone.channels, maps=["stage2", "stage3"])
        >>> compose(backbone, both, MLPHead(both.out_features, 10)).head[0]
        Linear(in_features=192, out_features=128, bias=True)
    """
    if neck is None:
        neck = nn.Identity()
    if isinstance(neck, str):
        neck = NECKS[neck](_given(backbone, "channels", "backbone", "neck"))
    if isinstance(head, str):
        make = HEADS[head]
        if isinstance(num_outputs, bool) or not isinstance(num_outputs, int) or num_outputs < 1:
            raise ValueError(
                f"compose: num_outputs must be a whole number >= 1 for the head {head!r}, got {num_outputs!r}. "
                "Give the number of classes, or 1 for a regression."
            )
        head = make(_given(neck, "out_features", "neck", "head"), num_outputs)
    for name, part in {"backbone": backbone, "neck": neck, "head": head}.items():
        if not isinstance(part, nn.Module):
            raise TypeError(
                f"compose: {name} must be a module or a name, got {type(part).__name__}. See help(compose)."
            )
    return Composed(backbone, neck, head)


def _given(part: Any, attribute: str, role: str, next_role: str) -> Any:
    """What a part says that it gives.

    Raises:
        ValueError: it does not say.
    """
    if not hasattr(part, attribute):
        raise ValueError(
            f"compose: the {role} must have the attribute {attribute!r} for a {next_role} by name, got "
            f"{type(part).__name__} without. Give it one, or pass the {next_role} as a module."
        )
    return getattr(part, attribute)


def _check_names(part: str, channels: Mapping[str, int], maps: Sequence[str] | None) -> tuple[str, ...]:
    """The names of the maps to take, the last one by default.

    Raises:
        ValueError: no map has such a name, or none is named.
    """
    names = tuple(channels)[-1:] if maps is None else tuple(maps)
    for name in names:
        if name not in channels:
            raise ValueError(f"{part}: maps must be among {', '.join(channels)}, got {name!r}. Take one of them.")
    if not names:
        raise ValueError(f"{part}: maps must name at least one map, got none. Leave it out for the last one.")
    return names
