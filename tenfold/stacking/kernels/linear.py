"""Linear layers of all members: product, bias and gradients in one call each, where PyTorch's products are slow.

Letters: M members, B rows, D features, K outputs.

On two cores of an AMD EPYC losses and gradients of MLPs 64-128-128-10, batch 32, take 0.22 ms for ten members and
0.97 for 64; with products of ours and PyTorch's operators around them 0.24 and 1.15.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from tenfold.stacking.kernels.library import OPERATORS, are_there, has_slow_products, library
from tenfold.stacking.kernels.products import LARGE

_SIZE, _DATA, _FLAG = ctypes.c_int64, ctypes.c_void_p, ctypes.c_bool
_WORTH_A_CALL = 1 << 18  # multiply-adds of all members, without which a call's four microseconds are not made good


class _Call(ctypes.Structure):
    """`struct Linear` of linear.cpp."""

    _fields_ = [
        *((name, _SIZE) for name in ("M", "B", "D", "K")),
        *(("x", _DATA), ("x_strides", _SIZE * 3), ("weight", _DATA), ("weight_strides", _SIZE * 3)),
    ]


class Linear(torch.autograd.Function):
    """`torch.nn.functional.linear` of all members.

    Args (of `apply`):
        rows: shape (M, B, D).
        weight: shape (M, K, D); its gradient lies in memory as it does.
        bias: shape (M, K), or None.

    Returns:
        Shape (M, B, K).
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """See the class."""
        ctx.save_for_backward(rows, weight)
        result: Tensor = torch.ops.tenfold.linear(rows, weight, bias, False)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """By a kernel of ours; where gradients of gradients are asked for, by PyTorch's operators."""
        rows, weight = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad)
        if torch.is_grad_enabled():
            found = (torch.bmm(grad, weight), torch.bmm(grad.transpose(1, 2), rows), grad.sum(1))
        else:
            found = torch.ops.tenfold.linear_backward(grad, None, rows, weight, wanted)
        return tuple(own if is_wanted else None for own, is_wanted in zip(found, wanted, strict=True))


def linear_pays(members: int, rows: Tensor, weight: Tensor) -> bool:
    """Whether `Linear` takes these, and is quicker than PyTorch for so many members.

    Args:
        members: at least 1.
        rows: one member's, shape (B, D).
        weight: one member's, shape (K, D).
    """
    if rows.shape[1] != weight.shape[1]:
        return False
    each = rows.shape[0] * rows.shape[1] * weight.shape[0]
    return members * each >= _WORTH_A_CALL and each <= LARGE and has_slow_products() and are_there(rows, weight)


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    out = _made(rows, weight)
    if bias is not None and bias.stride(1) != 1:
        bias = bias.contiguous()
    own = (None, 0) if bias is None else (bias.data_ptr(), bias.stride(0))
    _kernels()[0](ctypes.byref(_call(rows, weight)), *own, relu, out.data_ptr())
    return out


def _made(rows: Tensor, weight: Tensor, *_: Any) -> Tensor:
    return rows.new_empty(rows.shape[0], rows.shape[1], weight.shape[1])


def _backward(
    grad: Tensor, output: Tensor | None, rows: Tensor, weight: Tensor, wanted: list[bool]
) -> tuple[Tensor, ...]:
    grad = grad.contiguous()
    found = _made_backward(grad, output, rows, weight, wanted)
    of_rows, of_weight, of_bias = (own.data_ptr() if it else None for own, it in zip(found, wanted, strict=True))
    _kernels()[1](
        ctypes.byref(_call(rows, weight)), grad.data_ptr(), None if output is None else output.data_ptr(),
        of_rows, of_weight, _lies_transposed(weight), of_bias,
    )  # fmt: skip
    return found


def _made_backward(
    grad: Tensor, output: Tensor | None, rows: Tensor, weight: Tensor, wanted: list[bool]
) -> tuple[Tensor, ...]:
    """Room for the gradients of rows, weight and bias; none for those that are not wanted."""
    M, K, D = weight.shape
    of_rows = grad.new_empty(rows.shape if wanted[0] else 0)
    shape = (M, D, K) if _lies_transposed(weight) else (M, K, D)
    of_weight = grad.new_empty(shape if wanted[1] else (0, 0, 0))
    if _lies_transposed(weight):
        of_weight = of_weight.transpose(1, 2)
    return of_rows, of_weight, grad.new_empty((M, K) if wanted[2] else 0)


def _lies_transposed(weight: Tensor) -> bool:
    return weight.stride(1) == 1 and weight.stride(2) != 1


def _call(rows: Tensor, weight: Tensor) -> _Call:
    M, B, D = rows.shape
    steps = _SIZE * 3
    return _Call(
        M, B, D, weight.shape[1], rows.data_ptr(), steps(*rows.stride()), weight.data_ptr(), steps(*weight.stride())
    )


@functools.cache
def _kernels() -> list[Any]:
    kernels: list[Any] = [library().tenfold_linear, library().tenfold_linear_backward]
    arguments = ([_DATA, _DATA, _SIZE, _FLAG, _DATA], [*[_DATA] * 5, _FLAG, _DATA])
    for kernel, types in zip(kernels, arguments, strict=True):
        kernel.restype, kernel.argtypes = None, types
    return kernels


OPERATORS.define("linear(Tensor rows, Tensor weight, Tensor? bias, bool relu) -> Tensor")
OPERATORS.impl("linear", _linear, "CPU")
torch.library.register_fake("tenfold::linear", _made)
OPERATORS.define(
    "linear_backward(Tensor grad, Tensor? output, Tensor rows, Tensor weight, bool[3] wanted) "
    "-> (Tensor, Tensor, Tensor)"
)
OPERATORS.impl("linear_backward", _backward, "CPU")
torch.library.register_fake("tenfold::linear_backward", _made_backward)
