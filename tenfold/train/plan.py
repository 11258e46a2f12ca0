"""What the planner speaks of: members before they are built, and the lines of a plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from tenfold.core.records import MemberId
from tenfold.core.seeds import derive_seed, torch_seed
from tenfold.train.recipe import SplitConfig

FormChoice = Literal["auto", "stacked", "serial", "side-by-side", "compiled"]


@dataclass(frozen=True, kw_only=True)
class MemberSpec:
    """One member before it is built.

    Attributes:
        id: trial, fold and seed.
        label: its network and structure in words, for the plan.
        config: its configuration, cut by owner.
        build: makes the model; called under the member's `init` stream.
        init_seed: seed of that stream, where it is not the member's own.
        step: of a ladder, the step that it trains on.
        begins_at: epochs that it has trained on the steps before.
    """

    id: MemberId
    label: str
    config: SplitConfig
    build: Callable[[], nn.Module]
    init_seed: int | None = None
    step: int = 0
    begins_at: int = 0

    def make_model(self) -> nn.Module:
        """The model as initialised from the member's own stream."""
        seed = self.id.seed if self.init_seed is None else self.init_seed
        with torch_seed(derive_seed(seed, "init", self.id.trial, self.id.fold)):
            return self.build()

    @property
    def noise_seed(self) -> int:
        """The seed of what the member draws while it trains."""
        return derive_seed(self.id.seed, "noise", self.id.trial, self.id.fold)


_LONG_STEP_S = 5e-4  # of a member
_BLOCK_S = 6e-3  # of a block's step as it comes: 16 LeNets of batch 32 take 0.6 in blocks of 8 of what they do in 2


def block_members_of(step_seconds: float) -> int | None:
    """How many members a compiled program takes at once, by what a step of one takes; None for as many as fit caches.

    Example:
        >>> [block_members_of(seconds) for seconds in (1e-4, 5e-4, 1.2e-3, 3e-3, 0.01)]
        [None, 16, 8, 2, 1]
    """
    if step_seconds < _LONG_STEP_S:
        return None
    return 1 << max(math.ceil(math.log2(_BLOCK_S / step_seconds)), 0)


@dataclass(frozen=True, kw_only=True)
class PlannedStack:
    """A line of the plan: who trains together, how, and why.

    Attributes:
        places: positions of the members among the specs.
        form: "stacked"; "serial"; "side-by-side", whose lines train at the same time, each on a thread of its own; or
            "compiled" where that was asked for. The first two are compiled where it pays.
        reason: one sentence with the numbers.
        label: network and structure in words.
        parameters: parameters of one member.
        step_seconds: measured time of one step of one member, in this form; 0 where nothing was measured.
        compiled_seconds: likewise with the step compiled; 0 where that was not measured, or cannot be had.
        compile_seconds: what compiling takes for the first time.
        again_seconds: what it takes for as many members as this machine has compiled such steps for before.
        compiled_before: for how many members it has.
        costs_key: under which this machine keeps these costs.
    """

    places: tuple[int, ...]
    form: str
    reason: str
    label: str
    parameters: int
    step_seconds: float = 0.0
    compiled_seconds: float = 0.0
    compile_seconds: float = 0.0
    again_seconds: float = 0.0
    compiled_before: tuple[int, ...] = ()
    costs_key: str = ""

    @property
    def quickest_seconds(self) -> float:
        """Time of one step of one member, compiled or not."""
        return min(self.step_seconds, self.compiled_seconds or self.step_seconds)

    def pays_to_compile(self, member_steps: float, members: int) -> bool:
        """Whether compiling saves more time than it takes.

        Args:
            member_steps: steps of a member, of all lanes that share the program.
            members: how many a lane has.
        """
        saved = self.step_seconds - self.compiled_seconds
        return self.compiled_seconds > 0 and member_steps * saved > self.seconds_to_compile(members)

    def seconds_to_compile(self, members: int) -> float:
        """What compiling the step of a lane of so many members takes now."""
        is_known = members in self.compiled_before or (self.block_members is not None and self.compiled_before)
        return self.again_seconds if is_known else self.compile_seconds

    @property
    def block_members(self) -> int | None:
        """How many members a compiled program takes at once: where it is a number, it serves lanes of any size."""
        return block_members_of(self.step_seconds)

    def moved(self, by: int) -> PlannedStack:
        """The line of members that stand so many places further on."""
        return replace(self, places=tuple(place + by for place in self.places))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types; `from_json` reads it back."""
        return {**vars(self), "places": list(self.places), "compiled_before": list(self.compiled_before)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> PlannedStack:
        """The line that `to_json` wrote."""
        before = tuple(record.get("compiled_before", ()))
        return cls(**{**record, "places": tuple(record["places"]), "compiled_before": before})
