"""The time loops of `recurrence.py` as operators that a compiler does not take apart.

Taken apart, an LSTM over 28 steps is some thousand operations in a row, which took minutes to compile.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tenfold.stacking.kernels.library import OPERATORS
from tenfold.stacking.rules.recurrence import Cell, GRUCell, LSTMCell, RNNCell, Step, backward_loop, forward_loop

_CELLS: dict[str, Cell] = {
    "tanh": RNNCell("tanh"), "relu": RNNCell("relu"), "lstm": LSTMCell(), "gru": GRUCell()
}  # fmt: skip


class TracedRecurrence(torch.autograd.Function):
    """`Recurrence` in a traced program: the same arguments and results."""

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
        ctx.loop = _name(cell), [step.start for step in steps], [step.size for step in steps]
        ctx.has_bias = bias is not None
        made = torch.ops.tenfold.recurrence(*ctx.loop, gates, weight, bias, projection, list(states))
        outputs, finals, kept = made[0], made[1 : 1 + len(states)], made[1 + len(states) :]
        ctx.save_for_backward(weight, projection, *kept)
        return outputs, *finals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, *grad_states: Tensor) -> tuple[Any, ...]:
        """See the class."""
        weight, projection, *kept = ctx.saved_tensors
        d_gates, d_weight, *rest = torch.ops.tenfold.recurrence_backward(
            *ctx.loop, weight, projection, ctx.has_bias, kept, grad_output, list(grad_states)
        )
        d_bias = rest.pop(0) if ctx.has_bias else None
        d_projection = rest.pop(0) if projection is not None else None
        return None, None, d_gates, d_weight, d_bias, d_projection, *rest


def _name(cell: Cell) -> str:
    if isinstance(cell, RNNCell):
        return "tanh" if cell.tanh else "relu"
    return "lstm" if isinstance(cell, LSTMCell) else "gru"


def _recurrence(
    cell: str,
    starts: Sequence[int],
    sizes: Sequence[int],
    gates: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    projection: Tensor | None,
    states: Sequence[Tensor],
) -> list[Tensor]:
    """The outputs, the final states, and what the gradient needs of all steps in rows, in the order of the steps."""
    steps = [Step(*step) for step in zip(starts, sizes, strict=True)]
    outputs, finals, kept = forward_loop(_CELLS[cell], steps, gates, weight, bias, projection, states)
    kept_a_step = len(kept) // len(steps)
    return [outputs, *finals, *(torch.cat(kept[place::kept_a_step], dim=1) for place in range(kept_a_step))]


def _recurrence_backward(
    cell: str,
    starts: Sequence[int],
    sizes: Sequence[int],
    weight: Tensor,
    projection: Tensor | None,
    has_bias: bool,
    kept: Sequence[Tensor],
    grad_output: Tensor,
    grad_states: Sequence[Tensor],
) -> list[Tensor]:
    """The gradients that there are of gates, weight, bias, projection and initial states."""
    steps = [Step(*step) for step in zip(starts, sizes, strict=True)]
    of_steps = itertools.chain.from_iterable(zip(*(rows.split(list(sizes), dim=1) for rows in kept), strict=True))
    loop = (_CELLS[cell], steps, weight, projection, has_bias)
    found = backward_loop(*loop, list(of_steps), grad_output, grad_states)
    return [grad for grad in found if grad is not None]


_LOOP = "str cell, int[] starts, int[] sizes"
OPERATORS.define(
    f"recurrence({_LOOP}, Tensor gates, Tensor weight, Tensor? bias, Tensor? projection, Tensor[] states) "
    "-> Tensor[]",
    tags=[torch.Tag.needs_fixed_stride_order],
)
OPERATORS.define(
    f"recurrence_backward({_LOOP}, Tensor weight, Tensor? projection, bool has_bias, Tensor[] kept, "
    "Tensor grad_output, Tensor[] grad_states) -> Tensor[]",
    tags=[torch.Tag.needs_fixed_stride_order],
)
for _operator, _function in (("recurrence", _recurrence), ("recurrence_backward", _recurrence_backward)):
    OPERATORS.impl(_operator, _function, "CompositeExplicitAutograd")
    torch.library.register_fake(f"tenfold::{_operator}", _function)
