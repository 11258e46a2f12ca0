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


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_the_residual_form_has_as_many_weights(norm):
    plain, residual = (MLP(NUMBERS, 3, hidden=16, depth=5, norm=norm, residual=flag) for flag in (False, True))
    assert count(plain) == count(residual)


def test_in_the_residual_form_layers_are_added_to_their_inputs():
    network = MLP(NUMBERS, 3, hidden=16, depth=3, activation="tanh", residual=True)
    first, *blocks = network.hidden[:3]
    x = torch.randn(4, 7)
    stream = first(x)
    for block in blocks:
        stream = stream + block.body[-1](torch.tanh(stream))
    assert torch.equal(network(x), network.output(torch.tanh(stream)))


def test_gradients_reach_the_first_of_forty_layers_in_the_residual_form():
    norms = {}
    for residual in (False, True):
        torch.manual_seed(0)
        network = MLP(NUMBERS, 3, hidden=16, depth=40, residual=residual)
        network(torch.randn(32, 7)).square().mean().backward()
        norms[residual] = next(network.parameters()).grad.norm().item()
    assert norms[False] < 1e-6 < 1e-3 < norms[True]


@pytest.mark.parametrize("residual", [False, True])
def test_maxout_layers_are_twice_as_wide_before_the_activation(residual):
    network = MLP(NUMBERS, 3, hidden=16, depth=2, activation="maxout", residual=residual)
    first = network.hidden[0] if residual else network.hidden[0][0]
    assert (first.out_features, network.output.in_features) == (32, 16)
    assert network(torch.randn(4, 7)).shape == (4, 3)


@pytest.mark.parametrize("residual", [False, True])
def test_hidden_units_are_dropped_in_training_alone(residual):
    network = MLP(NUMBERS, 3, drop_prob=0.5, residual=residual)
    x = torch.randn(4, 7)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
    assert not any(isinstance(module, nn.Dropout) for module in MLP(NUMBERS, 3, residual=residual).modules())


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"hidden": 0}, ValueError, "mlp: hidden must be a whole number >= 1, got 0"),
        ({"hidden": 12.5}, ValueError, "mlp: hidden must be a whole number >= 1, got 12.5"),
        ({"depth": True}, ValueError, "mlp: depth must be a whole number >= 1, got True"),
        ({"drop_prob": 1.0}, ValueError, "mlp: drop_prob must be a number in .0, 1., got 1.0"),
        ({"residual": "yes"}, ValueError, "mlp: residual must be one of .True, False., got 'yes'"),
        ({"norm": "bacth"}, ValueError, "mlp: norm must be one of .* got 'bacth'. Did you mean 'batch'"),
        ({"activation": "rellu"}, InputError, "unknown activation 'rellu'. Did you mean 'relu'"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_came(config, error, message):
    with pytest.raises(error, match=message):
        MLP(NUMBERS, 3, **config)
