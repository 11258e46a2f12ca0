"""Many models stacked against the same models one after another, and side by side, in plain PyTorch.

All sides train the same networks with AdamW, each model with its own learning rate, on data that lie in memory. The
bare side is what one writes by hand: `forward`, `zero_grad`, `backward`, `step` with torch's fused AdamW, one model
after another. "stack" is the same loop over a stack, its steps replayed as in trainings that are not compiled
(`GradientReplay`); "compiled" is `TrainingStep(..., compiled=True)`, and what compiling took stands beside it. The
sides alternate in one process; each uses the number of threads that is its best, which is measured first. Times are
medians of n rounds of 20 steps (fewer where they are long), the spread is the interquartile range of the ratio.

With `--rivals` two more sides are measured: the bare loop with its forward and backward pass under `torch.compile`
("bare, compiled"), and one single-thread process a core, each with bare loops over its share of the models ("side by
side"). "roof" is the share of what a large float32 product reaches here that the quicker stacked side does, by the
floating-point operations of PyTorch's own counter.

    python benchmarks/stack_vs_loop.py            # MLP and LeNet, about 8 minutes on two cores
    python benchmarks/stack_vs_loop.py --network mlp --members 64 --rounds 15
    python benchmarks/stack_vs_loop.py --all --rivals --rounds 7      # every network, about an hour
    python benchmarks/stack_vs_loop.py --all --device cuda            # on a GPU

Results with device and versions: benchmarks/results/.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import tenfold
from tenfold.core.specs import InputSpec
from tenfold.networks import build_network
from tenfold.stacking import GradientReplay

BATCHES = 20
CLASSES = 10


def make_mlp(hidden: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES)
    )


def make_lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, CLASSES),
    )  # fmt: skip


def make_cnn() -> nn.Module:
    """Three convolutions with batch norm, 32 to 128 channels."""

    def block(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]

    layers = [*block(3, 32), *block(32, 64), *block(64, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, CLASSES))


class LastStep(nn.Module):
    """An LSTM over 28 steps of 28 numbers, and a linear layer on its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(28, 64, batch_first=True), nn.Linear(64, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def make_vit() -> nn.Module:
    """Patches of 4x4 of a picture of 32x32, width 64, four blocks of four heads."""

    class TinyViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 64, 4, stride=4)
            self.places = nn.Parameter(torch.zeros(1, 64, 64))
            layer = nn.TransformerEncoderLayer(64, 4, 128, 0.0, "gelu", batch_first=True, norm_first=True)
            self.blocks = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
            self.head = nn.Linear(64, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.blocks(self.patches(x).flatten(2).transpose(1, 2) + self.places).mean(1))

    return TinyViT()


def make_resnet(width: float) -> nn.Module:
    return build_network("resnet18", InputSpec(kind="image", shape=(3, 32, 32)), CLASSES, width=width)


