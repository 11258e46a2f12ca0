"""While a step is traced for a compiler, recurrent layers run as loops that it can take apart."""

import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import tenfold
from tenfold.stacking.rules.tracing import is_traced, tracing


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 64, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0][:, -1].square().mean()


def operators(traced):
    stack, x = tenfold.stack([Last(), Last()]), torch.randn(32, 3, 4)

    def run(x):
        return stack.each(lambda model, x: model(x), x)

    run(x)
    if not traced:
        return {str(node.target) for node in make_fx(run)(x).graph.nodes}, run(x)
    with tracing():
        assert is_traced()
        return {str(node.target) for node in make_fx(run)(x).graph.nodes}, run(x)


def test_a_traced_lstm_holds_no_kernel_that_a_compiler_cannot_look_into():
    opaque = {"aten.mkldnn_rnn_layer.default"}
    torch.manual_seed(0)
    in_turn, outputs = operators(traced=False)
    torch.manual_seed(0)
    as_loop, same = operators(traced=True)
    assert not opaque & as_loop
    assert "aten.bmm.default" in as_loop
    torch.testing.assert_close(outputs, same)
    if torch.backends.mkldnn.is_available():
        assert opaque & in_turn
    assert not is_traced()
