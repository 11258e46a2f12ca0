"""One model through tenfold's training against a bare PyTorch loop: what the machinery costs.

The digits MLP (64-128-128-10, batch 32, AdamW, cosine schedule) is trained on 80 % of the digits and scored on the
rest after every epoch: as `replicate` with one seed does it, records, checkpoint and best weights included, and by a
loop as one writes it by hand, with fused AdamW, torch's cosine schedule, and rows of data in memory gathered a batch.
The two sides alternate in one process, each at its own best number of threads. Seconds are of
tenfold's stage "train" (building the model, batches, steps, scoring of every epoch, records), and of its whole call
(reading, planning, answers and report included).

    python benchmarks/overhead.py              # a minute on two cores
    python benchmarks/overhead.py --rounds 11 --epochs 100

Results with device and versions: benchmarks/results/overhead.md.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import tenfold

VALID = 0.2


def make_mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def bare_seconds(x: torch.Tensor, y: torch.Tensor, epochs: int, threads: int) -> float:
    torch.set_num_threads(threads)
    began = time.perf_counter()
    rows = torch.randperm(len(x))
    valid, train = rows[: round(VALID * len(rows))], rows[round(VALID * len(rows)) :]
    model = make_mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * -(-len(train) // 32))
    for _ in range(epochs):
        order = train[torch.randperm(len(train))]
        for batch in order.split(32):
            loss = F.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            (model(x[valid]).argmax(1) == y[valid]).float().mean().item()
    return time.perf_counter() - began


def tenfold_seconds(epochs: int, threads: int) -> tuple[float, float]:
    """Seconds of training and of the whole call."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run = tenfold.replicate(
            make_mlp, "digits", seeds=1, epochs=epochs, batch_size=32, config={"lr": 1e-3}, final="none",
            test_fraction=0.0, valid_fraction=VALID, out=Path(folder) / "run",
        )  # fmt: skip
        return run.info["timings"]["train"], time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="alternations, at least 2")
    parser.add_argument("--epochs", type=int, nargs="+", default=[20, 60])
    options = parser.parse_args()
    most = torch.get_num_threads()
    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)
    threads = min(sorted({1, most}), key=lambda n: min(bare_seconds(x, y, 3, n) for _ in range(3)))
    print(f"{platform.machine()}, {most} threads at most, torch {torch.__version__}, tenfold {tenfold.__version__}\n")
    print(
        f"| epochs | n | bare loop, s ({threads} thread{'s' * (threads > 1)}) | train, s | ratio | whole, s | ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    for epochs in options.epochs:
        tenfold_seconds(epochs, most)  # warms up
        rounds = [
            (bare_seconds(x, y, epochs, threads), *tenfold_seconds(epochs, most)) for _ in range(options.rounds)
        ]
        bare, train, whole = (statistics.median(column) for column in zip(*rounds, strict=True))
        cells = [str(epochs), str(options.rounds), f"{bare:.2f}"]
        for middle, place in ((train, 1), (whole, 2)):
            low, ratio, high = statistics.quantiles([taken[place] / taken[0] for taken in rounds], n=4)
            cells += [f"{middle:.2f}", f"{ratio:.2f} ({low:.2f}-{high:.2f})"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
