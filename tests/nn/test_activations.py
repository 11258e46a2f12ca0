import pytest
import torch
from torch.nn import functional as F

from tenfold.core.errors import InputError
from tenfold.nn import ACTIVATIONS, Maxout, activation, activation_inputs

FUNCTIONS = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.25])),
    "rrelu": lambda x: F.rrelu(x, training=False),
    "selu": F.selu,
    "mish": F.mish,
    "softplus": F.softplus,
    "log_sigmoid": F.logsigmoid,
    "softmax": lambda x: F.softmax(x, dim=1),
    "maxout": lambda x: torch.maximum(x[:, ::2], x[:, 1::2]),
}


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_a_name_means_torchs_function_with_its_defaults(name):
    x = torch.linspace(-3, 3, 24).view(2, 6, 2)
    assert torch.equal(activation(name).eval()(x), FUNCTIONS[name](x))


def test_every_activation_has_a_reference():
    assert set(ACTIVATIONS) == set(FUNCTIONS)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_a_network_knows_how_many_inputs_an_activation_takes(name):
    assert activation(name)(torch.zeros(2, 3 * activation_inputs(name), 4)).shape == (2, 3, 4)


def test_maxout_gives_the_largest_of_each_piece():
    x = torch.tensor([[3.0, 1.0, 2.0, -5.0, -4.0, -6.0]])
    assert Maxout(pieces=3)(x).tolist() == [[3.0, -4.0]]
    assert str(Maxout(3)) == "Maxout(pieces=3)"
    with pytest.raises(ValueError, match="Maxout: pieces must be at least 1, got 0"):
        Maxout(0)


def test_every_call_gives_a_module_of_its_own():
    assert activation("relu") is not activation("relu")


def test_an_unknown_activation_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown activation 'RELU'. Did you mean 'relu'"):
        activation("RELU")
