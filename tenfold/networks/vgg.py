"""VGG-11, 13, 16 and 19, with and without batch norm: 3x3 convolutions in five stages, then three linear layers.

The layers, names and initial weights are torchvision's; a state_dict of the large form loads there. For small
images the classifier is one linear layer behind global average pooling, as is usual on CIFAR (14.7 of VGG-16's 138
million parameters stay). Without batch norm the deeper ones start slowly: the paper trained VGG-11 first.

B batch, C channels, H W, K outputs
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_positive, check_rate, widened
from tenfold.networks.imaging import WIDTHS, has_small_stem, published_by_torchvision

MIN_IMAGE_SIZE = 8
CHANNELS = (64, 128, 256, 512, 512)
# convolutions in each of the five stages: columns A, B, D and E of the paper's Table 1
CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """Five stages of 3x3 convolutions, each ended by 2x2 max pooling.

    In the small form pooling rounds up, so that 28 pixels last for five of them.

    Args:
        name: "vgg11", ..., "vgg19", or "vgg11_bn", ..., "vgg19_bn" with batch norm behind each convolution.
        spec: an image, height and width at least 8, and at least 32 in the large form.
        num_outputs: K, at least 1.
        width: multiplies the numbers of channels and units (rounded, at least 1), positive.
        stem: "auto", "large" or "small"; here it decides over the classifier, see `tenfold.networks.imaging`.
        dropout: rate behind the hidden linear layers, in the small form before the only one, in [0, 1).

    Raises:
        ValueError: a setting is out of its range.

    Example:
        >>> network = VGG("vgg16", InputSpec(kind="image", shape=(3, 32, 32)), num_outputs=10)
        >>> sum(parameter.numel() for parameter in network.parameters())
        14719818

    References:
        Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
        Table 1.
    """

    def __init__(
        self,
        name: str,
        spec: InputSpec,
        num_outputs: int,
        *,
        width: float = 1.0,
        stem: str = "auto",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_positive(name, width=width)
        check_rate(name, dropout=dropout)
        small = has_small_stem(name, spec, stem, min_large=32)
        channels = [widened(number, width) for number in CHANNELS]
        counts = CONVOLUTIONS[name.removesuffix("_bn")]
        self.features = nn.Sequential(*_features(spec.shape[0], channels, counts, name.endswith("_bn"), ceil=small))
        self.avgpool = nn.AdaptiveAvgPool2d(1 if small else 7)
        self.flatten = nn.Flatten()
        if small:
            self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels[-1], num_outputs))
        else:
            hidden = widened(4096, width)
            self.classifier = nn.Sequential(
                *(nn.Linear(channels[-1] * 7 * 7, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)),
                *(nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)),
                nn.Linear(hidden, num_outputs),
            )
        self.apply(_as_torchvision)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Outputs float, shape (B, K), of images float, shape (B, C, H, W)."""
        return self.classifier(self.flatten(self.avgpool(self.features(x_BCHW))))


def _features(
    in_channels: int, channels: list[int], counts: tuple[int, ...], norm: bool, ceil: bool
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for out_channels, count in zip(channels, counts, strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(in_channels, out_channels, 3, padding=1))
            layers += [nn.BatchNorm2d(out_channels)] if norm else []
            layers.append(nn.ReLU(inplace=True))
            in_channels = out_channels
        layers.append(nn.MaxPool2d(2, 2, ceil_mode=ceil))
    return layers


def _as_torchvision(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _stages(network: Any) -> dict[str, nn.Module]:
    """Each stage's map before it is pooled; the pooling begins the next one."""
    ends = [place for place, layer in enumerate(network.features) if isinstance(layer, nn.MaxPool2d)]
    return {
        f"stage{number}": network.features[start:end]
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True), start=1)
    }


def _entry(name: str) -> NetworkEntry:
    return NetworkEntry(
        name=name,
        build=partial(VGG, name),
        kinds=frozenset({"image"}),
        reference="Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015 (torchvision)",
        min_image_size=MIN_IMAGE_SIZE,
        family="vgg_bn" if name.endswith("_bn") else "vgg",
        widths=WIDTHS,
        published=published_by_torchvision(name),
        small={"width": 1 / 16},
        heavy=True,
        pretrained=True,
        stages=_stages,
        stacks="members of equal width are one program of grouped convolutions",
    )


VGGS = tuple(_entry(name + suffix) for suffix in ("", "_bn") for name in CONVOLUTIONS)
