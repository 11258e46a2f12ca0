"""Parameters of the full forms, counted without memory, against torchvision's modules and the papers."""

import pytest
import torch
import torchvision
from torch import nn

from tenfold.core.specs import InputSpec
from tenfold.networks import NETWORKS, build_network

PUBLISHED = [name for name in NETWORKS if NETWORKS[name].published is not None]
TORCHVISIONS = [name for name in NETWORKS if hasattr(torchvision.models, name)]
# what the sources print, typed here by hand: torchvision's table of weights unless it says otherwise
PRINTED = {
    "lenet": 61_706,  # d2l.ai 7.6
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
}


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def build_published(name, **config):
    published = NETWORKS[name].published
    with torch.device("meta"):
        spec = InputSpec(kind="image", shape=published.shape)
        return build_network(name, spec, published.num_outputs, **published.config, **config)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_exactly_as_many_as_published(name):
    assert count(build_published(name)) == NETWORKS[name].published.parameters == PRINTED[name]


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_a_state_dict_is_torchvisions(name):
    kinds = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)(weights=None, **kinds)
    ours = build_published(name)
    shapes = [{key: tensor.shape for key, tensor in one.state_dict().items()} for one in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_every_printed_figure_is_held():
    assert set(PRINTED) == set(PUBLISHED)
