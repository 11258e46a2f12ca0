"""Calls that come back: what they must share to be run by one record, and what a record must not change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tenfold.stacking.forms import Members, PerMember


@contextmanager
def left_as_it_was(members: Members) -> Iterator[Callable[[], bool]]:
    """Gives a function that tells whether forward has set plain attributes; they are put back at the end."""
    attributes = members.call.attributes
    before = attributes.snapshot()
    try:
        yield lambda: bool(attributes.changed(before))
    finally:
        attributes.restore(before)


def flattened(batch: tuple[Any, ...]) -> tuple[list[Any], Hashable | None]:
    """A batch's tensors, and what batches must share to be seen by one program; None if it holds something else."""
    leaves: list[Any] = []
    marks: list[Any] = []
    for part in batch:
        is_own = isinstance(part, PerMember)
        value = part.value if is_own else part
        if isinstance(value, Tensor):
            leaves.append(value)
            marks.append(is_own)
        else:
            inner, tree = pytree.tree_flatten(value)
            leaves += inner
            marks.append((is_own, tree))
    if not all(isinstance(leaf, Tensor) and not leaf.requires_grad for leaf in leaves):
        return leaves, None
    return leaves, (*marks, *[(leaf.shape, leaf.stride(), leaf.dtype, leaf.device) for leaf in leaves])


def versions_of(tensors: Iterable[Tensor]) -> list[int]:
    """How often each has been changed in place, which autograd counts; inference tensors are not counted."""
    return [tensor._version for tensor in tensors if not tensor.is_inference()]


def same_bits(one: Tensor | None, two: Tensor | None) -> bool:
    """Whether two tensors are alike bit for bit, of one dtype and shape, or both are None."""
    if one is None or two is None:
        return one is two
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    return bool(one.reshape(-1).view(torch.uint8).equal(two.reshape(-1).view(torch.uint8)))
