"""What a function does to a tensor itself: hooks on its gradient, memory in the place of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch._C import _functorch

from tenfold.core.errors import StackError


class OneByOneError(RuntimeError):
    """What runs for one member after another, and would go wrong silently as one program."""


def _one_by_one(native: Callable[..., Any]) -> Callable[..., Any]:
    """Under vmap the tensor is a wrapper, of which autograd knows nothing."""

    def rule(*args: Any, **options: Any) -> Any:
        raise OneByOneError(f"Tensor.{native.__name__} asks for the gradient of each member's own tensor")

    return rule


def _requires_grad(self: Tensor) -> bool:
    """Of the tensor of all members: the wrapper says no, and forward would take another branch than alone."""
    while _functorch.is_batchedtensor(self):
        self = _functorch.get_unwrapped(self)
    return self.requires_grad


def _set_data(self: Tensor, data: Tensor) -> None:
    """Into the member's part of the stack: the tensor that the model holds is gone after the call."""
    if data.shape != self.shape or data.dtype != self.dtype:
        raise StackError(
            f"each: .data must keep its shape {tuple(self.shape)} and dtype {self.dtype}, "
            f"got {tuple(data.shape)} and {data.dtype}. Set it before you stack."
        )
    self.data.copy_(data)


SET_DATA: dict[Any, Callable[..., Any]] = {Tensor.data.__set__: _set_data}  # type: ignore[attr-defined]
GRADIENTS: dict[Any, Callable[..., Any]] = {
    Tensor.requires_grad.__get__: _requires_grad,  # type: ignore[attr-defined]
    **{
        native: _one_by_one(native)
        for native in (Tensor.register_hook, Tensor.retain_grad, Tensor.register_post_accumulate_grad_hook)
    },
}
