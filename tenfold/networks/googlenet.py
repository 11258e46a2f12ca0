"""GoogLeNet (Inception v1) and Inception v3: torchvision's modules, without their auxiliary classifiers.

Auxiliary classifiers are left out because batch norm trains without them (Inception v3's paper, section 4) and
because models here give one tensor; weights that hold them load, and theirs are passed over. torchvision's
GoogLeNet has batch norm, and 3x3 convolutions where the paper has 5x5. Its own weights expect images scaled to
[-1, 1]: `transform_input=True` makes that of images standardised by ImageNet's means.

B batch, C channels, H W, K outputs
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import inception
from torchvision.models.googlenet import BasicConv2d, GoogLeNet, Inception, InceptionAux

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, Published, check_choice, check_positive, check_rate, widened
from tenfold.networks.imaging import WIDTHS, has_small_stem, published_by_torchvision

MIN_IMAGE_SIZE = 8
INCEPTION_V3_AUXILIARY = 3_326_696  # parameters of torchvision's auxiliary classifier for 1000 classes
ConvBlock = Callable[..., nn.Module]


class NaiveInception(nn.Module):
    """The naive block of the paper's figure 2(a): 1x1, 3x3, 5x5 and pooling side by side, without reductions.

    Args:
        in_channels: C, at least 1.
        channels: of the 1x1, the 3x3 and the 5x5 branch, each at least 1; pooling keeps C.
        conv_block: makes a convolution with what follows it.

    Example:
        >>> block = NaiveInception(192, (64, 128, 32), BasicConv2d)
        >>> block(torch.zeros(2, 192, 7, 7)).shape
        torch.Size([2, 416, 7, 7])

    References:
        Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 4.
    """

    def __init__(self, in_channels: int, channels: tuple[int, int, int], conv_block: ConvBlock) -> None:
        super().__init__()
        self.branch1 = conv_block(in_channels, channels[0], kernel_size=1)
        self.branch2 = conv_block(in_channels, channels[1], kernel_size=3, padding=1)
        self.branch3 = conv_block(in_channels, channels[2], kernel_size=5, padding=2)
        self.branch4 = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The branches one after another, float, shape (B, C + sum of channels, H, W)."""
        return torch.cat([branch(x_BCHW) for branch in self.children()], dim=1)


def build_googlenet(
    spec: InputSpec,
    num_outputs: int,
    *,
    width: float = 1.0,
    stem: str = "auto",
    block: str = "reduced",
    dropout: float = 0.2,
    transform_input: bool = False,
) -> nn.Module:
    """GoogLeNet of torchvision for the given image.

    The small stem is a 3x3 convolution of stride 1 without the two poolings behind it.

    Args:
        spec: an image, height and width at least 8, and at least 15 with the large stem.
        num_outputs: K, at least 1.
        width: multiplies the numbers of channels; a multiple of 1/8, so that branches fit.
        stem: "auto", "large" or "small"; see `tenfold.networks.imaging`.
        block: "reduced" (1x1 convolutions before the large ones) or "naive" (none, and five times the parameters
            or more: what the reduction is for).
        dropout: rate before the linear layer, in [0, 1).
        transform_input: whether images standardised by ImageNet's means are brought to [-1, 1]; three channels.

    Returns:
        The network; x float, shape (B, C, H, W), gives outputs float, shape (B, K).

    Raises:
        ValueError: a setting is out of its range.

    Example:
        >>> network = build_googlenet(InputSpec(kind="image", shape=(1, 28, 28)), num_outputs=10, width=0.25)
        >>> network(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 10])

    References:
        Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, Table 1.
    """
    _check_eighths("googlenet", width)
    check_choice("googlenet", ("reduced", "naive"), block=block)
    check_rate("googlenet", dropout=dropout)
    small = has_small_stem("googlenet", spec, stem, min_large=15)
    conv_block = _widened_block(BasicConv2d, spec.shape[0], width)
    blocks = _NaiveBlocks(width) if block == "naive" else partial(Inception, conv_block=conv_block)
    network = GoogLeNet(
        num_outputs,
        aux_logits=False,
        init_weights=True,
        blocks=[conv_block, blocks, InceptionAux],
        dropout=dropout,
        transform_input=_transformed("googlenet", spec, transform_input),
    )
    features = blocks.channels if isinstance(blocks, _NaiveBlocks) else widened(1024, width)
    if features != network.fc.in_features:
        network.fc = _small_linear(features, num_outputs, std=0.01)
    if small:
        network.conv1 = _first(BasicConv2d, spec, widened(64, width), std=0.01)
        network.maxpool1 = nn.Identity()
        network.maxpool2 = nn.Identity()
    return network


