"""What more members cost, and what more data cost: whole calls against a bare loop.

An MLP (64-128-128-10, batch 32, AdamW) is trained by `replicate`, as its user calls it: reading, planning, records,
checkpoints, final scores and report are in its seconds. The bare loop (data in memory, fused AdamW, its better number
of threads, `folds.py`) trains one model in each round, which is counted once a member. The sides alternate.

- members: the digits, 1 to 64 seeds.
- data: eight seeds on 1,000 to 64,000 made-up rows of 64 numbers in ten classes.

    python benchmarks/scaling.py             # about ten minutes on two cores
    python benchmarks/scaling.py --rounds 3 --most 16 --epochs 5

Results with device and versions: benchmarks/results/scaling.md.
"""

from __future__ import annotations

import argparse
import platform
import statistics
from typing import Any

import numpy as np
import torch
from folds import bare_seconds, make_mlp, timed
from sklearn.datasets import load_digits, make_classification

import tenfold

MEMBERS = (1, 2, 4, 8, 16, 32, 64)
ROWS = (1_000, 4_000, 16_000, 64_000)
SEEDS = 8
Rows = tuple[np.ndarray, np.ndarray]


def digits() -> Rows:
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y


def made_up(rows: int) -> Rows:
    x, y = make_classification(rows, 64, n_informative=16, n_classes=10, n_clusters_per_class=1, random_state=0)
    return x.astype(np.float32), y


class Bare:
    """The loop, one training at a time, on four fifths of the rows; scored on the others after every epoch."""

    def __init__(self, data: Rows, epochs: int, most_threads: int) -> None:
        self._x, self._y = torch.from_numpy(data[0]), torch.from_numpy(data[1])
        self._rows, self._epochs, self._most = torch.randperm(len(self._x)), epochs, most_threads
        self._threads = min((1, most_threads), key=lambda threads: min(self._run(1, threads) for _ in range(2)))

    def __call__(self) -> float:
        seconds = self._run(self._epochs, self._threads)
        torch.set_num_threads(self._most)
        return seconds

    def _run(self, epochs: int, threads: int) -> float:
        return bare_seconds(self._x, self._y, self._rows, epochs, threads)


def row(name: str, data: Rows, seeds: int, bare: Bare, epochs: int, rounds: int) -> str:
    """A line of the table: both sides in turn."""
    common: dict[str, Any] = {"epochs": epochs, "batch_size": 32, "test_fraction": 0.0, "valid_fraction": 0.2}

    def ours() -> tuple[float, float]:
        return timed(lambda out: tenfold.replicate(make_mlp, data, seeds=seeds, final="none", out=out, **common))

    ours()
    pairs = [(ours(), seeds * bare()) for _ in range(rounds)]
    train, whole, loop = (
        statistics.median(values) for values in zip(*((*mine, theirs) for mine, theirs in pairs), strict=True)
    )
    low, ratio, high = statistics.quantiles([theirs / mine[1] for mine, theirs in pairs], n=4)
    cells = [
        name, str(rounds), f"{train:.2f}", f"{whole:.2f}", f"{1e3 * train / seeds:.0f}", f"{loop:.2f}",
        f"{ratio:.2f} ({low:.2f}-{high:.2f})",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def table(first: str) -> None:
    print(f"\n| {first} | n | train, s | whole call, s | train, ms a member | bare loop, s | loop over whole call |")
    print("|---|---|---|---|---|---|---|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="alternations, at least 2")
    parser.add_argument("--epochs", type=int, default=10, help="on the digits")
    parser.add_argument("--most", type=int, default=MEMBERS[-1], help="members")
    parser.add_argument("--most-rows", type=int, default=ROWS[-1])
    options = parser.parse_args()
    threads = torch.get_num_threads()
    print(
        f"{platform.machine()}, {threads} threads at most, torch {torch.__version__}, tenfold {tenfold.__version__}"
    )
    print(f"\nMembers: the digits, {options.epochs} epochs.")
    data = digits()
    bare = Bare(data, options.epochs, threads)
    table("members")
    for seeds in MEMBERS:
        if seeds <= options.most:
            print(row(str(seeds), data, seeds, bare, options.epochs, options.rounds), flush=True)
    print(f"\nData: {SEEDS} members, 64,000 rows in all (4 epochs of 16,000, one of 64,000, ...).")
    table("rows")
    for rows in ROWS:
        if rows <= options.most_rows:
            data, epochs = made_up(rows), ROWS[-1] // rows
            bare = Bare(data, epochs, threads)
            print(row(f"{rows:,}", data, SEEDS, bare, epochs, options.rounds), flush=True)


if __name__ == "__main__":
    main()
