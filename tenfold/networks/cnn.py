"""A plain small CNN: stages of one 3x3 convolution and pooling, then global average pooling and a linear layer.

What one would write first for small images. It has no model of its own in the literature; the layers are those of
VGG, the head is that of Network in Network.

B batch, C channels, H W, K outputs
"""

from __future__ import annotations

import itertools
from typing import Any

from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import (
    NetworkEntry,
    check_at_least,
    check_choice,
    check_positive,
    check_rate,
    widened,
)
from tenfold.nn import activation, activation_inputs
from tenfold.tuning import Constant


class CNN(nn.Module):
    """`depth` stages of convolution (3x3), norm, activation and 2x2 max pooling; channels 32, 64, 128, ...

    Pooling rounds up, so that every depth takes every size.

    Args:
        spec: an image.
        num_outputs: K, at least 1.
        width: multiplies the numbers of channels (rounded, at least 1), positive.
        depth: number of stages, at least 1.
        activation: a name in `tenfold.nn.ACTIVATIONS`.
        norm: "batch" after each convolution (which then has no bias: it would be cancelled), or "none".
        dropout: rate before the linear layer, in [0, 1).

    Raises:
        ValueError: a setting is out of its range.
        InputError: the activation has no such name.

    Example:
        >>> import torch
        >>> network = CNN(InputSpec(kind="image", shape=(1, 28, 28)), num_outputs=10)
        >>> network(torch.zeros(3, 1, 28, 28)).shape, sum(p.numel() for p in network.parameters())
        (torch.Size([3, 10]), 94186)

    References:
        Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015
        (3x3 convolutions); Lin, Chen and Yan, "Network In Network", ICLR 2014, section 3.2 (global average
        pooling).
    """

    def __init__(
        self,
        spec: InputSpec,
        num_outputs: int,
        *,
        width: float = 1.0,
        depth: int = 3,
        activation: str = "relu",
        norm: str = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("cnn", width=width)
        check_at_least("cnn", 1, depth=depth)
        check_choice("cnn", ("none", "batch"), norm=norm)
        check_rate("cnn", dropout=dropout)
        sizes = [spec.shape[0], *(widened(32 * 2**stage, width) for stage in range(depth))]
        self.features = nn.Sequential(*(_stage(*pair, activation, norm) for pair in itertools.pairwise(sizes)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(sizes[-1], num_outputs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Outputs float, shape (B, K), of images float, shape (B, C, H, W)."""
        return self.classifier(self.dropout(self.flatten(self.pool(self.features(x_BCHW)))))


def _stage(in_channels: int, out_channels: int, activation_name: str, norm: str) -> nn.Sequential:
    before = out_channels * activation_inputs(activation_name)
    convolution = nn.Conv2d(in_channels, before, 3, padding=1, bias=norm == "none")
    norms = [nn.BatchNorm2d(before)] if norm == "batch" else []
    return nn.Sequential(convolution, *norms, activation(activation_name), nn.MaxPool2d(2, ceil_mode=True))


def _stages(network: Any) -> dict[str, nn.Module]:
    return {f"stage{number}": stage for number, stage in enumerate(network.features, start=1)}


CNN_ENTRY = NetworkEntry(
    name="cnn",
    build=CNN,
    kinds=frozenset({"image"}),
    space={
        "width": Constant(1.0, reason="32, 64 and 128 channels; each width is a structure of its own"),
        "depth": Constant(3, reason="leaves a map of 4x4 of 28 pixels; each depth is a structure"),
        "norm": Constant("batch", reason="trains at ten times the rates"),
        "dropout": Constant(0.0, reason="global average pooling leaves few weights to overfit with"),
    },
    reference="3x3 convolutions as in Simonyan and Zisserman, ICLR 2015; the head of Lin et al., ICLR 2014",
    family="",
    widths=(0.25, 0.5, 1.0, 2.0),
    small={"width": 0.125},
    heavy=True,
    pretrained=True,
    stages=_stages,
    stacks="members of equal width, depth, activation and norm are one program of grouped convolutions",
)
