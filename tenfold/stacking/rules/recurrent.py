"""RNN, LSTM and GRU: vmap has no rule for them at all.

Stacked, a layer is a time loop over products of all members (`recurrence.py`). One by one, PyTorch's fused kernels
stay; where there is dropout between layers they go layer by layer, so that both forms draw the same numbers.

Letters: T steps, B batch, N rows (all samples of all steps), D features.

Speed, forward and backward of a whole network against a loop over its members with PyTorch's own layers (16
members, 28 steps of 28 numbers, batch 64, hidden 64, float32, AMD EPYC, one thread and two): RNN 1.3 and 2.8 times
as quick, GRU 1.4 and 2.6 times; with batch 8 and hidden 16 about 10 times. LSTM 0.9 and 1.0 times: oneDNN has a
fused kernel for them, which runs at four fifths of what the processor can, and so each member runs it in turn
(`_IN_TURN_FROM`). In a compiled step the loops are operators of ours, and LSTMs in float32 on a CPU with AVX-512 a
kernel (`kernels/lstm.cpp`): 1.6 times as quick as PyTorch's one after another, forward, backward and AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tenfold.stacking import kernels
from tenfold.stacking.rules.at_once import are_members, at_once
from tenfold.stacking.rules.dropout import dropped
from tenfold.stacking.rules.recurrence import Cell, GRUCell, LSTMCell, Recurrence, RNNCell, Step
from tenfold.stacking.rules.traced_recurrence import TracedRecurrence
from tenfold.stacking.streams import member_streams
from tenfold.stacking.tracing import is_traced

# Batch x hidden from which PyTorch's kernels, a member at a time, are quicker on a CPU.
_IN_TURN_FROM = {"fused": 1024, "other": 16384}
States = list[Tensor]


class _Call(NamedTuple):
    """The arguments of `torch.lstm` and the like in one shape.

    Attributes:
        rows: the input, shape (T, B, D), or (N, D) of a packed sequence.
        batch_sizes: of a packed sequence, int64, shape (T,).
        states: the initial h of all layers and directions, shape (layers * directions, B, H); c too for an LSTM.
        weights: of all layers and directions, flat.
        batch_first: whether the caller's input and output are (B, T, ...).
    """

    rows: Tensor
    batch_sizes: Tensor | None
    states: States
    weights: Sequence[Tensor]
    has_biases: bool
    num_layers: int
    dropout: Any
    train: bool
    bidirectional: bool
    batch_first: bool

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    def layer_weights(self, layer: int) -> list[Sequence[Tensor]]:
        """For each direction: weight_ih, weight_hh, and bias_ih, bias_hh, weight_hr as far as there are such."""
        count = len(self.weights) // (self.num_layers * self.num_directions)
        first = layer * self.num_directions
        return [self.weights[count * i : count * (i + 1)] for i in range(first, first + self.num_directions)]

    def layer_states(self, layer: int) -> States:
        return [state[layer * self.num_directions : (layer + 1) * self.num_directions] for state in self.states]


def _read(args: tuple[Any, ...], has_cell: bool) -> _Call:
    """Reads both signatures: (input, hx, weights, ...) and, of packed sequences, (data, batch_sizes, hx, ...)."""
    packed = isinstance(args[3], list | tuple)
    rows, batch_sizes, hx, weights, *options = args if packed else (args[0], None, *args[1:])
    has_biases, num_layers, dropout, train, bidirectional, *rest = options
    batch_first = bool(rest and rest[0])
    rows = rows.transpose(0, 1) if batch_first else rows
    states = list(hx) if has_cell else [hx]
    return _Call(
        rows, batch_sizes, states, weights, has_biases, num_layers, dropout, train, bidirectional, batch_first
    )


def _layer_by_layer(call: _Call, run_layer: Callable[[_Call, int, Tensor], tuple[Tensor, States]]) -> tuple[Any, ...]:
    """All layers, with dropout from the member's streams between them; returns what `torch.lstm` returns."""
    rows, finals = call.rows, []
    for layer in range(call.num_layers):
        rows, final = run_layer(call, layer, rows)
        finals.append(final)
        if layer < call.num_layers - 1:
            rows = dropped(rows, rows.shape, call.dropout, call.train)
    states = (torch.cat(parts) for parts in zip(*finals, strict=True))
    return (rows.transpose(0, 1) if call.batch_first else rows, *states)


