"""U-Net: a class for each pixel, by a path that narrows and one that widens, joined at every size.

As in the paper but for three things: convolutions are padded, so that the maps are as large as the pictures (the
paper's 572x572 gives 388x388); batch norm is on by default; pictures whose sides are no multiple of 2 to the power of
the depth are padded with zeros, and the outputs cut back. The paper's network (width 64, depth 4, one channel, two
classes, no norm) has 31,030,658 parameters by its figure 1. The 31,031,685 that are often quoted are those of a
widespread Keras version, which puts a 3x3 convolution to two channels and a 1x1 to one in place of the last layer.

Measured on one core, 96x128 pictures of three channels, width 16, batch norm, batches of 8: forward and backward of
one member take 0.4 s.

B batch, C channels, H W, K outputs
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_at_least, check_choice
from tenfold.tuning import Constant

MIN_IMAGE_SIZE = 16


class UNet(nn.Module):
    """Two 3x3 convolutions a level; max pooling down, transposed convolutions up, skips joined by channels.

    Weights are drawn as in the paper, normal with a variance of 2 over the number of incoming connections.

    Args:
        spec: an image, height and width at least 16.
        num_outputs: K, at least 1.
        width: channels of the first level, at least 1, doubled at each level below; 64 in the paper.
        depth: how often the maps are halved, at least 1; 4 in the paper.
        norm: "batch" after each 3x3 convolution (which then has no bias: it would be cancelled), or "none".

    Raises:
        ValueError: width or depth is no whole number of at least 1, or norm has no such name.

    Example:
        >>> network = UNet(InputSpec(kind="image", shape=(3, 30, 45), dense=True), num_outputs=5, width=4)
        >>> network(torch.zeros(2, 3, 30, 45)).shape
        torch.Size([2, 5, 30, 45])

    References:
        Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
        MICCAI 2015, figure 1 and section 3.
    """

    def __init__(
        self, spec: InputSpec, num_outputs: int, *, width: int = 16, depth: int = 4, norm: str = "batch"
    ) -> None:
        super().__init__()
        check_at_least("unet", 1, width=width, depth=depth)
        check_choice("unet", ("none", "batch"), norm=norm)
        self.depth = depth
        sizes = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _two_convolutions(before, after, norm)
            for before, after in zip([spec.shape[0], *sizes], sizes, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * size, size, 2, stride=2) for size in sizes[-2::-1])
        self.merge = nn.ModuleList(_two_convolutions(2 * size, size, norm) for size in sizes[-2::-1])
        self.head = nn.Conv2d(width, num_outputs, 1)
        self.apply(_as_in_the_paper)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Outputs float, shape (B, K, H, W), of images float, shape (B, C, H, W)."""
        height, width = x_BCHW.shape[2:]
        multiple = 1 << self.depth
        maps = F.pad(x_BCHW, (0, -width % multiple, 0, -height % multiple))
        skips: list[Tensor] = []
        for level in self.down:
            maps = level(maps if not skips else self.pool(maps))
            skips.append(maps)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            maps = merge(torch.cat([skips.pop(), up(maps)], dim=1))
        outputs: Tensor = self.head(maps[:, :, :height, :width])
        return outputs


def _two_convolutions(in_channels: int, out_channels: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (in_channels, out_channels):
        layers.append(nn.Conv2d(before, out_channels, 3, padding=1, bias=norm == "none"))
        layers += [nn.BatchNorm2d(out_channels)] if norm == "batch" else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _as_in_the_paper(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


UNET = NetworkEntry(
    name="unet",
    build=UNet,
    kinds=frozenset({"image"}),
    dense=True,
    default=True,
    widths=(8, 16, 32, 64),
    small={"width": 4},
    heavy=True,
    space={
        "width": Constant(
            16, reason="a quarter of the paper's and a sixteenth of its cost, for some hundred pictures"
        ),
        "depth": Constant(4, reason="the paper's; each depth is a structure of its own"),
        "norm": Constant("batch", reason="trains at rates at which the paper's form without any diverges"),
    },
    reference="Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015",
    min_image_size=MIN_IMAGE_SIZE,
    stacks="members of equal width, depth and norm are one program of grouped convolutions",
)
