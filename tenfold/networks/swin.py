"""Swin transformers t, s and b: torchvision's modules, with patches and windows for the image's size.

Attention within windows, which every second block shifts by half a window.

B batch, C channels, H W, K outputs
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.ops.misc import Permute

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_positive, check_rate
from tenfold.networks.imaging import (
    WIDTHS,
    attention_sizes,
    has_small_stem,
    patch_stem,
    patch_stem_size,
    published_by_torchvision,
)

MIN_IMAGE_SIZE = 8
HEAD_DIM = 32
# blocks a stage, heads of the first stage (each next one has twice as many), rate of stochastic depth
FORMS: dict[str, tuple[tuple[int, ...], int, float]] = {
    "swin_t": ((2, 2, 6, 2), 3, 0.2),
    "swin_s": ((2, 2, 18, 2), 3, 0.3),
    "swin_b": ((2, 2, 18, 2), 4, 0.5),
}


def build_swin(
    name: str,
    spec: InputSpec,
    num_outputs: int,
    *,
    width: float = 1.0,
    stem: str = "auto",
    stochastic_depth: float | None = None,
) -> nn.Module:
    """A Swin transformer of torchvision for the given image.

    The large form takes patches of 4x4 pixels and windows of 7x7 patches. The small one has patches of 2x2, below
    16 pixels single ones, and windows of 4x4.

    Args:
        name: "swin_t", "swin_s" or "swin_b".
        spec: an image, height and width at least 8.
        num_outputs: K, at least 1.
        width: multiplies the number of heads (rounded, at least 1), each of 32 numbers; below one head the numbers.
        stem: "auto", "large" or "small"; see `tenfold.networks.imaging`.
        stochastic_depth: rate at which the last block is left out, in [0, 1); by default the paper's.

    Returns:
        The network; x float, shape (B, C, H, W), gives outputs float, shape (B, K).

    Raises:
        ValueError: a setting is out of its range.

    Example:
        >>> import torch
        >>> network = build_swin("swin_t", InputSpec(kind="image", shape=(1, 28, 28)), 10, width=1 / 12)
        >>> network(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 10])

    References:
        Liu, Lin, Cao, Hu, Wei, Zhang, Lin and Guo, "Swin Transformer: Hierarchical Vision Transformer using
        Shifted Windows", ICCV 2021, section 3.
    """
    check_positive(name, width=width)
    depths, first_heads, rate = FORMS[name]
    rate = rate if stochastic_depth is None else stochastic_depth
    check_rate(name, stochastic_depth=rate)
    patch = patch_stem_size(name, spec, stem)
    heads, embed_dim = attention_sizes(first_heads, HEAD_DIM, width)
    window = 4 if has_small_stem(name, spec, stem) else 7
    network = SwinTransformer(
        patch_size=[patch, patch],
        embed_dim=embed_dim,
        depths=list(depths),
        num_heads=[heads * 2**stage for stage in range(4)],
        window_size=[window, window],
        stochastic_depth_prob=rate,
        num_classes=num_outputs,
    )
    if spec.shape[0] != 3:
        network.features[0][0] = patch_stem(spec.shape[0], embed_dim, patch)
    return network


def _stages(network: Any) -> dict[str, nn.Module]:
    """Each stage with the patches or the merging before it; torchvision's maps have the channels last."""
    stages: dict[str, nn.Module] = {}
    for number in range(1, 5):
        first = [Permute([0, 2, 3, 1])] if number > 1 else []
        layers = network.features[2 * number - 2 : 2 * number]
        stages[f"stage{number}"] = nn.Sequential(*first, *layers, Permute([0, 3, 1, 2]))
    return stages


def _entry(name: str) -> NetworkEntry:
    return NetworkEntry(
        name=name,
        build=partial(build_swin, name),
        kinds=frozenset({"image"}),
        reference="Liu et al., Swin Transformer, ICCV 2021 (torchvision)",
        min_image_size=MIN_IMAGE_SIZE,
        family="swin",
        widths=(1 / 3, 2 / 3, 1.0) if name != "swin_b" else WIDTHS,
        published=published_by_torchvision(name),
        small={"width": 1 / 24},
        heavy=True,
        pretrained=True,
        stages=_stages,
        stacks="members of equal width are one program; each draws which blocks it leaves out",
    )


SWINS = tuple(_entry(name) for name in FORMS)
