import pytest
import torch
from torch import nn

from tenfold.core.errors import InputError
from tenfold.core.specs import InputSpec
from tenfold.networks import MLP

NUMBERS = InputSpec(kind="table", shape=(7,))


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("config", "hidden_parameters"),
    [
        ({"hidden": 16, "depth": 1}, 7 * 16 + 16),
        ({"hidden": 16, "depth": 3}, 7 * 16 + 16 + 2 * (16 * 16 + 16)),
        ({"hidden": 16, "depth": 1, "norm": "layer"}, 7 * 16 + 16 + 2 * 16),
        ({"hidden": 16, "depth": 1, "norm": "batch"}, 7 * 16 + 2 * 16),
    ],
)
def test_parameters_are_those_of_the_named_layers(config, hidden_parameters):
    assert count(MLP(NUMBERS, 3, **config)) == hidden_parameters + 16 * 3 + 3


def test_a_plain_network_is_the_usual_sequence():
    network = MLP(NUMBERS, 3, hidden=16, depth=2, activation="tanh")
    first, second = (layer[0] for layer in network.hidden)
    plain = nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), network.output)
    x = torch.randn(4, 7)
    assert torch.equal(network(x), plain(x))


def test_codes_are_embedded_and_stand_after_the_numbers():
    network = MLP(InputSpec(kind="table", shape=(2,), cardinalities=(3, 10)), 4, hidden=8, depth=1)
    first = network.hidden[0][0]
    assert first.in_features == 2 + 3 + 6  # fastai's widths for 3 and 10 codes are 3 and 6
    x, codes = torch.randn(5, 2), torch.randint(3, (5, 2))
    joined = torch.cat([x, *(table(codes[:, i]) for i, table in enumerate(network.embedding.columns))], dim=1)
    assert torch.equal(network(x, codes), network.output(torch.relu(first(joined))))


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"hidden": 0}, ValueError, "mlp: hidden must be a whole number >= 1, got 0"),
        ({"hidden": 12.5}, ValueError, "mlp: hidden must be a whole number >= 1, got 12.5"),
        ({"depth": True}, ValueError, "mlp: depth must be a whole number >= 1, got True"),
        ({"norm": "bacth"}, ValueError, "mlp: norm must be one of .* got 'bacth'. Did you mean 'batch'"),
        ({"activation": "rellu"}, InputError, "unknown activation 'rellu'. Did you mean 'relu'"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_came(config, error, message):
    with pytest.raises(error, match=message):
        MLP(NUMBERS, 3, **config)
