"""While a step is traced for a compiler, convolutions, ReLU and pooling keep one layout, with kernels or without."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tenfold
from tenfold.stacking import kernels
from tenfold.stacking.tracing import tracing

M = 3


@pytest.fixture(autouse=True, params=[True, False], ids=["kernels", "folded"])
def _with_kernels_and_without(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(kernels, "are_there", lambda *tensors: False)


class OfFixedKernel(nn.Module):
    """A convolution whose kernel is no member's, before one whose is."""

    def __init__(self):
        super().__init__()
        self.own = nn.Conv2d(2, 3, 1)

    def forward(self, x):
        blurred = F.conv2d(x * self.own.bias[0], x.new_full((2, 1, 3, 3), 1 / 9), groups=2, padding=1)
        return self.own(blurred)


class InPlace(nn.Module):
    """A ReLU in place, whose argument is used again."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.conv(x)
        return self.relu(y) + y


class Unbatched(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.conv(x[0])), 2)


class WithPlaces(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        values, places = F.max_pool2d(self.conv(x), 2, return_indices=True)
        return values * (places % 5)


def layers(*modules):
    return lambda: nn.Sequential(*(module() for module in modules))


conv, pool = partial(partial, nn.Conv2d), partial(partial, nn.MaxPool2d)
NETWORKS = {
    "one convolution": lambda: nn.Conv2d(2, 3, 3),
    "without bias, with a stride": lambda: nn.Conv2d(2, 3, 3, stride=2, bias=False),
    "same, dilated": lambda: nn.Conv2d(2, 4, 3, padding="same", dilation=2),
    "of groups": lambda: nn.Conv2d(2, 4, 3, groups=2),
    "circular": lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
    "two with ReLU between": layers(conv(2, 3, 3), nn.ReLU, conv(3, 5, 3)),
    "groups after pooling": layers(conv(2, 4, 3), pool(2), lambda: nn.Conv2d(4, 4, 2, groups=4)),
    "batch norm between": layers(conv(2, 3, 3), lambda: nn.BatchNorm2d(3), nn.ReLU, pool(2)),
    "windows that overlap": layers(conv(2, 3, 3), pool(3, stride=2, padding=1)),
    "windows rounded up": layers(conv(2, 3, 2), pool(2, ceil_mode=True)),
    "windows with holes": layers(conv(2, 3, 2), pool((2, 3), dilation=2)),
    "pooling of equals": layers(conv(2, 3, 3), nn.ReLU, pool(3)),
    "pooling of the input": layers(pool(2), conv(2, 3, 3)),
    "to rows and on": layers(conv(2, 3, 3), nn.ReLU, nn.Flatten, lambda: nn.Linear(3 * 7 * 7, 4), nn.ReLU),
    "a fixed kernel": OfFixedKernel,
    "ReLU in place": InPlace,
    "a picture alone": Unbatched,
    "pooling with its places": WithPlaces,
}


def loss(model, x):
    return model(x).square().sum()


@pytest.mark.parametrize("own_batch", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_traced_network_is_what_it_is_alone(name, own_batch):
    models = []
    for seed in range(M):
        torch.manual_seed(seed)
        models.append(NETWORKS[name]().double())
    x_MBCHW = torch.randn(M, 2, 2, 9, 9, dtype=torch.float64)
    x_MBCHW = x_MBCHW if own_batch else x_MBCHW[:1].expand_as(x_MBCHW)
    stack = tenfold.stack(models, form="stacked")
    with tracing():
        loss_M = stack.each(loss, tenfold.per_member(x_MBCHW) if own_batch else x_MBCHW[0])
    stack.backward(loss_M)
    for member, model in enumerate(models):
        value = loss(model, x_MBCHW[member])
        value.backward()
        torch.testing.assert_close(loss_M[member], value)
        for parameter, stacked in zip(model.parameters(), stack.parameters(), strict=True):
            torch.testing.assert_close(stacked.grad[member], parameter.grad)


def test_a_nan_in_one_members_pictures_changes_no_bit_of_another():
    torch.manual_seed(0)
    make = layers(conv(2, 3, 3), nn.ReLU, pool(2), conv(3, 2, 2))
    x_MBCHW = torch.randn(M, 2, 2, 9, 9)
    results = []
    models = [make() for _ in range(M)]
    for value in (0.0, torch.nan):
        stack = tenfold.stack(models, form="stacked")
        x_MBCHW[1, 0, 0, 4, 4] = value
        with tracing():
            loss_M = stack.each(loss, tenfold.per_member(x_MBCHW))
        stack.backward(loss_M)
        results.append([loss_M, *(parameter.grad for parameter in stack.parameters())])
    for clean, poisoned in zip(*results, strict=True):
        assert torch.equal(clean[[0, 2]], poisoned[[0, 2]])
        assert not poisoned[1].isfinite().all()


def test_the_layout_stays_from_layer_to_layer(monkeypatch):
    from torch.fx.experimental.proxy_tensor import make_fx

    monkeypatch.setattr(kernels, "are_there", lambda *tensors: False)
    make = layers(conv(2, 4, 3), nn.ReLU, pool(2), conv(4, 4, 2), nn.ReLU)
    stack = tenfold.stack([make() for _ in range(M)], form="stacked")
    with tracing():
        graph = make_fx(lambda x: stack.each(loss, x), tracing_mode="fake", _allow_non_fake_inputs=True)(
            torch.randn(2, 2, 9, 9)
        )
    found = [(str(node.target), node.meta.get("val")) for node in graph.graph.nodes]
    assert [name for name, _ in found].count("tenfold.max_pool.default") == 1
    made = [value for name, value in found if name in ("aten.relu.default", "aten.convolution.default")]
    assert len(made) == 4
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in made)
