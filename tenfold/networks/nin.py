"""Network in Network: convolutions with two 1x1 convolutions behind each, and no linear layer at all.

The paper gives the form for CIFAR, which is the small one here (966,986 parameters for 3 channels and 10 classes);
the large one for ImageNet is that of the authors' Caffe model (7,595,176 parameters).

B batch, C channels, H W, K outputs
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, Published, check_positive, check_rate, widened
from tenfold.networks.imaging import WIDTHS, has_small_stem

MIN_IMAGE_SIZE = 8
# a block: channels of its convolution and of both 1x1 convolutions, then the convolution's size, stride, padding;
# the last block's last channels are the outputs
SMALL = (((192, 160, 96), 5, 1, 2), ((192, 192, 192), 5, 1, 2), ((192, 192, 0), 3, 1, 1))
LARGE = (
    ((96, 96, 96), 11, 4, 0),
    ((256, 256, 256), 5, 1, 2),
    ((384, 384, 384), 3, 1, 1),
    ((1024, 1024, 0), 3, 1, 1),
)


class NiN(nn.Module):
    """Three or four blocks with 3x3 max pooling of stride 2 and dropout between them, then global average pooling.

    The activations behind the outputs, which the paper's figure has, are left out as in today's classifiers.

    Args:
        spec: an image, height and width at least 8, and at least 39 with the large stem.
        num_outputs: K, at least 1.
        width: multiplies the numbers of channels (rounded, at least 1), positive.
        stem: "auto", "large" or "small"; see `tenfold.networks.imaging`.
        dropout: rate before the last block (in the small form before each but the first), in [0, 1).

    Raises:
        ValueError: a setting is out of its range.

    Example:
        >>> network = NiN(InputSpec(kind="image", shape=(3, 32, 32)), num_outputs=10)
        >>> sum(parameter.numel() for parameter in network.parameters())
        966986

    References:
        Lin, Chen and Yan, "Network In Network", ICLR 2014, sections 3 and 4.2 (89.6 % on CIFAR-10, 91.2 % with
        augmentation).
    """

    def __init__(
        self,
        spec: InputSpec,
        num_outputs: int,
        *,
        width: float = 1.0,
        stem: str = "auto",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_positive("nin", width=width)
        check_rate("nin", dropout=dropout)
        small = has_small_stem("nin", spec, stem, min_large=39)
        blocks = SMALL if small else LARGE
        in_channels = spec.shape[0]
        layers: list[nn.Sequential] = []
        for number, (channels, *convolution) in enumerate(blocks, start=1):
            sizes = [widened(size, width) if size else num_outputs for size in channels]
            layers.append(_block(in_channels, sizes, convolution))
            if number < len(blocks):
                rate = dropout if small or number == len(blocks) - 1 else 0.0
                layers.append(nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout(rate)))
            in_channels = sizes[-1]
        layers[-1] = layers[-1][:-1]  # no activation behind the outputs
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Outputs float, shape (B, K), of images float, shape (B, C, H, W)."""
        return self.flatten(self.pool(self.features(x_BCHW)))


def _block(in_channels: int, sizes: list[int], convolution: list[int]) -> nn.Sequential:
    first, second, third = sizes
    kernel_size, stride, padding = convolution
    layers = nn.Sequential(
        *(nn.Conv2d(in_channels, first, kernel_size, stride, padding), nn.ReLU(inplace=True)),
        *(nn.Conv2d(first, second, 1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(second, third, 1), nn.ReLU(inplace=True)),
    )
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layers


def _stages(network: Any) -> dict[str, nn.Module]:
    """Each block but the last, which gives the classes, with the pooling before it."""
    features = network.features
    starts = [0, *range(1, len(features) - 1, 2)]
    return {f"block{number}": features[start : 2 * number - 1] for number, start in enumerate(starts[:-1], start=1)}


NIN = NetworkEntry(
    name="nin",
    build=NiN,
    kinds=frozenset({"image"}),
    reference="Lin et al., Network In Network, ICLR 2014",
    min_image_size=MIN_IMAGE_SIZE,
    widths=WIDTHS,
    published=Published(
        parameters=966_986, shape=(3, 32, 32), num_outputs=10, accuracy="89.6 % on CIFAR-10 (Lin et al., Table 1)"
    ),
    small={"width": 1 / 16},
    heavy=True,
    pretrained=True,
    stages=_stages,
    stacks="members of equal width are one program of grouped convolutions",
)
