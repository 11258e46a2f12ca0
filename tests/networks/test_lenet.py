import pytest
import torch
from torch import nn

from tenfold.core.errors import InputError
from tenfold.core.specs import InputSpec
from tenfold.networks import LeNet


def image(*shape):
    return InputSpec(kind="image", shape=shape)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ((1, 28, 28), 61_706),  # d2l.ai 7.6 and the fully connected form of LeCun et al.
        ((1, 32, 32), 61_706),
        ((3, 32, 32), 62_006),  # PyTorch's CIFAR-10 tutorial
    ],
)
def test_parameters_are_as_many_as_published(shape, parameters):
    assert count(LeNet(image(*shape), 10)) == parameters


@pytest.mark.parametrize("side", [8, 9, 12, 16, 20, 24, 27, 28, 31, 32, 33, 48, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_takes_every_image_from_8_to_64_pixels(side, channels):
    network = LeNet(image(channels, side, side), 10)
    assert network(torch.zeros(2, channels, side, side)).shape == (2, 10)
    assert network.features(torch.zeros(1, channels, side, side)).shape[-1] >= 2


@pytest.mark.parametrize("shape", [(1, 8, 64), (2, 64, 8), (3, 20, 40), (4, 30, 29)])
def test_height_and_width_may_differ(shape):
    assert LeNet(image(*shape), 3)(torch.zeros(2, *shape)).shape == (2, 3)


def test_the_default_is_the_plain_sequence_of_layers():
    network = LeNet(image(1, 28, 28), 10)
    (first, second), (a, b, c) = (
        [stage[0] for stage in network.features],
        [layer for layer in network.classifier if isinstance(layer, nn.Linear)],
    )
    pool = nn.MaxPool2d(2)
    plain = nn.Sequential(
        first, nn.ReLU(), pool, second, nn.ReLU(), pool, nn.Flatten(), a, nn.ReLU(), b, nn.ReLU(), c
    )
    x = torch.randn(2, 1, 28, 28)
    assert torch.equal(network(x), plain(x))
    assert (first.padding, second.padding) == ((2, 2), (0, 0))


def test_width_multiplies_channels_and_hidden_units():
    network = LeNet(image(1, 28, 28), 10, width=2.0)
    shapes = [tuple(parameter.shape) for key, parameter in network.named_parameters() if key.endswith("weight")]
    assert shapes == [(12, 1, 5, 5), (32, 12, 5, 5), (240, 32 * 25), (168, 240), (10, 168)]


def test_batch_norm_stands_after_both_convolutions_in_the_place_of_their_bias():
    network = LeNet(image(1, 28, 28), 10, norm="batch")
    assert [type(layer) for layer in network.features[1]] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d]
    assert count(network) == 61_706 - (6 + 16) + 2 * (6 + 16)


def test_maxout_takes_twice_as_many_channels_and_units_as_it_gives():
    network = LeNet(image(1, 28, 28), 10, activation="maxout", norm="batch")
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert [stage[0].out_channels for stage in network.features] == [12, 32]
    assert [layer.in_features for layer in network.classifier if isinstance(layer, nn.Linear)] == [400, 120, 84]


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"width": 0}, ValueError, "lenet: width must be a positive number, got 0"),
        ({"width": "1"}, ValueError, "lenet: width must be a positive number, got '1'"),
        ({"norm": "layer"}, ValueError, "lenet: norm must be one of .* got 'layer'"),
        ({"pool": "avg"}, ValueError, "lenet: pool must be one of .* got 'avg'"),
        ({"activation": "tan"}, InputError, "unknown activation 'tan'. Did you mean 'tanh'"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_came(config, error, message):
    with pytest.raises(error, match=message):
        LeNet(image(1, 28, 28), 10, **config)
