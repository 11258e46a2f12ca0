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


def has_small_stem(network: str, spec: InputSpec, stem: str, min_large: int = 1) -> bool:
    """Whether the network gets its stem for small images.

    Args:
        network: its name, for the error.
        spec: the image.
        stem: "auto", "large" or "small".
        min_large: least height and width in pixels that the large stem leaves a map of, at most 65.

    Raises:
        ValueError: `stem` is none of the three, or "large" for an image that is too small for it.

    Example:
        >>> has_small_stem("resnet18", InputSpec(kind="image", shape=(1, 28, 28)), "auto")
        True
    """
    check_choice(network, STEMS, stem=stem)
    if stem == "large" and min(spec.shape[1:]) < min_large:
        raise ValueError(
            f"{network}: stem must be 'small' for images below {min_large} pixels, got 'large' for "
            f"{spec.shape[1]}x{spec.shape[2]}. Leave it out, or enlarge the images."
        )
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


def pooled_side(side: int, times: int) -> int:
    """The side of a map after 3x3 poolings of stride 2 without padding.

    Example:
        >>> pooled_side(28, 3)
        2
    """
    for _ in range(times):
        side = (side - 3) // 2 + 1
    return side


def patch_stem_size(network: str, spec: InputSpec, stem: str, min_large: int = 1) -> int:
    """Pixels of a patch's side where four stages halve the map three times: 4, small 2, below 16 pixels 1.

    Raises:
        ValueError: `stem` is none of "auto", "large" and "small".

    Example:
        >>> patch_stem_size("swin_t", InputSpec(kind="image", shape=(1, 28, 28)), "auto")
        2
    """
    if not has_small_stem(network, spec, stem, min_large):
        return 4
    return 2 if min(spec.shape[1:]) >= 16 else 1


def patch_stem(in_channels: int, embed_dim: int, patch_size: int, std: float = 0.02) -> nn.Conv2d:
    """A linear map of each patch, initialised as in torchvision's ConvNeXt and Swin.

    Example:
        >>> patch_stem(1, 96, 2)
        Conv2d(1, 96, kernel_size=(2, 2), stride=(2, 2))
    """
    convolution = nn.Conv2d(in_channels, embed_dim, patch_size, stride=patch_size)
    nn.init.trunc_normal_(convolution.weight, std=std)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def attention_sizes(num_heads: int, head_dim: int, width: float) -> tuple[int, int]:
    """Heads and features of an attention `width` times as wide: whole heads, or one head of fewer numbers.

    Example:
        >>> attention_sizes(12, 64, 0.25), attention_sizes(12, 64, 1 / 24)
        ((3, 192), (1, 32))
    """
    heads = max(1, round(num_heads * width))
    if num_heads * width >= 1:
        return heads, heads * head_dim
    return 1, 2 * max(1, round(num_heads * head_dim * width / 2))
