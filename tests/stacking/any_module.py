"""Random modules: a grammar of layers, and what a drawn case does with them.

Every block maps (B, 4) to (B, 4), or (B, 2, 4, 4) to itself, so that any row of blocks is a network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

WIDTH, CHANNELS, CLASSES, CODES = 4, 2, 3, 5


class Residual(nn.Module):
    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Choosing(nn.Module):
    """A ModuleDict whose branch a Python counter chooses."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({"a": nn.Linear(WIDTH, WIDTH), "b": nn.Linear(WIDTH, WIDTH)})
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return self.branches["ab"[self.calls % 2]](x) + 0.5 * self.branches["a"](x)


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.gains = nn.ParameterList(nn.Parameter(torch.ones(WIDTH)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for layer, gain in zip(self.layers, self.gains, strict=True):
            x = torch.tanh(layer(x)) * gain
        return x


class Shared(nn.Module):
    """One weight under two names, and a scalar parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up.weight = self.down.weight
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        return self.up(torch.tanh(self.down(x))) * self.scale


class Remembering(nn.Module):
    """Buffers changed in place, set anew, counted."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("last", torch.zeros(1))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        y = x - 0.1 * self.mean + 0.1 * self.last
        if self.training:
            with torch.no_grad():
                self.last = x.mean().reshape(1)
                self.mean = 0.5 * self.mean + 0.5 * self.last
                self.count += 1
        return y


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x) * torch.bernoulli(torch.full_like(x, 0.5)) if self.training else x


class DropPath(nn.Module):
    """Stochastic depth: a coin a sample."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        shape = (x.shape[0], *(1,) * (x.dim() - 1))
        return x * (0.75 + torch.rand(shape, dtype=x.dtype, device=x.device)).floor() / 0.75


class Frozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.layer.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Branching(nn.Module):
    """Control flow on data: falls back to one by one, with a sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x if x.sum() > -1e9 else x * 0.5)


class Attending(nn.Module):
    """Each number a token; PyTorch's own attention with its dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Linear(1, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, dropout=0.2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.lift(x.unsqueeze(-1))
        return x + self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1)


class Reading(nn.Module):
    """A recurrent layer reads the numbers one by one."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.reader = kind(1, WIDTH, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.reader(x.unsqueeze(-1))[0][:, -1, :WIDTH]


class UpAndDown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(F.max_pool2d(x, 2), scale_factor=2.0, mode="nearest")


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(WIDTH, WIDTH),
    "batch norm": lambda: nn.BatchNorm1d(WIDTH),
    "layer norm": lambda: nn.LayerNorm(WIDTH),
    "dropout": lambda: nn.Dropout(0.3),
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky relu": lambda: nn.LeakyReLU(0.2),
    "prelu": nn.PReLU,
    "softplus": nn.Softplus,
    "residual": lambda: Residual(nn.Linear(WIDTH, WIDTH), nn.ReLU(inplace=True), nn.Dropout(0.2)),
    "residual norm": lambda: Residual(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH, bias=False), nn.Sigmoid()),
    "choosing": Choosing,
    "listed": Listed,
    "shared": Shared,
    "remembering": Remembering,
    "noise": Noisy,
    "drop path": DropPath,
    "frozen": Frozen,
    "branching": Branching,
    "attention": Attending,
    "lstm": lambda: Reading(nn.LSTM, num_layers=2, dropout=0.2),
    "gru": lambda: Reading(nn.GRU, bidirectional=True),
    "rnn": lambda: Reading(nn.RNN, nonlinearity="relu"),
    "rrelu": nn.RReLU,
    "alpha dropout": lambda: nn.AlphaDropout(0.2),
    "weight norm": lambda: weight_norm(nn.Linear(WIDTH, WIDTH)),
}
IMAGE_BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
    "dilated conv": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=2, dilation=2, bias=False),
    "depthwise conv": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
    "transposed conv": lambda: nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, padding=1),
    "batch norm": lambda: nn.BatchNorm2d(CHANNELS),
    "group norm": lambda: nn.GroupNorm(1, CHANNELS),
    "instance norm": lambda: nn.InstanceNorm2d(CHANNELS, affine=True, track_running_stats=True),
    "dropped channels": lambda: nn.Dropout2d(0.3),
    "conv relu": lambda: nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU(inplace=True)),
    "relu": nn.ReLU,
    "residual": lambda: Residual(nn.Conv2d(CHANNELS, CHANNELS, 1), nn.GELU()),
    "pool": lambda: nn.AvgPool2d(3, stride=1, padding=1),
    "up and down": UpAndDown,
    "remembering": Remembering,
    "drop path": DropPath,
}


class AnyModule(nn.Module):
    """Blocks between an input layer and a head; codes come in by an embedding, and a second head may speak too."""

    def __init__(self, blocks: list[str], *, images: bool, embeds: bool, auxiliary: bool) -> None:
        super().__init__()
        table = IMAGE_BLOCKS if images else BLOCKS
        self.images, self.auxiliary = images, auxiliary
        self.codes = nn.Embedding(CODES, WIDTH) if embeds else None
        self.front = nn.Conv2d(1, CHANNELS, 1) if images else nn.Linear(3, WIDTH)
        self.blocks = nn.Sequential(*(table[name]() for name in blocks))
        self.head = nn.Linear(CHANNELS if images else WIDTH, CLASSES)
        self.second = nn.Linear(CHANNELS if images else WIDTH, 1) if auxiliary else None

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        x = self.front(inputs["images" if self.images else "table"])
        if self.codes is not None:
            code = self.codes(inputs["codes"])
            x = x + (code.mean(-1)[:, None, None, None] if self.images else code)
        x = self.blocks(x)
        if self.images:
            x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        out = {"classes": self.head(x)}
        if self.second is not None and self.training:
            out["size"] = self.second(x).squeeze(-1)
        return out


def any_loss(model: nn.Module, inputs: dict[str, Tensor], targets: Tensor) -> Tensor:
    out = model(inputs)
    loss = F.cross_entropy(out["classes"], targets)
    return loss + 0.1 * F.mse_loss(out["size"], targets.to(loss.dtype)) if "size" in out else loss


def any_batches() -> list[tuple[dict[str, Tensor], Tensor]]:
    generator = torch.Generator().manual_seed(5)

    def batch() -> tuple[dict[str, Tensor], Tensor]:
        inputs = {
            "table": torch.randn(6, 3, generator=generator, dtype=torch.float64),
            "images": torch.randn(6, 1, 4, 4, generator=generator, dtype=torch.float64),
            "codes": torch.randint(CODES, (6,), generator=generator),
        }
        return inputs, torch.randint(CLASSES, (6,), generator=generator)

    return [batch() for _ in range(2)]
