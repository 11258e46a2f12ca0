"""The planner: which members stand in one stack, in which form they run, and how many fit into memory.

The forms are tried on a real batch, with the optimiser's step, and the quickest is taken: a stack is quicker while a
single member leaves the machine idle, and slower where the general form of a layer (a grouped convolution, say) is;
where one network's operators are too small for all cores, lanes that train side by side, a core each, are quicker
than either. What a single member's forward pass keeps for its backward pass is read off its graph.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tenfold.core.errors import OutOfMemoryError, StackError
from tenfold.core.machine import available_memory_bytes
from tenfold.core.task import Batch, Direction, Task
from tenfold.stacking import Form as StackForm
from tenfold.stacking import SerialFallbackWarning, Stack, kernels, stack, structure_of
from tenfold.stacking.memory import give_memory_back
from tenfold.train.lane import Lane, ProgramShelf
from tenfold.train.plan import FormChoice, MemberSpec, PlannedStack
from tenfold.train.team import Team

_RESIDENT_COPIES = 3  # of every member while it trains, besides moments: parameter, gradient, best so far
_MOMENTS = {"sgd": 1, "adagrad": 1, "asgd": 1}  # copies that an optimiser holds; the others hold two
_PASSING_COPIES = 2  # of the stack that is taking its step: what the optimiser works on
MEMORY_SHARE = 0.8
_PROBE_MEMBERS = 16
_NOISE = 1.1  # measurements differ by so much from run to run; within it the stack is chosen, so that plans repeat
_WORTH_BESIDE_S = 5e-4  # shorter steps are mostly Python, of which one thread runs at a time
_LEAST_LOOK_S, _MOST_LOOK_S = 5e-4, 0.25  # a lone member's step of which kernels of stacks may take half
NOT_BESIDE = (
    "Members train side by side on a CPU, with two threads at least and memory for as many steps, and none of them "
    "may draw from PyTorch's, Python's or NumPy's own generators."
)
_PROBE_SECONDS = 0.5
_STEPS_BESIDE = 4  # that lanes are timed for together, as they train some before they wait for each other


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
        OutOfMemoryError: the members do not fit side by side, or not even one of them fits with its batch.
        StackError: the form "stacked" or "compiled" was asked for and the members cannot run as one program, or
            "side-by-side" and they cannot run at the same time.
    """
    groups: dict[Any, list[int]] = {}
    resident_bytes = 0
    for place, spec in enumerate(specs):
        model = spec.make_model()
        groups.setdefault((structure_of(model), spec.config.recipe.program), []).append(place)
        resident_bytes += _resident_copies(spec) * _parameter_bytes(model)
    left_bytes = _memory_left(len(specs), resident_bytes, device)
    return [
        planned
        for places in groups.values()
        for planned in _plan_group(
            places, [specs[place] for place in places], task, example, device, form, left_bytes
        )
    ]


