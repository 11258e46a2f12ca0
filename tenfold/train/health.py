"""Sick members: whose loss or gradient is NaN or infinite, since which step, and the likely cause in words.

A cause is worked out once, when a member falls sick, from what can be measured then: the batch, the member's weights,
its rate, and its loss the step before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tenfold.core.records import MemberId

_CHECK_EVERY = {"cpu": 1}  # a loss on another device is waited for, so that many are looked at together
_CHECK_SELDOM = 50
_HUGE_LOSS, _HUGE_WEIGHT = 1e2, 1e3


@dataclass(frozen=True, kw_only=True)
class Illness:
    """A member that fell sick.

    Attributes:
        member: who.
        step: in which batch of its epoch, 1 is the first.
        cause: what was seen and what it is likely due to, in one sentence without a full stop.
    """

    member: MemberId
    step: int
    cause: str


class LossWatch:
    """Looks at losses as they come: on the CPU at each, on other devices at many together, to wait seldom.

    Args:
        device: where the losses are.
    """

    def __init__(self, device: torch.device) -> None:
        self._every = _CHECK_EVERY.get(device.type, _CHECK_SELDOM)
        self._unseen: list[Tensor] = []
        self._first_step = 1
        self.last_M: Tensor | None = None

    def note(self, loss_M: Tensor, step: int, *, is_bad: bool = False, is_well: bool = False) -> Table | None:
        """Takes a step's losses down; returns those since the last look if one is not finite, or the step is bad.

        Args:
            loss_M: the losses, shape (M,).
            step: number of the step.
            is_bad: whether something else than a loss is known not to be finite.
            is_well: whether the losses are known to be finite.
        """
        if is_well and not self._unseen:
            self.last_M = loss_M
            return None
        if not self._unseen:
            self._first_step = step
        self._unseen.append(loss_M)
        return self.look(is_bad=is_bad) if is_bad or len(self._unseen) >= self._every else None

    def look(self, *, is_bad: bool = False) -> Table | None:
        """The losses since the last look, if one of them is not finite, or a step was bad otherwise."""
        if not self._unseen:
            return None
        unseen, before = self._unseen, self.last_M
        self._unseen, self.last_M = [], unseen[-1]
        whole = unseen[0] if len(unseen) == 1 else torch.stack(unseen)
        if not is_bad and math.isfinite(
            float(whole.sum())
        ):  # of finite losses that sum to infinity the table shows none
            return None
        table = torch.stack(unseen).double().cpu().tolist()
        return Table(first_step=self._first_step, rows=table, before=None if before is None else before.tolist())

    def keep(self, indices: Tensor) -> None:
        """Keeps the members at these places; called between epochs, when all has been looked at."""
        self.last_M = None if self.last_M is None else self.last_M[indices]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Losses of some steps: a row a step, a number a member; and the row before, if there was one."""

    first_step: int
    rows: Sequence[Sequence[float]]
    before: Sequence[float] | None

    def first_bad(self, place: int) -> tuple[int, float, float | None] | None:
        """A member's first step whose loss is not finite, that loss, and the one before; None if there is none."""
        last = None if self.before is None else self.before[place]
        for number, row in enumerate(self.rows):
            if not math.isfinite(row[place]):
                return self.first_step + number, row[place], last
            last = row[place]
        return None

    def last(self, place: int) -> tuple[int, float, float | None]:
        """A member's last step, its loss, and the one before."""
        earlier = self.rows[-2] if len(self.rows) > 1 else self.before
        return self.first_step + len(self.rows) - 1, self.rows[-1][place], None if earlier is None else earlier[place]


def likely_cause(
    *, loss: float, before: float | None, lr: float, optimizer: str, weights: Sequence[Tensor], batch: Any
) -> str:
    """What made a member sick, in one sentence without a full stop.

    Args:
        loss: of the step in which it fell sick; if it is finite, the update was not.
        before: of the step before, None in the first.
        lr: its learning rate.
        optimizer: its name.
        weights: its parameters before that step.
        batch: what it saw in that step; nothing where that is not known.

    Example:
        >>> likely_cause(loss=float("inf"), before=3e9, lr=4.2, optimizer="adamw", weights=[torch.ones(2)], batch=())
        'the loss is infinite: the learning rate 4.2 is too high for adamw (3e+09 was the loss of the step before)'
    """
    what = f"the loss is {_in_words(loss)}"
    if math.isfinite(loss):
        what = f"its update is not finite, although the loss is {loss:.3g}"
    if not all(bool(leaf.isfinite().all()) for leaf in _numbers(batch)):
        return f"{what}: its batch holds numbers that are not finite"
    largest = max((float(weight.abs().max()) for weight in weights if weight.numel()), default=0.0)
    earlier = "" if before is None else f"{before:.3g} was the loss of the step before"
    if before is None:
        if not math.isfinite(largest):
            return f"{what} from its first step: its initial weights are not finite"
        return f"{what} from its first step: inputs too large, or a division by zero or a logarithm of it in the loss"
    if not math.isfinite(largest):
        return f"{what}: its weights are no longer finite, after a gradient that was not ({earlier})"
    if max(abs(before), abs(loss) if math.isfinite(loss) else 0.0) > _HUGE_LOSS or largest > _HUGE_WEIGHT:
        facts = earlier if largest <= _HUGE_WEIGHT else f"{earlier}, its largest weight is {largest:.3g}"
        return f"{what}: the learning rate {lr:.3g} is too high for {optimizer} ({facts})"
    return (
        f"{what}: a division by zero, or a root or a logarithm of it, in the network or its loss "
        f"({earlier}, its largest weight is {largest:.3g}, its learning rate {lr:.3g})"
    )


def _in_words(loss: float) -> str:
    return "not a number" if math.isnan(loss) else "infinite"


def _numbers(batch: Any) -> list[Tensor]:
    """The tensors of floating point in what a member sees."""
    return [leaf for leaf in pytree.tree_leaves(batch) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
