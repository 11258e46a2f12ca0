import importlib.util
import sys

import pytest
import torch

from tenfold.core.errors import InputError
from tenfold.core.specs import InputSpec
from tenfold.networks import NETWORKS, build_network, network_settings, obstacle

needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs timm, the extra of that name")
SMALL = InputSpec(kind="image", shape=(1, 32, 32))


def test_without_timm_the_way_to_it_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"timm:resnet18: needs timm, .* Run: pip install 'tenfold\[timm\]'"):
        build_network("timm:resnet18", SMALL, 3)
    assert "timm:resnet18" in NETWORKS
    assert not any(name.startswith("timm:") for name in NETWORKS)


@needs_timm
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "parameters"), [("timm:resnet10t", 5_437_190), ("timm:vit_tiny_patch16_224", 5_717_416)]
)
def test_parameters_are_timms(name, parameters):
    with torch.device("meta"):
        network = build_network(name, InputSpec(kind="image", shape=(3, 224, 224)), 1000)
    count = sum(parameter.numel() for parameter in network.parameters())
    import timm

    with torch.device("meta"):
        theirs = timm.create_model(name.removeprefix("timm:"))
    assert count == sum(parameter.numel() for parameter in theirs.parameters())
    if "vit" in name:
        assert count == parameters  # DeiT-Ti


@needs_timm
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["timm:resnet10t", "timm:vit_tiny_patch16_224"])
def test_images_of_any_channels_and_size_give_the_outputs(name):
    network = build_network(name, SMALL, 4, drop_rate=0.1).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 4)
    assert network_settings(name) == {"drop_rate": 0.0, "drop_path_rate": 0.0, "weights": None}
    assert obstacle(name, InputSpec(kind="table", shape=(3,))) == "the input must be of kind image, got a table"


@needs_timm
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "config", "error", "message"),
    [
        ("timm:resnet10", {}, InputError, "unknown network 'timm:resnet10'. Did you mean"),
        ("timm:vgg11", {"drop_path_rate": 0.1}, InputError, "timm cannot build it with"),
        ("timm:resnet10t", {"drop_rate": 1}, ValueError, r"drop_rate must be a number in \[0, 1\), got 1"),
    ],
)
def test_a_wrong_call_is_one_sentence(name, config, error, message):
    with pytest.raises(error, match=message):
        build_network(name, SMALL, 4, **config)
