"""FLOPs against published figures, PyTorch's own counter, and counts by hand."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tenfold.diagnosis import inspect_module, without_numbers


def inspected(model, *shape):
    return inspect_module(model, [torch.zeros(1, *shape)], fields=False)


def test_a_convolution_of_64_channels_at_480x640_counts_two_flops_a_multiply_add():
    without_bias = inspected(nn.Conv2d(64, 64, 3, padding=1, bias=False), 64, 480, 640)
    assert without_bias.flops == without_bias.flops_with_bias == 22_649_241_600
    with_bias = inspected(nn.Conv2d(64, 64, 3, padding=1), 64, 480, 640)
    assert with_bias.flops == 22_649_241_600
    assert with_bias.flops_with_bias == 22_649_241_600 + 64 * 480 * 640


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [  # torchvision's documentation of each network's weights: "num_params", and "GFLOPS", which are multiply-adds
        ("resnet18", 11_689_512, 1.814e9),
        ("resnet50", 25_557_032, 4.089e9),
        ("vgg16", 138_357_544, 15.47e9),
        ("alexnet", 61_100_840, 0.714e9),
        ("vit_b_16", 86_567_656, 17.564e9),
        pytest.param("swin_t", 28_288_354, 4.491e9, marks=pytest.mark.slow),
    ],
)
def test_parameters_and_flops_are_the_published_ones(name, parameters, multiply_adds):
    with without_numbers():
        model = getattr(torchvision.models, name)()
    seen = inspected(model, 3, 224, 224)
    assert seen.parameters == parameters
    assert seen.flops == pytest.approx(2 * multiply_adds, rel=0.01)


class Functional(nn.Module):
    """All of its work is done by functions."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(5, 2, 3, 3))
        self.bias = nn.Parameter(torch.zeros(5))
        self.weight = nn.Parameter(torch.zeros(7, 5))

    def forward(self, x):
        x = F.relu(F.conv2d(x, self.kernel, self.bias)).mean((2, 3))
        return x @ self.weight.T


class Attention(nn.Module):
    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x)


def test_functions_called_in_forward_are_counted():
    seen = inspected(Functional(), 2, 10, 10)
    assert seen.flops == 2 * (5 * 2 * 9 * 64 + 5 * 7)
    assert seen.flops_with_bias - seen.flops == 5 * 64
    assert [(layer.kind, layer.parameters) for layer in seen.layers] == [("Functional", 90 + 5 + 35)]


def test_attention_counts_both_of_its_products():
    assert inspected(Attention(), 4, 16, 8).flops == 2 * 2 * 4 * 16 * 16 * 8


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_recurrent_layers_use_every_weight_once_a_step(kind, gates, bias):
    seen = inspected(kind(6, 10, 2, batch_first=True, bias=bias), 7, 6)
    weights = gates * 10 * (6 + 10) + gates * 10 * (10 + 10)
    assert seen.flops == 2 * 7 * weights
    assert seen.flops_with_bias - seen.flops == (2 * 2 * 7 * gates * 10 if bias else 0)


def small_vit():
    return torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (torchvision.models.resnet18, (3, 64, 64)),
        (small_vit, (3, 32, 32)),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)), (3, 4)),
        (lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 2, 2), nn.Conv2d(4, 2, 1, bias=False)), (3, 8, 8)),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (6, 8)),
    ],
    ids=["resnet18", "vit", "mlp", "transposed", "encoder"],
)
def test_forward_and_backward_are_those_that_torch_counts_when_it_really_runs(make, shape):
    model = make().eval()
    seen = inspected(model, *shape)
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            loss = model(torch.zeros(1, *shape)).sum()
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    assert seen.flops == forward.get_total_flops()
    assert seen.backward_flops == backward.get_total_flops()


def test_frozen_layers_cost_no_gradient_of_their_weights():
    model = nn.Sequential(nn.Linear(10, 20, bias=False), nn.Linear(20, 5, bias=False))
    assert inspected(model, 10).backward_flops == 2 * (10 * 20 + 2 * 20 * 5)
    model[0].requires_grad_(False)
    seen = inspected(model, 10)
    assert seen.backward_flops == 2 * 20 * 5
    assert (seen.parameters, seen.trainable) == (300, 100)
    assert seen.training_bytes(1) - seen.activation_bytes == 4 * (300 + 3 * 100)
