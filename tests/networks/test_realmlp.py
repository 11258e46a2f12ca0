import math

import pytest
import torch
from torch import nn

from tenfold.core.seeds import torch_seed
from tenfold.core.specs import InputSpec
from tenfold.networks import RealMLP
from tenfold.networks.realmlp import (
    ACTIVATION_RATE,
    BIAS_RATE,
    RATE,
    SCALE_RATE,
    NTKLinear,
    ParametricActivation,
    Scaling,
)
from tenfold.nn import PeriodicEmbedding

TABLE = InputSpec(kind="table", shape=(5,), cardinalities=(4,))


def test_a_number_becomes_itself_and_a_linear_image_of_waves():
    embedding = PeriodicEmbedding(2, dim=4, hidden=16)
    x = torch.randn(3, 2)
    columns = []
    for i in range(2):
        waves = torch.cos(2 * math.pi * x[:, i : i + 1] * embedding.frequency[i] + embedding.phase[i])
        columns += [x[:, i : i + 1], waves @ embedding.weight[i] + embedding.bias[i]]
    torch.testing.assert_close(embedding(x), torch.cat(columns, dim=1))
    assert sum(p.numel() for p in embedding.parameters()) == 2 * (16 + 16 + 16 * 3 + 3)


def test_weights_of_the_ntk_layer_are_standard_normal_over_the_root_of_the_inputs():
    with torch_seed(0):
        layer = NTKLinear(400, 300)
    weight = layer(torch.eye(400)).detach() - layer(torch.zeros(1, 400)).detach()
    assert weight.std().item() == pytest.approx(1 / math.sqrt(400), rel=0.02)
    assert layer(torch.zeros(1, 400)).std().item() == pytest.approx(1, rel=0.1)


def test_a_step_of_adam_moves_each_kind_of_parameter_by_its_factor_of_the_rate():
    layers = {"scale": (Scaling(3), SCALE_RATE), "share": (ParametricActivation("selu", 3), ACTIVATION_RATE)}
    for name, (layer, factor) in layers.items():
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3 / RATE)
        before = getattr(layer, name).detach() * RATE * factor
        torch.testing.assert_close(before, torch.ones(3))
        layer(torch.full((1, 3), -2.0)).sum().backward()
        optimizer.step()
        moved = getattr(layer, name).detach() * RATE * factor - before
        torch.testing.assert_close(moved.abs(), torch.full((3,), 1e-3 * factor), rtol=1e-3, atol=0)
    linear = NTKLinear(4, 3)
    before = linear(torch.zeros(1, 4)).detach()
    optimizer = torch.optim.Adam(linear.parameters(), lr=1e-3 / RATE)
    linear(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    moved = linear(torch.zeros(1, 4)).detach() - before
    torch.testing.assert_close(moved.abs(), torch.full((1, 3), 1e-3 * BIAS_RATE), rtol=1e-2, atol=0)


def test_a_parametric_activation_goes_from_the_identity_to_its_function():
    layer, x = ParametricActivation("selu", 3), torch.randn(4, 3)
    torch.testing.assert_close(layer(x), nn.functional.selu(x))
    nn.init.zeros_(layer.share)
    assert torch.equal(layer(x), x)


def test_one_output_has_mish_and_several_selu_unless_named():
    def kind(*args, **config):
        network = RealMLP(*args, **config)
        return next(type(m.function) for m in network.modules() if isinstance(m, ParametricActivation))

    assert kind(TABLE, 1) is nn.Mish
    assert kind(TABLE, 3) is nn.SELU
    assert kind(TABLE, 3, activation="gelu") is nn.GELU


def test_far_inputs_are_clipped_softly():
    spec = InputSpec(kind="table", shape=(1,))
    network = RealMLP(spec, 2).eval()
    far = network(torch.tensor([[1e6], [1e7], [-1e7]]))
    torch.testing.assert_close(far[0], far[1], rtol=1e-3, atol=1e-4)
    assert far.isfinite().all()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden": 0}, "realmlp: hidden must be a whole number >= 1, got 0"),
        ({"drop_prob": 1}, "realmlp: drop_prob must be a number in .0, 1., got 1"),
        ({"activation": "maxout"}, "realmlp: activation must be one of .* got 'maxout'"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_came(config, message):
    with pytest.raises(ValueError, match=message):
        RealMLP(TABLE, 3, **config)
