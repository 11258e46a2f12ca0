"""Convolution, ReLU and max pooling of recorded or traced steps as one operator.

Between a convolution and a pooling lies the largest tensor of a small network. One after another, the operators write
and read it seven times in a step; fused, it never leaves the caches. The numbers are the same bits: so a step may be
fused in the midst of a training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import fx

aten, ours = torch.ops.aten, torch.ops.tenfold
SAME = frozenset({aten.detach.default, aten.alias.default})
"""Operators that give a tensor another name."""
_MOST_TAPS = 255  # of a window after a ReLU: one more number says that none is above zero


def fuse_pooling(nodes: fx.Graph) -> None:
    """Takes a ReLU into the pooling that follows, and both into the convolution before, if nothing else reads them.

    A pooling is taken in where its windows lie side by side. Backwards the convolution's gradient is then made of the
    pooling's on the way, too, unless that of the input is wanted.

    Args:
        nodes: of a program, forward and backward pass or the former alone; changed in place.
    """
    for node in list(nodes.nodes):
        if node.target is ours.max_pool_samples.default:
            backward = _backward_of(node)
            _take_in_relu(node, backward)
            _take_into_convolution(node, backward)


def _source(node: fx.Node) -> fx.Node:
    """What a node is the very tensor of."""
    while node.target in SAME:
        node = node.args[0]  # type: ignore[assignment]
    return node


def _users(node: fx.Node) -> Iterator[fx.Node]:
    """Who reads a tensor, under whatever name."""
    for user in node.users:
        if user.target in SAME:
            yield from _users(user)
        else:
            yield user


def _backward_of(pool: fx.Node) -> list[fx.Node]:
    """The gradients of what a pooling reads: none, or one."""
    winners = [user for user in pool.users if user.args[1] == 1]
    readers = [reader for node in winners for reader in _users(node)]
    return [reader for reader in readers if reader.target is ours.max_pool_samples_backward.default]


def _take_in_relu(pool: fx.Node, backward: list[fx.Node]) -> None:
    read, *options = pool.args
    relu = _source(read)  # type: ignore[arg-type]
    window = options[0]
    if not _is_relu(relu) or window[0] * window[1] > _MOST_TAPS or _is_written_between(relu, pool):  # type: ignore[index, operator]
        return
    masks = [user for user in _users(relu) if user is not pool]
    if any(not _is_mask(mask, relu) or _source(mask.args[0]) not in backward for mask in masks):  # type: ignore[arg-type]
        return
    pool.args = (relu.args[0], *options[:-1], True)
    for mask in masks:
        mask.replace_all_uses_with(mask.args[0])  # type: ignore[arg-type]
        pool.graph.erase_node(mask)
    _drop(relu)


def _is_relu(node: fx.Node) -> bool:
    """Whether it is one; in place of a convolution's result that nobody else reads will do, too."""
    if node.target is aten.relu_.default:
        return node.args[0].target is ours.convolution.default and list(_users(node.args[0])) == [node]  # type: ignore[arg-type, union-attr]
    return node.target is aten.relu.default


def _is_written_between(first: fx.Node, last: fx.Node) -> bool:
    """Whether an operator between two others writes into memory: what `first` reads may then be something else."""
    node = first.next
    while node is not last and not (node.op == "call_function" and _writes(node)):
        node = node.next
    return node is not last


def _writes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _is_mask(node: fx.Node, relu: fx.Node) -> bool:
    """Whether it is the ReLU's gradient."""
    if node.target is not aten.threshold_backward.default:
        return False
    _, output, threshold = node.args
    return _source(output) is relu and threshold == 0  # type: ignore[arg-type, return-value]


def _take_into_convolution(pool: fx.Node, backward: list[fx.Node]) -> None:
    read, window, stride, padding, dilation, ceil_mode, relu = pool.args
    convolution = _source(read)  # type: ignore[arg-type]
    if convolution.target is not ours.convolution.default or list(_users(convolution)) != [pool]:
        return
    if _is_written_between(convolution, pool):
        return
    size = list(convolution.meta["val"].shape[-2:])
    is_whole = not ceil_mode or all(one % by == 0 for one, by in zip(size, window, strict=True))  # type: ignore[arg-type]
    if [*window, *padding, *dilation] != [*stride, 0, 0, 1, 1] or not is_whole:  # type: ignore[misc]
        return
    pool.target, pool.args = ours.convolution_pool.default, (*convolution.args, window, relu)
    for grad in backward:
        weights = list(_users(grad))
        if all(user.target is ours.convolution_weight.default for user in weights):
            for weight in weights:
                _sum_of_pooled(weight, grad, window)
            _drop(grad)
    _drop(convolution)


def _drop(node: fx.Node) -> None:
    """Takes out a tensor that nobody reads any more, with its other names."""
    for user in list(node.users):
        _drop(user)
    node.graph.erase_node(node)


def _sum_of_pooled(weight: fx.Node, grad: fx.Node, window: Any) -> None:
    """The weights' gradient, made of the pooling's."""
    pooled, winners, *_ = grad.args
    _, *options, with_bias = weight.args
    weight.target = ours.convolution_pool_weight.default
    weight.args = (pooled, winners, *options, window, with_bias)
