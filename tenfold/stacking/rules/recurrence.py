"""The time loops of RNN, LSTM and GRU over stacked products, with gradients written by hand.

Letters: M members, N rows (the samples of all time steps, step after step), B batch, H hidden, G gates (H, 3H, 4H),
P projected hidden. The rows of a step are its samples; under packed sequences a later step has fewer of them.

The input's share of the gates comes ready for all steps as one product. By hand because autograd would keep a
node for each of a dozen small kernels a step, and add up the weight's gradient step by step; here it is one product
over all rows.

References:
    Hochreiter, Schmidhuber: Long short-term memory, 1997. Cho et al.: Learning phrase representations using RNN
    encoder-decoder, EMNLP 2014; the equations are those in the documentation of `torch.nn.LSTM` and `torch.nn.GRU`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Saved = tuple[Tensor, ...]
_aten = torch.ops.aten


class Step(NamedTuple):
    """The rows of one time step.

    Attributes:
        start: the first row.
        size: how many samples take part.
    """

    start: int
    size: int


class Cell(ABC):
    """What one step computes, and its gradient."""

    num_states = 1

    @abstractmethod
    def forward(self, gates: Tensor, hidden: Tensor, states: Sequence[Tensor]) -> tuple[list[Tensor], Saved]:
        """The new states, and what the gradient needs.

        Args:
            gates: the input's share, shape (M, B, G).
            hidden: the hidden state's share, shape (M, B, G); may be overwritten.
            states: before the step, each of shape (M, B, H).
        """

    @abstractmethod
    def backward(
        self, grads: Sequence[Tensor], saved: Saved, states: Sequence[Tensor], d_gates: Tensor, d_hidden: Tensor
    ) -> list[Tensor | None]:
        """Writes the gradients of the two shares; returns those of the states, but for what goes through W.

        Args:
            grads: of the new states.
            saved: what `forward` left.
            states: before the step.
            d_gates: to be written, shape (M, B, G).
            d_hidden: likewise; the same memory as `d_gates` but for a GRU.
        """


class RNNCell(Cell):
    """h' = act(gates + W h + b), the activation tanh or relu."""

    def __init__(self, activation: str) -> None:
        self.tanh = activation == "tanh"

    def forward(self, gates: Tensor, hidden: Tensor, states: Sequence[Tensor]) -> tuple[list[Tensor], Saved]:
        """See `Cell`."""
        new = hidden.add_(gates)
        new = new.tanh_() if self.tanh else new.relu_()
        return [new], (new,)

    def backward(
        self, grads: Sequence[Tensor], saved: Saved, states: Sequence[Tensor], d_gates: Tensor, d_hidden: Tensor
    ) -> list[Tensor | None]:
        """See `Cell`."""
        (new,) = saved
        if self.tanh:
            _aten.tanh_backward.grad_input(grads[0], new, grad_input=d_gates)
        else:
            torch.mul(grads[0], new > 0, out=d_gates)
        return [None]


class LSTMCell(Cell):
    """i, f, g, o = gates + W h + b; c' = f c + i g; h' = o tanh(c')."""

    num_states = 2

    def forward(self, gates: Tensor, hidden: Tensor, states: Sequence[Tensor]) -> tuple[list[Tensor], Saved]:
        """See `Cell`."""
        size = hidden.shape[-1] // 4
        gates = hidden.add_(gates)
        gates[..., : 2 * size].sigmoid_()
        gates[..., 2 * size : 3 * size].tanh_()
        gates[..., 3 * size :].sigmoid_()
        i, f, g, o = gates.split(size, dim=-1)
        cell = (f * states[1]).addcmul_(i, g)
        tanh = cell.tanh()
        return [o * tanh, cell], (gates, tanh)

    def backward(
        self, grads: Sequence[Tensor], saved: Saved, states: Sequence[Tensor], d_gates: Tensor, d_hidden: Tensor
    ) -> list[Tensor | None]:
        """See `Cell`."""
        gates, tanh = saved
        i, f, g, o = gates.split(tanh.shape[-1], dim=-1)
        d_i, d_f, d_g, d_o = d_gates.split(tanh.shape[-1], dim=-1)
        d_cell = _aten.tanh_backward(grads[0] * o, tanh).add_(grads[1])
        _aten.sigmoid_backward.grad_input(d_cell * g, i, grad_input=d_i)
        _aten.sigmoid_backward.grad_input(d_cell * states[1], f, grad_input=d_f)
        _aten.tanh_backward.grad_input(d_cell * i, g, grad_input=d_g)
        _aten.sigmoid_backward.grad_input(grads[0] * tanh, o, grad_input=d_o)
        return [None, d_cell.mul_(f)]


class GRUCell(Cell):
    """r, z = sigmoid(gates + W h + b); n = tanh(gate + r (W h + b)); h' = n + z (h - n)."""

    def forward(self, gates: Tensor, hidden: Tensor, states: Sequence[Tensor]) -> tuple[list[Tensor], Saved]:
        """See `Cell`."""
        size = hidden.shape[-1] // 3
        resets = (gates[..., : 2 * size] + hidden[..., : 2 * size]).sigmoid_()
        r, z = resets.split(size, dim=-1)
        own = hidden[..., 2 * size :]
        new = torch.addcmul(gates[..., 2 * size :], r, own).tanh_()
        return [torch.lerp(new, states[0], z)], (resets, own, new)

    def backward(
        self, grads: Sequence[Tensor], saved: Saved, states: Sequence[Tensor], d_gates: Tensor, d_hidden: Tensor
    ) -> list[Tensor | None]:
        """See `Cell`."""
        resets, own, new = saved
        size = new.shape[-1]
        r, z = resets.split(size, dim=-1)
        d_r, d_z, d_n = d_gates.split(size, dim=-1)
        _aten.sigmoid_backward.grad_input(grads[0] * (states[0] - new), z, grad_input=d_z)
        straight = grads[0] * z
        _aten.tanh_backward.grad_input(grads[0] - straight, new, grad_input=d_n)
        _aten.sigmoid_backward.grad_input(d_n * own, r, grad_input=d_r)
        d_hidden[..., : 2 * size] = d_gates[..., : 2 * size]
        torch.mul(d_n, r, out=d_hidden[..., 2 * size :])
        return [straight]


