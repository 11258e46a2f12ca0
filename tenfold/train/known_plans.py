"""Plans for members that come later: what was measured for a structure is not measured again.

A search asks for trials while others train. Their structures are mostly those of earlier trials, and for these the
form is known; only what has not been seen side by side is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

import torch

from tenfold.core.task import Batch, Task
from tenfold.stacking import structure_of
from tenfold.train.compiling import with_compiled_steps
from tenfold.train.lane import ProgramShelf
from tenfold.train.plan import FormChoice, MemberSpec, PlannedStack
from tenfold.train.planner import cut_places
from tenfold.train.threads import num_threads, quickest_plan


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A line that members of one structure and program trained in, and how many of these there were in all."""

    line: PlannedStack
    most: int
    seen: int


@dataclass(kw_only=True)
class KnownPlans:
    """The plans of a question's members so far.

    Attributes:
        task: what they learn.
        example: a real training batch for a batch size.
        device: where they train.
        form: "auto" measures; the others insist.
        threads: CPU threads to measure and train with; None until the first plan has chosen them.
        programs: where compiled steps are put.
    """

    task: Task
    example: Callable[[int], Batch] | None
    device: torch.device
    form: FormChoice = "auto"
    threads: int | None = None
    programs: ProgramShelf = field(default_factory=dict)
    _known: dict[Hashable, _Known] = field(default_factory=dict)

    def remember(self, plan: Sequence[PlannedStack], specs: Sequence[MemberSpec]) -> None:
        """Takes a plan down; places are positions among the specs."""
        lines: dict[Hashable, list[PlannedStack]] = {}
        for line in plan:
            lines.setdefault(_key(specs[line.places[0]]), []).append(line)
        for key, own in lines.items():
            seen = sum(len(line.places) for line in own)
            most = max(len(line.places) for line in own)
            if key not in self._known or self._known[key].seen < seen:
                self._known[key] = _Known(line=own[0], most=most, seen=seen)

    def plan(
        self, specs: Sequence[MemberSpec], *, training_s: Callable[[Sequence[PlannedStack]], float]
    ) -> list[PlannedStack]:
        """Which members train together, and in which form.

        Args:
            specs: members that begin now.
            training_s: seconds that a plan will train as it comes; whether to measure it compiled depends on that.

        Returns:
            The plan; every member is in it once.
        """
        groups: dict[Hashable, list[int]] = {}
        for place, spec in enumerate(specs):
            groups.setdefault(_key(spec), []).append(place)
        plan, fresh = [], []
        for key, places in groups.items():
            known = self._known.get(key)
            if known is None or (known.seen == 1 < len(places) and self.form != "serial"):
                fresh += places
                continue
            most = known.most
            if known.line.form == "side-by-side":  # few are cut, too, so that each thread has some
                most = min(most, math.ceil(len(places) / (self.threads or 1)))
            plan += [replace(known.line, places=own) for own in cut_places(places, most)]
        return plan + self._measured(specs, sorted(fresh), training_s)

    def _measured(
        self,
        specs: Sequence[MemberSpec],
        places: Sequence[int],
        training_s: Callable[[Sequence[PlannedStack]], float],
    ) -> list[PlannedStack]:
        if not places:
            return []
        own = [specs[place] for place in places]

        def in_place(plan: Sequence[PlannedStack]) -> list[PlannedStack]:
            return [replace(line, places=tuple(places[place] for place in line.places)) for line in plan]

        plan, threads = quickest_plan(
            own, self.task, self.example, device=self.device, form=self.form, threads=self.threads
        )
        self.threads = threads
        if self.form == "auto" and self.example is not None:
            with num_threads(threads):
                plan = with_compiled_steps(
                    plan, own, self.task, self.example, device=self.device,
                    training_s=training_s(in_place(plan)), programs=self.programs,
                )  # fmt: skip
        self.remember(plan, own)
        return in_place(plan)


def _key(spec: MemberSpec) -> Hashable:
    return structure_of(spec.make_model()), spec.config.recipe.program
