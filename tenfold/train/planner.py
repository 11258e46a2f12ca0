"""The planner: which members stand in one stack, in which form they run, and how many fit into memory.

Both forms are tried on a real batch, with the optimiser's step, and the quicker one is taken: a stack is quicker
while a single member leaves the machine idle, and slower where the general form of a layer (a grouped
convolution, say) is. A single member's step is measured for memory too.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tenfold.core.errors import OutOfMemoryError
from tenfold.core.machine import available_memory_bytes
from tenfold.core.records import MemberId
from tenfold.core.seeds import derive_seed, torch_seed
from tenfold.core.task import Batch, Direction, Task
from tenfold.stacking import SerialFallbackWarning, Stack, stack, structure_of
from tenfold.train.lane import Lane
from tenfold.train.recipe import SplitConfig

_COPIES_OF_PARAMETERS = 6  # parameter, gradient, two moments, best so far, one in flight (optimiser or checkpoint)
_MEMORY_SHARE = 0.8
_PROBE_MEMBERS = 16
_PROBE_SECONDS = 0.5

FormChoice = Literal["auto", "stacked", "serial"]


@dataclass(frozen=True, kw_only=True)
class MemberSpec:
    """One member before it is built.

    Attributes:
        id: trial, fold and seed.
        label: its network and structure in words, for the plan.
        config: its configuration, cut by owner.
        build: makes the model; called under the member's `init` stream.
    """

    id: MemberId
    label: str
    config: SplitConfig
    build: Callable[[], nn.Module]

    def make_model(self) -> nn.Module:
        """The model as initialised from the member's own stream."""
        with torch_seed(derive_seed(self.id.seed, "init", self.id.trial, self.id.fold)):
            return self.build()

    @property
    def noise_seed(self) -> int:
        """The seed of what the member draws while it trains."""
        return derive_seed(self.id.seed, "noise", self.id.trial, self.id.fold)


