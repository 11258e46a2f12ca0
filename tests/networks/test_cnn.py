import itertools

import pytest
import torch
from torch import nn

from tenfold.core.errors import InputError
from tenfold.core.specs import InputSpec
from tenfold.networks import CNN


def image(*shape):
    return InputSpec(kind="image", shape=shape)


def test_parameters_are_those_of_the_named_layers():
    channels = (1, 32, 64, 128)
    convolutions = sum(9 * a * b + 2 * b for a, b in itertools.pairwise(channels))
    network = CNN(image(1, 28, 28), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + 128 * 10 + 10


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (2, 5, 64)])
@pytest.mark.parametrize("depth", [1, 3, 6])
def test_every_depth_takes_every_size(shape, depth):
    network = CNN(image(*shape), 4, width=0.25, depth=depth).eval()
    assert network(torch.zeros(2, *shape)).shape == (2, 4)


@pytest.mark.parametrize("activation", ["sigmoid", "maxout"])
def test_activations_and_norms_are_settings(activation):
    network = CNN(image(1, 8, 8), 4, width=0.25, depth=2, activation=activation, norm="none", dropout=0.5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert network.dropout.p == 0.5
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 4)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"width": 0}, ValueError, "cnn: width must be a positive number, got 0"),
        ({"width": float("nan")}, ValueError, "cnn: width must be a positive number, got nan"),
        ({"depth": 0}, ValueError, "cnn: depth must be a whole number >= 1, got 0"),
        ({"norm": "layer"}, ValueError, "cnn: norm must be one of .* got 'layer'"),
        ({"dropout": 1.0}, ValueError, r"cnn: dropout must be a number in \[0, 1\), got 1.0"),
        ({"activation": "tan"}, InputError, "unknown activation 'tan'. Did you mean 'tanh'"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_came(config, error, message):
    with pytest.raises(error, match=message):
        CNN(image(1, 28, 28), 10, **config)