class _NaiveBlocks:
    """Makes naive blocks in torchvision's order, and counts the channels, which pooling lets grow."""

    def __init__(self, width: float) -> None:
        self.width = width
        self.channels = widened(192, width)

    def __call__(self, _: int, ch1x1: int, __: int, ch3x3: int, ___: int, ch5x5: int, ____: int) -> nn.Module:
        channels = (widened(ch1x1, self.width), widened(ch3x3, self.width), widened(ch5x5, self.width))
        block = NaiveInception(self.channels, channels, BasicConv2d)
        self.channels += sum(channels)
        return block


def build_inception_v3(
    spec: InputSpec,
    num_outputs: int,
    *,
    width: float = 1.0,
    stem: str = "auto",
    dropout: float = 0.5,
    transform_input: bool = False,
) -> nn.Module:
    """Inception v3 of torchvision for the given image.

    The small stem is padded convolutions of stride 1 without the two poolings between them.

    Args:
        spec: an image, height and width at least 8, and at least 75 with the large stem.
        num_outputs: K, at least 1.
        width: multiplies the numbers of channels; a multiple of 1/16, so that branches fit.
        stem: "auto", "large" or "small"; see `tenfold.networks.imaging`.
        dropout: rate before the linear layer, in [0, 1).
        transform_input: whether images standardised by ImageNet's means are brought to [-1, 1]; three channels.

    Returns:
        The network; x float, shape (B, C, H, W), gives outputs float, shape (B, K).

    Raises:
        ValueError: a setting is out of its range.

    Example:
        >>> network = build_inception_v3(InputSpec(kind="image", shape=(1, 28, 28)), 10, width=0.125)
        >>> network(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 10])

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, Table 1.
    """
    _check_eighths("inception_v3", width, parts=16)
    check_rate("inception_v3", dropout=dropout)
    small = has_small_stem("inception_v3", spec, stem, min_large=75)
    conv_block = _widened_block(inception.BasicConv2d, spec.shape[0], width)
    kinds = (inception.InceptionA, inception.InceptionB, inception.InceptionC, inception.InceptionD)
    blocks = [partial(kind, conv_block=conv_block) for kind in (*kinds, inception.InceptionE)]
    network = inception.Inception3(
        num_outputs,
        aux_logits=False,
        init_weights=True,
        inception_blocks=[conv_block, *blocks, inception.InceptionAux],
        dropout=dropout,
        transform_input=_transformed("inception_v3", spec, transform_input),
    )
    if width != 1:
        network.fc = _small_linear(widened(2048, width), num_outputs, std=0.1)
    if small:
        network.Conv2d_1a_3x3 = _first(inception.BasicConv2d, spec, widened(32, width), std=0.1)
        network.Conv2d_2a_3x3.conv.padding = (1, 1)
        network.Conv2d_4a_3x3.conv.padding = (1, 1)
        network.maxpool1 = nn.Identity()
        network.maxpool2 = nn.Identity()
    return network


def _check_eighths(name: str, width: float, parts: int = 8) -> None:
    """Refuses a width that leaves parts of a channel.

    Raises:
        ValueError: it is no positive multiple of 1 / parts.
    """
    check_positive(name, width=width)
    if width * parts != round(width * parts):
        raise ValueError(f"{name}: width must be a multiple of 1/{parts}, got {width!r}. 0.25, 0.5 and 1.0 are.")


