"""Cutting a step's batch: by members, where not all take it together, and by samples, where it is taken in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tenfold.core.task import Batch, MemberBatches
from tenfold.stacking import PerMember, per_member

Part = tuple[Tensor | None, Batch]
"""Places of members, int64, shape (K,), and their batch; None for all members."""


def parts_of(batch: Batch | MemberBatches, num_members: int, num_pieces: int) -> list[Part]:
    """Who takes which batch in a step, cut so that no part has more than a share of the members.

    Args:
        batch: for all members, or in parts.
        num_members: M.
        num_pieces: into how many the members are cut; 1 leaves them together.

    Raises:
        ValueError: a place is out of range, or there twice.
    """
    if isinstance(batch, MemberBatches):
        listed = [(torch.as_tensor(places, dtype=torch.int64), own) for places, own in batch.parts]
        _check_places(listed, num_members)
    elif num_pieces == 1:
        return [(None, batch)]
    else:
        listed = [(torch.arange(num_members), batch)]
    most = -(-num_members // num_pieces)
    return [cut for places, own in listed for cut in _cut_members(places, own, most)]


def _check_places(parts: Sequence[tuple[Tensor, Batch]], num_members: int) -> None:
    places = [place for chosen, _ in parts for place in chosen.tolist()]
    if len(set(places)) < len(places) or not set(places) <= set(range(num_members)):
        raise ValueError(
            f"MemberBatches: places must be distinct and in [0, {num_members}), got {places}. "
            "Let the provider's keep() follow the members that leave."
        )


def _cut_members(places: Tensor, batch: Batch, most: int) -> Iterator[tuple[Tensor, Batch]]:
    if len(places) <= most:
        yield places, batch
        return
    for chosen in torch.arange(len(places)).split(most):
        yield places[chosen], tuple(_of_members(argument, chosen) for argument in batch)


def _of_members(argument: Any, chosen: Tensor) -> Any:
    if not isinstance(argument, PerMember):
        return argument
    return per_member(pytree.tree_map(lambda leaf: leaf[chosen.to(leaf.device)], argument.value))


def of_member(batch: Batch, place: int) -> Batch:
    """What the member at a place sees of a batch."""
    return tuple(
        pytree.tree_map(lambda leaf: leaf[place], argument.value) if isinstance(argument, PerMember) else argument
        for argument in batch
    )


def resting_places(parts: Sequence[Part], num_members: int) -> list[int]:
    """The members that are in no part."""
    if parts and parts[0][0] is None:  # the only one
        return []
    present = {place for places, _ in parts if places is not None for place in places.tolist()}
    return [place for place in range(num_members) if place not in present]


def micro_batches(batch: Batch, num_pieces: int) -> Iterator[tuple[float, Batch]]:
    """Pieces of a batch along its samples, each with its share of them.

    Args:
        batch: its tensors hold a sample a row; those marked with `per_member` a member a row, then a sample.
        num_pieces: how many; fewer if there are not as many samples.

    Raises:
        ValueError: the tensors do not hold as many samples each.
    """
    if num_pieces == 1:
        yield 1.0, batch
        return
    cut = [(isinstance(argument, PerMember), argument) for argument in batch]
    sizes = {
        leaf.shape[int(own)] if leaf.dim() > int(own) else 0
        for own, argument in cut
        for leaf in pytree.tree_leaves(argument.value if own else argument)
        if isinstance(leaf, Tensor)
    }
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(
            f"accumulate: batches must be tensors with a row a sample, got {sorted(sizes)} rows. Use accumulate=1."
        )
    (samples,) = sizes
    for rows in torch.arange(samples).chunk(num_pieces):
        place = slice(int(rows[0]), int(rows[-1]) + 1)
        yield len(rows) / samples, tuple(_samples(argument, own, place) for own, argument in cut)


def _samples(argument: Any, own: bool, place: slice) -> Any:
    if own:
        return per_member(pytree.tree_map(lambda leaf: leaf[:, place], argument.value))
    return pytree.tree_map(lambda leaf: leaf[place] if isinstance(leaf, Tensor) else leaf, argument)
