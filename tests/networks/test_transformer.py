import pytest
import torch

from tenfold.core.specs import InputSpec
from tenfold.networks import Transformer

DIGIT = InputSpec(kind="image", shape=(1, 28, 28))


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("config", "inputs", "tokens"),
    [
        ({"patch_size": 4}, 16, 49),
        ({"patch_size": 5}, 25, 25),  # what is left over is cut off
        ({"tokens": "rows"}, 28, 28),
    ],
)
@pytest.mark.parametrize(("dim", "depth", "ratio"), [(64, 2, 2), (16, 3, 4)])
def test_parameters_are_those_of_the_papers_layers(config, inputs, tokens, dim, depth, ratio):
    network = Transformer(DIGIT, 10, embed_dim=dim, depth=depth, mlp_ratio=ratio, **config)
    attention, mlp, norms = 4 * dim * dim + 4 * dim, 2 * ratio * dim * dim + ratio * dim + dim, 4 * dim
    layers = depth * (attention + mlp + norms)
    assert count(network) == (inputs + 1) * dim + tokens * dim + layers + 2 * dim + (dim + 1) * 10


def test_rows_and_patches_are_linear_images_of_their_pixels():
    x = torch.randn(2, 3, 8, 12)
    spec = InputSpec(kind="image", shape=(3, 8, 12))
    rows = Transformer(spec, 4, tokens="rows").embed
    expected = (
        torch.stack([x[:, :, row].flatten(1) for row in range(8)], dim=1) @ rows.weight.flatten(1).T + rows.bias
    )
    torch.testing.assert_close(rows(x).flatten(2).transpose(1, 2), expected, rtol=1e-4, atol=1e-5)
    patches = Transformer(spec, 4, patch_size=4).embed
    second = x[:, :, :4, 4:8].flatten(1) @ patches.weight.flatten(1).T + patches.bias
    torch.testing.assert_close(patches(x).flatten(2)[:, :, 1], second, rtol=1e-4, atol=1e-5)


def test_layers_start_from_weights_of_their_own():
    layers = Transformer(DIGIT, 10, depth=2).encoder.layers
    assert not torch.equal(layers[0].linear1.weight, layers[1].linear1.weight)
    assert not torch.equal(layers[0].self_attn.in_proj_weight, layers[1].self_attn.in_proj_weight)


def test_positions_tell_tokens_apart():
    network = Transformer(DIGIT, 10, tokens="rows").eval()
    x = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        assert not torch.allclose(network(x), network(x.flip(2)), atol=1e-4)
        network.positions.zero_()
        torch.testing.assert_close(network(x), network(x.flip(2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"embed_dim": 30, "num_heads": 4}, "embed_dim must be a multiple of num_heads = 4, got 30. Take 32"),
        ({"patch_size": 29}, "patch_size must be at most 28 for pictures of 28x28, got 29"),
        ({"tokens": "row"}, "tokens must be one of .* got 'row'. Did you mean 'rows'"),
        ({"depth": 0}, "transformer: depth must be a whole number >= 1, got 0"),
        ({"drop_prob": 2}, "transformer: drop_prob must be a number in .0, 1., got 2"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_came(config, message):
    with pytest.raises(ValueError, match=message):
        Transformer(DIGIT, 10, **config)
