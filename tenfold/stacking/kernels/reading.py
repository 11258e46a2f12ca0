"""Reading recorded or traced steps: who reads a tensor, what writes in between, which operator is a ReLU."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx

aten = torch.ops.aten
SAME = frozenset({aten.detach.default, aten.alias.default})
"""Operators that give a tensor another name."""


def source_of(node: fx.Node) -> fx.Node:
    """What a node is the very tensor of."""
    while node.target in SAME:
        node = node.args[0]  # type: ignore[assignment]
    return node


def users_of(node: fx.Node) -> Iterator[fx.Node]:
    """Who reads a tensor, under whatever name."""
    for user in node.users:
        if user.target in SAME:
            yield from users_of(user)
        else:
            yield user


def is_relu_of(node: fx.Node, result: fx.Node) -> bool:
    """Whether it is the ReLU of a result: in place of it alone if nobody else reads that."""
    if node.target is aten.relu_.default:
        return node.args[0] is result and list(users_of(result)) == [node]
    return node.target is aten.relu.default and source_of(node.args[0]) is result  # type: ignore[arg-type]


def is_mask_of(node: fx.Node, relu: fx.Node) -> bool:
    """Whether it is that ReLU's gradient."""
    if node.target is not aten.threshold_backward.default:
        return False
    _, output, threshold = node.args
    return source_of(output) is relu and threshold == 0  # type: ignore[arg-type, return-value]


def is_written_between(first: fx.Node, last: fx.Node) -> bool:
    """Whether an operator between two others writes into memory: what `first` reads may then be something else."""
    node = first.next
    while node is not last and not (node.op == "call_function" and _writes(node)):
        node = node.next
    return node is not last


def _writes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def drop(node: fx.Node) -> None:
    """Takes out a tensor that nobody reads any more, with its other names."""
    for user in list(node.users):
        drop(user)
    node.graph.erase_node(node)
