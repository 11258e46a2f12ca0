"""What can go wrong in one member: the values of a sick training, and where they come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tenfold.stacking import per_member
from tenfold.testing.trained import Batches, Bench


@dataclass(frozen=True, kw_only=True)
class Poison:
    """One thing that goes wrong in one member.

    Attributes:
        value: what is put into the member.
        where: "parameters", "batch", "loss" or "lr".
    """

    value: float
    where: str

    def strike(self, work: Bench, scale_M: Tensor, place: int) -> None:
        """Poisons a stack that is about to train; what sits in the batch comes with `own_batches`."""
        if self.where == "parameters":
            with torch.no_grad():
                for parameter in work.stack.parameters():
                    if parameter.is_floating_point() or parameter.is_complex():
                        parameter[place] = self.value
        elif self.where == "loss":
            scale_M[place] = self.value
        elif self.where == "lr":
            self._strike_lr(work, len(scale_M), place)

    def _strike_lr(self, work: Bench, num_members: int, place: int) -> None:
        for group in work.optimizer.param_groups:
            group["lr"] = self._with_value(group["lr"], num_members, place)
        if work.schedule is not None:
            rates = [self._with_value(lr, num_members, place) for lr in work.schedule.base_lrs]
            work.schedule.base_lrs = rates

    def _with_value(self, lr: Any, num_members: int, place: int) -> Tensor:
        lr_M = lr.clone() if isinstance(lr, Tensor) else torch.full((num_members,), float(lr), dtype=torch.float64)
        lr_M[place] = self.value
        return lr_M


POISONS: dict[str, Poison] = {
    "NaN parameters": Poison(value=torch.nan, where="parameters"),
    "infinite parameters": Poison(value=torch.inf, where="parameters"),
    "huge parameters": Poison(value=1e30, where="parameters"),
    "a batch of NaN": Poison(value=torch.nan, where="batch"),
    "a batch of inf": Poison(value=torch.inf, where="batch"),
    "a huge batch": Poison(value=1e30, where="batch"),
    "a NaN loss": Poison(value=torch.nan, where="loss"),
    "an infinite loss": Poison(value=torch.inf, where="loss"),
    "a NaN learning rate": Poison(value=torch.nan, where="lr"),
    "an infinite learning rate": Poison(value=torch.inf, where="lr"),
    "a huge learning rate": Poison(value=1e30, where="lr"),
}
"""What `check_strangers` puts into a member, by the words that its sentence uses."""


def own_batches(batches: Batches, num_members: int, place: int, value: float | None) -> list[tuple[Any, ...]]:
    """The batches as one a member, the floats of one member's set to a value (None leaves them)."""

    def spread(leaf: Tensor) -> Tensor:
        own = leaf.unsqueeze(0).repeat(num_members, *(1,) * leaf.dim())
        if value is not None and leaf.is_floating_point():
            own[place] = value
        return own

    def argument(part: Any) -> Any:
        leaves = pytree.tree_leaves(part)
        if not leaves or not all(isinstance(leaf, Tensor) for leaf in leaves):
            return part
        return per_member(pytree.tree_map(spread, part))

    return [tuple(argument(part) for part in batch) for batch in batches]
