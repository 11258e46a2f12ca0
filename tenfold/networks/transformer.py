"""A Transformer encoder over a picture's rows or patches, small enough for stacks.

The Vision Transformer of the paper has a class token and the same head; here the tokens' mean is taken, as later
variants do. A patch is cut out by the first layer, a convolution whose stride is its size.

B batch, C channels, H W, T tokens, D embedding, K outputs
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_at_least, check_choice, check_rate
from tenfold.nn import initialize
from tenfold.tuning import Categorical, Constant

MIN_IMAGE_SIZE = 8


class Transformer(nn.Module):
    """Tokens with learned positions, `depth` encoder layers, the mean of the tokens, a linear layer.

    Args:
        spec: an image, height and width at least 8.
        num_outputs: K, at least 1.
        tokens: "patches" of `patch_size` x `patch_size` pixels, or "rows".
        patch_size: pixels, at least 1; what is left over at the right and below is cut off. Rows have none.
        embed_dim: D, a multiple of `num_heads`.
        depth: encoder layers, each with its norms first, at least 1.
        num_heads: at least 1.
        mlp_ratio: hidden units of each layer's MLP are so many times D, at least 1.
        drop_prob: share that is dropped in training of attention weights and of what each part adds, in [0, 1).

    Raises:
        ValueError: a number is out of its range, embed_dim is no multiple of num_heads, the patch larger than the
            picture, or there are no such tokens.

    Example:
        >>> network = Transformer(InputSpec(kind="image", shape=(1, 28, 28)), num_outputs=10, patch_size=7)
        >>> network.positions.shape, network(torch.zeros(3, 1, 28, 28)).shape
        (torch.Size([16, 64]), torch.Size([3, 10]))

    References:
        Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.
        Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021,
            equations 1 to 4.
        Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020 (norm first).
    """

    def __init__(
        self,
        spec: InputSpec,
        num_outputs: int,
        *,
        tokens: str = "patches",
        patch_size: int = 4,
        embed_dim: int = 64,
        depth: int = 2,
        num_heads: int = 4,
        mlp_ratio: int = 2,
        drop_prob: float = 0.0,
    ) -> None:
        super().__init__()
        check_choice("transformer", ("patches", "rows"), tokens=tokens)
        numbers = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio}
        check_at_least("transformer", 1, patch_size=patch_size, **numbers)
        check_rate("transformer", drop_prob=drop_prob)
        if embed_dim % num_heads:
            raise ValueError(
                f"transformer: embed_dim must be a multiple of num_heads = {num_heads}, got {embed_dim!r}. "
                f"Take {num_heads * max(1, round(embed_dim / num_heads))}."
            )
        channels, height, width = spec.shape
        size = (1, width) if tokens == "rows" else (patch_size, patch_size)
        if min(height, width) < size[0]:
            raise ValueError(
                f"transformer: patch_size must be at most {min(height, width)} for pictures of {height}x{width}, got "
                f"{patch_size!r}. Take a divisor of their sides."
            )
        self.embed = nn.Conv2d(channels, embed_dim, size, stride=size)
        self.positions = nn.Parameter(torch.empty((height // size[0]) * (width // size[1]), embed_dim))
        layer = nn.TransformerEncoderLayer(
            embed_dim,
            num_heads,
            mlp_ratio * embed_dim,
            dropout=drop_prob,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(embed_dim), enable_nested_tensor=False)
        self.output = nn.Linear(embed_dim, num_outputs)
        # TransformerEncoder copies one layer: without this all would start from the same weights.
        initialize(self, {"positions": "truncated_normal", "encoder.*": "xavier_uniform"})

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Outputs float, shape (B, K), of images float, shape (B, C, H, W)."""
        tokens_BTD = self.embed(x_BCHW).flatten(2).transpose(1, 2) + self.positions
        return self.output(self.encoder(tokens_BTD).mean(dim=1))


TRANSFORMER = NetworkEntry(
    name="transformer",
    build=Transformer,
    kinds=frozenset({"image"}),
    space={
        "tokens": Constant("patches", reason="a patch has its neighbours on all sides, a row on two"),
        "patch_size": Constant(4, reason="49 tokens of a picture of 28 pixels; time grows with the tokens"),
        "embed_dim": Constant(64, reason="small pictures; each other one is a structure"),
        "depth": Categorical((2, 4), reason="more layers want more pictures; few, as each is a structure"),
        "num_heads": Constant(4, reason="16 features a head"),
        "mlp_ratio": Constant(2, reason="half the paper's 4, as for small pictures"),
        "drop_prob": Constant(0.0, reason="weight decay is searched, and few epochs overfit little"),
    },
    reference="Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021 (small, with the mean of the tokens)",
    min_image_size=MIN_IMAGE_SIZE,
    small={"embed_dim": 8, "num_heads": 2, "depth": 1},
    stacks="members of equal tokens, sizes, depth and heads are one program",
)