def _parameter_bytes(model: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def _resident_copies(spec: MemberSpec) -> int:
    recipe = spec.config.recipe
    return _RESIDENT_COPIES + _MOMENTS.get(recipe.optimizer, 2) + (recipe.ema_decay > 0)


def _passing_bytes(parameter_bytes: int, activation_bytes: int) -> int:
    """What a member's step takes and gives back; activations are held once more by the backward pass."""
    return parameter_bytes * _PASSING_COPIES + 2 * activation_bytes


def predict_memory_bytes(
    spec: MemberSpec, num_members: int, task: Task, batch: Batch, device: torch.device
) -> tuple[int, int]:
    """What a stack of members like this one will need.

    Args:
        spec: one of the members.
        num_members: how many stand in the stack.
        task: what they learn.
        batch: a real training batch, on the device.
        device: where they train.

    Returns:
        Bytes at the peak of a step, and bytes between two steps; the batches are not counted.
    """
    parameter_bytes = _parameter_bytes(spec.make_model())
    resident = num_members * _resident_copies(spec) * parameter_bytes
    _, activation_bytes = _probe_alone(spec, task, batch, device)
    return resident + num_members * _passing_bytes(parameter_bytes, activation_bytes), resident


def _memory_left(num_members: int, resident_bytes: int, device: torch.device) -> int:
    """What the passes may take, once every member has its place: cutting stacks saves none of the latter."""
    available = available_memory_bytes(device)
    left = int(available * MEMORY_SHARE) - resident_bytes
    if left <= 0:
        raise OutOfMemoryError(
            f"plan: the parameters and optimiser states of {num_members} members need about "
            f"{resident_bytes / 1e9:.2f} GB, and {available / 1e9:.2f} GB are free. "
            "Train fewer members or a smaller network."
        )
    return left


def _plan_group(
    places: Sequence[int],
    specs: Sequence[MemberSpec],
    task: Task,
    example: Callable[[int], Batch] | None,
    device: torch.device,
    form: FormChoice,
    left_bytes: int,
) -> list[PlannedStack]:
    model = specs[0].make_model()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    line = {"label": specs[0].label, "parameters": parameters}
    if example is None:
        kind = "stacked" if form == "auto" else form
        reason = "asked for" if form != "auto" else "not measured: the batches come from what the members do"
        most = 1 if kind in ("serial", "side-by-side") else len(specs)
        return _cut(places, most, form=kind, reason=reason, **line)
    batch = example(specs[0].config.recipe.batch_size)
    alone_s, activation_bytes = _probe_alone(specs[0], task, batch, device)
    fit = _members_that_fit(specs[0], _parameter_bytes(model), activation_bytes, left_bytes)
    is_looked_at = form == "auto" and _LEAST_LOOK_S <= alone_s < _MOST_LOOK_S
    if form == "serial" or (len(specs) == 1 and form != "compiled" and not is_looked_at):
        reason = "asked for" if form == "serial" else "one member of this structure"
        return _cut(places, 1, form="serial", reason=reason, step_seconds=alone_s, **line)
    ways = {"serial": _Way(1, alone_s)}
    reason = NOT_BESIDE
    if form != "side-by-side":
        count = min(len(specs), fit)
        stacked_s, fallback = _probe_stacked(specs[: min(count, _PROBE_MEMBERS)], task, batch, device, alone_s)
        ways |= {"stacked": _Way(count, stacked_s)} if fallback is None else {}
        reason = fallback or ""
    if form in ("auto", "side-by-side") and len(specs) > 1:
        beside = _probe_beside(specs, fit, task, batch, device, stacks="stacked" in ways, alone_s=alone_s)
        worth = form != "auto" or alone_s >= _WORTH_BESIDE_S
        ways |= {"side-by-side": beside} if beside is not None and worth else {}
    chosen: str = _chosen(ways) if form == "auto" else "stacked" if form == "compiled" else form
    if chosen not in ways:
        raise StackError(f"plan: form {form!r} was asked for. {reason} Use form='auto'.")
    told = _told(ways)
    reason = f"asked for; {told}" if form != "auto" else told if "stacked" in ways else f"{reason} {told}"
    way = ways[chosen]
    return _cut(
        places, way.size, form=chosen if form == "auto" else form, reason=reason, step_seconds=way.step_s, **line
    )


class _Way(NamedTuple):
    """A form that was measured: how many members a line holds, and the seconds of one step of one of them."""

    size: int
    step_s: float


def _chosen(ways: Mapping[str, _Way]) -> str:
    """The quickest form; within the noise of measurements the stack of several, and lanes one after another."""
    seconds = {form: way.step_s for form, way in ways.items()}
    is_of_several = "stacked" in ways and ways["stacked"].size > 1
    least = seconds["serial"] * (_NOISE if is_of_several else 1 / _NOISE)
    best = "stacked" if seconds.get("stacked", math.inf) < least else "serial"
    others = min(seconds["serial"], seconds.get("stacked", math.inf))
    return "side-by-side" if seconds.get("side-by-side", math.inf) * _NOISE < others else best


def _told(ways: Mapping[str, _Way]) -> str:
    """What was measured, in words."""
    words = {
        "stacked": "as one program",
        "side-by-side": f"side by side on {torch.get_num_threads()} threads",
        "serial": "one by one",
    }
    told = [f"{ways[form].step_s * 1e3:.2f} ms {said}" for form, said in words.items() if form in ways]
    return ", ".join(told).replace(" ms ", " ms a member-step ", 1)


def _cut(places: Sequence[int], most: int, **line: Any) -> list[PlannedStack]:
    return [PlannedStack(places=own, **line) for own in cut_places(places, most)]


def cut_places(places: Sequence[int], most: int) -> list[tuple[int, ...]]:
    """Pieces of nearly equal size, of at most `most` each.

    Example:
        >>> cut_places([3, 4, 5, 6, 7], 2)
        [(3, 4), (5, 6), (7,)]
    """
    num_pieces = math.ceil(len(places) / most)
    size, more = divmod(len(places), num_pieces)
    cuts, start = [], 0
    for i in range(num_pieces):
        end = start + size + (i < more)
        cuts.append(tuple(places[start:end]))
        start = end
    return cuts


def _members_that_fit(spec: MemberSpec, parameter_bytes: int, activation_bytes: int, left_bytes: int) -> int:
    """How many members one stack may hold."""
    need = _passing_bytes(parameter_bytes, activation_bytes)
    fit = left_bytes // max(need, 1)
    if fit < 1:
        raise OutOfMemoryError(
            f"{spec.label}: one step of one member needs about {need / 1e9:.2f} GB with batch size "
            f"{spec.config.recipe.batch_size}, and {left_bytes / 1e9:.2f} GB are left for it. "
            "Choose a smaller network, batch size or image size."
        )
    return fit


def build_lane(
    specs: Sequence[MemberSpec],
    task: Task,
    *,
    form: str,
    device: torch.device,
    total_steps: int | Sequence[int],
    direction: Direction,
    programs: ProgramShelf | None = None,
    line: PlannedStack | None = None,
) -> Lane:
    """Builds the members of one planned stack and makes them ready to train.

    A function that no measurement has seen (an environment's, say) and that cannot run as one program runs for one
    member after another, with a warning.
    """
    models = [spec.make_model().to(device).train() for spec in specs]
    is_serial = form == "serial" or (form == "side-by-side" and len(specs) == 1)
    stack_form: StackForm = "serial" if is_serial else "auto"
    members: Stack = stack(models, seeds=[spec.noise_seed for spec in specs], form=stack_form)
    return Lane(
        [spec.id for spec in specs],
        members,
        task,
        [spec.config.recipe for spec in specs],
        [spec.config.task_values for spec in specs],
        total_steps=total_steps,
        direction=direction,
        programs=programs,
        line=line,
        step=specs[0].step,
        begins_at=specs[0].begins_at,
    )


def _probe_alone(spec: MemberSpec, task: Task, batch: Batch, device: torch.device) -> tuple[float, int]:
    """Seconds of one step of one member, and the bytes that its forward pass keeps for the backward pass."""
    lane = build_lane([spec], task, form="serial", device=device, total_steps=1000, direction="minimize")
    shared = {
        tensor.untyped_storage().data_ptr() for tensor in pytree.tree_leaves(batch) if isinstance(tensor, Tensor)
    }
    own = {tensor.untyped_storage().data_ptr() for _, tensor in lane.tensors()}
    kept = [_kept_for_backward(lane.losses(objective, batch), shared | own) for objective in task.objectives()]
    lane.replay()
    return time_steps(lane, batch), max(kept) // spec.config.recipe.accumulate


def _kept_for_backward(loss_M: Tensor, elsewhere: set[int]) -> int:
    """Bytes that a loss's graph holds, without storages that are counted elsewhere (parameters, the batch).

    The graph is walked, because hooks on saved tensors are closed to functions that run in a stack.
    """
    bytes_of: dict[int, int] = {}
    seen: set[Any] = set()
    waiting: list[Any] = [loss_M.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting.extend(before for before, _ in node.next_functions)
        for name in dir(node):
            if name.startswith("_saved_") or name == "saved_tensors":
                for leaf in pytree.tree_leaves(getattr(node, name)):
                    if isinstance(leaf, Tensor):
                        storage = leaf.untyped_storage()
                        bytes_of[storage.data_ptr()] = storage.nbytes()
    return sum(size for pointer, size in bytes_of.items() if pointer not in elsewhere)


def _probe_stacked(
    specs: Sequence[MemberSpec], task: Task, batch: Batch, device: torch.device, alone_s: float
) -> tuple[float, str | None]:
    """Seconds of one step of one member in a stack, or why there is no stack."""
    affordable = max(2, int(_PROBE_SECONDS / 4 / max(alone_s, 1e-6)))
    probed = specs[:affordable]
    lane = build_lane(probed, task, form="stacked", device=device, total_steps=1000, direction="minimize")
    with warnings.catch_warnings():
        warnings.simplefilter("error", SerialFallbackWarning)
        try:
            lane.train_step(batch)
            lane.predict([batch])
        except SerialFallbackWarning as fallback:
            return math.inf, str(fallback)
    lane.replay()
    return time_steps(lane, batch) / len(probed), None


def _probe_beside(
    specs: Sequence[MemberSpec],
    fit: int,
    task: Task,
    batch: Batch,
    device: torch.device,
    *,
    stacks: bool,
    alone_s: float,
) -> _Way | None:
    """The quicker of two ways to train members at the same time: one a thread, and a stack a thread; None if neither.

    Args:
        specs: the members.
        fit: how many members fit into memory at once.
        task: what they learn.
        batch: a real training batch.
        device: where they train.
        stacks: whether they can stand in stacks.
        alone_s: seconds of one step of one member; for steps that are mostly Python nothing is measured.
    """
    width = min(torch.get_num_threads(), len(specs))
    if device.type != "cpu" or width < 2 or fit < width:
        return None
    sizes = {1, min(math.ceil(len(specs) / width), fit // width) if stacks and alone_s >= _WORTH_BESIDE_S else 1}
    ways = [_Way(size, _time_beside(specs, size, width, task, batch, alone_s)) for size in sorted(sizes)]
    give_memory_back()  # what the threads have freed lies in pools of their own
    best = min(ways, key=lambda way: way.step_s)
    return best if best.step_s < math.inf else None


def _time_beside(
    specs: Sequence[MemberSpec], size: int, width: int, task: Task, batch: Batch, alone_s: float
) -> float:
    """Seconds of one step of one member where lanes of so many train side by side; infinite where they cannot."""
    form, probed = "side-by-side", min(size, _PROBE_MEMBERS // width, max(1, int(_PROBE_SECONDS / alone_s)))
    line = PlannedStack(places=(), form=form, reason="", label="", parameters=0)
    lanes = [
        build_lane(
            (list(specs) * 2)[number * probed : (number + 1) * probed], task, form=form, device=torch.device("cpu"),
            total_steps=1000, direction="minimize", line=line,
        )
        for number in range(width)
    ]  # fmt: skip
    team = Team()
    team.train([(lane, [batch]) for lane in lanes])
    if any(lane.stack.draws_in_turn for lane in lanes):
        return math.inf
    steps = max(1, min(_STEPS_BESIDE, int(_PROBE_SECONDS / 10 / alone_s)))
    took = _quickest(lambda: team.train([(lane, [batch] * steps) for lane in lanes]))
    return took / (steps * width * probed)


def time_steps(lane: Lane, batch: Batch) -> float:
    """The quickest of a few steps, in seconds; a slow step is measured once.

    The last two of a lane that replays its steps are replayed.
    """

    def step() -> None:
        lane.train_step(batch)
        if lane.stack.device.type == "cuda":
            torch.cuda.synchronize()

    return _quickest(step)


def _quickest(step: Callable[[], None]) -> float:
    """Seconds of the quickest of a few; that kernels are built meanwhile does not count."""

    def now() -> float:
        return time.perf_counter() - kernels.seconds_of_building()

    best, began = math.inf, now()
    for _ in range(5):
        start = now()
        step()
        best = min(best, now() - start)
        if now() - began > _PROBE_SECONDS:
            break
    return best