def _one_by_one(native: Callable[..., Any], has_cell: bool) -> Callable[..., Any]:
    """The rule for a member alone: PyTorch's kernel, layer by layer where there is dropout between the layers."""

    def run_layer(call: _Call, layer: int, rows: Tensor) -> tuple[Tensor, States]:
        weights = [weight for direction in call.layer_weights(layer) for weight in direction]
        states = call.layer_states(layer)
        sizes = () if call.batch_sizes is None else (call.batch_sizes,)
        options = (call.has_biases, 1, 0.0, call.train, call.bidirectional, *(() if sizes else (False,)))
        output, *final = native(rows, *sizes, tuple(states) if has_cell else states[0], weights, *options)
        return output, final

    def rule(*args: Any) -> Any:
        call = _read(args, has_cell)
        if call.num_layers == 1 or not call.train:
            return native(*args)
        if call.dropout == 0.0:
            member_streams().skip(call.num_layers - 1)
            return native(*args)
        return _layer_by_layer(call, run_layer)

    return rule


def _stacked(native: Callable[..., Any], cell: Cell) -> Callable[..., Any]:
    """The rule for all members at once."""
    has_cell = cell.num_states == 2

    def run_layer(call: _Call, layer: int, rows: Tensor) -> tuple[Tensor, States]:
        states = call.layer_states(layer)
        directions = [
            _direction(call, rows, weights, [state[i] for state in states], native, cell, reverse=i == 1)
            for i, weights in enumerate(call.layer_weights(layer))
        ]
        outputs, *finals = zip(*directions, strict=True)
        return torch.cat(outputs, dim=-1), [torch.stack(final) for final in finals]

    def rule(*args: Any) -> Any:
        call = _read(args, has_cell)
        if not are_members(call.rows, *call.states, *call.weights):
            return native(*args)
        return _layer_by_layer(call, run_layer)

    return rule


def _direction(
    call: _Call,
    rows: Tensor,
    weights: Sequence[Tensor],
    states: States,
    native: Callable[..., Any],
    cell: Cell,
    *,
    reverse: bool,
) -> tuple[Tensor, ...]:
    weight_ih, weight_hh, *rest = weights
    bias_ih, bias_hh = (rest[0], rest[1]) if call.has_biases else (None, None)
    projection = rest[-1] if len(rest) in (1, 3) else None
    if projection is None and call.batch_sizes is None and _is_quicker_in_turn(cell, rows, states):
        return _in_turn(call, rows, weights, states, native, reverse)
    if not isinstance(cell, GRUCell) and bias_ih is not None and bias_hh is not None:
        bias_ih, bias_hh = bias_ih + bias_hh, None
    if projection is None and call.batch_sizes is None and _has_kernel(cell, rows, *weights, *states):
        return _by_kernel(rows, [weight_ih, weight_hh, bias_ih, *states], reverse)
    flat = rows if call.batch_sizes is not None else rows.flatten(0, 1)
    gates = _linear(flat, weight_ih, bias_ih)
    steps = _steps(call, rows, reverse)
    states = [state.to(gates.dtype) for state in states]

    def run(*tensors: Tensor | None) -> tuple[Tensor, ...]:
        loop = TracedRecurrence if is_traced() and len(steps) > 1 else Recurrence
        return loop.apply(cell, steps, *tensors)

    output, *final = at_once(run, gates, weight_hh, bias_hh, projection, *states)
    return (output if call.batch_sizes is not None else output.unflatten(0, rows.shape[:2]), *final)


def _has_kernel(cell: Cell, *tensors: Tensor) -> bool:
    """Whether the layer is a call into C++: in compiled steps, where there is a compiler."""
    return is_traced() and isinstance(cell, LSTMCell) and kernels.are_there(*tensors)


def _by_kernel(rows: Tensor, others: Sequence[Tensor | None], reverse: bool) -> tuple[Tensor, ...]:
    def run(rows_M: Tensor, *others_M: Tensor | None) -> tuple[Tensor, ...]:
        is_shared = rows_M.stride(0) == 0 and not rows_M.requires_grad
        return kernels.LSTM.apply(rows_M[0] if is_shared else rows_M, *others_M, reverse)

    return at_once(run, rows, *others)


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product = torch.mm(rows, weight.t())
    return product if bias is None else product + bias


def _steps(call: _Call, rows: Tensor, reverse: bool) -> list[Step]:
    sizes = [rows.shape[1]] * rows.shape[0] if call.batch_sizes is None else call.batch_sizes.tolist()
    steps, start = [], 0
    for size in sizes:
        steps.append(Step(start, size))
        start += size
    return steps[::-1] if reverse else steps


def _is_quicker_in_turn(cell: Cell, rows: Tensor, states: States) -> bool:
    if is_traced():  # one operator a layer, not one a member
        return False
    onednn = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    fused = isinstance(cell, LSTMCell) and rows.dtype == torch.float32 and onednn
    return rows.device.type == "cpu" and states[0].numel() >= _IN_TURN_FROM["fused" if fused else "other"]


