"""What the families of image networks share: when an image is small, stems for any channels, torchvision's figures.

A *stem* is what a network does to the image before its first block. The papers' are made for about 224 pixels
and shrink it by 4; an image of 28 would be gone before the last block. Each family has a small stem therefore,
which keeps the resolution, and the setting `stem`: "auto" takes the small one for images of at most 64 pixels,
"large" is what weights from ImageNet need.
"""

from __future__ import annotations

from torch import nn
from torchvision.models import get_model_weights

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import Published, check_choice

SMALL_IMAGE = 64
STEMS = ("auto", "large", "small")
WIDTHS = (0.25, 0.5, 1.0)


def has_small_stem(network: str, spec: InputSpec, stem: str) -> bool:
    """Whether the network gets its stem for small images.

    Raises:
        ValueError: `stem` is none of "auto", "large" and "small".

    Example:
        >>> has_small_stem("resnet18", InputSpec(kind="image", shape=(1, 28, 28)), "auto")
        True
    """
    check_choice(network, STEMS, stem=stem)
    return stem == "small" or (stem == "auto" and min(spec.shape[1:]) <= SMALL_IMAGE)


def he_convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Conv2d:
    """A convolution without bias that keeps the size but for its stride, initialised as torchvision's ResNet.

    Example:
        >>> he_convolution(1, 64, kernel_size=3, stride=1)
        Conv2d(1, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
    """
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def published_by_torchvision(name: str) -> Published:
    """The figures of torchvision's table for its first weights of a model.

    Example:
        >>> published_by_torchvision("resnet18").accuracy
        '69.758 % top-1 on ImageNet (torchvision, IMAGENET1K_V1)'
    """
    weights = get_model_weights(name)["IMAGENET1K_V1"]
    accuracy = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    size = weights.transforms().crop_size[0]
    return Published(
        parameters=weights.meta["num_params"],
        shape=(3, size, size),
        multiply_adds=weights.meta["_ops"] * 1e9,
        accuracy=f"{accuracy} % top-1 on ImageNet (torchvision, {weights.name})",
    )