class Work(NamedTuple):
    """A network, the shape of its samples, and how many a batch has."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int = 32


NETWORKS = {
    "mlp": Work(lambda: make_mlp(128), (64,)),
    "lenet": Work(make_lenet, (1, 28, 28)),
    "mlp32": Work(lambda: make_mlp(32), (64,)),
    "cnn": Work(make_cnn, (3, 32, 32)),
    "lstm": Work(LastStep, (28, 28), 64),
    "vit_tiny": Work(make_vit, (3, 32, 32)),
    "resnet18_eighth": Work(lambda: make_resnet(0.125), (3, 32, 32)),
    "resnet18": Work(lambda: make_resnet(1.0), (3, 32, 32)),
}
MOST_MEMBERS = {"resnet18": 16, "resnet18_eighth": 64, "cnn": 64, "vit_tiny": 64, "lenet": 64, "lstm": 64}
LONG_S = 4.0  # rounds longer than this take fewer steps


def loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(model(x), y)


class Bare:
    """One model in a hand-written loop; the cost of M models is M times its cost."""

    def __init__(self, make: Callable[[], nn.Module], device: str, *, compiled: bool = False) -> None:
        self.model = make().to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.loss = torch.compile(loss) if compiled else loss

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        value = self.loss(self.model, x, y)
        self.optimizer.zero_grad()
        value.backward()
        self.optimizer.step()


class Stacked:
    """M models as one program."""

    def __init__(self, make: Callable[[], nn.Module], members: int, device: str, *, compiled: bool) -> None:
        stack = tenfold.stack(
            [make().to(device) for _ in range(members)], form="stacked" if members > 1 else "serial"
        )
        optimizer = tenfold.optim.AdamW(stack.parameters(), lr=torch.logspace(-4, -2, members, device=device))
        self.optimizer = optimizer
        self.losses = GradientReplay(stack, loss, stack.parameters())
        self.losses.is_on = True
        if compiled:
            self.step = tenfold.optim.TrainingStep(stack, loss, optimizer, compiled=True)  # type: ignore[method-assign]

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        self.losses(x, y)
        self.optimizer.step()


Side = Bare | Stacked


class SideBySide:
    """A single-thread process a core, each with a bare loop; they begin each round together."""

    def __init__(self, network: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.count = os.cpu_count() or 1
        self.barrier = context.Barrier(self.count + 1)
        self.orders = context.SimpleQueue()
        self.processes = [
            context.Process(target=_work, args=(network, self.barrier, self.orders), daemon=True)
            for _ in range(self.count)
        ]
        for process in self.processes:
            process.start()
        self.seconds(2)

    def seconds(self, steps: int) -> float:
        """Seconds of a step of one model when all cores train one each, divided by their number."""
        for _ in self.processes:
            self.orders.put(steps)
        self.barrier.wait()
        began = time.perf_counter()
        self.barrier.wait()
        return (time.perf_counter() - began) / steps / self.count

    def close(self) -> None:
        for process in self.processes:
            process.terminate()


def _work(network: str, barrier: Any, orders: Any) -> None:
    torch.set_num_threads(1)
    work = NETWORKS[network]
    side = Bare(work.make, "cpu")
    x, y = batches(work, "cpu")
    while True:
        steps = orders.get()
        barrier.wait()
        for i in range(steps):
            side.step(x[i % BATCHES], y[i % BATCHES])
        barrier.wait()


def batches(work: Work, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(BATCHES, work.batch, *work.shape, device=device)
    return x, torch.randint(0, CLASSES, (BATCHES, work.batch), device=device)


def seconds(side: Side, x: torch.Tensor, y: torch.Tensor, threads: int, steps: int = BATCHES) -> float:
    """Seconds of one step."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    for i in range(steps):
        side.step(x[i], y[i])
    if x.is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


class Chosen(NamedTuple):
    """A side's best number of threads, the seconds of its first steps, and how many steps a round takes."""

    threads: int
    first_s: float
    steps: int


def best_threads(side: Side, x: torch.Tensor, y: torch.Tensor, most: int) -> Chosen:
    """Warms a side up, compiling included, and finds its number of threads."""
    measured, first_s, steps = {}, 0.0, BATCHES
    for n in sorted({1, most}):
        first_s = max(first_s, 3 * seconds(side, x, y, n, 3))
        seconds(side, x, y, n, 3)  # the fifth is the first that is replayed
        once = seconds(side, x, y, n, 1)
        steps = min(steps, max(2, int(LONG_S / max(once, 1e-6))))
        measured[n] = min(seconds(side, x, y, n, steps) for _ in range(5 if once < 0.05 else 2))
    return Chosen(min(measured, key=lambda n: measured[n]), first_s, steps)


def spread(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.3g}-{high:.3g}"


def flops(work: Work) -> int:
    """Floating-point operations of a training step of one model, two a multiply-add."""
    side, (x, y) = Bare(work.make, "cpu"), batches(work, "cpu")
    with FlopCounterMode(display=False) as counter:
        side.step(x[0], y[0])
    return counter.get_total_flops()


