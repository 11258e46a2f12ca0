"""AlexNet: five convolutions and three linear layers, with torchvision's layers and names.

torchvision's is the form of "One weird trick for parallelizing convolutional neural networks" (2014): one tower,
no local response normalisation. A state_dict of the large form at 224 pixels loads into torchvision's. 61 million
parameters, of which 58 million stand in the linear layers.

B batch, C channels, H W, K outputs
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_positive, check_rate, widened
from tenfold.networks.imaging import WIDTHS, has_small_stem, pooled_side, published_by_torchvision

MIN_IMAGE_SIZE = 15
NUM_STAGES = 3


class AlexNet(nn.Module):
    """Convolutions of 64, 192, 384, 256 and 256 channels, then linear layers of 4096, 4096 and K.

    The large form begins with 11x11 of stride 4 and pools to 6x6; the small one begins with 5x5 of stride 1 and
    hands its last map of at most 6x6 on as it is.

    Args:
        spec: an image, height and width at least 15, and at least 63 with the large stem.
        num_outputs: K, at least 1.
        width: multiplies the numbers of channels and units (rounded, at least 1), positive.
        stem: "auto", "large" or "small"; see `tenfold.networks.imaging`.
        dropout: rate before both hidden linear layers, in [0, 1).

    Raises:
        ValueError: a setting is out of its range.

    Example:
        >>> import torch
        >>> network = AlexNet(InputSpec(kind="image", shape=(1, 28, 28)), num_outputs=10, width=0.25)
        >>> network(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 10])

    References:
        Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
        NeurIPS 2012, section 3.5; Krizhevsky, arXiv:1404.5997 (the form).
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
        check_positive("alexnet", width=width)
        check_rate("alexnet", dropout=dropout)
        small = has_small_stem("alexnet", spec, stem, min_large=63)
        c1, c2, c3, c4, c5, hidden = (widened(units, width) for units in (64, 192, 384, 256, 256, 4096))
        kernel_size, stride = (5, 1) if small else (11, 4)
        self.features = nn.Sequential(
            *(
                nn.Conv2d(spec.shape[0], c1, kernel_size, stride, padding=2),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(3, 2),
            ),
            *(nn.Conv2d(c1, c2, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(c2, c3, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(c3, c4, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(c4, c5, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        )
        map_size = min(6, pooled_side(min(spec.shape[1:]), NUM_STAGES)) if small else 6
        self.avgpool = nn.AdaptiveAvgPool2d(map_size)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            *(nn.Dropout(dropout), nn.Linear(c5 * map_size**2, hidden), nn.ReLU(inplace=True)),
            *(nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(inplace=True)),
            nn.Linear(hidden, num_outputs),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Outputs float, shape (B, K), of images float, shape (B, C, H, W)."""
        return self.classifier(self.flatten(self.avgpool(self.features(x_BCHW))))


def _stages(network: Any) -> dict[str, nn.Module]:
    features = network.features
    return {"conv1": features[:2], "conv2": features[2:5], "conv5": features[5:12]}


ALEXNET = NetworkEntry(
    name="alexnet",
    build=AlexNet,
    kinds=frozenset({"image"}),
    reference="Krizhevsky et al., ImageNet Classification with Deep CNNs, NeurIPS 2012 (torchvision's form)",
    min_image_size=MIN_IMAGE_SIZE,
    widths=WIDTHS,
    published=published_by_torchvision("alexnet"),
    small={"width": 1 / 32},
    heavy=True,
    pretrained=True,
    stages=_stages,
    stacks="members of equal width are one program of grouped convolutions",
)