class Recurrence(torch.autograd.Function):
    """One layer in one direction, for all members.

    Args (of `apply`):
        cell: what a step computes.
        steps: in the order in which they are taken.
        gates: the input's share, with the input's bias, shape (M, N, G).
        weight: of the hidden state, shape (M, G, P).
        bias: of the hidden state, shape (M, G), or None.
        projection: of LSTMs with `proj_size`, shape (M, P, H), or None.
        states: the initial ones: h of shape (M, B, P), and c of shape (M, B, H) for an LSTM.

    Returns:
        The outputs, shape (M, N, P), and the final states.
    """

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        steps: Sequence[Step],
        gates: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        projection: Tensor | None,
        *states: Tensor,
    ) -> tuple[Tensor, ...]:
        """See the class."""
        outputs, finals, kept = forward_loop(cell, steps, gates, weight, bias, projection, states)
        ctx.cell, ctx.steps, ctx.has_bias = cell, steps, bias is not None
        ctx.save_for_backward(weight, projection, *kept)
        return outputs, *finals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, *grad_states: Tensor) -> tuple[Any, ...]:
        """Step by step back; the weight's gradient is one product over all rows at the end."""
        weight, projection, *kept = ctx.saved_tensors
        loop = (ctx.cell, ctx.steps, weight, projection, ctx.has_bias)
        return None, None, *backward_loop(*loop, kept, grad_output, grad_states)


def forward_loop(
    cell: Cell,
    steps: Sequence[Step],
    gates: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    projection: Tensor | None,
    states: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The outputs, the final states, and what the gradient needs, of each step equally many tensors."""
    transposed = weight.transpose(1, 2)
    outputs: dict[int, Tensor] = {}
    kept: list[Tensor] = []
    for start, size in steps:
        before = [state[:, :size] for state in states]
        hidden = torch.bmm(before[0], transposed)
        if bias is not None:
            hidden += bias.unsqueeze(1)
        new, saved = cell.forward(gates[:, start : start + size], hidden, before)
        if projection is not None:
            saved = (*saved, new[0])
            new[0] = torch.bmm(new[0], projection.transpose(1, 2))
        states = tuple(_first_rows_replaced(state, rows) for state, rows in zip(states, new, strict=True))
        outputs[start] = new[0]
        kept += [*before, *saved]
    return _in_rows(outputs), [state.clone() for state in states], kept


def backward_loop(
    cell: Cell,
    steps: Sequence[Step],
    weight: Tensor,
    projection: Tensor | None,
    has_bias: bool,
    kept: Sequence[Tensor],
    grad_output: Tensor,
    grad_states: Sequence[Tensor],
) -> tuple[Tensor | None, ...]:
    """The gradients of gates, weight, bias, projection and initial states."""
    d_gates = grad_output.new_empty(*grad_output.shape[:2], weight.shape[1])
    d_hidden = d_gates if not isinstance(cell, GRUCell) else torch.empty_like(d_gates)
    befores: dict[int, Tensor] = {}
    d_projected = None if projection is None else torch.zeros_like(projection)
    grads: list[Tensor] = list(grad_states)
    kept_a_step = len(kept) // len(steps)
    for number in reversed(range(len(steps))):
        start, size = steps[number]
        rows = slice(start, start + size)
        mine = kept[number * kept_a_step : (number + 1) * kept_a_step]
        before, saved = mine[: cell.num_states], tuple(mine[cell.num_states :])
        now = [grad[:, :size] for grad in grads]
        now[0] = now[0] + grad_output[:, rows]
        if projection is not None and d_projected is not None:
            d_projected.baddbmm_(now[0].transpose(1, 2), saved[-1])
            now[0] = torch.bmm(now[0], projection)
            saved = saved[:-1]
        straight: list[Any] = cell.backward(now, saved, before, d_gates[:, rows], d_hidden[:, rows])
        through = torch.bmm(d_hidden[:, rows], weight)
        straight[0] = through if straight[0] is None else straight[0].add_(through)
        grads = [_first_rows_replaced(grad, new) for grad, new in zip(grads, straight, strict=True)]
        befores[start] = before[0]
    d_weight = torch.bmm(d_hidden.transpose(1, 2), _in_rows(befores))
    return d_gates, d_weight, d_hidden.sum(1) if has_bias else None, d_projected, *grads


def _in_rows(parts: dict[int, Tensor]) -> Tensor:
    """One after another in the order of their first rows, shape (M, N, ...)."""
    return torch.cat([parts[start] for start in sorted(parts)], dim=1)


def _first_rows_replaced(state: Tensor, rows: Tensor) -> Tensor:
    """The states after a step; samples that it did not reach keep theirs."""
    size = rows.shape[1]
    return rows if size == state.shape[1] else torch.cat([rows, state[:, size:]], dim=1)
