"""One matrix over every large image network, narrowed: shapes, gradients, stacks."""

import pytest
import torch
import torch.nn.functional as F
import torchvision

import tenfold
from tenfold.core.seeds import torch_seed
from tenfold.core.specs import InputSpec
from tenfold.networks import NETWORKS, build_network, network_settings
from tenfold.testing import check_alone_or_together, network_job

LARGE = [name for name in NETWORKS if NETWORKS[name].heavy and NETWORKS[name].pretrained]
# one of each family here, the others of equal layers in the slow part
BRIEF = {
    *("cnn", "plain_cnn", "residual_cnn", "alexnet", "vgg11", "vgg11_bn", "nin", "resnet18", "resnet50"),
    *("googlenet", "convnext_tiny", "swin_t", "vit_b_16"),
}


def image(*shape):
    return InputSpec(kind="image", shape=shape)


def narrow(name, spec, num_outputs=3, **config):
    with torch_seed(0):
        return build_network(name, spec, num_outputs, **{**NETWORKS[name].small, **config})


def _without_chance(name):
    return {key: 0.0 for key in ("dropout", "stochastic_depth") if key in network_settings(name)}


def with_family_slow():
    return [pytest.param(name, marks=[] if name in BRIEF else [pytest.mark.slow]) for name in LARGE]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 64, 48)])
@pytest.mark.parametrize("name", LARGE)
def test_small_images_of_any_channels_give_the_outputs(name, shape):
    network = narrow(name, image(*shape), 5).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, *shape)).shape == (2, 5)


@pytest.mark.parametrize("name", LARGE)
def test_photographs_of_any_channels_give_the_outputs(name):
    with torch.device("meta"):
        network = narrow(name, image(4, 224, 160), 5).eval()
        assert network(torch.zeros(2, 4, 224, 160)).shape == (2, 5)


@pytest.mark.parametrize("name", LARGE)
def test_the_least_size_is_enough(name):
    spec = image(1, NETWORKS[name].min_image_size, NETWORKS[name].min_image_size)
    with torch.no_grad():
        assert narrow(name, spec).eval()(torch.zeros(1, *spec.shape)).shape == (1, 3)


@pytest.mark.parametrize("name", LARGE)
def test_gradients_reach_every_parameter(name):
    network = narrow(name, image(1, 28, 28), **_without_chance(name)).double()
    with torch.no_grad(), torch_seed(1):
        for parameter in network.parameters():  # away from zero, where some begin
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(4, 1, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    F.cross_entropy(network(x), torch.tensor([0, 1, 2, 0])).backward()
    assert [key for key, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("name", with_family_slow())
def test_a_stack_trains_each_member_as_alone_and_as_one_program(name):
    job = network_job(name)
    check_alone_or_together(**job, num_members=2, num_steps=1)
    stack = tenfold.stack([job["make_model"]() for _ in range(2)])
    stack.each(job["loss"], *job["batches"][0])
    assert stack.form == "stacked"


SAME_LAYERS = [
    name
    for name in LARGE
    if hasattr(torchvision.models, name) and name not in ("inception_v3", "vit_l_16", "vit_l_32", "swin_b")
]


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME_LAYERS)
def test_with_torchvisions_weights_the_outputs_are_torchvisions(name):
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    theirs = getattr(torchvision.models, name)(weights=None, **options).eval()
    size = 224
    ours = build_network(name, image(3, size, size), 1000).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg11_bn", "alexnet", "resnet34", "convnext_tiny", "swin_t"])
def test_equal_seeds_begin_with_torchvisions_own_weights(name):
    with torch_seed(3):
        ours = build_network(name, image(3, 224, 224), 7)
    with torch_seed(3):
        theirs = getattr(torchvision.models, name)(weights=None, num_classes=7)
    states = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in states)


def test_the_naive_block_has_many_times_the_parameters_of_the_reduced_one():
    counts = []
    for block in ("reduced", "naive"):
        network = narrow("googlenet", image(1, 28, 28), block=block)
        assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 3)
        counts.append(sum(parameter.numel() for parameter in network.parameters()))
    assert counts[1] > 5 * counts[0]


def test_the_twins_differ_in_their_shortcuts_alone():
    twins = [narrow(name, image(3, 16, 16), depth=20) for name in ("plain_cnn", "residual_cnn")]
    first, second = (twin.state_dict() for twin in twins)
    assert all(torch.equal(first[key], second[key]) for key in first | second)
    x = torch.randn(2, 3, 16, 16)
    assert not torch.allclose(twins[0].eval()(x), twins[1].eval()(x))


@pytest.mark.parametrize(("depth", "blocks"), [(8, [1, 1, 1]), (20, [3, 3, 3]), (40, [7, 6, 6]), (110, [18, 18, 18])])
def test_a_depth_is_shared_out_over_three_stages(depth, blocks):
    network = narrow("residual_cnn", image(3, 8, 8), depth=depth)
    assert [len(stage) for stage in network.stages] == blocks
    weights = [p for key, p in network.named_parameters() if key.endswith("weight") and p.ndim > 1]
    assert len(weights) == depth


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("resnet50", {"width": 0}, "resnet50: width must be a positive number, got 0"),
        ("resnet50", {"stem": "tiny"}, "resnet50: stem must be one of .* got 'tiny'"),
        ("alexnet", {"stem": "large"}, "stem must be 'small' for images below 63 pixels, got 'large' for 28x28"),
        ("alexnet", {"dropout": 1}, r"alexnet: dropout must be a number in \[0, 1\), got 1"),
        ("vgg16", {"dropout": -0.1}, r"vgg16: dropout must be a number in \[0, 1\), got -0.1"),
        ("nin", {"width": -1}, "nin: width must be a positive number, got -1"),
        ("googlenet", {"width": 0.3}, "googlenet: width must be a multiple of 1/8, got 0.3"),
        ("googlenet", {"block": "best"}, "googlenet: block must be one of .* got 'best'"),
        ("googlenet", {"transform_input": True}, "transform_input must be False for 1 channels"),
        ("inception_v3", {"width": 0.1}, "inception_v3: width must be a multiple of 1/16, got 0.1"),
        ("convnext_tiny", {"stochastic_depth": 2}, r"stochastic_depth must be a number in \[0, 1\), got 2"),
        ("swin_t", {"width": True}, "swin_t: width must be a positive number, got True"),
        ("vit_b_16", {"patch_size": 0}, "vit_b_16: patch_size must be a whole number >= 1, got 0"),
        ("plain_cnn", {"depth": 21}, "plain_cnn: depth must be even, got 21"),
        ("residual_cnn", {"depth": 6}, "residual_cnn: depth must be a whole number >= 8, got 6"),
        ("residual_cnn", {"norm": "layer"}, "residual_cnn: norm must be one of .* got 'layer'"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_came(name, config, message):
    with pytest.raises(ValueError, match=message):
        build_network(name, image(1, 28, 28), 3, **config)
