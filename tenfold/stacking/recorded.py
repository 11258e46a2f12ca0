"""Operators of a call, recorded once and run anew: what a call comes down to, without the work of mapping it.

Mapping a call over the members takes a few tenths of a millisecond of Python for a small network, whatever the batch;
the operators take a fraction of that. They are recorded as autograd and `vmap` give them, and run in the same order:
but for what is left out here, because it changes nothing or gives the same at every call, the numbers are the same
bits. Recording a small network's step takes 0.01 s.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from tenfold.stacking.as_python import as_python
from tenfold.stacking.kernels.fusing_pooling import fuse_pooling
from tenfold.stacking.kernels.fusing_relu import fuse_relu
from tenfold.stacking.kernels.reading import SAME

aten = torch.ops.aten
_VIEWS = SAME | {
    aten.view.default, aten._unsafe_view.default, aten.expand.default, aten.transpose.int, aten.t.default,
    aten.permute.default, aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.select.int,
    aten.slice.Tensor,
}  # fmt: skip
_PARTS = {aten.unbind.int, operator.getitem}  # a view of each part, and one of them
_FILLED = {
    aten.scalar_tensor.default, aten.full.default, aten.zeros.default, aten.ones.default, aten.arange.default,
    aten.arange.start, aten.arange.start_step,
}  # fmt: skip
_FILLED_LIKE = {
    aten.ones_like.default, aten.zeros_like.default, aten.full_like.default, aten.new_zeros.default,
    aten.new_ones.default, aten.new_full.default,
}  # fmt: skip
_MOST_NUMBERS = 1 << 20  # of a constant that is kept
_DEPENDS_ON_NUMBERS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
_READS_NUMBERS = {Tensor.tolist, Tensor.numpy, Tensor.__array__}


class Look(NamedTuple):
    """What is known of a tensor in a record, under "val" in its node's `meta`."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    device: torch.device


class Program(NamedTuple):
    """The operators of a call.

    Attributes:
        run: takes what is known before and what comes with a call; returns a list of tensors.
        known: what stays from call to call, mostly views of the members' tensors.
        is_fresh: for each output whether it is in memory that nothing else holds.
        is_read: for each input that comes with a call whether it is looked at.
    """

    run: Callable[..., Any]
    known: list[Tensor]
    is_fresh: list[bool]
    is_read: list[bool]


class NumbersReadError(RuntimeError):
    """What a function does depends on the numbers in its tensors, so that a record would not do the same."""


def record(function: Callable[..., list[Any]], inputs: Sequence[Tensor]) -> fx.Graph:
    """The operators that a function runs on these inputs: it is run once.

    Raises:
        NumbersReadError: it reads numbers out of its tensors.
    """
    seen = [tensor.detach() for tensor in inputs]  # one that stands in two places comes from two places
    log = _Log(seen)
    with _Unread(), log:
        outputs = function(*seen)
    log.graph.output([None if output is None else log.node_of(output) for output in outputs])
    return log.graph


class _Log(TorchDispatchMode):
    """Writes down the operators that run within the block, below autograd and `vmap`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # what would keep TorchDynamo out imports it first, which takes a second

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self._nodes = WeakIdKeyDictionary()
        for place, tensor in enumerate(inputs):
            self._note(self.graph.placeholder(f"input_{place}"), tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(tag in func.tags for tag in _DEPENDS_ON_NUMBERS):
            raise NumbersReadError(f"{func} reads numbers")
        own_args, own_kwargs = self._as_nodes(args), self._as_nodes(kwargs or {})
        output = func(*args, **(kwargs or {}))
        node = self.graph.call_function(func, own_args, own_kwargs)
        if isinstance(output, Tensor):
            self._note(node, output)
        else:
            for place, part in enumerate(output if isinstance(output, list | tuple) else []):
                if isinstance(part, Tensor):
                    self._note(self.graph.call_function(operator.getitem, (node, place)), part)
        return output

    def _as_nodes(self, value: Any) -> Any:
        """What an operator gets, with nodes in the place of tensors; `pytree` takes five times as long for that."""
        if isinstance(value, Tensor):
            return self.node_of(value)
        if type(value) in (list, tuple):
            return type(value)(map(self._as_nodes, value))
        if type(value) is dict:
            return {key: self._as_nodes(own) for key, own in value.items()}
        return value

    def node_of(self, tensor: Tensor) -> fx.Node:
        """Where a tensor comes from; what comes from nowhere is a constant."""
        node = self._nodes.get(tensor)
        if node is None:
            node = self.graph.create_node("get_attr", "constant")
            node.meta["constant"] = tensor
            self._note(node, tensor)
        return node

    def _note(self, node: fx.Node, tensor: Tensor) -> None:
        self._nodes[tensor] = node
        node.meta["val"] = Look(
            tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), tensor.dtype, tensor.device
        )


class _Unread(TorchFunctionMode):
    """Within the block nobody takes numbers out of tensors past the operators."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READS_NUMBERS:
            raise NumbersReadError(f"{func} reads numbers")
        return func(*args, **(kwargs or {}))