def _in_turn(
    call: _Call,
    rows: Tensor,
    weights: Sequence[Tensor],
    states: States,
    native: Callable[..., Any],
    reverse: bool,
) -> tuple[Tensor, ...]:
    """OneDNN's kernel for one member after another; it knows no single backward direction, so time is turned."""

    def run(rows_M: Tensor, *tensors_M: Tensor) -> tuple[Tensor, ...]:
        members = []
        for own_rows, *own in zip(rows_M.unbind(0), *(tensor.unbind(0) for tensor in tensors_M), strict=True):
            first, *others = (state.unsqueeze(0) for state in own[: len(states)])
            hx = (first, *others) if others else first
            own_weights = own[len(states) :]
            members.append(native(own_rows, hx, own_weights, call.has_biases, 1, 0.0, call.train, False, False))
        return tuple(torch.stack(parts) for parts in zip(*members, strict=True))

    output, *final = at_once(run, rows.flip(0) if reverse else rows, *states, *weights)
    return (output.flip(0) if reverse else output, *(state[0] for state in final))


def _cell_rule(native: Callable[..., Any], cell: Cell) -> Callable[..., Any]:
    """`LSTMCell` and the like: a loop of one step."""

    def rule(
        input: Tensor,
        hx: Any,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:
        states = list(hx) if cell.num_states == 2 else [hx]
        if not are_members(input, w_ih, w_hh, *states):
            return native(input, hx, w_ih, w_hh, b_ih, b_hh)
        biases = [] if b_ih is None or b_hh is None else [b_ih, b_hh]
        call = _Call(input.unsqueeze(0), None, states, [], bool(biases), 1, 0.0, True, False, False)
        _, *final = _direction(call, call.rows, [w_ih, w_hh, *biases], states, native, cell, reverse=False)
        return tuple(final) if cell.num_states == 2 else final[0]

    return rule


def _data_ptr(self: Tensor) -> int:
    """0 where the members have a memory each: cuDNN's layers then leave their weights as they lie."""
    return 0 if are_members(self) else self.data_ptr()


def _pack(input: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
    """`_pack_padded_sequence` as one gather; the lengths are shared by all members."""
    if are_members(lengths):
        raise RuntimeError(
            "pack_padded_sequence: lengths must be the same for all members to run as one program. "
            "Pass the sequences as a batch that all members share"
        )
    counts = lengths.tolist()
    sizes = [sum(length > t for length in counts) for t in range(max(counts))]
    stride_t, stride_b = (1, input.shape[1]) if batch_first else (input.shape[1], 1)
    places = [t * stride_t + b * stride_b for t, size in enumerate(sizes) for b in range(size)]
    rows = input.flatten(0, 1).index_select(0, torch.tensor(places, device=input.device))
    return rows, torch.tensor(sizes)


def _unpack(
    data: Tensor, batch_sizes: Tensor, batch_first: bool, padding_value: float, total_length: int
) -> tuple[Tensor, Tensor]:
    """`_pad_packed_sequence` as one gather; the padding is one more row."""
    sizes = batch_sizes.tolist()
    num_steps = max(total_length, len(sizes))
    places, start = torch.full((num_steps, sizes[0]), data.shape[0]), 0
    for t, size in enumerate(sizes):
        places[t, :size] = torch.arange(start, start + size)
        start += size
    lengths = (places < data.shape[0]).sum(0)
    places = (places.t() if batch_first else places).to(data.device)
    padding = data.new_full((1, *data.shape[1:]), padding_value)
    padded = torch.cat([data, padding]).index_select(0, places.flatten())
    return padded.unflatten(0, places.shape), lengths


_LAYERS: list[tuple[Callable[..., Any], Cell]] = [
    (torch.rnn_tanh, RNNCell("tanh")),
    (torch.rnn_relu, RNNCell("relu")),
    (torch.lstm, LSTMCell()),
    (torch.gru, GRUCell()),
]
_CELLS: list[tuple[Callable[..., Any], Cell]] = [
    (torch.rnn_tanh_cell, RNNCell("tanh")),
    (torch.rnn_relu_cell, RNNCell("relu")),
    (torch.lstm_cell, LSTMCell()),
    (torch.gru_cell, GRUCell()),
]
RECURRENT_ONE_BY_ONE: dict[Any, Callable[..., Any]] = {
    native: _one_by_one(native, cell.num_states == 2) for native, cell in _LAYERS
}
RECURRENT_STACKED: dict[Any, Callable[..., Any]] = {
    **{native: _stacked(native, cell) for native, cell in _LAYERS},
    **{native: _cell_rule(native, cell) for native, cell in _CELLS},
    Tensor.data_ptr: _data_ptr,
    torch._pack_padded_sequence: _pack,
    torch._pad_packed_sequence: _unpack,
}
