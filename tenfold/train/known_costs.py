"""What steps were measured to cost on this machine: kept from run to run, so that a question need not measure again.

One small JSON file in the user's cache folder (`core/caches.py`). An entry is found by what its costs depend on: the
processor, the versions, the members' structure and program, their form, the batch's shapes and the number of threads.
What training then really takes corrects it. What cannot be read counts as not there, and what cannot be written is
not kept: the file saves time and is never needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tenfold.core.caches import cache_folder, keep_in_cache
from tenfold.core.task import Batch
from tenfold.train.plan import MemberSpec

_FILE = "step_costs.json"
_MOST_ENTRIES = 500
_WRONG = 1.5


class StepCosts(NamedTuple):
    """What the step of a lane costs, as it comes and compiled.

    Attributes:
        step: seconds of a member's step as it comes.
        compiled: likewise with the step compiled.
        anew: seconds that compiling takes for the first time.
        again: seconds that it takes when this machine has compiled the same before: the compiler keeps what it made.
        counts: for how many members this machine has compiled such steps.
    """

    step: float
    compiled: float
    anew: float
    again: float
    counts: tuple[int, ...]


def cost_key(spec: MemberSpec, form: str, batch: Batch, device: torch.device) -> str:
    """The key of what members like this one cost, however many they are.

    Args:
        spec: one of them.
        form: "stacked" or "serial".
        batch: a real training batch.
        device: where they train.
    """
    model = spec.make_model()
    tensors = [(name, tuple(value.shape), str(value.dtype)) for name, value in model.state_dict().items()]
    shapes = [
        (tuple(leaf.shape), str(leaf.dtype)) if isinstance(leaf, Tensor) else type(leaf).__name__
        for leaf in pytree.tree_leaves(batch)
    ]
    facts = (_machine(), str(device), torch.get_num_threads(), str(model), tensors, spec.config.recipe.program, form)
    return hashlib.blake2b(repr((facts, shapes)).encode(), digest_size=12).hexdigest()


def known_costs(key: str, members: int, *, or_nearly: bool = False) -> StepCosts | None:
    """The costs of so many members, None where they were not measured.

    Args:
        key: of the costs.
        members: of a lane.
        or_nearly: whether those of the nearest other number will do, as they do for members whose step is long.

    Example:
        >>> known_costs("nobody measured this", 64) is None
        True
    """
    entry: Any = _read().get(key)
    try:
        steps = entry["steps"]
        nearest = min(steps, key=lambda count: abs(math.log(int(count) / members)))
        step, compiled = steps[nearest if or_nearly else str(members)]
        counts = tuple(int(count) for count in entry["counts"])
        return StepCosts(float(step), float(compiled), float(entry["anew"]), float(entry["again"]), counts)
    except (KeyError, TypeError, ValueError):
        return None


def keep_costs(key: str, members: int, costs: StepCosts) -> None:
    """Keeps the costs of so many members; the oldest of many entries are forgotten."""

    def change(entry: dict[str, Any]) -> dict[str, Any]:
        steps = {**entry.get("steps", {}), str(members): [costs.step, costs.compiled]}
        counts = sorted({*entry.get("counts", ()), *costs.counts})
        return {"steps": steps, "anew": costs.anew, "again": costs.again, "counts": counts}

    _change(key, change)


def note_compiled(key: str, members: int) -> None:
    """Notes that steps of so many members are being compiled: the next time it will take less."""

    def change(entry: dict[str, Any]) -> dict[str, Any]:
        return {**entry, "counts": sorted({*entry["counts"], members})} if "counts" in entry else entry

    _change(key, change)


def correct_costs(key: str, members: int, seconds: float, *, compiled: bool) -> None:
    """Takes down what a member's step really took in training, where that contradicts what is kept.

    Both are noisy on a busy machine, so the geometric mean of both is kept: a measurement that was wrong by a factor
    of 16 is wrong by 4 in the next run, and by 2 in the one after. What is right within half is left alone.

    Args:
        key: of the costs; nothing happens where there are none for so many members.
        members: of the lane.
        seconds: of a member's step, > 0.
        compiled: whether the steps were compiled.
    """
    kept = known_costs(key, members)
    if kept is None:
        return
    before = kept.compiled if compiled else kept.step
    if before > 0 and max(seconds / before, before / seconds) > _WRONG:
        now = math.sqrt(before * seconds)
        keep_costs(key, members, kept._replace(compiled=now) if compiled else kept._replace(step=now))


def _change(key: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Writes an entry anew. Of two runs that write at once, one may lose what it wrote."""
    entries = _read()
    before = entries.pop(key, None)
    entries[key] = change(before if isinstance(before, dict) else {})
    kept = dict(list(entries.items())[-_MOST_ENTRIES:])
    keep_in_cache(_FILE, json.dumps(kept).encode())


def _read() -> dict[str, Any]:
    try:
        entries = json.loads((cache_folder() / _FILE).read_text())
    except (OSError, ValueError, RuntimeError):  # the last where there is no home
        return {}
    return entries if isinstance(entries, dict) else {}


@cache
def _machine() -> tuple[str, ...]:
    """The processor and the versions that decide how quick a step is."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), processor)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return processor, str(os.cpu_count()), gpu, torch.__version__, platform.python_version()
