"""Convolution, ReLU and max pooling of recorded or traced steps as one operator.

Between a convolution and a pooling lies the largest tensor of a small network. One after another, the operators write
and read it seven times in a step; fused, it never leaves the caches. The numbers are the same bits: so a step may be
fused in the midst of a training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from tenfold.stacking.kernels.reading import drop, is_mask_of, is_relu_of, is_written_between, source_of, users_of

aten, ours = torch.ops.aten, torch.ops.tenfold
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


def _backward_of(pool: fx.Node) -> list[fx.Node]:
    """The gradients of what a pooling reads: none, or one."""
    winners = [user for user in pool.users if user.args[1] == 1]
    readers = [reader for node in winners for reader in users_of(node)]
    return [reader for reader in readers if reader.target is ours.max_pool_samples_backward.default]


def _take_in_relu(pool: fx.Node, backward: list[fx.Node]) -> None:
    read, *options = pool.args
    relu = source_of(read)  # type: ignore[arg-type]
    window = options[0]
    is_small = window[0] * window[1] <= _MOST_TAPS  # type: ignore[index, operator]
    if not _is_relu(relu) or not is_small or is_written_between(relu, pool):
        return
    masks = [user for user in users_of(relu) if user is not pool]
    if any(not is_mask_of(mask, relu) or source_of(mask.args[0]) not in backward for mask in masks):  # type: ignore[arg-type]
        return
    pool.args = (relu.args[0], *options[:-1], True)
    for mask in masks:
        mask.replace_all_uses_with(mask.args[0])  # type: ignore[arg-type]
        pool.graph.erase_node(mask)
    drop(relu)


def _is_relu(node: fx.Node) -> bool:
    """Whether it is one that has its result to itself, or one in place of a convolution's that nobody else reads."""
    if node.target is aten.relu_.default:
        convolved: Any = node.args[0]
        return convolved.target is ours.convolution.default and is_relu_of(node, convolved)
    return node.target is aten.relu.default


def _take_into_convolution(pool: fx.Node, backward: list[fx.Node]) -> None:
    read, window, stride, padding, dilation, ceil_mode, relu = pool.args
    convolution = source_of(read)  # type: ignore[arg-type]
    if convolution.target is not ours.convolution.default or list(users_of(convolution)) != [pool]:
        return
    if is_written_between(convolution, pool):
        return
    size = list(convolution.meta["val"].shape[-2:])
    is_whole = not ceil_mode or all(one % by == 0 for one, by in zip(size, window, strict=True))  # type: ignore[arg-type]
    if [*window, *padding, *dilation] != [*stride, 0, 0, 1, 1] or not is_whole:  # type: ignore[misc]
        return
    pool.target, pool.args = ours.convolution_pool.default, (*convolution.args, window, relu)
    for grad in backward:
        weights = list(users_of(grad))
        if all(user.target is ours.convolution_weight.default for user in weights):
            for weight in weights:
                _sum_of_pooled(weight, grad, window)
            drop(grad)
    drop(convolution)


def _sum_of_pooled(weight: fx.Node, grad: fx.Node, window: Any) -> None:
    """The weights' gradient, made of the pooling's."""
    pooled, winners, *_ = grad.args
    _, *options, with_bias = weight.args
    weight.target = ours.convolution_pool_weight.default
    weight.args = (pooled, winners, *options, window, with_bias)
