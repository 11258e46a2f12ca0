"""The ReLU after a linear layer or a batch norm as part of it in recorded steps, both ways, to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import fx

from tenfold.stacking.kernels.reading import drop, is_mask_of, is_relu_of, is_written_between, users_of

ours = torch.ops.tenfold


class _Layer(NamedTuple):
    """An operator that can take a ReLU in.

    Attributes:
        result: of its nodes the one that holds what it gives.
        backward: the operator that gives its gradients.
        take_in_mask: makes the ReLU's gradient part of that, whose ReLU gives `result`.
    """

    result: Callable[[fx.Node], fx.Node]
    backward: object
    take_in_mask: Callable[[fx.Node, fx.Node, fx.Node], None]


def fuse_relu(nodes: fx.Graph) -> None:
    """Takes ReLUs into the layers before them, if nothing else reads what those give, and so with their gradients.

    The layer stands where it stood, and nobody but the ReLU has read it: what writes into memory in between changes
    nothing.

    Args:
        nodes: of a program, forward and backward pass or the former alone; changed in place.
    """
    for node in list(nodes.nodes):
        layer = _LAYERS.get(node.target)
        if layer is not None:
            result = layer.result(node)
            readers = list(users_of(result))
            if len(readers) == 1 and is_relu_of(readers[0], result):
                _take_in(node)
                _take_in_masks(readers[0], result, layer)
                readers[0].replace_all_uses_with(result)
                nodes.erase_node(readers[0])


def _take_in_masks(relu: fx.Node, result: fx.Node, layer: _Layer) -> None:
    """A mask stays for whoever else reads it."""
    for mask in [user for user in users_of(relu) if is_mask_of(user, relu)]:
        for backward in list(users_of(mask)):
            if backward.target is layer.backward and not is_written_between(mask, backward):
                layer.take_in_mask(backward, mask.args[0], result)  # type: ignore[arg-type]
        if not list(users_of(mask)):
            drop(mask)


def _take_in(node: fx.Node) -> None:
    """Both have a flag for it at the end."""
    *own, _ = node.args
    node.args = (*own, True)


def _mask_of_linear(node: fx.Node, grad: fx.Node, result: fx.Node) -> None:
    _, _, *own = node.args
    node.args = (grad, result, *own)


def _first(node: fx.Node) -> fx.Node:
    """Of what an operator gives, the first; the operator where nobody takes that."""
    return next((user for user in node.users if user.args[1] == 0), node)


def _mask_of_norm(node: fx.Node, grad: fx.Node, result: fx.Node) -> None:
    _, *own, _, wanted = node.args
    node.args = (grad, *own, True, wanted)


_LAYERS = {
    ours.linear.default: _Layer(lambda node: node, ours.linear_backward.default, _mask_of_linear),
    ours.norm.default: _Layer(_first, ours.norm_backward.default, _mask_of_norm),
}
