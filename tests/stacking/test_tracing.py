"""While a step is traced for a compiler, a recurrent layer is one operator of ours."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import tenfold
from tenfold.stacking import kernels
from tenfold.stacking.tracing import is_traced, tracing


class Last(nn.Module):
    def __init__(self, make, **options):
        super().__init__()
        self.layer = make(4, 8, batch_first=True, **options)

    def forward(self, x):
        return self.layer(x)[0][:, -1].square().mean()


class Packed(Last):
    def forward(self, x):
        packed = pack_padded_sequence(x, torch.tensor([5, 3, 2]), batch_first=True)
        output, state = self.layer(packed)
        return pad_packed_sequence(output)[0].square().mean() + state[0].mean()


def run(make, traced, dtype):
    """Losses, gradients, and the function that gives them."""
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        models.append(make().to(dtype))
    stack, x = tenfold.stack(models, form="stacked"), torch.linspace(-1, 1, 3 * 5 * 4, dtype=dtype).view(3, 5, 4)
    parameters = list(stack.parameters())

    def step(x):
        loss_M = stack.each(lambda model, x: model(x), x)
        return loss_M.detach(), *torch.autograd.grad(loss_M.sum(), parameters)

    step(x)
    with tracing() if traced else nullcontext():
        assert is_traced() is traced
        return step(x), step


LAYERS = {
    "LSTM": lambda: Last(nn.LSTM),
    "LSTM of two layers, both ways": lambda: Last(nn.LSTM, num_layers=2, bidirectional=True),
    "LSTM with a projection": lambda: Last(nn.LSTM, proj_size=3),
    "LSTM without bias": lambda: Last(nn.LSTM, bias=False),
    "LSTM of packed rows": lambda: Packed(nn.LSTM),
    "GRU": lambda: Last(nn.GRU),
    "GRU without bias, both ways": lambda: Last(nn.GRU, bias=False, bidirectional=True),
    "GRU of packed rows": lambda: Packed(nn.GRU),
    "RNN": lambda: Last(nn.RNN),
    "RNN with ReLU": lambda: Last(nn.RNN, nonlinearity="relu"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_a_traced_recurrent_layer_is_one_operator_with_the_same_results(name, dtype):
    expected, _ = run(LAYERS[name], traced=False, dtype=dtype)
    found, step = run(LAYERS[name], traced=True, dtype=dtype)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    if "packed" in name:  # the lengths are read off a tensor, which no program can hold
        return
    with tracing():
        names = [str(node.target) for node in make_fx(step)(torch.zeros(3, 5, 4, dtype=dtype)).graph.nodes]
    has_kernel = kernels.are_there() and dtype == torch.float32 and "LSTM" in name and "projection" not in name
    operator = "tenfold.lstm" if has_kernel else "tenfold.recurrence"
    layers = (2 if "two layers" in name else 1) * (2 if "both ways" in name else 1)
    assert names.count(f"{operator}.default") == layers
    assert names.count(f"{operator}_backward.default") == layers
    assert "aten.mkldnn_rnn_layer.default" not in names


def test_what_is_traced_is_so_within_its_block_alone():
    assert not is_traced()
    with tracing():
        assert is_traced()
    assert not is_traced()
