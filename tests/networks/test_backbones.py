import pytest
import torch
from torch import nn

from tenfold.core.errors import InputError
from tenfold.core.specs import InputSpec
from tenfold.networks import NETWORKS, Backbone, build_backbone, build_network

WITH_MAPS = [name for name in NETWORKS if NETWORKS[name].stages is not None]


def image(*shape):
    return InputSpec(kind="image", shape=shape)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (2, 24, 40)])
@pytest.mark.parametrize("name", WITH_MAPS)
def test_maps_are_as_their_channels_and_strides_say(name, shape):
    backbone = build_backbone(name, image(*shape), **NETWORKS[name].small).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(2, *shape))
    assert list(maps) == list(backbone.channels) == list(backbone.strides)
    for key, map in maps.items():
        assert map.shape[:2] == (2, backbone.channels[key]), key
        for pixels, places in zip(shape[1:], map.shape[2:], strict=True):  # padding may add or take a few places
            assert abs(places - pixels / backbone.strides[key]) <= 3, key
    strides = list(backbone.strides.values())
    assert strides == sorted(strides)


@pytest.mark.parametrize(
    ("name", "size", "channels", "strides"),
    [
        ("resnet18", 224, [64, 64, 128, 256, 512], [2, 4, 8, 16, 32]),
        ("resnet50", 224, [64, 256, 512, 1024, 2048], [2, 4, 8, 16, 32]),  # He et al., Table 1
        ("resnet18", 32, [64, 64, 128, 256, 512], [1, 1, 2, 4, 8]),
        ("lenet", 32, [6, 16], [2, 4]),
        ("cnn", 28, [32, 64, 128], [2, 4, 8]),
        ("residual_cnn", 32, [16, 16, 32, 64], [1, 1, 2, 4]),
        ("alexnet", 224, [64, 192, 256], [4, 8, 16]),
        ("vgg16", 224, [64, 128, 256, 512, 512], [1, 2, 4, 8, 16]),
        ("nin", 32, [96, 192], [1, 2]),
        ("googlenet", 224, [64, 192, 480, 832, 1024], [2, 4, 8, 16, 32]),  # Szegedy et al., Table 1
        ("inception_v3", 299, [64, 192, 288, 768, 2048], [2, 4, 8, 16, 32]),
        ("convnext_tiny", 224, [96, 192, 384, 768], [4, 8, 16, 32]),
        ("swin_t", 224, [96, 192, 384, 768], [4, 8, 16, 32]),
        ("vit_b_16", 224, [768], [16]),
    ],
)
def test_channels_and_strides_are_the_papers(name, size, channels, strides):
    with torch.device("meta"):
        backbone = build_backbone(name, image(3, size, size))
    assert list(backbone.channels.values()) == channels
    assert list(backbone.strides.values()) == strides


def test_the_last_map_is_what_the_network_pools():
    network = build_network("resnet18", image(3, 32, 32), 5, width=0.125).eval()
    backbone = Backbone(NETWORKS["resnet18"].stages(network), image(3, 32, 32)).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network.fc(backbone(x)["layer4"].mean((2, 3))), network(x))


def test_making_one_leaves_modes_weights_and_statistics_as_they_are():
    norm = nn.BatchNorm2d(3)
    norm.eval()
    stages = {"all": nn.Sequential(norm, nn.Conv2d(3, 4, 1), nn.Dropout())}
    backbone = Backbone(stages, image(3, 8, 8))
    assert not norm.training
    assert backbone.training
    assert stages["all"][2].training
    assert norm.num_batches_tracked == 0
    assert {parameter.device.type for parameter in backbone.parameters()} == {"cpu"}


def test_a_network_without_maps_is_no_backbone():
    with pytest.raises(InputError, match="mlp: a backbone must have feature maps, got a network without"):
        build_backbone("mlp", image(1, 8, 8))
