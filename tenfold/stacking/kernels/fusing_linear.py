"""Linear layers and the ReLU after them as one operator in recorded steps, both ways, to the same bits."""

from __future__ import annotations

import torch
from torch import fx

from tenfold.stacking.kernels.reading import drop, is_mask_of, is_relu_of, is_written_between, users_of

ours = torch.ops.tenfold


def fuse_linear(nodes: fx.Graph) -> None:
    """Takes a ReLU into the linear layer before it, if nothing else reads what that gives, and so with its gradient.

    Args:
        nodes: of a program, forward and backward pass or the former alone; changed in place.
    """
    for node in list(nodes.nodes):
        if node.target is ours.linear.default:
            readers = list(users_of(node))
            if len(readers) == 1 and is_relu_of(readers[0], node.target) and not is_written_between(node, readers[0]):
                _take_in(node, readers[0])


def _take_in(linear: fx.Node, relu: fx.Node) -> None:
    *own, _ = linear.args
    relu.target, relu.args, relu.kwargs = linear.target, (*own, True), {}
    drop(linear)
    for mask in list(users_of(relu)):
        if is_mask_of(mask, relu):
            _take_in_mask(mask, relu)


def _take_in_mask(mask: fx.Node, output: fx.Node) -> None:
    """The mask stays for whoever else reads it."""
    for backward in list(users_of(mask)):
        if backward.target is ours.linear_backward.default and not is_written_between(mask, backward):
            _, _, *options = backward.args
            backward.args = (mask.args[0], output, *options)
    if not list(users_of(mask)):
        drop(mask)
