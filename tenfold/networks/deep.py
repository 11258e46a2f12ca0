"""A deep plain network and its residual twin: the same layers and the same parameters, with and without shortcuts.

The pair of the ResNet paper's experiments on CIFAR, where the plain form degrades with depth and the residual one
does not. Shortcuts have no parameters (option A), so that the twins differ in nothing else. Depths 20, 32, 44, 56
and 110 are the paper's; 0.27 million parameters at depth 20.

B batch, C channels, H W, K outputs
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, Published, check_at_least, check_choice, check_positive, widened

MIN_IMAGE_SIZE = 4
NAMES = ("plain_cnn", "residual_cnn")


class DeepCNN(nn.Module):
    """A 3x3 convolution, three stages of blocks of two, global average pooling and a linear layer.

    Stages have 16, 32 and 64 channels; the second and third halve the map. The blocks are shared out evenly, the
    first stages taking what is left over.

    Args:
        name: "plain_cnn" or "residual_cnn".
        spec: an image, height and width at least 4.
        num_outputs: K, at least 1.
        depth: layers with weights, even, at least 8.
        width: multiplies the numbers of channels (rounded, at least 1), positive.
        norm: "batch" behind each convolution (which then has no bias: it would be cancelled), or "none".

    Raises:
        ValueError: a setting is out of its range.

    Example:
        >>> network = DeepCNN("residual_cnn", InputSpec(kind="image", shape=(3, 32, 32)), 10, depth=20)
        >>> sum(parameter.numel() for parameter in network.parameters())
        269722

    References:
        He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2 and Table 6.
    """

    def __init__(
        self,
        name: str,
        spec: InputSpec,
        num_outputs: int,
        *,
        depth: int = 40,
        width: float = 1.0,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        check_at_least(name, 8, depth=depth)
        check_positive(name, width=width)
        check_choice(name, ("none", "batch"), norm=norm)
        if depth % 2:
            raise ValueError(f"{name}: depth must be even, got {depth}. Blocks have two layers each.")
        channels = [widened(number, width) for number in (16, 32, 64)]
        self.stem = nn.Sequential(*_convolution(spec.shape[0], channels[0], 1, norm), nn.ReLU())
        blocks, stages, in_channels = (depth - 2) // 2, [], channels[0]
        for number, out_channels in enumerate(channels):
            count = blocks // 3 + (number < blocks % 3)
            strides = [1 if number == 0 else 2] + [1] * (count - 1)
            inputs = [in_channels] + [out_channels] * (count - 1)
            pairs = zip(inputs, strides, strict=True)
            residual = name == "residual_cnn"
            stages.append(nn.Sequential(*(_Block(i, out_channels, stride, norm, residual) for i, stride in pairs)))
            in_channels = out_channels
        self.stages = nn.ModuleList(stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(in_channels, num_outputs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Outputs float, shape (B, K), of images float, shape (B, C, H, W)."""
        maps = self.stem(x_BCHW)
        for stage in self.stages:
            maps = stage(maps)
        return self.classifier(self.flatten(self.pool(maps)))


class _Block(nn.Module):
    """Two convolutions, and around them a shortcut that is cut to the map's size and padded with zero channels."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: str, residual: bool) -> None:
        super().__init__()
        first, second = (
            _convolution(in_channels, out_channels, stride, norm),
            _convolution(out_channels, out_channels, 1, norm),
        )
        self.layers = nn.Sequential(*first, nn.ReLU(), *second)
        self.relu = nn.ReLU()
        self.residual = residual
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        maps = self.layers(x_BCHW)
        if self.residual:
            shortcut = x_BCHW[:, :, :: self.stride, :: self.stride]
            maps = maps + F.pad(shortcut, (0, 0, 0, 0, 0, self.new_channels))
        return self.relu(maps)


def _convolution(in_channels: int, out_channels: int, stride: int, norm: str) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=norm == "none")
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return [convolution, *([nn.BatchNorm2d(out_channels)] if norm == "batch" else [])]


def _stages(network: Any) -> dict[str, nn.Module]:
    return {"stem": network.stem} | {f"stage{number}": stage for number, stage in enumerate(network.stages, start=1)}


def _entry(name: str) -> NetworkEntry:
    error = {"plain_cnn": "", "residual_cnn": "91.25 % on CIFAR-10 at depth 20 (He et al., Table 6)"}
    return NetworkEntry(
        name=name,
        build=partial(DeepCNN, name),
        kinds=frozenset({"image"}),
        reference="He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2",
        min_image_size=MIN_IMAGE_SIZE,
        widths=(0.25, 0.5, 1.0, 2.0),
        published=Published(
            parameters=269_722, shape=(3, 32, 32), num_outputs=10, accuracy=error[name], config={"depth": 20}
        ),
        small={"width": 0.25, "depth": 8},
        heavy=True,
        pretrained=True,
        stages=_stages,
        stacks="members of equal depth, width and norm are one program of grouped convolutions",
    )


DEEP_TWINS = tuple(_entry(name) for name in NAMES)
