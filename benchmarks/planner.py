"""Whether the planner's choice, its own costs included, is as quick as the best of the forms that it did not choose.

For each network and number of members one round measures, one after the other: planning (as `fit` plans: forms, two
numbers of threads), a few steps of the chosen lanes, and a few steps of every form there is: serial and stacked, each
with one thread and with all, and side by side. From these the seconds of a whole run are counted up: a run of so many
steps that training its members one after another, with all threads, takes `--seconds`. The planner's run is its
planning and its steps; another form's run is its steps alone. The ratio is that of the quickest form that the planner
did not choose to the planner's run; 1 is as quick. A second ratio is to the quickest of all forms, the chosen one
measured once more among them: it can hardly exceed 1, and says what planning and wrong choices cost. Steps are
replayed in every form that can. Compiled steps are left out: for short runs the planner does not measure them, unless
this machine has before.

    python benchmarks/planner.py                    # about seven minutes on two cores
    python benchmarks/planner.py --network vit_tiny --members 16 --rounds 9

Results with device and versions: benchmarks/results/planner.md.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from stack_vs_loop import NETWORKS, batches
from torch import Tensor, nn

import tenfold
from tenfold.core.machine import num_threads
from tenfold.core.records import MemberId
from tenfold.core.task import Batch, Objective, Task, TaskInfo
from tenfold.train import Lane, MemberSpec, PlannedStack, build_lane, quickest_plan, split_config
from tenfold.train.planner import cut_places
from tenfold.train.team import Team

CPU = torch.device("cpu")
COUNTS = {"mlp": (4, 16, 64), "resnet18": (4,)}


class Classify(Task):
    """Cross-entropy, and nothing else."""

    info = TaskInfo(name="classify", metrics={}, values={"nothing": 0.0})

    def objectives(self) -> Sequence[Objective]:
        def loss(model: nn.Module, batch: Batch, member: Any) -> Tensor:
            return F.cross_entropy(model(batch[0]), batch[1])

        return [Objective(name="loss", loss=loss)]

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch[0])

    def evaluate(self, outputs: Sequence[Any], batches: Sequence[Batch]) -> dict[str, Tensor]:
        return {}


def specs_of(make: Callable[[], nn.Module], members: int) -> list[MemberSpec]:
    config = {"nothing": 0.0, "batch_size": 32}
    return [
        MemberSpec(
            id=MemberId(trial=trial), label="network", build=make,
            config=split_config({**config, "lr": 1e-4 * 1.05**trial}, {"nothing": 0.0}),
        )
        for trial in range(members)
    ]  # fmt: skip


class Run:
    """Lanes in some form, with some number of threads, on their way through batches."""

    def __init__(self, specs: Sequence[MemberSpec], lines: Sequence[PlannedStack], threads: int) -> None:
        self.members, self.threads, self.team = len(specs), threads, Team()
        self.lanes: list[Lane] = [
            build_lane(
                [specs[place] for place in line.places], Classify(), form=line.form, device=CPU, total_steps=10**6,
                direction="minimize", line=line,
            )
            for line in lines
        ]  # fmt: skip
        for lane in self.lanes:
            lane.replay()

    def seconds(self, batch: Batch, steps: int) -> float:
        """Seconds of one step of one member."""
        with num_threads(self.threads):
            began = time.perf_counter()
            self.team.train([(lane, [batch] * steps) for lane in self.lanes])
            return (time.perf_counter() - began) / steps / self.members


def lines_of(form: str, members: int, most: int) -> list[PlannedStack]:
    return [
        PlannedStack(places=places, form=form, reason="", label="network", parameters=0)
        for places in cut_places(range(members), most)
    ]


def measure(network: str, members: int, rounds: int, run_s: float, window_s: float) -> str:
    work, threads = NETWORKS[network], torch.get_num_threads()
    specs, (x, y) = specs_of(work.make, members), batches(work, "cpu")
    batch: Batch = (x[0], y[0])
    half = math.ceil(members / threads)
    kinds = {
        "serial": ("serial", 1, threads),
        "serial, 1 thread": ("serial", 1, 1),
        "stacked": ("stacked", members, threads),
        "stacked, 1 thread": ("stacked", members, 1),
        "side by side": ("side-by-side", 1, threads),
        "stacks side by side": ("side-by-side", half, threads),
    }
    forms = {name: Run(specs, lines_of(form, members, most), n) for name, (form, most, n) in kinds.items()}
    for run in forms.values():
        run.seconds(batch, _WARM)
    steps = {name: max(1, round(window_s / (run.seconds(batch, 2) * members))) for name, run in forms.items()}
    rounds_of: list[tuple[float, float, dict[str, float], str]] = []
    choices = []
    for _ in range(rounds):
        began = time.perf_counter()
        plan, chosen = quickest_plan(specs, Classify(), lambda size: batch, device=CPU)
        plan_s = time.perf_counter() - began
        own = Run(specs, plan, chosen)
        own.seconds(batch, _WARM)
        own_s = own.seconds(batch, max(1, round(window_s / (plan[0].step_seconds * members))))
        others = {name: run.seconds(batch, steps[name]) for name, run in forms.items()}
        same = (plan[0].form, len(plan[0].places), chosen)
        rounds_of.append((plan_s, own_s, others, next((name for name, kind in kinds.items() if kind == same), "")))
        choices.append(f"{plan[0].form} ({len(plan[0].places)}, {chosen})")
    member_steps = run_s / statistics.median(others["serial"] for _, _, others, _ in rounds_of)
    bests, of_steps, ratios, to_all = [], [], [], []
    for plan_s, own_s, others, same_name in rounds_of:
        left = {name: took for name, took in others.items() if name != same_name}
        bests.append(min(left, key=lambda name: left[name]))
        of_steps.append(left[bests[-1]] / own_s)
        planned_s = plan_s + member_steps * own_s
        ratios.append(member_steps * left[bests[-1]] / planned_s)
        to_all.append(member_steps * min(others.values()) / planned_s)
    planning = [plan_s for plan_s, _, _, _ in rounds_of]
    low, _, high = statistics.quantiles(ratios, n=4)
    cells = [
        network, str(members), str(rounds), _counted(choices), _counted(bests),
        f"{statistics.median(planning):.1f}", f"{statistics.median(of_steps):.2f}",
        f"{statistics.median(ratios):.2f} ({low:.2f}-{high:.2f})", f"{statistics.geometric_mean(ratios):.2f}",
        f"{statistics.geometric_mean(to_all):.2f}",
    ]  # fmt: skip
    RATIOS.append(statistics.geometric_mean(ratios))
    TO_ALL.append(statistics.geometric_mean(to_all))
    return "| " + " | ".join(cells) + " |"


RATIOS: list[float] = []
TO_ALL: list[float] = []
_WARM = 6  # steps before a lane is timed: the fifth is the first that is replayed


def _counted(names: Sequence[str]) -> str:
    return ", ".join(f"{name} {names.count(name)}x" for name in dict.fromkeys(names))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), action="append")
    parser.add_argument("--members", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=7, help="alternations, at least 2")
    parser.add_argument("--seconds", type=float, default=60.0, help="that a run takes one after another")
    parser.add_argument("--window", type=float, default=0.3, help="seconds that each form is timed for in a round")
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads at most, torch {torch.__version__}, tenfold "
        f"{tenfold.__version__}; runs of {options.seconds:.0f} s one after another\n"
    )
    heads = ["network", "members", "n", "chosen (members a lane, threads)", "quickest other form", "planning, s"]
    heads += ["steps alone", "whole run, median (quartiles)", "geometric mean", "to the best of all"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TENFOLD_CACHE"] = folder
        for network in options.network or [name for name in NETWORKS if name not in ("resnet18", "mlp32")]:
            for members in options.members or COUNTS.get(network, (4, 16)):
                print(measure(network, members, options.rounds, options.seconds, options.window), flush=True)
    print(f"\nGeometric mean over all rows: {statistics.geometric_mean(RATIOS):.3f}; least row {min(RATIOS):.2f}")
    print(f"To the best of all forms: {statistics.geometric_mean(TO_ALL):.3f}; least row {min(TO_ALL):.2f}")


if __name__ == "__main__":
    main()
