import pytest
import torch
from torch import nn

import tenfold
from tenfold.core.errors import InputError
from tenfold.core.specs import InputSpec
from tenfold.networks import (
    HEADS,
    NECKS,
    Bottleneck,
    GlobalPool,
    Joined,
    MLPHead,
    TableColumns,
    build_backbone,
    compose,
)

IMAGE = InputSpec(kind="image", shape=(1, 16, 16))
MIXED = InputSpec(kind="table", shape=(3,), cardinalities=(4, 6))


def make_backbone():
    return build_backbone("cnn", IMAGE, width=0.25)


@pytest.mark.parametrize("head", list(HEADS))
@pytest.mark.parametrize("neck", ["average", "max", "bottleneck"])
def test_every_named_neck_takes_every_named_head(neck, head):
    network = compose(make_backbone(), neck, head, num_outputs=7)
    assert network(torch.zeros(2, 1, 16, 16)).shape == (2, 7)
    assert [name for name, _ in network.named_children()] == ["backbone", "neck", "head"]


def test_pooling_is_numpys_mean_and_maximum():
    maps = {"a": torch.randn(2, 3, 4, 5), "b": torch.randn(2, 6, 2, 2)}
    channels = {"a": 3, "b": 6}
    a, b = maps["a"].numpy(), maps["b"].numpy()
    assert torch.allclose(GlobalPool(channels)(maps), torch.from_numpy(b.mean((2, 3))))
    assert torch.equal(GlobalPool(channels, "max", ["a"])(maps), torch.from_numpy(a.max((2, 3))))
    assert GlobalPool(channels, maps=["b", "a"])(maps).shape == (2, 9)


def test_a_bottleneck_is_a_pointwise_convolution_with_norm_and_relu():
    neck = Bottleneck({"a": 3, "b": 6}, 2, maps=["a", "b"]).eval()
    x = {"a": torch.randn(2, 3, 4, 4), "b": torch.randn(2, 6, 2, 2)}
    weight = neck.convolutions["b"][0].weight[:, :, 0, 0]
    expected = torch.einsum("oc,bchw->bohw", weight, x["b"]).relu() / (1 + 1e-5) ** 0.5
    assert torch.allclose(neck(x)["b"], expected, atol=1e-6)
    assert neck.channels == {"a": 2, "b": 2}
    assert neck(x)["a"].shape == (2, 2, 4, 4)


def test_a_table_is_composed_of_its_columns():
    backbone = TableColumns(MIXED)
    network = compose(backbone, "join", "mlp", num_outputs=2)
    codes = torch.tensor([[0, 5], [3, 1]])
    assert network(torch.zeros(2, 3), codes).shape == (2, 2)
    assert Joined(backbone.channels).out_features == network.head[0].in_features
    only_numbers = compose(TableColumns(InputSpec(kind="table", shape=(3,))), "join", num_outputs=1)
    assert only_numbers(torch.zeros(4, 3)).shape == (4, 1)


def test_without_a_neck_the_head_takes_the_maps():
    class Decoder(nn.Module):
        def forward(self, maps):
            return maps["stage1"] if "stage3" in maps else None

    assert compose(make_backbone(), None, Decoder())(torch.zeros(2, 1, 16, 16)).shape == (2, 8, 8, 8)


def test_composed_networks_stand_in_a_stack():
    models = [compose(make_backbone(), "bottleneck", MLPHead(8, 3, 5), num_outputs=3).eval() for _ in range(3)]
    x = torch.randn(4, 1, 16, 16)
    stack = tenfold.stack(models)
    with torch.no_grad():
        together = stack.each(lambda model, x: model(x), x)
        assert torch.allclose(together, torch.stack([model(x) for model in models]), atol=1e-5)
    assert stack.form == "stacked"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: compose(make_backbone(), "averge", num_outputs=2),
            InputError,
            "unknown neck 'averge'. Did you mean",
        ),
        (lambda: compose(make_backbone(), head="liner", num_outputs=2), InputError, "unknown head 'liner'. Did you"),
        (lambda: compose(make_backbone()), ValueError, "num_outputs must be .* for the head 'linear', got None"),
        (lambda: compose(make_backbone(), num_outputs=0), ValueError, "num_outputs must be a whole number >= 1"),
        (
            lambda: compose(nn.Identity(), num_outputs=2),
            ValueError,
            "the backbone must have the attribute 'channels' for a neck by name, got Identity without",
        ),
        (
            lambda: compose(make_backbone(), None, num_outputs=2),
            ValueError,
            "the neck must have the attribute 'out_features' for a head by name, got Identity without",
        ),
        (lambda: compose(make_backbone(), "average", len), TypeError, "head must be a module or a name, got builtin"),
        (lambda: GlobalPool({"a": 2}, "mean"), ValueError, "kind must be 'average' or 'max', got 'mean'"),
        (lambda: GlobalPool({"a": 2}, maps=["b"]), ValueError, "GlobalPool: maps must be among a, got 'b'"),
        (lambda: Bottleneck({"a": 2}, 1, maps=[]), ValueError, "Bottleneck: maps must name at least one map, got"),
    ],
)
def test_a_wrong_part_is_refused_in_one_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_necks_are_all_tested():
    assert list(NECKS) == ["average", "max", "bottleneck", "join"]