def shorten(nodes: fx.Graph, held: Sequence[Tensor], fixed: Sequence[Tensor] = ()) -> Program:
    """A program of recorded operators without those that change nothing or give the same at every call.

    Args:
        nodes: as `record` gave it; it is used up.
        held: what the first of its inputs are at every call, though the numbers in them may change.
        fixed: what the inputs after them are at every call, with the same numbers; the others come with the call.
    """
    drop_what_changes_nothing(nodes)
    fuse_pooling(nodes)
    fuse_relu(nodes)
    _view_what_is_one_alone(nodes)
    _shorten_views(nodes)
    places = [node for node in nodes.nodes if node.op == "placeholder"]
    constants = _constants(nodes, dict(zip(places[len(held) :], fixed, strict=False)))
    _decide(nodes, constants)
    values: dict[fx.Node, Any] = dict(constants)
    values |= dict(zip(places, held, strict=False))
    for node in nodes.nodes:
        if (node.target in _VIEWS or node.target in _PARTS) and node.args[0] in values:
            values[node] = node.target(values[node.args[0]], *node.args[1:], **node.kwargs)
    return _without_known(nodes, values, places[len(held) + len(fixed) :])


def _without_known(nodes: fx.Graph, values: dict[fx.Node, Any], passing: list[fx.Node]) -> Program:
    """What is left to run once some values are known."""
    outputs = outputs_of(nodes)
    needed, calls = {node for node in outputs if node is not None}, []
    for node in reversed(nodes.nodes):
        if node.op == "call_function" and node not in values and (node in needed or node.is_impure()):
            calls.append(node)
            needed.update(node.all_input_nodes)
    known = [node for node in values if node in needed]
    is_fresh = [node is not None and source_of(node) not in values and _is_fresh(node, outputs) for node in outputs]
    run = as_python([*known, *passing], calls[::-1], outputs, _VIEWS)
    return Program(run, [values[node] for node in known], is_fresh, [node in needed for node in passing])


def outputs_of(nodes: fx.Graph) -> list[fx.Node | None]:
    """The nodes that a graph gives back, None where it gives None."""
    found: Any = next(node for node in nodes.nodes if node.op == "output").args[0]
    return list(found)


def drop_what_changes_nothing(nodes: fx.Graph) -> None:
    """Takes out views that look as their source does, or as what that is a view of."""
    for node in list(nodes.nodes):
        source = node
        while source.target in _VIEWS:
            source = source.args[0]
            if source.meta["val"] == node.meta["val"] or node.target in SAME:
                node.replace_all_uses_with(source)
                nodes.erase_node(node)
                break


def _shorten_views(nodes: fx.Graph) -> None:
    """Views of views become views of what they all look at, where one will do."""
    for node in nodes.nodes:
        source, look = node, node.meta.get("val")
        while source.target in _VIEWS:
            source = source.args[0]
        if node.target in _VIEWS and node.args[0] is not source and _can_be_viewed(source.meta["val"], look):
            node.target, node.args, node.kwargs = aten.view.default, (source, list(look.shape)), {}


def _can_be_viewed(source: Look, look: Look) -> bool:
    """Whether `view` alone makes one look of another."""
    if source.offset != look.offset or math.prod(source.shape) != math.prod(look.shape):
        return False
    try:
        seen = torch.empty_strided(source.shape, source.strides, device="meta").view(look.shape)
    except RuntimeError:
        return False
    return seen.stride() == look.strides


def _view_what_is_one_alone(nodes: fx.Graph) -> None:
    """A stack of one tensor becomes a view of it, as the only member's loss and gradients are."""
    for node in list(nodes.nodes):
        if node.target is aten.stack.default and len(node.args[0]) == 1 and node.args[1:] in ((), (0,)):
            node.target, node.args = aten.unsqueeze.default, (node.args[0][0], 0)
            look = node.args[0].meta["val"]
            first = look.shape[0] * look.strides[0] if look.shape else 1
            node.meta["val"] = look._replace(shape=(1, *look.shape), strides=(first, *look.strides))


