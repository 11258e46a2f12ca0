"""Vision transformers b_16, b_32, l_16 and l_32: torchvision's modules, for images of any size.

Widths 0.25 and 0.5 of vit_b_16 are DeiT's tiny and small. The linear layer to the outputs starts at zero, as in
torchvision: at the first step nothing else has a gradient. Without pretraining a transformer needs more pictures or
more augmentation than a convolutional network of its size.

B batch, C channels, H W, L patches, D features, K outputs
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_at_least, check_positive, check_rate
from tenfold.networks.imaging import WIDTHS, attention_sizes, has_small_stem, patch_stem, published_by_torchvision

MIN_IMAGE_SIZE = 8
HEAD_DIM = 64
SMALL_GRID = 8
# pixels of a patch's side, layers, heads
FORMS = {"vit_b_16": (16, 12, 12), "vit_b_32": (32, 12, 12), "vit_l_16": (16, 24, 16), "vit_l_32": (32, 24, 16)}


class ViT(VisionTransformer):
    """torchvision's vision transformer for images of any height, width and number of channels.

    Images are padded with zeros to whole patches, at the bottom and on the right.

    Args:
        spec: an image.
        patch_size: pixels of a patch's side, at least 1.
        num_heads: heads of attention, at least 1.
        hidden_dim: D, a multiple of num_heads.
        **options: of torchvision's class.

    Example:
        >>> network = ViT(InputSpec(kind="image", shape=(1, 30, 20)), 8, 2, 16, num_layers=1, num_classes=5)
        >>> network.encoder.pos_embedding.shape, network(torch.zeros(3, 1, 30, 20)).shape
        (torch.Size([1, 13, 16]), torch.Size([3, 5]))
    """

    def __init__(self, spec: InputSpec, patch_size: int, num_heads: int, hidden_dim: int, **options: Any) -> None:
        channels, height, width = spec.shape
        self.grid = (math.ceil(height / patch_size), math.ceil(width / patch_size))
        super().__init__(
            image_size=patch_size * self.grid[0],
            patch_size=patch_size,
            num_heads=num_heads,
            hidden_dim=hidden_dim,
            mlp_dim=4 * hidden_dim,
            **options,
        )
        if self.grid[0] != self.grid[1]:
            self.seq_length = math.prod(self.grid) + 1
            self.encoder.pos_embedding = nn.Parameter(torch.empty(1, self.seq_length, hidden_dim).normal_(std=0.02))
        if channels != 3:
            std = math.sqrt(1 / (channels * patch_size**2))
            self.conv_proj = patch_stem(channels, hidden_dim, patch_size, std)

    def _process_input(self, x_BCHW: Tensor) -> Tensor:
        """Patches as tokens, float, shape (B, L, D)."""
        down, right = (-size % self.patch_size for size in x_BCHW.shape[2:])
        return self.conv_proj(F.pad(x_BCHW, (0, right, 0, down))).flatten(2).transpose(1, 2)


def build_vit(
    name: str,
    spec: InputSpec,
    num_outputs: int,
    *,
    width: float = 1.0,
    stem: str = "auto",
    patch_size: int | None = None,
    dropout: float = 0.0,
) -> nn.Module:
    """A vision transformer of torchvision for the given image.

    The large form takes patches of the size that its name says; the small one cuts the image into about 8x8
    patches.

    Args:
        name: "vit_b_16", "vit_b_32", "vit_l_16" or "vit_l_32".
        spec: an image.
        num_outputs: K, at least 1.
        width: multiplies the number of heads (rounded, at least 1), each of 64 numbers; below one head the numbers.
        stem: "auto", "large" or "small"; see `tenfold.networks.imaging`.
        patch_size: pixels of a patch's side, at least 1; by default the form's.
        dropout: rate behind every layer of the encoder, in [0, 1).

    Returns:
        The network; x float, shape (B, C, H, W), gives outputs float, shape (B, K).

    Raises:
        ValueError: a setting is out of its range.

    Example:
        >>> network = build_vit("vit_b_16", InputSpec(kind="image", shape=(1, 28, 28)), 10, width=1 / 12)
        >>> network.patch_size, network(torch.zeros(3, 1, 28, 28)).shape
        (4, torch.Size([3, 10]))

    References:
        Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR
        2021, section 3.1 and Table 1; Touvron et al., "Training data-efficient image transformers", ICML 2021,
        Table 1 (the narrow ones).
    """
    check_positive(name, width=width)
    check_rate(name, dropout=dropout)
    patch, num_layers, num_heads = FORMS[name]
    if has_small_stem(name, spec, stem):
        patch = max(1, round(min(spec.shape[1:]) / SMALL_GRID))
    if patch_size is not None:
        check_at_least(name, 1, patch_size=patch_size)
        patch = patch_size
    heads, hidden_dim = attention_sizes(num_heads, HEAD_DIM, width)
    return ViT(spec, patch, heads, hidden_dim, num_layers=num_layers, dropout=dropout, num_classes=num_outputs)


class _Tokens(nn.Module):
    """A vision transformer up to its last norm, whose tokens but the first are a map."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        network.heads = nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        network = self.network
        patches_BLD = network._process_input(x_BCHW)
        first = network.class_token.expand(len(patches_BLD), -1, -1)
        tokens = network.encoder(torch.cat([first, patches_BLD], dim=1))
        return tokens[:, 1:].transpose(1, 2).unflatten(2, network.grid)


def _stages(network: Any) -> dict[str, nn.Module]:
    return {"tokens": _Tokens(network)}


def _entry(name: str) -> NetworkEntry:
    return NetworkEntry(
        name=name,
        build=partial(build_vit, name),
        kinds=frozenset({"image"}),
        reference="Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021 (torchvision)",
        min_image_size=MIN_IMAGE_SIZE,
        family=f"vit_{name[-2:]}",
        widths=WIDTHS,
        published=published_by_torchvision(name),
        small={"width": 1 / 96 if name.startswith("vit_b") else 1 / 128},
        heavy=True,
        pretrained=True,
        stages=_stages,
        fixed_size=True,
        stacks="members of equal width are one program",
    )


VITS = tuple(_entry(name) for name in FORMS)
