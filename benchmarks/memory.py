"""Does a stack need the memory that the planner predicts, and does it come back when members leave?

Each line is a process of its own. It predicts, trains a few steps with AdamW (float32, batch 32), scores the members
once, lets three quarters of them leave, and reads what the system says of its memory before and after. "Peak" and
"resident" are what the stack adds to the process that has PyTorch loaded and has trained one small member.

    python benchmarks/memory.py             # three minutes on two cores; 6 GB
    python benchmarks/memory.py --write     # writes benchmarks/results/memory.md
    python benchmarks/memory.py --network mlp --members 4 --json
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tenfold
from tenfold.core.records import MemberId
from tenfold.core.specs import InputSpec
from tenfold.core.task import Batch, Objective, Task, TaskInfo
from tenfold.networks import build_network
from tenfold.stacking.memory import give_memory_back
from tenfold.train import MemberSpec, build_lane, predict_memory_bytes, split_config

RESULTS = Path(__file__).parent / "results" / "memory.md"
CPU, BATCH, CLASSES, STEPS = torch.device("cpu"), 32, 10, 4
INPUTS = {
    "mlp": InputSpec(kind="table", shape=(64,)),
    "lenet": InputSpec(kind="image", shape=(1, 28, 28)),
    "resnet18": InputSpec(kind="image", shape=(3, 32, 32)),
}
CONFIGS: dict[str, dict[str, Any]] = {"mlp": {"hidden": 512, "depth": 3}, "lenet": {}, "resnet18": {}}
MEMBERS = (1, 4, 16)
HEAD = f"""\
# Predicted and measured memory of a stack

{{machine}}, torch {{torch}}, tenfold {{tenfold}}. Float32, AdamW, batch {BATCH}; megabytes, each line once.

    python benchmarks/memory.py --write

| network | parameters | members | peak of a step, predicted | measured | ratio | between steps, predicted \
| measured | after 3/4 have left | come back of what they held |
|---|---|---|---|---|---|---|---|---|---|
"""
FOOT = """
What is predicted: parameter, gradient, two moments and the best weights so far of every member, a copy of the
parameters and one of the gradients for the optimiser, and twice what autograd keeps of a forward pass of one member,
times the members. Working memory of convolutions is not. "Come back" is the fall of the process's memory, as the
system sees it, over the share of the members that left.
"""


class Classify(Task):
    """Cross-entropy, and nothing else that would need memory."""

    info = TaskInfo(name="classify", metrics={}, values={})

    def objectives(self) -> Sequence[Objective]:
        def loss(model: nn.Module, batch: Batch, member: Any) -> Tensor:
            return F.cross_entropy(model(batch[0]), batch[1])

        return [Objective(name="cross_entropy", loss=loss)]

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch[0])

    def evaluate(self, outputs: Sequence[Any], batches: Sequence[Batch]) -> dict[str, Tensor]:
        return {"log_loss": torch.arange(len(outputs[0]), dtype=torch.float64)}


def resident_bytes() -> int:
    """What the process has in memory now."""
    give_memory_back()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most that the process had since `forget_peak`."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def specs(network: str, members: int) -> list[MemberSpec]:
    split = split_config({"schedule": "constant"}, {})
    build = lambda: build_network(network, INPUTS[network], CLASSES, **CONFIGS[network])  # noqa: E731
    return [MemberSpec(id=MemberId(trial=i), label=network, config=split, build=build) for i in range(members)]


def measure(network: str, members: int) -> dict[str, Any]:
    """One line of the table, in bytes."""
    batch = torch.randn(BATCH, *INPUTS[network].shape), torch.randint(CLASSES, (BATCH,))
    own = specs(network, members)
    predicted_peak, predicted_resident = predict_memory_bytes(own[0], members, Classify(), batch, CPU)
    build = {"form": "stacked", "device": CPU, "total_steps": STEPS, "direction": "minimize"}
    build_lane(specs("lenet", 2), Classify(), **build).train_step(
        (torch.randn(BATCH, 1, 28, 28), torch.randint(CLASSES, (BATCH,)))
    )  # loads kernels
    before = resident_bytes()
    lane = build_lane(own, Classify(), **build)
    lane.train_step(batch)
    lane.note_scores(lane.evaluate([batch])["log_loss"], 1)
    forget_peak()
    for _ in range(STEPS):
        lane.train_step(batch)
    peak, resident = peak_bytes() - before, resident_bytes() - before
    parameters = lane.stack.num_parameters
    lane.stack.keep(range(max(members // 4, 1)))
    return {
        "network": network,
        "parameters": parameters,
        "members": members,
        "predicted_peak": predicted_peak,
        "peak": peak,
        "predicted_resident": predicted_resident,
        "resident": resident,
        "after_keep": resident_bytes() - before,
    }


def line_of(result: dict[str, Any]) -> str:
    members, kept = result["members"], max(result["members"] // 4, 1)
    held = result["resident"] * (members - kept) / members
    back = f"{(result['resident'] - result['after_keep']) / held:.0%}" if held > 0 else ""
    mb = {name: f"{value / 1e6:.1f}" for name, value in result.items() if name not in ("network",)}
    ratio = result["predicted_peak"] / max(result["peak"], 1)
    after = mb["after_keep"] if members > 1 else ""
    return (
        f"| {result['network']} | {result['parameters']:,} | {members} | {mb['predicted_peak']} | {mb['peak']} "
        f"| {ratio:.2f} | {mb['predicted_resident']} | {mb['resident']} | {after} | {back} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=INPUTS)
    parser.add_argument("--members", type=int)
    parser.add_argument("--json", action="store_true", help="one measurement, in this process")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    if options.json:
        torch.manual_seed(0)
        print(json.dumps(measure(options.network, options.members)))
        return
    page = HEAD.format(machine=machine(), torch=torch.__version__, tenfold=tenfold.__version__)
    print(page, end="")
    for network in [options.network] if options.network else INPUTS:
        for members in [options.members] if options.members else MEMBERS:
            command = [sys.executable, __file__, "--json", "--network", network, "--members", str(members)]
            line = line_of(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            print(line, flush=True)
            page += line + "\n"
    if options.write:
        RESULTS.write_text(page + FOOT, encoding="utf-8")


def machine() -> str:
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