def source_of(node: fx.Node) -> fx.Node:
    """The node in whose memory a view lies."""
    while node.op == "call_function" and (node.target in _VIEWS or _is_part(node) or _writes(node)):
        node = node.args[0]  # type: ignore[assignment]
    return node


def _is_part(node: fx.Node) -> bool:
    """Whether it is views of parts, or one of them; one of several results has memory of its own."""
    return node.target in _PARTS and not (node.target is operator.getitem and _makes_new(node.args[0]))  # type: ignore[arg-type]


def _makes_new(node: fx.Node) -> bool:
    """Whether what an operator gives is in memory that it took for that."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and all(one.alias_info is None for one in schema.returns)


def written(nodes: fx.Graph) -> set[fx.Node]:
    """The nodes into whose memory an operator writes."""
    return {source_of(node.args[0]) for node in nodes.nodes if node.op == "call_function" and _writes(node)}


def draws(nodes: fx.Graph) -> bool:
    """Whether an operator draws from PyTorch's generators, and so would draw something else than alone."""
    return any(map(_draws, nodes.nodes))


def _draws(node: fx.Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _writes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)  # what takes one of several outputs has none
    return schema is not None and schema.is_mutable


def _is_fresh(node: fx.Node, outputs: Sequence[fx.Node | None]) -> bool:
    source = source_of(node)
    others = sum(other is not None and source_of(other) is source for other in outputs)
    maker: Any = source.args[0] if source.target is operator.getitem else source
    if source.op != "call_function" or not _makes_new(maker) or others > 1:
        return False
    return source.target not in (_FILLED | _FILLED_LIKE)


def _constants(nodes: fx.Graph, fixed: Mapping[fx.Node, Tensor]) -> dict[fx.Node, Tensor]:
    """What is the same at every call, whatever comes with it: what is fixed or filled, and what is made of that."""
    changed = written(nodes)
    found = {node: value for node, value in fixed.items() if node not in changed}
    for node in nodes.nodes:
        look = node.meta.get("val")
        if look is None or source_of(node) in changed or math.prod(look.shape) > _MOST_NUMBERS:
            continue
        if node.op == "get_attr":
            found[node] = node.meta["constant"]
        elif node.op == "call_function" and node.target in _FILLED_LIKE:
            like = node.args[0].meta["val"]
            stand_in = torch.empty_strided(like.shape, like.strides, dtype=like.dtype, device=like.device)
            found[node] = node.target(stand_in, *node.args[1:], **node.kwargs)
        elif node.op == "call_function" and not _draws(node) and set(node.all_input_nodes) <= found.keys():
            args, kwargs = fx.map_arg((node.args, node.kwargs), found.__getitem__)
            found[node] = node.target(*args, **kwargs)
        elif node.target is aten.where.self and _chosen(node, found) in found:
            found[node] = found[_chosen(node, found)].to(look.dtype).expand(look.shape).clone()
    return found


def _chosen(node: fx.Node, known: Mapping[fx.Node, Tensor]) -> Any:
    """What a choice comes to, if its condition is known and alike for all."""
    if node.args[0] not in known:
        return None
    condition = known[node.args[0]]  # type: ignore[index]
    return node.args[1] if condition.all() else None if condition.any() else node.args[2]


def _decide(nodes: fx.Graph, constants: Mapping[fx.Node, Tensor]) -> None:
    """Takes out choices by known conditions that are alike for all, and products with known ones."""
    changed = written(nodes)
    for node in list(nodes.nodes):
        chosen = None
        if node.target is aten.where.self:
            chosen = _chosen(node, constants)
        elif node.target is aten.mul.Tensor:
            one, two = node.args
            chosen = two if _is_one(one, constants) else one if _is_one(two, constants) else None
        if not isinstance(chosen, fx.Node) or node in constants or {node, source_of(chosen)} & changed:
            continue
        if chosen.meta["val"]._replace(offset=0) == node.meta["val"]._replace(offset=0):
            node.replace_all_uses_with(chosen)
            nodes.erase_node(node)


def _is_one(value: Any, constants: Mapping[fx.Node, Tensor]) -> bool:
    return value in constants and bool((constants[value] == 1).all())
