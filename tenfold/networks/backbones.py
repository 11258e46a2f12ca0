"""Backbones: a registered image network without its head, which gives its feature maps by name.

What a task puts on top of them (a classifier, a decoder for segmentation, boxes) is composed from parts: see
`tenfold.networks.compose`.

B batch, C channels, H W
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tenfold.core.errors import InputError
from tenfold.core.specs import InputSpec
from tenfold.networks.catalog import NETWORKS, build_network

_PROBED_TIMES = 8


class Backbone(nn.Module):
    """Stages one after another; the output of each is a feature map.

    Args:
        stages: modules by the name of their map; the first takes the image, each other one the map before it,
            and each gives a tensor of shape (B, C, H, W).
        spec: the image.
        fixed_size: whether the stages take images of exactly this size only.

    Attributes:
        channels: C of each map by name, from the image to the deepest.
        strides: pixels of the image from one place of the map to the next, by name.

    Example:
        >>> spec = InputSpec(kind="image", shape=(3, 32, 32))
        >>> stages = {"fine": nn.Conv2d(3, 8, 3, padding=1), "coarse": nn.Conv2d(8, 16, 2, stride=2)}
        >>> backbone = Backbone(stages, spec)
        >>> backbone.channels, backbone.strides
        ({'fine': 8, 'coarse': 16}, {'fine': 1, 'coarse': 2})
        >>> {name: tuple(map.shape) for name, map in backbone(torch.zeros(5, 3, 32, 32)).items()}
        {'fine': (5, 8, 32, 32), 'coarse': (5, 16, 16, 16)}
    """

    def __init__(self, stages: Mapping[str, nn.Module], spec: InputSpec, *, fixed_size: bool = False) -> None:
        super().__init__()
        self.stages = nn.ModuleDict(stages)
        channels, height, width = spec.shape
        if fixed_size:
            maps = shapes_of(self, torch.empty(1, channels, height, width, device="meta"))
            self.strides = {name: round(height / shape[2]) for name, shape in maps.items()}
        else:  # by how much a map grows with the image: paddings and roundings cancel
            height, width = height * _PROBED_TIMES, width * _PROBED_TIMES
            maps = shapes_of(self, torch.empty(1, channels, height, width, device="meta"))
            larger = shapes_of(self, torch.empty(1, channels, 2 * height, width, device="meta"))
            self.strides = {name: round(height / (larger[name][2] - shape[2])) for name, shape in maps.items()}
        self.channels = {name: shape[1] for name, shape in maps.items()}

    def forward(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        """The maps by name, each float, shape (B, C, H, W), of images float, shape (B, C, H, W)."""
        maps = {}
        for name, stage in self.stages.items():
            x_BCHW = stage(x_BCHW)
            maps[name] = x_BCHW
        return maps


def shapes_of(module: nn.Module, *inputs: Any) -> Any:
    """The shapes of a module's outputs by name, or the shape of its output; nothing is computed.

    Args:
        module: any module; its modes, weights and buffers stay as they are.
        inputs: what it takes; tensors on the device "meta".

    Returns:
        A dict of shapes where the module gives a dict, else a shape.

    Example:
        >>> shapes_of(nn.Linear(4, 2), torch.empty(3, 4, device="meta"))
        torch.Size([3, 2])
    """
    state = {name: tensor.to("meta") for name, tensor in (*module.named_parameters(), *module.named_buffers())}
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            outputs = functional_call(module, state, inputs)
    finally:
        for part, training in modes.items():
            part.training = training
    if isinstance(outputs, Mapping):
        return {name: output.shape for name, output in outputs.items()}
    return outputs.shape


def build_backbone(name: str, spec: InputSpec, **config: Any) -> Backbone:
    """A registered image network without its head; weights come from torch's current random state.

    Args:
        name: a name in `NETWORKS` of a network with feature maps.
        spec: the image.
        **config: the network's own settings.

    Returns:
        The backbone; its maps keep the names of the network's own layers.

    Raises:
        InputError: there is no such network, it cannot take this image, or it has no feature maps.
        ValueError: a setting is out of its range, or is not the network's.

    Example:
        >>> backbone = build_backbone("resnet18", InputSpec(kind="image", shape=(3, 224, 224)), width=0.25)
        >>> backbone.channels
        {'stem': 16, 'layer1': 16, 'layer2': 32, 'layer3': 64, 'layer4': 128}
        >>> backbone.strides
        {'stem': 2, 'layer1': 4, 'layer2': 8, 'layer3': 16, 'layer4': 32}
    """
    entry = NETWORKS[name]
    if entry.stages is None:
        able = [other for other in NETWORKS if NETWORKS[other].stages is not None]
        raise InputError(f"{name}: a backbone must have feature maps, got a network without. {_some(able)}")
    network = build_network(name, spec, 1, **config)
    return Backbone(entry.stages(network), spec, fixed_size=entry.fixed_size)


def _some(names: list[str]) -> str:
    return f"Choose from {', '.join(names[:8])}{f' and {len(names) - 8} more' if len(names) > 8 else ''}."
