"""Out of vmap for one step: a rule that computes with the stacked tensors themselves.

Most rules are written for one member and leave the member axis to vmap. Where vmap has no batching rule, or a slow
one, a rule can take the tensors of all members, of shape (M, ...), run ordinary differentiable PyTorch on them, and
hand the result back. About 15 microseconds a call; `torch.autograd.Function` with a `vmap` of its own does the same
for 250 microseconds, and loads the compiler at its first call.

These are the functions that `torch.vmap` itself is written with; PyTorch does not promise them to anyone else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch._C import _functorch
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack
from torch.utils import _pytree as pytree


def are_members(*tensors: Any) -> bool:
    """Whether some of these hold a value a member, and `at_once` can take them.

    Inside a transform of the user's own (`torch.func.grad` in a loss, say) it cannot.
    """
    return _functorch.get_dynamic_layer_stack_depth() == 1 and any(
        isinstance(tensor, Tensor) and _functorch.is_batchedtensor(tensor) for tensor in tensors
    )


def at_once(function: Callable[..., Any], *tensors: Tensor | None) -> Any:
    """Runs a function of stacked tensors where every tensor looks like one member's.

    Args:
        function: gets each tensor with the member axis in front, shape (M, ...), those that all members share as an
            expanded view; returns a tensor of shape (M, ...), or a tuple of such.
        tensors: as a rule sees them; at least one holds a value a member (`are_members`).

    Returns:
        What the function returns, as a rule sees it.
    """
    level = _functorch.current_level()
    size = next(num_members(t) for t in tensors if t is not None and _functorch.is_batchedtensor(t))
    stacked = [None if t is None else _functorch._remove_batch_dim(t, level, size, 0) for t in tensors]
    with temporarily_pop_interpreter_stack():
        result = function(*stacked)
    return pytree.tree_map(lambda out: _functorch._add_batch_dim(out, 0, level), result)


def num_members(tensor: Tensor) -> int:
    """How many members a tensor with a value a member has values of."""
    return _functorch.get_unwrapped(tensor).shape[_functorch.maybe_get_bdim(tensor)]


def folded(tensor: Tensor) -> Tensor:
    """Members folded into the batch: (M, B, ...) to (M*B, ...)."""
    return tensor.reshape(tensor.shape[0] * tensor.shape[1], *tensor.shape[2:])


def unfolded(tensor: Tensor, like: Tensor) -> Tensor:
    """The members taken out of the batch again: (M*B, ...) to (M, B, ...)."""
    return tensor.reshape(like.shape[0], like.shape[1], *tensor.shape[1:])
