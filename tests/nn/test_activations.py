import pytest
import torch
from torch.nn import functional as F

from tenfold.core.errors import InputError
from tenfold.nn import ACTIVATIONS, activation

FUNCTIONS = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_a_name_means_torchs_function_with_its_defaults(name):
    x = torch.linspace(-3, 3, 13)
    assert torch.equal(activation(name)(x), FUNCTIONS[name](x))


def test_every_call_gives_a_module_of_its_own():
    assert activation("relu") is not activation("relu")


def test_an_unknown_activation_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown activation 'RELU'. Did you mean 'relu'"):
        activation("RELU")
