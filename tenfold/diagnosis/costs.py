"""What an op costs: FLOPs forward, of biases, and backward.

A multiplication and an addition are two FLOPs. Products of matrices, convolutions, attention and recurrent layers are
counted, biases separately; activations, norms and pooling are not, as in published counts. torchvision's tables call
"GFLOPS" what are multiply-adds: half of the numbers here.

The backward pass takes one product of the forward's size for each factor that a gradient is wanted of: the weight
and, behind the first layer, the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import ops
from torch.utils.flop_counter import flop_registry

from tenfold.diagnosis.tracing import Op, Trace

aten = ops.aten


@dataclass(frozen=True, kw_only=True)
class Cost:
    """FLOPs of an op or of many.

    Attributes:
        forward: without biases.
        bias: of adding biases.
        backward: of the gradients, without biases.
    """

    forward: int = 0
    bias: int = 0
    backward: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            forward=self.forward + other.forward,
            bias=self.bias + other.bias,
            backward=self.backward + other.backward,
        )


def cost_of(op: Op, biases: frozenset[int]) -> Cost:
    """What one op costs.

    Args:
        op: as traced.
        biases: ids of the tensors that are biases, so that adding one is known for what it is.

    Example:
        >>> import torch
        >>> from tenfold.diagnosis.tracing import trace
        >>> seen = trace(torch.nn.Linear(4, 3), [torch.zeros(1, 4)])
        >>> sum((cost_of(op, biases_of(seen)) for op in seen.ops), Cost())
        Cost(forward=24, bias=3, backward=24)
    """
    packet = op.func.overloadpacket
    if packet is aten.mkldnn_rnn_layer:
        return _recurrent(op, biases)
    if packet not in flop_registry:
        return Cost(bias=_added_bias(op, biases))
    forward = int(flop_registry[packet](*op.args, **op.kwargs, out_val=op.out))
    factors = _FACTORS.get(packet, _first_two)(op)
    wanted = sum(id(factor) in op.needs_grad for factor in factors)
    return Cost(forward=forward, bias=_fused_bias(op), backward=forward * wanted)


def biases_of(seen: Trace) -> frozenset[int]:
    """The ids of a trace's parameters whose last name has "bias" in it."""
    return frozenset(id(tensor) for name, tensor in seen.state.items() if "bias" in name.rpartition(".")[2])


def _first_two(op: Op) -> tuple[Any, ...]:
    return op.args[:2]


def _after_the_sum(op: Op) -> tuple[Any, ...]:
    return op.args[1:3]


_FACTORS: dict[Any, Callable[[Op], tuple[Any, ...]]] = {aten.addmm: _after_the_sum, aten.baddbmm: _after_the_sum}


def _fused_bias(op: Op) -> int:
    """Additions of a bias that the op takes along."""
    packet = op.func.overloadpacket
    if packet is aten.addmm or (packet is aten.convolution and op.args[2] is not None):
        return int(op.out.numel())
    return 0


def _added_bias(op: Op, biases: frozenset[int]) -> int:
    """Additions of a bias that is an op of its own, as after products of more than two dimensions."""
    if op.func.overloadpacket not in (aten.add, aten.add_):
        return 0
    return int(op.out.numel()) if any(id(factor) in biases for factor in op.args[:2]) else 0


def _recurrent(op: Op, biases: frozenset[int]) -> Cost:
    """One layer and direction of an LSTM in PyTorch's own kernel: every weight is used once a step."""
    x, w_ih, w_hh, b_ih = op.args[:4]
    steps: int = x.shape[0] * x.shape[1]
    weights = sum(w.numel() for w in (w_ih, w_hh))
    wanted_weights = sum(w.numel() for w in (w_ih, w_hh) if id(w) in op.needs_grad)
    through = w_hh.numel() + (w_ih.numel() if id(x) in op.needs_grad else 0)
    return Cost(
        forward=2 * steps * weights,
        bias=2 * steps * w_ih.shape[0] if id(b_ih) in biases else 0,
        backward=2 * steps * (wanted_weights + through),
    )
