"""Operators of a call, recorded once and run anew: what a call comes down to, without the work of mapping it.

Mapping a call over the members takes a few tenths of a millisecond of Python for a small network, whatever the batch;
the operators take a fraction of that. They are recorded as autograd and `vmap` give them, and run in the same order:
but for what is left out here, because it changes nothing or gives the same at every call, the numbers are the same
bits. Recording a small network's step takes 0.05 s.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

aten = torch.ops.aten
_SAME = {aten.detach.default, aten.alias.default}
_VIEWS = _SAME | {
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


class Program(NamedTuple):
    """The operators of a call.

    Attributes:
        run: takes what is known before and what comes with a call; returns a list of tensors.
        known: what stays from call to call, mostly views of the members' tensors.
        is_fresh: for each output whether it is in memory that nothing else holds.
    """

    run: Callable[..., Any]
    known: list[Tensor]
    is_fresh: list[bool]


def record(function: Callable[..., list[Any]], inputs: Sequence[Tensor]) -> fx.GraphModule:
    """The operators that a function runs on these inputs, without running them."""
    from torch.fx.experimental.proxy_tensor import make_fx  # a tenth of a second, for those who come back

    return make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)


def shorten(graph: fx.GraphModule, held: Sequence[Tensor]) -> Program:
    """A program of recorded operators without those that change nothing or give the same at every call.

    Args:
        graph: as `record` gave it; it is used up.
        held: what the first of its inputs are at every call; the others come with the call.
    """
    nodes = graph.graph
    drop_what_changes_nothing(nodes)
    _view_what_is_one_alone(nodes)
    constants = _constants(nodes)
    nodes.eliminate_dead_code()
    places = [node for node in nodes.nodes if node.op == "placeholder"]
    values: dict[fx.Node, Any] = {node: value for node, value in constants.items() if node in nodes.nodes}
    values |= dict(zip(places, held, strict=False))
    for node in nodes.nodes:
        if (node.target in _VIEWS or node.target in _PARTS) and node.args[0] in values:
            values[node] = node.target(values[node.args[0]], *node.args[1:], **node.kwargs)
    return _without_known(graph, values, places[len(held) :])


def _without_known(graph: fx.GraphModule, values: dict[fx.Node, Any], passing: list[fx.Node]) -> Program:
    """What is left to run once some values are known."""
    short, renamed = fx.Graph(), {}
    known = [node for node in values if any(user not in values for user in node.users)]
    for node in (*known, *passing):
        renamed[node] = short.placeholder(node.name)
    for node in graph.graph.nodes:
        if node not in renamed and node not in values and node.op == "call_function":
            renamed[node] = short.node_copy(node, renamed.__getitem__)
            renamed[node].target = _quick(node)
        elif node.op == "get_attr" and node not in values:
            renamed[node] = short.node_copy(node)
    outputs = outputs_of(graph.graph)
    short.output([None if node is None else renamed[node] for node in outputs])
    short.eliminate_dead_code()
    is_fresh = [node is not None and _is_fresh(node, outputs) for node in outputs]
    return Program(fx.GraphModule(graph, short).forward, [values[node] for node in known], is_fresh)


def outputs_of(nodes: fx.Graph) -> list[fx.Node | None]:
    """The nodes that a graph gives back, None where it gives None."""
    found: Any = next(node for node in nodes.nodes if node.op == "output").args[0]
    return list(found)


def drop_what_changes_nothing(nodes: fx.Graph) -> None:
    """Takes out views that look at their source as it is."""
    for node in list(nodes.nodes):
        if node.target not in _VIEWS:
            continue
        source = node.args[0]
        before, after = source.meta["val"], node.meta["val"]
        if node.target in _SAME or (before.shape == after.shape and before.stride() == after.stride()):
            node.replace_all_uses_with(source)
            nodes.erase_node(node)


def _view_what_is_one_alone(nodes: fx.Graph) -> None:
    """A stack of one tensor becomes a view of it, as the only member's loss and gradients are."""
    for node in list(nodes.nodes):
        if node.target is aten.stack.default and len(node.args[0]) == 1 and node.args[1:] in ((), (0,)):
            node.target, node.args = aten.unsqueeze.default, (node.args[0][0], 0)


def source_of(node: fx.Node) -> fx.Node:
    """The node in whose memory a view lies."""
    while node.op == "call_function" and (node.target in _VIEWS or node.target in _PARTS or _writes(node)):
        node = node.args[0]  # type: ignore[assignment]
    return node


def written(nodes: fx.Graph) -> set[fx.Node]:
    """The nodes into whose memory an operator writes."""
    return {source_of(node.args[0]) for node in nodes.nodes if node.op == "call_function" and _writes(node)}


def draws(nodes: fx.Graph) -> bool:
    """Whether an operator draws from PyTorch's generators, and so would draw something else than alone."""
    return any(torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()) for node in nodes.nodes)


def _writes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)  # what takes one of several outputs has none
    return schema is not None and schema.is_mutable


def _is_fresh(node: fx.Node, outputs: Sequence[fx.Node | None]) -> bool:
    source = source_of(node)
    others = sum(other is not None and source_of(other) is source for other in outputs)
    schema = getattr(source.target, "_schema", None)
    if source.op != "call_function" or schema is None or others > 1:
        return False
    return source.target not in (_FILLED | _FILLED_LIKE) and all(one.alias_info is None for one in schema.returns)


def _constants(nodes: fx.Graph) -> dict[fx.Node, Tensor]:
    """What is the same at every call, whatever comes with it: filled tensors, and what is made of them."""
    changed = written(nodes)
    found: dict[fx.Node, Tensor] = {}
    for node in nodes.nodes:
        value = node.meta.get("val")
        if node.op != "call_function" or node in changed or not isinstance(value, Tensor):
            continue
        if value.numel() > _MOST_NUMBERS or value.device.type != "cpu":
            continue
        if node.target in _FILLED_LIKE:
            like = node.args[0].meta["val"]
            stand_in = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype)
            found[node] = node.target(stand_in, *node.args[1:], **node.kwargs)
        elif node.target in _FILLED:
            found[node] = node.target(*node.args, **node.kwargs)
        elif node.target in _VIEWS and node.args[0] in found and source_of(node) not in changed:
            found[node] = node.target(found[node.args[0]], *node.args[1:], **node.kwargs)
    return found


def _quick(node: fx.Node) -> Any:
    """PyTorch's own function in the place of an operator: a microsecond less a call."""
    target: Any = node.target
    name = getattr(target, "_overloadpacket", target).__name__
    if node.kwargs or getattr(target, "namespace", "") != "aten":
        return target
    if target in _VIEWS:
        return getattr(Tensor, name, target)
    return getattr(torch, name, target)
