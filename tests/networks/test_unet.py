import pytest
import torch
import torch.nn.functional as F

from tenfold.core.specs import InputSpec
from tenfold.networks import UNet, build_network
from tenfold.testing import check_alone_or_together, check_plain_out, check_strangers


def scene(*shape):
    return InputSpec(kind="image", shape=shape, dense=True)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("shape", "num_outputs", "config", "parameters"),
    [
        ((1, 572, 572), 2, {"norm": "none"}, 31_030_658),  # figure 1 of the paper
        ((3, 572, 572), 2, {"norm": "batch"}, 31_037_698),  # Pytorch-UNet, transposed convolutions
    ],
)
def test_parameters_are_as_many_as_published(shape, num_outputs, config, parameters):
    assert count(UNet(scene(*shape), num_outputs, width=64, **config)) == parameters


def test_the_quoted_number_is_that_of_a_version_with_another_head():
    body = count(UNet(scene(1, 16, 16), 2, width=64, norm="none")) - (64 * 2 + 2)
    assert body + (64 * 2 * 9 + 2) + (2 * 1 + 1) == 31_031_685


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 17, 31), (2, 96, 128), (1, 33, 16)])
@pytest.mark.parametrize("depth", [1, 4])
def test_outputs_are_as_large_as_the_picture_whatever_its_size(shape, depth):
    network = UNet(scene(*shape), 5, width=2, depth=depth)
    assert network(torch.zeros(2, *shape)).shape == (2, 5, *shape[1:])


def test_padding_is_zeros_below_and_to_the_right_that_the_outputs_lack():
    torch.manual_seed(0)
    network = UNet(scene(1, 18, 21), 3, width=2, depth=2).eval()
    x = torch.randn(1, 1, 18, 21)
    assert torch.equal(network(x), network(F.pad(x, (0, 3, 0, 2)))[:, :, :18, :21])


def test_each_pixel_is_told_by_its_surroundings():
    torch.manual_seed(0)
    network = UNet(scene(1, 48, 48), 2, width=2, depth=2, norm="none")
    x = torch.randn(1, 1, 48, 48, requires_grad=True)
    network(x)[0, 0, 24, 24].backward()
    reached = x.grad[0, 0].abs() > 0
    assert reached[24, 24]
    assert not reached[0].any()
    assert not reached[:, -1].any()


def test_it_learns_where_a_square_is():
    torch.manual_seed(0)
    network = UNet(scene(1, 16, 16), 2, width=4, depth=2)
    masks = torch.zeros(4, 16, 16, dtype=torch.int64)
    for place, mask in enumerate(masks):
        mask[2 + 2 * place : 8 + 2 * place, 4:10] = 1
    x = masks[:, None].float() + 0.1 * torch.randn(4, 1, 16, 16)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(network(x), masks).backward()
        optimizer.step()
    assert (network(x).argmax(dim=1) == masks).float().mean() > 0.99


def narrow_job(norm):
    torch.manual_seed(0)
    batch = (torch.randn(3, 2, 16, 18), torch.randint(3, (3, 16, 18)))
    return {
        "make_model": lambda: build_network("unet", scene(2, 16, 18), 3, width=3, depth=2, norm=norm),
        "batches": [batch],
        "loss": lambda model, x, masks: F.cross_entropy(model(x), masks),
    }


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_narrow_one_keeps_the_promises_of_the_stack(norm):
    check_alone_or_together(**narrow_job(norm), num_steps=3, num_members=3)
    check_strangers(**narrow_job(norm), num_steps=2)
    check_plain_out(**narrow_job(norm))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"width": 0}, "unet: width must be a whole number >= 1, got 0"),
        ({"depth": 1.5}, "unet: depth must be a whole number >= 1, got 1.5"),
        ({"norm": "bach"}, "unet: norm must be one of .*, got 'bach'. Did you mean 'batch'"),
    ],
)
def test_a_wrong_setting_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        UNet(scene(1, 16, 16), 2, **config)
