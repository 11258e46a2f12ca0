"""What members say of batches of one shape, again and again: the operators of one call, run anew.

Mapping a call over the members takes 0.2 ms of Python for a small network, whatever the batch; the operators that it
comes down to take a fraction of that. So a call that comes back is traced once, and from then on its operators run as
they are. What a trace would not repeat is left to `Stack.each`: random draws, buffers that forward changes, and
whatever cannot be traced.

Ten small MLPs and one sample: 3.4 times as quick as the networks one after another (benchmarks/results/ensemble.md).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from tenfold.stacking.forms import Members, PerMember, run_stacked
from tenfold.stacking.stack import Stack

_aten = torch.ops.aten
_OFTEN = 3  # calls of a shape before it is traced
_VIEWS = {
    _aten.detach.default, _aten.alias.default, _aten.view.default, _aten._unsafe_view.default, _aten.expand.default,
    _aten.transpose.int, _aten.t.default, _aten.permute.default, _aten.unsqueeze.default, _aten.squeeze.dim,
    _aten.select.int, _aten.slice.Tensor,
}  # fmt: skip
_SAME = {_aten.detach.default, _aten.alias.default}


class _Program(NamedTuple):
    """The operators of a call.

    Attributes:
        run: takes what is known before and the leaves of the batch.
        known: views of the members' parameters and buffers.
    """

    run: Callable[..., Any]
    known: list[Tensor]


class Replay:
    """Runs a function for all members as `Stack.each` does, without gradients, quicker where shapes come back.

    Args:
        stack: the members, in evaluation mode. Their weights may change in place; after `keep`, or when other tensors
            take their place, another `Replay` is needed.
        function: `(model, *batch) -> tensor`, as for `each`.

    Example:
        >>> import tenfold
        >>> stack = tenfold.stack([torch.nn.Linear(4, 2) for _ in range(3)]).eval()
        >>> predict = Replay(stack, lambda model, x: model(x))
        >>> [predict(torch.zeros(5, 4)).shape for _ in range(5)][-1]
        torch.Size([3, 5, 2])
    """

    def __init__(self, stack: Stack, function: Callable[..., Any]) -> None:
        self._stack, self._function = stack, function
        self._seen: dict[Hashable, int] = {}
        self._programs: dict[Hashable, _Program | None] = {}

    def __call__(self, *batch: Any) -> Any:
        """What the function returns, with the member axis in front.

        Args:
            batch: as for `Stack.each`; only calls with tensors alone, marked by `per_member` or not, are replayed.
        """
        with torch.no_grad():
            leaves = [argument.value if isinstance(argument, PerMember) else argument for argument in batch]
            if self._stack.form == "serial" or not all(isinstance(leaf, Tensor) for leaf in leaves):
                return self._stack.each(self._function, *batch)
            key = tuple(
                (leaf.shape, leaf.stride(), leaf.dtype, leaf is own) for leaf, own in zip(leaves, batch, strict=True)
            )
            program = self._programs.get(key)
            if program is not None:
                return program.run(*program.known, *leaves)
            self._seen[key] = self._seen.get(key, 0) + 1
            if self._seen[key] == _OFTEN:
                self._programs[key] = self._traced(batch, leaves)
            return self._stack.each(self._function, *batch)

    def _traced(self, batch: tuple[Any, ...], leaves: list[Tensor]) -> _Program | None:
        from torch.fx.experimental.proxy_tensor import make_fx  # a tenth of a second, for those who come back

        members = self._stack.members_at(slice(0, len(self._stack)))
        marks = [isinstance(argument, PerMember) for argument in batch]
        names = [*members.parameters, *members.buffers]
        held = [*members.parameters.values(), *members.buffers.values()]
        first = len(members.parameters)

        def flat(keys: Tensor, number: Tensor, *tensors: Tensor) -> Any:
            parameters = dict(zip(names[:first], tensors[:first], strict=True))
            buffers = dict(zip(names[first:], tensors[first : len(held)], strict=True))
            parts = zip(tensors[len(held) :], marks, strict=True)
            own = tuple(PerMember(part) if mark else part for part, mark in parts)
            whole = Members(members.call, parameters, buffers, keys, members.values)
            output, replaced = run_stacked(whole, self._function, own, number)
            return [output, *replaced.values()]

        attributes = members.call.attributes
        before = attributes.snapshot()
        try:
            number = torch.tensor(0, device=members.keys_M.device)
            graph = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)(
                members.keys_M, number, *held, *leaves
            )
            if attributes.changed(before):
                return None
            return _simplified(graph, held)
        except Exception:
            return None
        finally:
            attributes.restore(before)


def _simplified(graph: fx.GraphModule, held: list[Tensor]) -> _Program | None:
    """A traced call without operators that change nothing, its views of the weights made beforehand."""
    nodes = graph.graph
    keys, number, *places = [node for node in nodes.nodes if node.op == "placeholder"]
    _drop_what_changes_nothing(nodes)
    _add_within_products(nodes)
    nodes.eliminate_dead_code()
    outputs = next(node for node in nodes.nodes if node.op == "output").args[0]
    if keys.users or number.users or len(outputs) != 1 or _changes_inputs(nodes):
        return None
    values: dict[fx.Node, Tensor] = dict(zip(places, held, strict=False))
    for node in list(nodes.nodes):
        if node.target in _VIEWS and node.args[0] in values:
            values[node] = node.target(values[node.args[0]], *node.args[1:], **node.kwargs)
    short, renamed = fx.Graph(), {}
    known = [node for node in values if any(user not in values for user in node.users)]
    for node in (*known, *places[len(held) :]):
        renamed[node] = short.placeholder(node.name)
    for node in nodes.nodes:
        if node not in renamed and node not in values and node.op == "call_function":
            renamed[node] = short.node_copy(node, renamed.__getitem__)
    short.output(renamed[outputs[0]])
    return _Program(fx.GraphModule(graph, short).forward, [values[node] for node in known])


def _drop_what_changes_nothing(nodes: fx.Graph) -> None:
    for node in list(nodes.nodes):
        if node.target not in _VIEWS:
            continue
        source = node.args[0]
        before, after = source.meta["val"], node.meta["val"]
        if node.target in _SAME or (before.shape == after.shape and before.stride() == after.stride()):
            node.replace_all_uses_with(source)
            nodes.erase_node(node)


def _add_within_products(nodes: fx.Graph) -> None:
    """A product of stacked matrices and the sum that follows become one operator."""
    for node in list(nodes.nodes):
        if node.target is not _aten.add_.Tensor or node.kwargs or node.args[0].target is not _aten.bmm.default:
            continue
        product, bias = node.args
        if len(product.users) == 1 and isinstance(bias, fx.Node) and bias.meta["val"].dtype == node.meta["val"].dtype:
            with nodes.inserting_before(node):
                whole = nodes.call_function(_aten.baddbmm.default, (bias, *product.args))
            whole.meta = dict(node.meta)
            node.replace_all_uses_with(whole)
            nodes.erase_node(node)


def _changes_inputs(nodes: fx.Graph) -> bool:
    """Whether an operator writes into what came from outside."""
    for node in nodes.nodes:
        schema = getattr(node.target, "_schema", None)  # what takes one of several outputs has none
        if schema is not None and schema.is_mutable:
            source = node.args[0]
            while source.op == "call_function" and source.target in _VIEWS:
                source = source.args[0]
            if source.op != "call_function":
                return True
    return False
