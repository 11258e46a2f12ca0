"""An LSTM layer in one direction for all members, forward and backward each one call into C++.

References:
    Hochreiter, Schmidhuber: Long short-term memory, 1997; the equations are those in the documentation of
    `torch.nn.LSTM`.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tenfold.stacking.kernels.library import OPERATORS, library

_SIZE, _DATA = ctypes.c_int64, ctypes.c_void_p


class _Call(ctypes.Structure):
    """`struct LSTM` of lstm.cpp."""

    _fields_ = [
        *((name, _SIZE) for name in ("M", "T", "B", "D", "H")),
        *(("x", _DATA), ("x_member", _SIZE), ("x_step", _SIZE), ("x_row", _SIZE)),
        *(("w_ih", _DATA), ("w_ih_member", _SIZE), ("w_ih_row", _SIZE), ("w_ih_col", _SIZE)),
        *(("w_hh", _DATA), ("w_hh_member", _SIZE), ("w_hh_row", _SIZE), ("w_hh_col", _SIZE)),
        *((name, _DATA) for name in ("bias", "hidden", "cell", "outputs", "cells", "gates")),
        ("reverse", _SIZE),
    ]


class _Gradients(ctypes.Structure):
    """`struct LSTMGradients` of lstm.cpp."""

    _fields_ = [
        *((name, _DATA) for name in ("outputs", "last_hidden", "last_cell", "x", "w_ih", "w_hh", "bias")),
        *(("hidden", _DATA), ("cell", _DATA), ("parts", _SIZE)),
    ]


class LSTM(torch.autograd.Function):
    """One layer in one direction, for all members; float32 on the CPU.

    Args (of `apply`):
        x: the input, shape (M, T, B, D), or (T, B, D) where all members see the same and no gradient is asked for.
        w_ih: the input's weights, shape (M, 4H, D).
        w_hh: the hidden state's, shape (M, 4H, H).
        bias: the sum of both, shape (M, 4H), or None.
        hidden: the initial state, shape (M, B, H).
        cell: likewise.
        reverse: whether time runs backward.

    Returns:
        The outputs, shape (M, T, B, H), and the final h and c, each of shape (M, B, H).
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        bias: Tensor | None,
        hidden: Tensor,
        cell: Tensor,
        reverse: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        outputs, cells, gates = torch.ops.tenfold.lstm(x, w_ih, w_hh, bias, hidden, cell, reverse)
        ctx.save_for_backward(x, w_ih, w_hh, bias, hidden, cell, outputs, cells, gates)
        ctx.reverse = reverse
        last = 0 if reverse else -1
        return outputs, outputs[:, last].clone(), cells[:, last].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        """Back through time; the weights' gradients lie as the stack's weights do, transposed."""
        bias, wants_x = ctx.saved_tensors[3], ctx.needs_input_grad[0]
        found = torch.ops.tenfold.lstm_backward(*grads, *ctx.saved_tensors, ctx.reverse, wants_x)
        d_x, d_w_ih, d_w_hh, d_bias, d_hidden, d_cell = found
        return (
            d_x if wants_x else None,
            d_w_ih.transpose(1, 2),
            d_w_hh.transpose(1, 2),
            None if bias is None else d_bias,
            d_hidden,
            d_cell,
            None,
        )


def _call(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    bias: Tensor | None,
    hidden: Tensor,
    cell: Tensor,
    made: tuple[Tensor, Tensor, Tensor],
    reverse: bool,
) -> _Call:
    """The call as C++ reads it. Whoever makes it keeps the tensors alive, and their rows contiguous."""
    steps, batch, inputs = x.shape[-3:]
    strides = x.stride() if x.dim() == 4 else (0, *x.stride())
    return _Call(
        *(len(w_hh), steps, batch, inputs, w_hh.shape[2]),
        *(x.data_ptr(), *strides[:3]),
        *(w_ih.data_ptr(), *w_ih.stride()),
        *(w_hh.data_ptr(), *w_hh.stride()),
        *(None if bias is None else bias.data_ptr(), hidden.data_ptr(), cell.data_ptr()),
        *(tensor.data_ptr() for tensor in made),
        reverse,
    )


