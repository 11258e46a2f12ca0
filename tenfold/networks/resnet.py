"""ResNet-18, 34, 50 and 101: torchvision's modules, with a stem for the image's size and any number of channels.

A state_dict with the large stem loads into torchvision's own model, because these are its classes. Weights start
at random. ResNet-18 has 11.2 million parameters a member, so that memory bounds the stack (about 180 MB a member
in float32 with AdamW: weights, gradients and two moments); width 0.25 has 0.7 million.

B batch, C channels, H W, K outputs
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_positive, widened
from tenfold.networks.imaging import WIDTHS, has_small_stem, he_convolution, published_by_torchvision

MIN_IMAGE_SIZE = 8
FORMS: dict[str, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet34": (BasicBlock, [3, 4, 6, 3]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
    "resnet101": (Bottleneck, [3, 4, 23, 3]),
}


class WidenedResNet(ResNet):
    """torchvision's ResNet with all its channels multiplied.

    Args:
        block: its kind of block.
        layers: blocks in each of the four stages.
        num_classes: K.
        width: multiplies the numbers of channels (rounded, at least 1), positive.

    Example:
        >>> WidenedResNet(BasicBlock, [2, 2, 2, 2], 10, width=0.25).fc
        Linear(in_features=128, out_features=10, bias=True)
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], layers: list[int], num_classes: int, width: float
    ) -> None:
        self.width = width
        super().__init__(block, layers, num_classes)
        self.conv1 = he_convolution(3, widened(64, width), kernel_size=7, stride=2)
        self.bn1 = nn.BatchNorm2d(widened(64, width))
        self.fc = nn.Linear(widened(512, width) * block.expansion, num_classes)

    def _make_layer(
        self, block: type[BasicBlock | Bottleneck], planes: int, *arguments: Any, **options: Any
    ) -> nn.Sequential:
        if planes == 64:  # the first stage, which stands on the stem
            self.inplanes = widened(planes, self.width)
        return super()._make_layer(block, widened(planes, self.width), *arguments, **options)


def build_resnet(
    name: str, spec: InputSpec, num_outputs: int, *, width: float = 1.0, stem: str = "auto"
) -> nn.Module:
    """A ResNet of torchvision for the given image.

    The small stem is a 3x3 convolution of stride 1 without max pooling (the form used on CIFAR), because the
    large one would leave a map of 2x2. Any other number of channels than 3 changes the first convolution only.

    Args:
        name: "resnet18", "resnet34", "resnet50" or "resnet101".
        spec: an image, height and width at least 8.
        num_outputs: K, at least 1.
        width: multiplies the numbers of channels, positive.
        stem: "auto", "large" or "small"; see `tenfold.networks.imaging`.

    Returns:
        The network; x float, shape (B, C, H, W), gives outputs float, shape (B, K).

    Raises:
        ValueError: width is not positive, or stem has no such name.

    Example:
        >>> network = build_resnet("resnet18", InputSpec(kind="image", shape=(1, 28, 28)), num_outputs=10)
        >>> network.conv1
        Conv2d(1, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)

    References:
        He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, Table 1 and
        section 4.2 (the small stem).
    """
    check_positive(name, width=width)
    small = has_small_stem(name, spec, stem)
    block, layers = FORMS[name]
    network = ResNet(block, layers, num_outputs) if width == 1 else WidenedResNet(block, layers, num_outputs, width)
    channels, out_channels = spec.shape[0], network.conv1.out_channels
    if small:
        network.conv1 = he_convolution(channels, out_channels, kernel_size=3, stride=1)
        network.maxpool = nn.Identity()
    elif channels != 3:
        network.conv1 = he_convolution(channels, out_channels, kernel_size=7, stride=2)
    return network


build_resnet18 = partial(build_resnet, "resnet18")


def _stages(network: Any) -> dict[str, nn.Module]:
    stem = nn.Sequential(network.conv1, network.bn1, network.relu)
    first = nn.Sequential(network.maxpool, network.layer1)
    return {
        "stem": stem,
        "layer1": first,
        "layer2": network.layer2,
        "layer3": network.layer3,
        "layer4": network.layer4,
    }


def _entry(name: str) -> NetworkEntry:
    return NetworkEntry(
        name=name,
        build=partial(build_resnet, name),
        kinds=frozenset({"image"}),
        reference="He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (torchvision)",
        min_image_size=MIN_IMAGE_SIZE,
        default=name == "resnet18",
        family="resnet",
        widths=WIDTHS,
        published=published_by_torchvision(name),
        small={"width": 1 / 16},
        heavy=True,
        pretrained=True,
        stages=_stages,
        stacks="members of equal width are one program of grouped convolutions, each with its own batch statistics",
    )


RESNETS = tuple(_entry(name) for name in FORMS)
