"""Small networks that between them do what users' networks do, and the batches to train them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.testing.trained import predict_inputs


@dataclass(frozen=True)
class Case:
    """A network, a loss and batches for the contracts."""

    name: str
    make: Callable[[], nn.Module]
    batches: list[tuple[Any, ...]]
    loss: Callable[..., Tensor]
    predict: Callable[..., Any] = predict_inputs

    @property
    def job(self) -> dict[str, Any]:
        return {"make_model": self.make, "batches": self.batches, "loss": self.loss}


class ConvNet(nn.Module):
    """Odd numbers of channels, so that no kernel finds its favourite block size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 5, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(5)
        self.conv2 = nn.Conv2d(5, 3, 3, stride=2, bias=False)
        self.norm2 = nn.BatchNorm2d(3)
        self.head = nn.Linear(3 * 3 * 3, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)), inplace=True)
        x = self.norm2(self.conv2(x)).tanh()
        return self.head(x.view(x.size(0), -1))


class Listed(nn.Module):
    """ModuleList, ModuleDict, ParameterList, and a plain list of layers that PyTorch sees elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.heads = nn.ModuleDict({"a": nn.Linear(6, 4), "b": nn.Linear(6, 4)})
        self.gains = nn.ParameterList(nn.Parameter(torch.ones(6)) for _ in range(2))
        self.order = [self.blocks[1], self.blocks[0]]

    def forward(self, x: Tensor) -> Tensor:
        for block, gain in zip(self.order, self.gains, strict=True):
            x = x + torch.tanh(block(x)) * gain
        return self.heads["a"](x) + self.heads["b"](x.flip(-1))


class Tied(nn.Module):
    """One weight in two places, a scalar parameter, and a layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(6, 6, bias=False)
        self.decode = nn.Linear(6, 6)
        self.decode.weight = self.encode.weight
        self.temperature = nn.Parameter(torch.tensor(0.5))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.decode(torch.tanh(self.encode(x))))
        return self.head(self.encode(x)) * self.temperature


class Remembering(nn.Module):
    """Buffers: changed in place, set anew, handed on from one to the next, a count, one that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("last", torch.zeros(4))
        self.register_buffer("last_but_one", torch.zeros(4))
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("scale", torch.ones(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x - self.mean) + 0.1 * self.last_but_one
        if self.training:
            with torch.no_grad():
                self.mean.mul_(0.9).add_(0.1 * x.mean(0))
                self.last_but_one = self.last
                self.last = y.mean(0).detach()
                self.count += 1
        return y * self.scale


class TwoInTwoOut(nn.Module):
    """A dict of inputs, an embedding, a dict of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Embedding(5, 3, padding_idx=0)
        self.body = nn.Linear(9, 8)
        self.classes, self.size = nn.Linear(8, 4), nn.Linear(8, 1)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        z = torch.tanh(self.body(torch.cat([inputs["x"], self.codes(inputs["codes"])], dim=-1)))
        return {"classes": self.classes(z), "size": self.size(z).squeeze(-1)}


class Functional(nn.Module):
    """Bare parameters, functional layers, dropout and noise by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 6) * 0.3)
        self.bias = nn.Parameter(torch.zeros(8))
        self.out = nn.Parameter(torch.randn(4, 8) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(F.gelu(F.linear(x, self.weight, self.bias)), (8,))
        x = F.dropout(x, 0.3, self.training)
        if self.training:
            x = x + 0.1 * torch.randn_like(x) + 0.1 * torch.rand(1, 8, dtype=x.dtype)
        return x @ self.out.T


class Attention(nn.Module):
    """Self-attention by hand, with layer norm and dropout over the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.norm, self.head = nn.Linear(6, 18), nn.LayerNorm(6), nn.Linear(6, 4)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.unsqueeze(1) * torch.linspace(0.5, 1.5, 3, dtype=x.dtype).view(1, 3, 1)
        q, k, v = self.qkv(self.norm(tokens)).chunk(3, dim=-1)
        weights = self.drop((q @ k.transpose(-1, -2) / 6**0.5).softmax(-1))
        return self.head((tokens + weights @ v).mean(1))


class Recurrent(nn.Module):
    """Two layers of LSTM with dropout between them read the features as steps."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = nn.LSTM(2, 5, num_layers=2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.reader(x.view(-1, 3, 2))[0][:, -1])


class Transformer(nn.Module):
    """PyTorch's own encoder layer, dropout on, under a causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.head = nn.Linear(2, 4), nn.Linear(4, 4)
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)
        self.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.lift(x.view(-1, 3, 2)), src_mask=self.mask.to(x.dtype)).mean(1))


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    return model


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.25), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4)
    )


def dropped_channels() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.GroupNorm(1, 3), nn.Dropout2d(0.3), nn.Flatten(), nn.Linear(108, 4))


def classify(model: nn.Module, x: Any, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def both(model: nn.Module, inputs: dict[str, Tensor], y: Tensor) -> Tensor:
    out = model(inputs)
    return F.cross_entropy(out["classes"], y) + (out["size"] - y).square().mean()


def table_batches() -> list[tuple[Tensor, Tensor]]:
    g = torch.Generator().manual_seed(1)
    return [(torch.randn(12, 6, generator=g), torch.randint(4, (12,), generator=g)) for _ in range(3)]


def image_batches() -> list[tuple[Tensor, Tensor]]:
    g = torch.Generator().manual_seed(2)
    return [(torch.randn(6, 1, 8, 8, generator=g), torch.randint(4, (6,), generator=g)) for _ in range(3)]


def dict_batches() -> list[tuple[dict[str, Tensor], Tensor]]:
    g = torch.Generator().manual_seed(3)
    return [({"x": x, "codes": torch.randint(5, (12,), generator=g)}, y) for x, y in table_batches()]


CASES = [
    Case("linear", lambda: nn.Linear(6, 4), table_batches(), classify),
    Case("mlp with batch norm and dropout", mlp, table_batches(), classify),
    Case("convolutions with batch norm", ConvNet, image_batches(), classify),
    Case("dropped channels", dropped_channels, image_batches(), classify),
    Case("module lists and dicts", Listed, table_batches(), classify),
    Case("tied weights", Tied, table_batches(), classify),
    Case("buffers of all kinds", Remembering, table_batches(), classify),
    Case("dicts in and out", TwoInTwoOut, dict_batches(), both),
    Case("functional layers", Functional, table_batches(), classify),
    Case("attention", Attention, table_batches(), classify),
    Case("recurrent", Recurrent, table_batches(), classify),
    Case("transformer", Transformer, table_batches(), classify),
    Case("frozen parameters", frozen, table_batches(), classify),
]
