"""The two forms in which a function of (model, *batch) runs for all members: as one program, or one by one.

Both read the same stacked tensors and apply the same random rules, so that a member cannot tell them apart.
"""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from tenfold.stacking.rules import RANDOM, STACKED, Rules
from tenfold.stacking.streams import streams_of

Tensors = Mapping[str, Tensor]


class PerMember:
    """Marks an argument of `Stack.each` as holding one value a member along dimension 0; see `per_member`."""

    def __init__(self, value: Any) -> None:
        self.value = value


def per_member(value: Any) -> Any:
    """Marks a batch as one a member: tensors of shape (M, ...) of which member i sees slice i.

    Args:
        value: a tensor, or a nest of lists, tuples and dicts of tensors, each of shape (M, ...).

    Returns:
        The mark, to be passed to `Stack.each`. Without it every member sees the whole argument.

    Example:
        >>> import tenfold
        >>> stack = tenfold.stack([nn.Linear(2, 1), nn.Linear(2, 1)])
        >>> x_MBD = torch.zeros(2, 5, 2)
        >>> stack.each(lambda model, x: model(x).sum(), tenfold.per_member(x_MBD)).shape
        torch.Size([2])
    """
    return PerMember(value)


class MemberCall(nn.Module):
    """Runs `function(model, *batch)` with the model's tensors swapped in by `functional_call`.

    It is a module that holds the model, so that the public `functional_call` swaps tensors below it and the
    function gets the real model, with all its methods and parts.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Any], batch: tuple[Any, ...], buffers: Tensors) -> Any:
        """Returns the function's value, and the buffers that it replaced instead of changing in place."""
        output = function(self.model, *batch)
        if not buffers:
            return output, {}
        replaced = {
            name: buffer
            for name, buffer in self.model.named_buffers()
            if name in buffers and buffer is not buffers[name]
        }
        return output, replaced

    def run(self, function: Callable[..., Any], batch: tuple[Any, ...], parameters: Tensors, buffers: Tensors) -> Any:
        """One member's call."""
        tensors = {f"model.{name}": tensor for name, tensor in (*parameters.items(), *buffers.items())}
        return functional_call(self, tensors, (function, batch, buffers))


def _split_batch(batch: tuple[Any, ...]) -> tuple[list[Any], Callable[[list[Any]], tuple[Any, ...]]]:
    """The per-member arguments, and a function that puts one member's share back among the shared ones."""
    places = [place for place, argument in enumerate(batch) if isinstance(argument, PerMember)]

    def assemble(own: list[Any]) -> tuple[Any, ...]:
        whole = list(batch)
        for place, argument in zip(places, own, strict=True):
            whole[place] = argument
        return tuple(whole)

    return [batch[place].value for place in places], assemble


def run_stacked(
    call: MemberCall,
    function: Callable[..., Any],
    batch: tuple[Any, ...],
    parameters: Tensors,
    buffers: Tensors,
    keys_M: Tensor,
    step: int,
) -> tuple[Any, Tensors]:
    """All members as one program, by `torch.vmap` and the rules."""
    own, assemble = _split_batch(batch)

    def member(parameters: Tensors, buffers: Tensors, key: Tensor, own: list[Any]) -> Any:
        with streams_of(key, step):
            return call.run(function, assemble(own), parameters, buffers)

    with Rules(RANDOM, STACKED):
        return vmap(member)(dict(parameters), dict(buffers), keys_M, own)


def run_serial(
    call: MemberCall,
    function: Callable[..., Any],
    batch: tuple[Any, ...],
    parameters: Tensors,
    buffers: Tensors,
    keys_M: Tensor,
    step: int,
) -> tuple[Any, Tensors]:
    """The members one after another, each on its slice of the stacked tensors."""
    own, assemble = _split_batch(batch)
    leaves, tree = pytree.tree_flatten(own)
    slices = {name: tensor.unbind(0) for name, tensor in parameters.items()}
    results = []
    for i in range(len(keys_M)):
        mine = pytree.tree_unflatten([leaf[i] for leaf in leaves], tree)
        member_parameters = {name: parts[i] for name, parts in slices.items()}
        member_buffers = {name: tensor[i] for name, tensor in buffers.items()}
        with streams_of(keys_M[i], step), Rules(RANDOM):
            results.append(call.run(function, assemble(mine), member_parameters, member_buffers))
    return pytree.tree_map(lambda *values: torch.stack(values), *results)


def user_line(error: BaseException) -> str:
    """The last line of the user's own code on the way to an error: "model.py:12: `x = x[x > 0]`"."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        filename = frame.filename.replace("\\", "/")
        if "/torch/" in filename or "/tenfold/stacking/" in filename or frame.lineno is None:
            continue
        code = linecache.getline(frame.filename, frame.lineno).strip()
        return f"{filename.rsplit('/', 1)[-1]}:{frame.lineno}" + (f": `{code}`" if code else "")
    return "inside PyTorch"
