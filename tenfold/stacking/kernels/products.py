"""Products of many small matrices in compiled steps: `torch.bmm` in C++ of ours where PyTorch's is slow."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import torch
from torch import Tensor

from tenfold.stacking.kernels.library import OPERATORS, are_there, has_slow_products, library

LARGE = 1 << 27
"""Multiply-adds of a member; products that are larger are PyTorch's: MKL cuts them for the caches, ours do not."""


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
    return 0 < a.shape[1] * a.shape[2] * b.shape[2] <= LARGE
