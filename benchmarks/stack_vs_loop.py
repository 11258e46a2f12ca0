"""Many models stacked against the same models one after another in a bare loop.

Both sides train the same MLPs (64-128-128-10, batch 32) or LeNets (1x28x28, batch 32) with AdamW, each model with
its own learning rate, on data that lie in memory. The bare side is what one writes by hand: `forward`,
`zero_grad`, `backward`, `step` with torch's fused AdamW, one model after another. The two sides alternate in one
process; each uses the number of threads that is its best, which is measured first. Times are medians of n rounds,
the spread is the interquartile range.

    python benchmarks/stack_vs_loop.py            # everything, about 5 minutes on two cores
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

    def __init__(self, make: Callable[[], nn.Module], members: int, form: str) -> None:
        self.stack = tenfold.stack([make() for _ in range(members)], form=form)
        self.optimizer = tenfold.optim.AdamW(self.stack.parameters(), lr=torch.logspace(-4, -2, members))

    def steps(self, x: torch.Tensor, y: torch.Tensor) -> None:
        for i in range(BATCHES):
            loss_M = self.stack.each(loss, x[i], y[i])
            self.optimizer.zero_grad()
            self.stack.backward(loss_M)
            self.optimizer.step()


def seconds(side: Bare | Stacked, x: torch.Tensor, y: torch.Tensor, threads: int) -> float:
    """Seconds of one step."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    side.steps(x, y)
    return (time.perf_counter() - began) / BATCHES


def best_threads(side: Bare | Stacked, x: torch.Tensor, y: torch.Tensor, most: int) -> int:
    """The number of threads with which a side is quickest."""
    measured = {n: min(seconds(side, x, y, n) for _ in range(5)) for n in sorted({1, most})}
    return min(measured, key=lambda n: measured[n])


def spread(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.3g}-{high:.3g}"


def measure(network: str, members: int, rounds: int, most_threads: int, form: str) -> str:
    make, shape = NETWORKS[network]
    torch.manual_seed(0)
    x, y = torch.randn(BATCHES, 32, *shape), torch.randint(0, 10, (BATCHES, 32))
    bare, stacked = Bare(make), Stacked(make, members, form)
    bare.steps(x, y), stacked.steps(x, y)
    bare_threads, stacked_threads = best_threads(bare, x, y, most_threads), best_threads(stacked, x, y, most_threads)
    bare_ms, stacked_ms = [], []
    for _ in range(rounds):
        bare_ms.append(1e3 * members * statistics.median(seconds(bare, x, y, bare_threads) for _ in range(3)))
        stacked_ms.append(1e3 * seconds(stacked, x, y, stacked_threads))
    ratios = [b / s for b, s in zip(bare_ms, stacked_ms, strict=True)]
    cells = (
        network,
        members,
        rounds,
        f"{statistics.median(bare_ms):.2f} ({bare_threads})",
        f"{statistics.median(stacked_ms):.2f} ({stacked_threads})",
        f"{statistics.median(ratios):.2f}",
        spread(ratios),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), action="append")
    parser.add_argument("--members", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=15, help="alternations, at least 3")
    parser.add_argument("--form", choices=("stacked", "serial"), default="stacked")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    threads = torch.get_num_threads()
    lines = [
        f"{platform.processor() or platform.machine()}, {threads} threads at most, torch {torch.__version__}, "
        f"tenfold {tenfold.__version__}, Python {platform.python_version()}, form {options.form}",
        "",
        "| network | members | n | bare loop, ms (threads) | tenfold, ms (threads) | ratio | quartiles |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for network in options.network or list(NETWORKS):
        for members in options.members or [1, 4, 16, 64]:
            lines.append(measure(network, members, options.rounds, threads, options.form))
            print(lines[-1], flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
