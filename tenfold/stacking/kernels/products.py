"""Products of many small matrices: `torch.bmm` in C++ of ours where PyTorch's is slow."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tenfold.stacking.kernels.library import OPERATORS, are_there, has_slow_products, library

_LARGE = 1 << 27  # multiply-adds a member: MKL cuts larger products for the caches, ours do not
_WORTH_A_CALL = 1 << 20  # multiply-adds of all members, without which our call's four microseconds are not made good


class Product(torch.autograd.Function):
    """rows @ weight^T for all members.

    Args (of `apply`):
        rows: shape (M, B, D).
        weight: shape (M, K, D); its gradient lies in memory as it does.

    Returns:
        Shape (M, B, K).
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        """See the class."""
        ctx.save_for_backward(rows, weight)
        result: Tensor = torch.ops.tenfold.products(rows, weight.transpose(1, 2))
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """By products of ours; where gradients of gradients are asked for, by PyTorch's."""
        rows, weight = ctx.saved_tensors
        wants_rows, wants_weight = ctx.needs_input_grad
        product = torch.bmm if torch.is_grad_enabled() else torch.ops.tenfold.products
        of_rows = product(grad, weight) if wants_rows else None
        if not wants_weight:
            return of_rows, None
        if weight.stride(1) == 1:
            return of_rows, product(rows.transpose(1, 2), grad).transpose(1, 2)
        return of_rows, product(grad.transpose(1, 2), rows)


def product_pays(members: int, rows: Tensor, weight: Tensor) -> bool:
    """Whether `Product` takes these, and is quicker than PyTorch for so many members.

    Args:
        members: at least 1.
        rows: one member's, shape (B, D).
        weight: one member's, shape (K, D).
    """
    if rows.shape[1] != weight.shape[1]:
        return False
    each = rows.shape[0] * rows.shape[1] * weight.shape[0]
    return members * each >= _WORTH_A_CALL and each <= _LARGE and has_slow_products() and are_there(rows, weight)


def _products(a: Tensor, b: Tensor) -> Tensor:
    members, rows, depth = a.shape
    out = a.new_empty(members, rows, b.shape[2])
    if out.numel() > 0:
        sizes = (members, rows, b.shape[2], depth)
        _kernel()(*sizes, a.data_ptr(), *a.stride(), b.data_ptr(), *b.stride(), out.data_ptr())
    return out


@functools.cache
def _kernel() -> Callable[..., None]:
    kernel: Callable[..., None] = library().tenfold_products
    size, data = ctypes.c_int64, ctypes.c_void_p
    kernel.restype = None  # type: ignore[attr-defined]
    kernel.argtypes = [*(size,) * 4, data, *(size,) * 3, data, *(size,) * 3, data]  # type: ignore[attr-defined]
    return kernel


OPERATORS.define("products(Tensor a, Tensor b) -> Tensor", tags=[torch.Tag.needs_exact_strides])
OPERATORS.impl("products", _products, "CPU")
torch.library.register_fake("tenfold::products", lambda a, b: a.new_empty(a.shape[0], a.shape[1], b.shape[2]))


def with_own_products(graph: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Puts products of ours into a traced program in place of `torch.bmm`, where they are quicker; in place.

    Args:
        graph: as `make_fx` gives it, with the tensors' shapes in its nodes.

    Returns:
        The same graph.
    """
    for node in graph.graph.nodes:
        if node.target is torch.ops.aten.bmm.default and _is_quicker(*(part.meta["val"] for part in node.args)):
            node.target = torch.ops.tenfold.products.default
    graph.recompile()
    return graph


def _is_quicker(a: Tensor, b: Tensor) -> bool:
    if not (has_slow_products() and are_there(a, b)):
        return False
    return 0 < a.shape[1] * a.shape[2] * b.shape[2] <= _LARGE
