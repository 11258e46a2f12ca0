"""Who may stand in one stack: nothing that forward can see is overlooked."""

import collections
import functools
import types
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.nn.utils import parametrizations

from tenfold.stacking import first_difference, group_by_structure, structure_of


@dataclass
class Config:
    width: int
    inner: object = None


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return x * self.factor

    def apply(self, x):
        return x * self.factor


class Slotted:
    __slots__ = ("factor",)

    def __init__(self, factor):
        self.factor = factor


def holding(value):
    model = nn.Linear(2, 2)
    model.extra = value
    return model


def closure(factor):
    return lambda x: x * factor


def nested(value, depth=12):
    for _ in range(depth):
        value = [value]
    return value


DIFFERENT = {
    "number": (1, 2),
    "number and its float": (1, 1.0),
    "true and one": (True, 1),
    "string": ("relu", "tanh"),
    "list": ([1, 2], [2, 1]),
    "list and tuple": ([1], (1,)),
    "dict value": ({"a": 1}, {"a": 2}),
    "dict key": ({"a": 1}, {"b": 1}),
    "set": ({1, 2}, {1, 3}),
    "deque": (collections.deque([1]), collections.deque([2])),
    "mapping": (types.MappingProxyType({"a": 1}), types.MappingProxyType({"a": 2})),
    "deep": (nested(1), nested(2)),
    "tensor": (torch.zeros(2), torch.ones(2)),
    "bfloat16 tensor": (torch.zeros(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
    "tensor dtype": (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
    "array": (np.zeros(2), np.ones(2)),
    "object array": (np.array([1, None]), np.array([2, None])),
    "object": (Scaled(1), Scaled(2)),
    "object in object": (Config(1, Config(2)), Config(1, Config(3))),
    "slots": (Slotted(1), Slotted(2)),
    "method of an object": (Scaled(1).apply, Scaled(2).apply),
    "torch function": (torch.relu, torch.tanh),
    "library function": (F.relu, F.gelu),
    "lambda that calls another": (lambda x: torch.relu(x), lambda x: torch.tanh(x)),
    "lambda with another number": (lambda x: x * 2, lambda x: x * 3),
    "lambda with another default": (lambda x, k=1: x * k, lambda x, k=2: x * k),
    "lambda with another keyword default": (lambda x, *, k=1: x * k, lambda x, *, k=2: x * k),
    "closure": (closure(1), closure(2)),
    "lambda in a lambda": (lambda x: (lambda y: y + 1)(x), lambda x: (lambda y: y + 2)(x)),
    "partial": (
        functools.partial(F.leaky_relu, negative_slope=0.1),
        functools.partial(F.leaky_relu, negative_slope=0.2),
    ),
    "class": (nn.BatchNorm1d, nn.LayerNorm),
    "slice": (slice(1), slice(2)),
    "dtype": (torch.float32, torch.float64),
    "generator": (torch.Generator(), torch.Generator()),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_attributes_that_differ_are_seen(name):
    one, two = DIFFERENT[name]
    assert first_difference(holding(one), holding(two)) is not None
    assert first_difference(holding(one), holding(two)).startswith("extra ")


SAME = {
    "list": lambda: [1, {"a": (2.0, "x")}],
    "tensor": lambda: torch.arange(3),
    "half tensor": lambda: torch.ones((), dtype=torch.bfloat16),
    "empty tensor": lambda: torch.zeros(0, 3),
    "object": lambda: Scaled(Config(3)),
    "slots": lambda: Slotted(2),
    "method": lambda: Scaled(2).apply,
    "lambda": lambda: lambda x: torch.relu(x) * 2,
    "closure": lambda: closure(2),
    "partial": lambda: functools.partial(F.leaky_relu, negative_slope=0.1),
    "functions": lambda: [torch.relu, F.gelu, len, nn.ReLU],
    "numbers": lambda: [np.float32(2), float("nan"), 1 + 2j, None, True],
}


@pytest.mark.parametrize("name", SAME)
def test_attributes_that_are_equal_stack(name):
    assert first_difference(holding(SAME[name]()), holding(SAME[name]())) is None


def test_an_object_that_holds_itself_is_read_to_its_end():
    one, two = Config(1), Config(1)
    one.inner, two.inner = one, two
    assert first_difference(holding(one), holding(two)) is None
    two.width = 2
    assert first_difference(holding(one), holding(two)) is not None


def local_class(activation):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return activation(self.layer(x))

    return Net


def test_classes_of_one_name_and_different_forward_are_told_apart():
    difference = first_difference(local_class(torch.relu)(), local_class(torch.tanh)())
    assert "is not the same class" in difference
    same = local_class(torch.relu)
    assert first_difference(same(), same()) is None
    assert first_difference(local_class(torch.relu)(), local_class(torch.relu)()) is None


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_a_hook_on_one_of_two_models_is_a_difference(register):
    hooked = nn.Sequential(nn.Linear(2, 2))
    getattr(hooked[0], register)(lambda module, *values: None)
    assert "hooks" in first_difference(nn.Sequential(nn.Linear(2, 2)), hooked)


def test_layers_reached_through_a_list_as_well_are_no_hidden_layers():
    def model(order):
        blocks = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        blocks.order = [blocks[i] for i in order]
        return blocks

    assert first_difference(model([0, 1]), model([0, 1])) is None
    assert first_difference(model([0, 1]), model([1, 0])) is not None


def test_weights_tied_in_one_model_and_free_in_the_other_differ():
    def model(tied):
        layers = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        if tied:
            layers[1].weight = layers[0].weight
        return layers

    assert first_difference(model(True), model(True)) is None
    assert "1.weight" in first_difference(model(False), model(True))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LSTM(3, 4, 2, bidirectional=True),
        lambda: nn.TransformerEncoderLayer(8, 2, batch_first=True),
        lambda: parametrizations.weight_norm(nn.Linear(3, 3)),
        lambda: parametrizations.spectral_norm(nn.Linear(3, 3)),
        lambda: torchvision.models.mobilenet_v3_small(weights=None),
        lambda: torchvision.models.densenet121(weights=None),
    ],
    ids=["lstm", "transformer", "weight norm", "spectral norm", "mobilenet", "densenet"],
)
def test_what_libraries_build_twice_has_one_structure(make):
    assert first_difference(make(), make()) is None


def test_groups_hold_every_position_once_in_order_of_first_appearance():
    models = [nn.Linear(2, 3), nn.Linear(2, 4), nn.ReLU(), nn.Linear(2, 3), nn.ReLU()]
    assert group_by_structure(models) == [[0, 3], [1], [2, 4]]
    assert group_by_structure(iter(models)) == [[0, 3], [1], [2, 4]]
    assert group_by_structure([]) == []


def test_a_structure_can_be_a_key():
    assert hash(structure_of(nn.Linear(2, 2))) == hash(structure_of(nn.Linear(2, 2)))
    assert hash(structure_of(local_class(torch.relu)())) is not None
