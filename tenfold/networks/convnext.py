"""ConvNeXt tiny, small and base: torchvision's modules, with a patch stem for the image's size.

Depthwise 7x7 convolutions, layer norm, GELU, stochastic depth; the residual branches start at almost nothing (layer
scale 1e-6), so that a short training with a small rate sees little of them.

B batch, C channels, H W, K outputs
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_positive, check_rate, widened
from tenfold.networks.imaging import WIDTHS, patch_stem, patch_stem_size, published_by_torchvision

MIN_IMAGE_SIZE = 8
# blocks a stage, channels of the first stage (each next one has twice as many), rate of stochastic depth
FORMS: dict[str, tuple[tuple[int, ...], int, float]] = {
    "convnext_tiny": ((3, 3, 9, 3), 96, 0.1),
    "convnext_small": ((3, 3, 27, 3), 96, 0.4),
    "convnext_base": ((3, 3, 27, 3), 128, 0.5),
}


def build_convnext(
    name: str,
    spec: InputSpec,
    num_outputs: int,
    *,
    width: float = 1.0,
    stem: str = "auto",
    stochastic_depth: float | None = None,
) -> nn.Module:
    """A ConvNeXt of torchvision for the given image.

    The large stem takes patches of 4x4 pixels, the small one of 2x2, and below 16 pixels single ones.

    Args:
        name: "convnext_tiny", "convnext_small" or "convnext_base".
        spec: an image, height and width at least 8, and at least 32 with the large stem.
        num_outputs: K, at least 1.
        width: multiplies the numbers of channels, positive.
        stem: "auto", "large" or "small"; see `tenfold.networks.imaging`.
        stochastic_depth: rate at which the last block is left out, in [0, 1); by default the paper's.

    Returns:
        The network; x float, shape (B, C, H, W), gives outputs float, shape (B, K).

    Raises:
        ValueError: a setting is out of its range.

    Example:
        >>> import torch
        >>> network = build_convnext("convnext_tiny", InputSpec(kind="image", shape=(1, 28, 28)), 10, width=0.125)
        >>> network(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 10])

    References:
        Liu, Mao, Wu, Feichtenhofer, Darrell and Xie, "A ConvNet for the 2020s", CVPR 2022, section 3.
    """
    check_positive(name, width=width)
    blocks, channels, rate = FORMS[name]
    rate = rate if stochastic_depth is None else stochastic_depth
    check_rate(name, stochastic_depth=rate)
    patch = patch_stem_size(name, spec, stem, min_large=32)
    sizes = [widened(channels * 2**stage, width) for stage in range(4)]
    setting = [CNBlockConfig(*row) for row in zip(sizes, [*sizes[1:], None], blocks, strict=True)]
    network = ConvNeXt(setting, stochastic_depth_prob=rate, num_classes=num_outputs)
    if patch != 4 or spec.shape[0] != 3:
        network.features[0][0] = patch_stem(spec.shape[0], sizes[0], patch)
    return network


def _stages(network: Any) -> dict[str, nn.Module]:
    """Each stage with the patches or the reduction before it."""
    return {f"stage{number}": network.features[2 * number - 2 : 2 * number] for number in range(1, 5)}


def _entry(name: str) -> NetworkEntry:
    return NetworkEntry(
        name=name,
        build=partial(build_convnext, name),
        kinds=frozenset({"image"}),
        reference="Liu et al., A ConvNet for the 2020s, CVPR 2022 (torchvision)",
        min_image_size=MIN_IMAGE_SIZE,
        family="convnext",
        widths=WIDTHS,
        published=published_by_torchvision(name),
        small={"width": 1 / 16 if name == "convnext_tiny" else 1 / 32},
        heavy=True,
        pretrained=True,
        stages=_stages,
        stacks="members of equal width are one program; each draws which blocks it leaves out",
    )


CONVNEXTS = tuple(_entry(name) for name in FORMS)
