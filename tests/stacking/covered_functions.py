"""What runs as one program: a table of torch's layers and functions, each in a small model of its own.

A function stands behind a parameter, so that its input and its gradient are a member's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import torchvision.ops
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils import _pytree as pytree

from tenfold.nn import (
    AdditiveAttention,
    AveragePooling,
    DotProductAttention,
    KernelPooling,
    Maxout,
    activation,
    convolve,
    upsampling,
)

GENERATOR = torch.Generator().manual_seed(0)


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


LINES, PICTURES, VOLUMES = randn(3, 4, 6), randn(3, 4, 6, 6), randn(2, 4, 4, 4, 4)
OF_DIMS = {1: LINES, 2: PICTURES, 3: VOLUMES}
ROWS, TOKENS, HEADS, SEQUENCES = randn(3, 4), randn(2, 5, 8), randn(2, 4, 5, 8), randn(5, 3, 4)
INDICES = torch.tensor([[0, 1, 2], [3, 3, 0]])
CLASSES = torch.tensor([0, 1, 2])


class Behind(nn.Module):
    """`what(gain * x)`, all of what it returns in one row."""

    def __init__(self, what: Callable[..., Any], copies: int = 1, sizes: tuple[int, ...] = (1,)) -> None:
        super().__init__()
        self.gain = nn.Parameter(1 + 0.5 * torch.randn(sizes))
        self.what, self.copies = what, copies

    def forward(self, x: Tensor) -> Tensor:
        output = self.what(*[self.gain * x] * self.copies)
        leaves = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
        return torch.cat([leaf.reshape(-1) for leaf in leaves if leaf.is_floating_point()])


class Attending(nn.Module):
    def __init__(self, need_weights: bool = True, **options: Any) -> None:
        super().__init__()
        self.options = {"need_weights": need_weights}
        for name in ("attn_mask", "key_padding_mask", "is_causal", "average_attn_weights"):
            if name in options:
                self.options[name] = options.pop(name)
        self.layer = nn.MultiheadAttention(8, 2, **options)

    def forward(self, x: Tensor) -> Any:
        key, value = x[..., : self.layer.kdim], x[..., : self.layer.vdim]
        return self.layer(x, key, value, **self.options)


class Pooling(nn.Module):
    """Attention of tokens to themselves."""

    def __init__(self, pool: nn.Module, mask: Tensor | None) -> None:
        super().__init__()
        self.pool, self.mask = pool, mask

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x, x, x, self.mask)


class Packed(nn.Module):
    def __init__(self, layer: nn.Module, **options: Any) -> None:
        super().__init__()
        self.layer, self.options = layer, options

    def forward(self, x: Tensor) -> Any:
        sizes = torch.tensor([3, 5, 2])
        packed = nn.utils.rnn.pack_padded_sequence(x, sizes, enforce_sorted=False, **self.options)
        output, state = self.layer(packed)
        return nn.utils.rnn.pad_packed_sequence(output, padding_value=0.5, total_length=6, **self.options)[0], state


class Looked(nn.Module):
    """A layer of indices instead of numbers."""

    def __init__(self, layer: nn.Module, flat: bool = False) -> None:
        super().__init__()
        self.layer, self.flat = layer, flat

    def forward(self, indices: Tensor) -> Tensor:
        if self.flat:
            return self.layer(indices.flatten(), torch.tensor([0, 2, 2, 3]))
        return self.layer(indices)


@dataclass(frozen=True)
class Covered:
    make: Callable[[], nn.Module]
    x: Tensor
    training: bool = True


COVERED: dict[str, Covered] = {}


def function(name: str, what: Callable[..., Any], x: Tensor = PICTURES, copies: int = 1) -> None:
    COVERED[name] = Covered(lambda: Behind(what, copies), x)


def layer(name: str, make: Callable[[], nn.Module], x: Tensor = PICTURES, copies: int = 1, modes=(True,)) -> None:
    for training in modes:
        suffix = "" if training else ", evaluation"
        COVERED[f"{name}{suffix}"] = Covered(lambda: Behind(make(), copies), x, training)


BOTH = (True, False)

# -- recurrent ------------------------------------------------------------------------------------------------
RECURRENT_OPTIONS: dict[str, dict[str, Any]] = {
    "": {},
    "of three layers, both ways, batch first": {"num_layers": 3, "bidirectional": True, "batch_first": True},
    "with dropout": {"num_layers": 3, "dropout": 0.3, "bidirectional": True},
    "without bias": {"bias": False, "num_layers": 2},
}
for kind in ("RNN", "LSTM", "GRU"):
    make_layer = getattr(nn, kind)
    for words, options in RECURRENT_OPTIONS.items():
        layer(f"{kind} {words}".strip(), lambda make=make_layer, o=options: make(4, 6, **o), SEQUENCES, modes=BOTH)
    layer(f"{kind} of one sample", lambda make=make_layer: make(4, 6, bidirectional=True), SEQUENCES[:, 0])
    layer(f"{kind}Cell", lambda kind=kind: getattr(nn, f"{kind}Cell")(4, 6), SEQUENCES[0])
    layer(f"{kind}Cell without bias", lambda kind=kind: getattr(nn, f"{kind}Cell")(4, 6, bias=False), SEQUENCES[0, 0])
    layer(f"{kind} of packed sequences", lambda make=make_layer: Packed(make(4, 6, 2, bidirectional=True)), SEQUENCES)
    layer(
        f"{kind} of packed sequences, batch first, with dropout",
        lambda make=make_layer: Packed(make(4, 6, 2, batch_first=True, dropout=0.5), batch_first=True),
        SEQUENCES.transpose(0, 1),
    )
layer("RNN relu", lambda: nn.RNN(4, 6, nonlinearity="relu"), SEQUENCES)
layer("RNNCell relu", lambda: nn.RNNCell(4, 6, nonlinearity="relu"), SEQUENCES[0])
layer("LSTM with projections", lambda: nn.LSTM(4, 6, 2, proj_size=3, bidirectional=True), SEQUENCES)
layer("LSTM with projections, no bias", lambda: nn.LSTM(4, 6, proj_size=3, bias=False), SEQUENCES)
layer("LSTM with projections, packed", lambda: Packed(nn.LSTM(4, 6, proj_size=3)), SEQUENCES)

# -- attention ------------------------------------------------------------------------------------------------
SDPA: dict[str, dict[str, Any]] = {
    "": {},
    "causal": {"is_causal": True},
    "scaled": {"scale": 0.5},
    "masked": {"attn_mask": torch.ones(5, 5).tril().bool()},
    "masked, a mask a sample": {"attn_mask": randn(2, 1, 5, 5) > -1},
    "with a bias": {"attn_mask": randn(5, 5)},
}
for words, options in SDPA.items():
    for drop in (0.0, 0.4):
        name = f"attention {words}".strip() + (", dropout" if drop else "")
        function(name, lambda q, o=options, p=drop: F.scaled_dot_product_attention(q, q, q, dropout_p=p, **o), HEADS)
for drop in (0.0, 0.4):
    function(
        f"attention of grouped queries, dropout {drop}",
        lambda q, p=drop: F.scaled_dot_product_attention(q, q[:, :2], q[:, :2], dropout_p=p, enable_gqa=True),
        HEADS,
    )
function("attention of one sample", lambda q: F.scaled_dot_product_attention(q, q, q), HEADS[0])
function("attention of many groups", lambda q: F.scaled_dot_product_attention(q[None], q[None], q[None]), HEADS)
function("attention of rows", lambda q: F.scaled_dot_product_attention(q, q, q, torch.ones(5).bool()), HEADS[0, 0])
function(
    "attention with a bias of the member's own",
    lambda q: F.scaled_dot_product_attention(q, q, q, attn_mask=q[:, :, :, :5] * 0.1),
    HEADS,
)
ATTENDING: dict[str, dict[str, Any]] = {
    "": {},
    "with dropout": {"dropout": 0.3},
    "batch first, with dropout": {"batch_first": True, "dropout": 0.3},
    "with bias_kv": {"add_bias_kv": True},
    "with zero attention": {"add_zero_attn": True},
    "without bias": {"bias": False},
    "of other sizes": {"kdim": 6, "vdim": 4},
    "masked": {"attn_mask": torch.ones(2, 2).triu(1).bool(), "average_attn_weights": False},
    "padded": {"key_padding_mask": torch.tensor([[False] * 2] * 4 + [[False, True]]), "dropout": 0.3},
}
for words, options in ATTENDING.items():
    for weights in (True, False):
        name = f"MultiheadAttention {words}".strip() + (", weights" if weights else "")
        layer(name, lambda o=options, w=weights: Attending(w, **o), TOKENS, modes=BOTH)
for drop in (0.0, 0.2):
    size: dict[str, Any] = {"dim_feedforward": 16, "dropout": drop, "batch_first": True}
    layer(f"TransformerEncoderLayer {drop}", lambda s=size: nn.TransformerEncoderLayer(8, 2, **s), TOKENS, modes=BOTH)
    layer(f"TransformerDecoderLayer {drop}", lambda s=size: nn.TransformerDecoderLayer(8, 2, **s), TOKENS, 2, BOTH)
    layer(f"Transformer {drop}", lambda s=size: nn.Transformer(8, 2, 1, 1, **s), TOKENS, 2, BOTH)
layer(
    "TransformerEncoder, norm first",
    lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, activation="gelu"), 2, enable_nested_tensor=False
    ),
    TOKENS,
    modes=BOTH,
)

# -- embeddings -----------------------------------------------------------------------------------------------
LOOKED: dict[str, dict[str, Any]] = {
    "": {},
    "padded": {"padding_idx": 0},
    "padded from the end": {"padding_idx": -2},
    "of limited norm": {"max_norm": 0.5},
    "scaled by frequency": {"scale_grad_by_freq": True},
}
for words, options in LOOKED.items():
    COVERED[f"Embedding {words}".strip()] = Covered(lambda o=options: Looked(nn.Embedding(5, 4, **o)), INDICES)
    for mode in ("sum", "mean", "max"):
        if mode != "max" or words != "scaled by frequency":  # which PyTorch does not have
            name = f"EmbeddingBag {mode} {words}".strip()
            COVERED[name] = Covered(lambda o=options, m=mode: Looked(nn.EmbeddingBag(5, 4, mode=m, **o)), INDICES)
for mode in ("sum", "mean", "max"):
    bag = Covered(lambda mode=mode: Looked(nn.EmbeddingBag(5, 4, mode=mode, padding_idx=3), flat=True), INDICES)
    COVERED[f"EmbeddingBag {mode} with offsets"] = bag
function("weighted bags", lambda w: F.embedding_bag(INDICES, w[0, 0], per_sample_weights=w[0, 1, :2, :3], mode="sum"))

# -- random ---------------------------------------------------------------------------------------------------
DROPPED = {"dropout1d": LINES, "dropout3d": VOLUMES}
for name in ("dropout", "alpha_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d", "dropout3d"):
    drop_function, x = getattr(F, name), DROPPED.get(name, PICTURES)
    function(name, lambda y, f=drop_function: f(y, 0.3, True), x)
    function(f"{name} in place", lambda y, f=drop_function: f(y * 1, 0.3, True, True), x)
layer("RReLU", lambda: nn.RReLU(), modes=BOTH)
function("rrelu in place", lambda y: F.rrelu(y * 1, training=True, inplace=True))
function("gumbel_softmax", lambda y: F.gumbel_softmax(y, tau=0.5))
function("gumbel_softmax hard", lambda y: F.gumbel_softmax(y, hard=True))
for mode in ("row", "batch"):
    layer(f"StochasticDepth {mode}", lambda mode=mode: torchvision.ops.StochasticDepth(0.3, mode), modes=BOTH)
layer("DropBlock2d", lambda: torchvision.ops.DropBlock2d(0.3, 3))
layer("DropBlock3d", lambda: torchvision.ops.DropBlock3d(0.3, 3), VOLUMES)
layer("FractionalMaxPool2d", lambda: nn.FractionalMaxPool2d(2, output_ratio=0.7))
layer("FractionalMaxPool3d", lambda: nn.FractionalMaxPool3d(2, output_ratio=0.7, return_indices=True), VOLUMES)
NOISES: dict[str, Callable[[Tensor], Tensor]] = {
    "bernoulli_": lambda y: torch.empty_like(y).bernoulli_(0.3),
    "bernoulli_ of a tensor": lambda y: torch.empty_like(y).bernoulli_(torch.sigmoid(y.detach())),
    "Tensor.bernoulli": lambda y: torch.full_like(y, 0.3).bernoulli(),
    "normal_": lambda y: y.new_empty(6).normal_(1.0, 2.0),
    "uniform_": lambda y: torch.empty(6, dtype=y.dtype).uniform_(-1, 2),
    "uniform_ by name": lambda y: torch.empty((6,), dtype=y.dtype).uniform_(to=3),
    "exponential_": lambda y: torch.empty_like(y).exponential_(2.0),
    "log_normal_": lambda y: torch.empty_like(y).log_normal_(0.0, 0.5),
    "cauchy_": lambda y: torch.empty_like(y).cauchy_().atan(),
    "geometric_": lambda y: torch.empty_like(y).geometric_(0.3),
    "random_": lambda y: torch.zeros_like(y).random_(2, 7),
    "random_ to": lambda y: torch.zeros_like(y).random_(7),
    "random_ by name": lambda y: torch.zeros_like(y).random_(to=7),
    "normal": lambda y: torch.normal(y.detach(), 0.5),
    "normal of numbers": lambda y: torch.normal(1.0, 0.5, (6,), dtype=y.dtype),
    "normal of two tensors": lambda y: torch.normal(y.detach(), torch.ones(6, dtype=y.dtype)),
    "randint": lambda y: torch.randint(5, (6,)) + torch.randint(2, 5, (6,)) + torch.randint(high=3, size=(6,)),
    "randint_like": lambda y: torch.randint_like(y, 5) + torch.randint_like(y, 2, 5),
    "randperm": lambda y: torch.randperm(6).to(y.dtype),
    "multinomial": lambda y: torch.multinomial(y.detach().abs()[0, 0], 4).sum(1).to(y.dtype),
    "multinomial, replaced": lambda y: y.detach().abs()[0, 0].multinomial(6, True).to(y.dtype),
    "a distribution": lambda y: torch.distributions.Normal(y, 1.0).rsample(),
}
for name, noise in NOISES.items():
    function(name, lambda y, noise=noise: y * noise(y))

# -- norms ----------------------------------------------------------------------------------------------------
for dims, x in OF_DIMS.items():
    for words, options in {
        "": {},
        "cumulative": {"momentum": None},
        "without statistics": {"track_running_stats": False},
        "without weights": {"affine": False},
    }.items():
        norm = getattr(nn, f"BatchNorm{dims}d")
        layer(f"BatchNorm{dims}d {words}".strip(), lambda n=norm, o=options: n(4, **o), x, modes=BOTH)
    for words, options in {"": {}, "with statistics": {"affine": True, "track_running_stats": True}}.items():
        norm = getattr(nn, f"InstanceNorm{dims}d")
        layer(f"InstanceNorm{dims}d {words}".strip(), lambda n=norm, o=options: n(4, **o), x, modes=BOTH)
layer("BatchNorm1d of rows", lambda: nn.BatchNorm1d(4), ROWS, modes=BOTH)
layer("LayerNorm", lambda: nn.LayerNorm((6, 6)))
layer("GroupNorm", lambda: nn.GroupNorm(2, 4))
layer("RMSNorm", lambda: nn.RMSNorm(6))
layer("LocalResponseNorm", lambda: nn.LocalResponseNorm(2))
layer("spectral norm", lambda: parametrizations.spectral_norm(nn.Linear(6, 3)), modes=BOTH)
layer("weight norm", lambda: parametrizations.weight_norm(nn.Linear(6, 3)))
layer("weight norm over all", lambda: parametrizations.weight_norm(nn.Conv2d(4, 3, 3), dim=None))
layer("orthogonal", lambda: parametrizations.orthogonal(nn.Linear(6, 6)))

# -- shapes ---------------------------------------------------------------------------------------------------
INTERPOLATED = {
    "nearest": (PICTURES, {}),
    "nearest-exact": (VOLUMES, {}),
    "linear": (LINES, {"align_corners": True}),
    "bilinear": (PICTURES, {"align_corners": False}),
    "bilinear, antialias": (PICTURES, {"antialias": True}),
    "bicubic": (PICTURES, {"align_corners": True}),
    "trilinear": (VOLUMES, {"align_corners": False}),
    "area": (PICTURES, {}),
}
for name, (x, options) in INTERPOLATED.items():
    options = {"mode": name.split(",")[0], **options}
    function(f"interpolate {name}", lambda y, o=options: F.interpolate(y, scale_factor=2.0, **o), x)
    function(f"interpolate {name}, down", lambda y, o=options: F.interpolate(y, size=3, **o), x)


def unpooled(dims: int) -> Callable[[Tensor], Tensor]:
    def pool(y: Tensor) -> Tensor:
        pooled, indices = getattr(F, f"max_pool{dims}d")(y, 2, return_indices=True)
        return getattr(F, f"max_unpool{dims}d")(pooled, indices, 2)

    return pool


for dims, x in OF_DIMS.items():
    function(f"max_unpool{dims}d", unpooled(dims), x)
    for pool in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool"):
        name = f"{pool}{dims}d"
        function(name, lambda y, name=name: getattr(F, name)(y, 2), x)
    function(f"lp_pool{dims}d", lambda y, name=f"lp_pool{dims}d": getattr(F, name)(y.abs() + 1, 2, 2), x)
    transposed = getattr(nn, f"ConvTranspose{dims}d")
    layer(f"ConvTranspose{dims}d", lambda t=transposed: t(4, 6, 3, 2, padding=1, output_padding=1, groups=2), x)
    conv = getattr(nn, f"Conv{dims}d")
    layer(f"Conv{dims}d circular", lambda c=conv: c(4, 6, 3, padding=1, padding_mode="circular", dilation=1), x)
    for mode in ("constant", "reflect", "replicate", "circular"):
        function(f"pad {mode} {dims}d", lambda y, m=mode, d=dims: F.pad(y, (1, 1) * d, mode=m), x)
function("pixel shuffle", lambda y: F.pixel_unshuffle(F.pixel_shuffle(y, 2) ** 2, 3))
function("channel shuffle", lambda y: F.channel_shuffle(y, 2) * torch.arange(4.0, dtype=y.dtype).view(4, 1, 1))
function("fold and unfold", lambda y: F.fold(F.unfold(y, 3) ** 2, (6, 6), 3))


def sampled(mode: str) -> Callable[[Tensor], Tensor]:
    def sample(y: Tensor) -> Tensor:
        theta = torch.eye(2, 3, dtype=y.dtype).expand(3, 2, 3) * torch.sigmoid(y.mean())
        return F.grid_sample(y, F.affine_grid(theta, (3, 4, 5, 5), align_corners=False), mode, align_corners=False)

    return sample


for mode in ("bilinear", "nearest", "bicubic"):
    function(f"grid_sample {mode}", sampled(mode))

# -- the rest -------------------------------------------------------------------------------------------------
for name in (
    *("ReLU", "LeakyReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish", "Hardswish", "Hardtanh", "Hardshrink"),
    *("Softshrink", "Softplus", "Softsign", "Tanhshrink", "PReLU", "LogSigmoid", "GLU", "Softmax2d"),
):
    layer(name, getattr(nn, name))
layer("Bilinear", lambda: nn.Bilinear(6, 6, 3), copies=2)
layer("Bilinear without bias", lambda: nn.Bilinear(6, 6, 3, bias=False), copies=2)
function("cdist", lambda y: torch.cdist(y, y.flip(1) + 1), LINES)
function("pdist", lambda y: F.pdist(y), ROWS)
function("scatter_", lambda y: y * torch.zeros_like(y).scatter_(1, y.argmax(1, keepdim=True), 1.0))

# -- our own blocks -------------------------------------------------------------------------------------------
layer("Maxout", Maxout)
layer("softmax of channels", lambda: activation("softmax"))
SEEN = torch.tensor([[True, False, True, True, False], [False] * 5])[:, None]
for words, mask in {"": None, ", masked": SEEN}.items():
    for name, pool in {
        "average pooling": AveragePooling,
        "kernel pooling": KernelPooling,
        "kernel pooling, learned": lambda: KernelPooling(2.0, learned=True),
        "additive attention": lambda: AdditiveAttention(8, 8, 6),
        "dot-product attention": DotProductAttention,
    }.items():
        layer(f"{name}{words}", lambda pool=pool, mask=mask: Pooling(pool(), mask), TOKENS)
for name in ("nearest", "bilinear", "transposed"):
    layer(f"up-sampling {name}", lambda name=name: upsampling(name, channels=4, factor=3))
for mode in ("full", "same", "valid"):
    for dims, x in OF_DIMS.items():
        function(f"convolution {mode} {dims}d", lambda y, m=mode: convolve(y, y[:1].narrow(-1, 0, 2), mode=m), x)

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "nll_loss": lambda y: F.nll_loss(y.log_softmax(1), CLASSES),
    "cross_entropy of pixels": lambda y: F.cross_entropy(y.T.unsqueeze(0), torch.tensor([[0, 1, 2]])),
    "binary_cross_entropy": lambda y: F.binary_cross_entropy(y.sigmoid(), torch.ones_like(y)),
    "binary_cross_entropy_with_logits": lambda y: F.binary_cross_entropy_with_logits(y, torch.ones_like(y)),
    "kl_div": lambda y: F.kl_div(y.log_softmax(1), torch.full_like(y, 0.25), reduction="batchmean"),
    "kl_div sum": lambda y: F.kl_div(y.log_softmax(1), y.detach().softmax(1), reduction="sum"),
    "kl_div none": lambda y: F.kl_div(y.log_softmax(1), y.log_softmax(0), reduction="none", log_target=True),
    "smooth_l1_loss": lambda y: F.smooth_l1_loss(y, torch.ones_like(y)),
    "huber_loss": lambda y: F.huber_loss(y, torch.ones_like(y)),
    "multi_margin_loss": lambda y: F.multi_margin_loss(y, CLASSES),
    "multilabel_margin_loss": lambda y: F.multilabel_margin_loss(y, torch.tensor([[0, 1, -1, -1]] * 3)),
    "soft_margin_loss": lambda y: F.soft_margin_loss(y, torch.ones_like(y), reduction="sum"),
    "triplet_margin_loss": lambda y: F.triplet_margin_loss(y, y.flip(0), y.flip(1)),
    "cosine_embedding_loss": lambda y: F.cosine_embedding_loss(y, y.flip(1), torch.ones(3, dtype=y.dtype)),
    "gaussian_nll_loss": lambda y: F.gaussian_nll_loss(y, torch.zeros_like(y), y.square() + 0.1),
    "gaussian_nll_loss full": lambda y: F.gaussian_nll_loss(y, y.flip(0), y[:, 0].exp(), full=True, reduction="sum"),
    "gaussian_nll_loss below eps": lambda y: F.gaussian_nll_loss(y, y.flip(0), y.square() * 1e-9, reduction="none"),
    "poisson_nll_loss": lambda y: F.poisson_nll_loss(y, torch.ones_like(y)),
}
for name, loss in LOSSES.items():
    function(name, loss, ROWS)
function(
    "ctc_loss",
    lambda y: F.ctc_loss(
        y.log_softmax(-1), torch.tensor([[1, 2], [2, 1], [1, 1]]), torch.tensor([5] * 3), torch.tensor([2] * 3)
    ),
    SEQUENCES,
)
