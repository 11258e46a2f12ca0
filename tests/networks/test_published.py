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
    "plain_cnn": 269_722,  # 0.27 M in He et al., Table 6, at depth 20; added up by hand from its section 4.2
    "residual_cnn": 269_722,
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "nin": 966_986,  # the form for CIFAR of Lin et al.
    "googlenet": 6_624_904,
    "inception_v3": 23_834_568,  # 27,161,264 with the auxiliary classifier
    "convnext_tiny": 28_589_128,
    "convnext_small": 50_223_688,
    "convnext_base": 88_591_464,
    "swin_t": 28_288_354,
    "swin_s": 49_606_258,
    "swin_b": 87_768_224,
    "vit_b_16": 86_567_656,
    "vit_b_32": 88_224_232,
    "vit_l_16": 304_326_632,
    "vit_l_32": 306_535_400,
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


@pytest.mark.parametrize(
    ("name", "shape", "num_outputs", "config", "parameters"),
    [
        ("nin", (3, 224, 224), 1000, {}, 7_595_176),  # Caffe's model zoo, NIN-Imagenet
        ("vit_b_16", (3, 224, 224), 1000, {"width": 0.25}, 5_717_416),  # DeiT-Ti
        ("vit_b_16", (3, 224, 224), 1000, {"width": 0.5}, 22_050_664),  # DeiT-S
        ("vgg16_bn", (3, 32, 32), 10, {}, 14_728_266),  # kuangliu/pytorch-cifar
    ],
)
def test_other_forms_have_their_published_parameters(name, shape, num_outputs, config, parameters):
    with torch.device("meta"):
        network = build_network(name, InputSpec(kind="image", shape=shape), num_outputs, **config)
    assert count(network) == parameters


def test_inception_v3_is_torchvisions_without_its_auxiliary_classifier():
    with torch.device("meta"):
        theirs = torchvision.models.inception_v3(weights=None, init_weights=False)
    auxiliary = count(theirs.AuxLogits)
    assert count(theirs) == 27_161_264
    assert count(build_published("inception_v3")) == 27_161_264 - auxiliary


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
