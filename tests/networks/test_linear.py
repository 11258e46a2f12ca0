import torch
from torch.nn import functional as F

from tenfold.core.specs import InputSpec
from tenfold.networks import Linear


def test_categories_are_a_linear_layer_over_their_one_hot_codes():
    spec = InputSpec(kind="table", shape=(2,), cardinalities=(3, 4))
    network = Linear(spec, num_outputs=5).double()
    for table in network.categories.parameters():
        torch.nn.init.normal_(table)
    x, codes = torch.randn(6, 2).double(), torch.stack([torch.arange(6) % 3, torch.arange(6) % 4], dim=1)
    one_hot = torch.cat([F.one_hot(codes[:, 0], 3), F.one_hot(codes[:, 1], 4)], dim=1).double()
    weight = torch.cat([column.weight for column in network.categories.columns])
    expected = x @ network.numbers.weight.T + network.numbers.bias + one_hot @ weight
    assert torch.allclose(network(x, codes), expected)


def test_categories_start_at_zero():
    network = Linear(InputSpec(kind="table", shape=(2,), cardinalities=(3,)), num_outputs=2)
    assert all((table == 0).all() for table in network.categories.parameters())


def test_an_image_has_one_weight_a_pixel_and_class():
    network = Linear(InputSpec(kind="image", shape=(1, 28, 28)), num_outputs=10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 7850