def _plain(*tensors: Tensor | None) -> list[Any]:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def _with_contiguous_rows(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _lstm(
    x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor | None, hidden: Tensor, cell: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    made = _made(x, w_ih, w_hh, bias, hidden, cell, reverse)
    x = _with_contiguous_rows(x)
    bias, hidden, cell = _plain(bias, hidden, cell)
    _kernels()[0](ctypes.byref(_call(x, w_ih, w_hh, bias, hidden, cell, made, reverse)))
    return made


def _made(
    x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor | None, hidden: Tensor, cell: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Memory for outputs, cells and activated gates."""
    shape, size = (len(w_hh), *x.shape[-3:-1]), w_hh.shape[2]
    return x.new_empty(*shape, size), x.new_empty(*shape, size), x.new_empty(*shape, 4 * size)


def _lstm_backward(
    d_outputs: Tensor,
    d_last_hidden: Tensor,
    d_last_cell: Tensor,
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    bias: Tensor | None,
    hidden: Tensor,
    cell: Tensor,
    outputs: Tensor,
    cells: Tensor,
    gates: Tensor,
    reverse: bool,
    wants_x: bool,
) -> tuple[Tensor, ...]:
    members, threads = len(w_hh), torch.get_num_threads()
    parts = 1 if members % threads == 0 or members >= 8 * threads else threads
    x = _with_contiguous_rows(x)
    d_outputs, d_last_hidden, d_last_cell, hidden, cell = _plain(d_outputs, d_last_hidden, d_last_cell, hidden, cell)
    d_x = x.new_empty(members, *x.shape[-3:]) if wants_x else x.new_empty(0)
    of_weights = [
        x.new_zeros(members, parts, *shape)
        for shape in (w_ih.shape[:0:-1], w_hh.shape[:0:-1], w_hh.shape[1:2] if bias is not None else (0,))
    ]
    d_hidden, d_cell = torch.empty_like(hidden), torch.empty_like(cell)
    given = [tensor.data_ptr() for tensor in (d_outputs, d_last_hidden, d_last_cell)]
    d_weights = [tensor.data_ptr() for tensor in of_weights]
    if bias is None:
        d_weights[2] = None  # type: ignore[call-overload]
    gradients = _Gradients(
        *given, d_x.data_ptr() if wants_x else None, *d_weights, d_hidden.data_ptr(), d_cell.data_ptr(), parts
    )
    call = _call(x, w_ih, w_hh, bias, hidden, cell, (outputs, cells, gates), reverse)
    _kernels()[1](ctypes.byref(call), ctypes.byref(gradients))
    return d_x, *(tensor.sum(1) if parts > 1 else tensor.squeeze(1) for tensor in of_weights), d_hidden, d_cell


def _made_backward(*args: Any) -> tuple[Tensor, ...]:
    """What `_lstm_backward` gives, without values."""
    _, _, _, x, w_ih, w_hh, bias, hidden, cell, *_, wants_x = args
    members = len(w_hh)
    return (
        x.new_empty(members, *x.shape[-3:]) if wants_x else x.new_empty(0),
        x.new_empty(members, *w_ih.shape[:0:-1]),
        x.new_empty(members, *w_hh.shape[:0:-1]),
        x.new_empty(members, w_hh.shape[1] if bias is not None else 0),
        x.new_empty(hidden.shape),
        x.new_empty(cell.shape),
    )


def kept_bytes(graph: torch.fx.GraphModule) -> int:
    """What the LSTMs of a traced step keep between their two calls.

    Args:
        graph: as `make_fx` gives it, with the tensors' shapes in its nodes.
    """
    calls = [node for node in graph.graph.nodes if node.target is torch.ops.tenfold.lstm.default]
    return sum(tensor.nbytes for node in calls for tensor in node.meta["val"])


@functools.cache
def _kernels() -> tuple[Any, Any]:
    forward, backward = library().tenfold_lstm, library().tenfold_lstm_backward
    forward.restype = backward.restype = None
    return forward, backward


OPERATORS.define(
    "lstm(Tensor x, Tensor w_ih, Tensor w_hh, Tensor? bias, Tensor hidden, Tensor cell, bool reverse) "
    "-> (Tensor, Tensor, Tensor)",
    tags=[torch.Tag.needs_exact_strides],
)
OPERATORS.define(
    "lstm_backward(Tensor d_outputs, Tensor d_last_hidden, Tensor d_last_cell, Tensor x, Tensor w_ih, Tensor w_hh, "
    "Tensor? bias, Tensor hidden, Tensor cell, Tensor outputs, Tensor cells, Tensor gates, bool reverse, "
    "bool wants_x) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=[torch.Tag.needs_exact_strides],
)
OPERATORS.impl("lstm", _lstm, "CPU")
OPERATORS.impl("lstm_backward", _lstm_backward, "CPU")
torch.library.register_fake("tenfold::lstm", _made)
torch.library.register_fake("tenfold::lstm_backward", _made_backward)
