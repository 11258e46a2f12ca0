"""Many models stacked against the same models one after another in a bare loop.

All sides train the same MLPs (64-128-128-10, batch 32) or LeNets (1x28x28, batch 32) with AdamW, each model with its
own learning rate, on data that lie in memory. The bare side is what one writes by hand: `forward`, `zero_grad`,
`backward`, `step` with torch's fused AdamW, one model after another. "stack" is the same loop over a stack
(`each`, `zero_grad`, `backward`, `step`); "compiled" is `TrainingStep(..., compiled=True)`, and what compiling took
stands beside it. The sides alternate in one process; each uses the number of threads that is its best, which is
measured first. Times are medians of n rounds of 20 steps, the spread is the interquartile range of the ratio.

    python benchmarks/stack_vs_loop.py            # everything, about 8 minutes on two cores
    python benchmarks/stack_vs_loop.py --network mlp --members 64 --rounds 15

Results with device and versions: benchmarks/results/.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import tenfold

BATCHES = 20


def make_mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def make_lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (make_mlp, (64,)),
    "lenet": (make_lenet, (1, 28, 28)),
}


def loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(model(x), y)


class Bare:
    """One model in a hand-written loop; the cost of M models is M times its cost."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self.model = make()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)

    def steps(self, x: torch.Tensor, y: torch.Tensor) -> None:
        for i in range(BATCHES):
            value = F.cross_entropy(self.model(x[i]), y[i])
            self.optimizer.zero_grad()
            value.backward()
            self.optimizer.step()


class Stacked:
    """M models as one program."""

    def __init__(self, make: Callable[[], nn.Module], members: int, *, compiled: bool) -> None:
        stack = tenfold.stack([make() for _ in range(members)], form="stacked")
        optimizer = tenfold.optim.AdamW(stack.parameters(), lr=torch.logspace(-4, -2, members))
        self.step = tenfold.optim.TrainingStep(stack, loss, optimizer, compiled=compiled)

    def steps(self, x: torch.Tensor, y: torch.Tensor) -> None:
        for i in range(BATCHES):
            self.step(x[i], y[i])


def seconds(side: Bare | Stacked, x: torch.Tensor, y: torch.Tensor, threads: int) -> float:
    """Seconds of one step."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    side.steps(x, y)
    return (time.perf_counter() - began) / BATCHES


def best_threads(side: Bare | Stacked, x: torch.Tensor, y: torch.Tensor, most: int) -> tuple[int, float]:
    """The number of threads with which a side is quickest, and the seconds of the first steps, compiling included."""
    measured, first_s = {}, 0.0
    for n in sorted({1, most}):
        first_s = max(first_s, BATCHES * seconds(side, x, y, n))
        measured[n] = min(seconds(side, x, y, n) for _ in range(5))
    return min(measured, key=lambda n: measured[n]), first_s


def spread(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.3g}-{high:.3g}"


def measure(network: str, members: int, rounds: int, most_threads: int) -> str:
    make, shape = NETWORKS[network]
    torch.manual_seed(0)
    x, y = torch.randn(BATCHES, 32, *shape), torch.randint(0, 10, (BATCHES, 32))
    sides: list[Bare | Stacked] = [Bare(make), *(Stacked(make, members, compiled=c) for c in (False, True))]
    chosen = [best_threads(side, x, y, most_threads) for side in sides]
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, (threads, _), measured in zip(sides, chosen, times, strict=True):
            if isinstance(side, Bare):
                measured.append(1e3 * members * statistics.median(seconds(side, x, y, threads) for _ in range(3)))
            else:
                measured.append(1e3 * seconds(side, x, y, threads))
    cells = [network, str(members), str(rounds)]
    cells += [f"{statistics.median(m):.2f} ({threads})" for m, (threads, _) in zip(times, chosen, strict=True)]
    for measured in times[1:]:
        ratios = [bare / other for bare, other in zip(times[0], measured, strict=True)]
        cells += [f"{statistics.median(ratios):.2f} ({spread(ratios)})"]
    cells.append(f"{chosen[2][1]:.0f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), action="append")
    parser.add_argument("--members", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=15, help="alternations, at least 3")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    threads = torch.get_num_threads()
    lines = [
        f"{platform.processor() or platform.machine()}, {threads} threads at most, torch {torch.__version__}, "
        f"tenfold {tenfold.__version__}, Python {platform.python_version()}",
        "",
        "| network | members | n | bare loop, ms (threads) | stack | compiled | bare / stack (quartiles) "
        "| bare / compiled | compiling, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for network in options.network or list(NETWORKS):
        for members in options.members or [1, 4, 16, 64]:
            lines.append(measure(network, members, options.rounds, threads))
            print(lines[-1], flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