def _transformed(name: str, spec: InputSpec, transform_input: bool) -> bool:
    """The flag, for images that have the three channels.

    Raises:
        ValueError: they have not.
    """
    if transform_input and spec.shape[0] != 3:
        raise ValueError(f"{name}: transform_input must be False for {spec.shape[0]} channels. Leave it out.")
    return transform_input


def _widened_block(kind: ConvBlock, image_channels: int, width: float) -> ConvBlock:
    """A convolution of torchvision with its channels multiplied; three that come in are the image's."""

    def make(in_channels: int, out_channels: int, **options: Any) -> nn.Module:
        before = image_channels if in_channels == 3 else widened(in_channels, width)
        return kind(before, widened(out_channels, width), **options)

    return make


def _first(kind: ConvBlock, spec: InputSpec, out_channels: int, std: float) -> nn.Module:
    block: Any = kind(spec.shape[0], out_channels, kernel_size=3, padding=1)
    nn.init.trunc_normal_(block.conv.weight, std=std, a=-2, b=2)
    return block


def _small_linear(in_features: int, num_outputs: int, std: float) -> nn.Linear:
    linear = nn.Linear(in_features, num_outputs)
    nn.init.trunc_normal_(linear.weight, std=std, a=-2, b=2)
    return linear


def _googlenet_stages(network: Any) -> dict[str, nn.Module]:
    n = network
    return {
        "conv1": n.conv1,
        "conv3": nn.Sequential(n.maxpool1, n.conv2, n.conv3),
        "inception3": nn.Sequential(n.maxpool2, n.inception3a, n.inception3b),
        "inception4": nn.Sequential(
            *(n.maxpool3, n.inception4a, n.inception4b, n.inception4c, n.inception4d, n.inception4e)
        ),
        "inception5": nn.Sequential(n.maxpool4, n.inception5a, n.inception5b),
    }


def _inception_v3_stages(network: Any) -> dict[str, nn.Module]:
    n = network
    return {
        "conv2": nn.Sequential(n.Conv2d_1a_3x3, n.Conv2d_2a_3x3, n.Conv2d_2b_3x3),
        "conv4": nn.Sequential(n.maxpool1, n.Conv2d_3b_1x1, n.Conv2d_4a_3x3),
        "mixed5": nn.Sequential(n.maxpool2, n.Mixed_5b, n.Mixed_5c, n.Mixed_5d),
        "mixed6": nn.Sequential(n.Mixed_6a, n.Mixed_6b, n.Mixed_6c, n.Mixed_6d, n.Mixed_6e),
        "mixed7": nn.Sequential(n.Mixed_7a, n.Mixed_7b, n.Mixed_7c),
    }


def _inception_v3_published() -> Published:
    whole = published_by_torchvision("inception_v3")
    return Published(
        parameters=whole.parameters - INCEPTION_V3_AUXILIARY,
        shape=whole.shape,
        multiply_adds=whole.multiply_adds,
        accuracy=whole.accuracy,
    )


GOOGLENET = NetworkEntry(
    name="googlenet",
    build=build_googlenet,
    kinds=frozenset({"image"}),
    reference="Szegedy et al., Going Deeper with Convolutions, CVPR 2015 (torchvision)",
    min_image_size=MIN_IMAGE_SIZE,
    widths=WIDTHS,
    published=published_by_torchvision("googlenet"),
    small={"width": 1 / 8},
    heavy=True,
    pretrained=True,
    stages=_googlenet_stages,
    stacks="members of equal width and block are one program of grouped convolutions, with their own statistics",
)
INCEPTION_V3 = NetworkEntry(
    name="inception_v3",
    build=build_inception_v3,
    kinds=frozenset({"image"}),
    reference="Szegedy et al., Rethinking the Inception Architecture, CVPR 2016 (torchvision)",
    min_image_size=MIN_IMAGE_SIZE,
    widths=WIDTHS,
    published=_inception_v3_published(),
    small={"width": 1 / 16},
    heavy=True,
    pretrained=True,
    stages=_inception_v3_stages,
    stacks="members of equal width are one program of grouped convolutions, each with its own batch statistics",
)