def roof(device: str, size: int = 2048) -> float:
    """Floating-point operations a second of a large float32 product, on a CPU by the quicker of MKL and oneDNN."""
    a = torch.randn(size, size, device=device)
    products: list[Callable[[], Any]] = [lambda: a @ a]
    if device == "cpu" and torch.backends.mkldnn.is_available():
        products.append(lambda: torch.ops.mkldnn._linear_pointwise(a, a, None, "none", [], ""))
    best = 0.0
    for product in products * 8:
        began = time.perf_counter()
        product()
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def measure(network: str, members: int, rounds: int, most: int, device: str, rivals: bool, roof_flops: float) -> str:
    work = NETWORKS[network]
    x, y = batches(work, device)
    sides: list[Side] = [Bare(work.make, device)]
    sides += [Stacked(work.make, members, device, compiled=compiled) for compiled in (False, True)]
    if rivals:
        sides.append(Bare(work.make, device, compiled=True))
    chosen = [best_threads(side, x, y, most) for side in sides]
    beside = SideBySide(network) if rivals and device == "cpu" else None
    times: list[list[float]] = [[] for _ in sides]
    alongside: list[float] = []
    for _ in range(rounds):
        for side, how, measured in zip(sides, chosen, times, strict=True):
            if isinstance(side, Bare):
                each = statistics.median(seconds(side, x, y, how.threads, how.steps) for _ in range(3))
                measured.append(1e3 * members * each)
            else:
                measured.append(1e3 * seconds(side, x, y, how.threads, how.steps))
        if beside is not None:
            alongside.append(1e3 * members * beside.seconds(chosen[0].steps))
    if beside is not None:
        beside.close()
    cells = [network, str(members), str(rounds)]
    cells += [f"{statistics.median(m):.2f} ({how.threads})" for m, how in zip(times[:3], chosen, strict=False)]
    for other in times[1:3]:
        ratios = [bare / mine for bare, mine in zip(times[0], other, strict=True)]
        cells.append(f"{statistics.median(ratios):.2f} ({spread(ratios)})")
    cells.append(f"{chosen[2].first_s:.0f}")
    best_ms = min(statistics.median(times[1]), statistics.median(times[2]))
    cells.append(f"{members * flops(work) / (best_ms / 1e3) / roof_flops:.0%}")
    if rivals:
        quicker = times[1] if statistics.median(times[1]) < statistics.median(times[2]) else times[2]
        for rival in [times[3], alongside] if alongside else [times[3]]:
            ratios = [theirs / mine for theirs, mine in zip(rival, quicker, strict=True)]
            cells.append(f"{statistics.median(rival):.2f}: {statistics.median(ratios):.2f}x")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), action="append")
    parser.add_argument("--members", type=int, action="append")
    parser.add_argument("--all", action="store_true", help="every network, 1 to 256 members as far as is sensible")
    parser.add_argument("--rivals", action="store_true", help="also a compiled loop, and processes side by side")
    parser.add_argument("--rounds", type=int, default=15, help="alternations, at least 3")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    threads = torch.get_num_threads()
    machine = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    roof_flops = roof(options.device)
    heads = ["network", "members", "n", "bare loop, ms (threads)", "stack", "compiled", "bare / stack (quartiles)"]
    heads += ["bare / compiled", "first steps, s", "roof"]
    if options.rivals:
        heads.append("bare, compiled, ms: over tenfold")
        heads += ["side by side, ms: over tenfold"] if options.device == "cpu" else []
    lines = [
        f"{machine}, {threads} threads at most, roof {roof_flops / 1e9:.0f} GFLOP/s, torch {torch.__version__}, "
        f"tenfold {tenfold.__version__}, Python {platform.python_version()}",
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
    ]
    print("\n".join(lines), flush=True)
    for network in options.network or (list(NETWORKS) if options.all else ["mlp", "lenet"]):
        counts = [1, 4, 16, 64, 256] if options.all else [1, 4, 16, 64]
        most = MOST_MEMBERS.get(network, 256) * (4 if options.device == "cuda" else 1)
        for members in options.members or [count for count in counts if count <= most]:
            lines.append(
                measure(network, members, options.rounds, threads, options.device, options.rivals, roof_flops)
            )
            print(lines[-1], flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