@dataclass(frozen=True, kw_only=True)
class PlannedStack:
    """A line of the plan: who trains together, how, and why.

    Attributes:
        places: positions of the members among the specs.
        form: "stacked" or "serial".
        reason: one sentence with the numbers.
        label: network and structure in words.
        parameters: parameters of one member.
        step_seconds: measured time of one step of one member, in this form; 0 where nothing was measured.
    """

    places: tuple[int, ...]
    form: str
    reason: str
    label: str
    parameters: int
    step_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types; `from_json` reads it back."""
        return {**vars(self), "places": list(self.places)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> PlannedStack:
        """The line that `to_json` wrote."""
        return cls(**{**record, "places": tuple(record["places"])})


def plan_stacks(
    specs: Sequence[MemberSpec],
    task: Task,
    example: Callable[[int], Batch] | None,
    *,
    device: torch.device,
    form: FormChoice = "auto",
) -> list[PlannedStack]:
    """Cuts members into stacks and chooses each one's form.

    Args:
        specs: the members.
        task: what they learn.
        example: a real training batch for a batch size, on the device; None when the batches come from what the
            members do, and then nothing is measured.
        device: where they train.
        form: "auto" measures; the others insist.

    Returns:
        The plan; every member is in it once.

    Raises:
        OutOfMemoryError: not even one member fits.
    """
    groups: dict[Any, list[int]] = {}
    for place, spec in enumerate(specs):
        key = (structure_of(spec.make_model()), spec.config.recipe.program)
        groups.setdefault(key, []).append(place)
    return [
        planned
        for places in groups.values()
        for planned in _plan_group(places, [specs[place] for place in places], task, example, device, form)
    ]


def _plan_group(
    places: Sequence[int],
    specs: Sequence[MemberSpec],
    task: Task,
    example: Callable[[int], Batch] | None,
    device: torch.device,
    form: FormChoice,
) -> list[PlannedStack]:
    model = specs[0].make_model()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    line = {"label": specs[0].label, "parameters": parameters}
    if example is None:
        chosen = "serial" if form == "serial" else "stacked"
        reason = "asked for" if form != "auto" else "not measured: the batches come from what the members do"
        return _cut(places, len(specs) if chosen == "stacked" else 1, form=chosen, reason=reason, **line)
    batch = example(specs[0].config.recipe.batch_size)
    alone_s, activation_bytes = _probe_alone(specs[0], task, batch, device)
    fit = _members_that_fit(specs[0], parameters, activation_bytes, device)
    if form == "serial" or len(specs) == 1:
        reason = "asked for" if form == "serial" else "one member of this structure"
        return _cut(places, 1, form="serial", reason=reason, step_seconds=alone_s, **line)
    count = min(len(specs), fit)
    stacked_s, fallback = _probe_stacked(specs[: min(count, _PROBE_MEMBERS)], task, batch, device, alone_s)
    if fallback is not None:
        return _cut(places, 1, form="serial", reason=fallback, step_seconds=alone_s, **line)
    reason = f"{stacked_s * 1e3:.2f} ms a member-step as one program, {alone_s * 1e3:.2f} ms one by one"
    if form == "stacked":
        return _cut(places, count, form="stacked", reason=f"asked for; {reason}", step_seconds=stacked_s, **line)
    if stacked_s < alone_s:
        return _cut(places, count, form="stacked", reason=reason, step_seconds=stacked_s, **line)
    return _cut(places, 1, form="serial", reason=reason, step_seconds=alone_s, **line)


def _cut(places: Sequence[int], most: int, **line: Any) -> list[PlannedStack]:
    """Stacks of nearly equal size, at most `most` members each."""
    num_stacks = math.ceil(len(places) / most)
    size, more = divmod(len(places), num_stacks)
    cuts, start = [], 0
    for i in range(num_stacks):
        end = start + size + (i < more)
        cuts.append(PlannedStack(places=tuple(places[start:end]), **line))
        start = end
    return cuts


def _members_that_fit(spec: MemberSpec, parameters: int, activation_bytes: int, device: torch.device) -> int:
    """How many members one stack may hold; activations are held once more by the backward pass."""
    need = parameters * 4 * _COPIES_OF_PARAMETERS + 2 * activation_bytes
    available = available_memory_bytes(device)
    fit = int(available * _MEMORY_SHARE) // max(need, 1)
    if fit < 1:
        raise OutOfMemoryError(
            f"{spec.label}: one member needs about {need / 1e9:.2f} GB with batch size {spec.config.recipe.batch_size}, "
            f"and {available / 1e9:.2f} GB are free. Choose a smaller network, batch size or image size."
        )
    return fit


def build_lane(
    specs: Sequence[MemberSpec],
    task: Task,
    *,
    form: str,
    device: torch.device,
    total_steps: int,
    direction: Direction,
) -> Lane:
    """Builds the members of one planned stack and makes them ready to train."""
    models = [spec.make_model().to(device).train() for spec in specs]
    members: Stack = stack(models, seeds=[spec.noise_seed for spec in specs], form=form)  # type: ignore[arg-type]
    return Lane(
        [spec.id for spec in specs],
        members,
        task,
        [spec.config.recipe for spec in specs],
        [spec.config.task_values for spec in specs],
        total_steps=total_steps,
        direction=direction,
    )


def _probe_alone(spec: MemberSpec, task: Task, batch: Batch, device: torch.device) -> tuple[float, int]:
    """Seconds of one step of one member, and the bytes that its forward pass keeps for the backward pass."""
    lane = build_lane([spec], task, form="serial", device=device, total_steps=1000, direction="minimize")
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        lane.train_step(batch)
    seconds = _time_steps(lane, batch)
    return seconds, max(sum(kept.values()) - lane.stack.memory_bytes, 0)


def _probe_stacked(
    specs: Sequence[MemberSpec], task: Task, batch: Batch, device: torch.device, alone_s: float
) -> tuple[float, str | None]:
    """Seconds of one step of one member in a stack, or why there is no stack."""
    affordable = max(2, int(_PROBE_SECONDS * 4 / max(alone_s, 1e-6)))
    probed = specs[:affordable]
    lane = build_lane(probed, task, form="auto", device=device, total_steps=1000, direction="minimize")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SerialFallbackWarning)
        lane.train_step(batch)
    if lane.stack.fallback is not None:
        return math.inf, lane.stack.fallback
    return _time_steps(lane, batch) / len(probed), None


def _time_steps(lane: Lane, batch: Batch) -> float:
    """The quickest of a few steps, in seconds; a slow step is measured once."""
    best, began = math.inf, time.perf_counter()
    for _ in range(5):
        start = time.perf_counter()
        lane.train_step(batch)
        if lane.stack.device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() - began > _PROBE_SECONDS:
            break
    return best
