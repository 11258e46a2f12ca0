"""ResNet-18: torchvision's module, with a stem for the image's size and any number of channels.

Weights start at random; 11.2 million parameters a member, so that memory bounds the stack (about 180 MB a
member in float32 with AdamW: weights, gradients and two moments). torchvision's modules carry no extra
wrapper, and a state_dict with the large stem loads into `torchvision.models.resnet18`.

B batch, C channels, H W, K outputs
"""

from __future__ import annotations

from torch import nn
from torchvision.models import resnet18

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry

SMALL_IMAGE = 64
MIN_IMAGE_SIZE = 8


def build_resnet18(spec: InputSpec, num_outputs: int) -> nn.Module:
    """ResNet-18 of torchvision for the given image.

    Where the smaller side is at most 64 pixels the stem is a 3x3 convolution of stride 1 without max pooling
    (the form used on CIFAR), because the large one would leave a map of 2x2. Any other number of channels
    than 3 changes the first convolution only.

    Args:
        spec: an image, height and width at least 8.
        num_outputs: K, at least 1.

    Returns:
        The network; x float, shape (B, C, H, W), gives outputs float, shape (B, K).

    Example:
        >>> network = build_resnet18(InputSpec(kind="image", shape=(1, 28, 28)), num_outputs=10)
        >>> network.conv1
        Conv2d(1, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)

    References:
        He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, Table 1 and
        section 4.2 (the small stem).
    """
    channels, height, width = spec.shape
    network = resnet18(weights=None, num_classes=num_outputs)
    if min(height, width) <= SMALL_IMAGE:
        network.conv1 = _first_convolution(channels, kernel_size=3, stride=1)
        network.maxpool = nn.Identity()
    elif channels != 3:
        network.conv1 = _first_convolution(channels, kernel_size=7, stride=2)
    return network


def _first_convolution(channels: int, kernel_size: int, stride: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, 64, kernel_size, stride=stride, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


RESNET18 = NetworkEntry(
    name="resnet18",
    build=build_resnet18,
    kinds=frozenset({"image"}),
    reference="He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (torchvision)",
    min_image_size=MIN_IMAGE_SIZE,
    stacks="all members are one program of grouped convolutions, each with its own batch statistics",
)
