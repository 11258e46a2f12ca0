import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from tenfold.core.seeds import torch_seed
from tenfold.core.specs import InputSpec
from tenfold.networks import build_resnet18


def build(num_outputs, *shape):
    return build_resnet18(InputSpec(kind="image", shape=shape), num_outputs)


@pytest.mark.parametrize(
    ("num_outputs", "shape", "parameters"),
    [
        (1000, (3, 224, 224), 11_689_512),  # torchvision's table of weights
        (10, (3, 32, 32), 11_173_962),  # kuangliu/pytorch-cifar
    ],
)
def test_parameters_are_as_many_as_published(num_outputs, shape, parameters):
    assert sum(parameter.numel() for parameter in build(num_outputs, *shape).parameters()) == parameters


def test_the_large_stem_is_torchvisions_module_itself():
    with torch_seed(0):
        ours = build(7, 3, 65, 80)
    with torch_seed(0):
        theirs = resnet18(num_classes=7)
    assert type(ours) is type(theirs)
    assert all(
        torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    )
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize(
    ("shape", "kernel_size", "pool"),
    [
        ((3, 64, 64), 3, nn.Identity),
        ((3, 65, 65), 7, nn.MaxPool2d),
        ((1, 65, 65), 7, nn.MaxPool2d),
        ((4, 64, 200), 3, nn.Identity),
    ],
)
def test_the_stem_goes_by_the_smaller_side(shape, kernel_size, pool):
    network = build(2, *shape)
    assert network.conv1.kernel_size == (kernel_size, kernel_size)
    assert network.conv1.in_channels == shape[0]
    assert type(network.maxpool) is pool


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (5, 70, 66)])
def test_it_takes_every_size_and_any_channels(shape):
    with torch.no_grad():
        assert build(4, *shape).eval()(torch.zeros(2, *shape)).shape == (2, 4)


def test_the_new_first_convolution_starts_as_torchvisions_does():
    with torch_seed(0):
        weight = build(2, 1, 28, 28).conv1.weight
    # He initialisation by fan-out: standard deviation sqrt(2 / (64 * 3 * 3)); n = 576
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)
