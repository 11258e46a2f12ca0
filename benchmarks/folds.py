"""Ten folds, and ten seeds, against one: what an error bar costs.

The digits MLP (64-128-128-10, batch 32, AdamW) is trained by `cross_validate` on ten folds and on the first of them
alone, and by `replicate` from ten seeds and from one; the two sides alternate in one process. Seconds are of the
stage "train" (batches, steps and the scoring of every epoch) and of the whole call (reading, planning, answers and
report included). Then 8 learning rates x 5 folds x 2 seeds, 80 members, against a bare PyTorch loop over the same 80
trainings on the same rows, with fused AdamW, data in memory and its best number of threads; one training of the loop
is timed in each round and counted 80 times.

    python benchmarks/folds.py            # about ten minutes on two cores
    python benchmarks/folds.py --rounds 3 --epochs 10

Results with device and versions: benchmarks/results/.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from torch import nn

import tenfold

RATES = [float(rate) for rate in np.logspace(-3.5, -1.5, 8)]


def make_mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def digits_folds() -> list[tuple[np.ndarray, np.ndarray]]:
    x, y = load_digits(return_X_y=True)
    return list(StratifiedKFold(10, shuffle=True, random_state=0).split(x, y))


Side = Callable[[Path], tenfold.Run]


def timed(side: Side) -> tuple[float, float]:
    """Seconds of training and of the whole call."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run = side(Path(folder) / "run")
        return run.info["timings"]["train"], time.perf_counter() - began


def row(name: str, many: Side, one: Side, rounds: int) -> str:
    timed(many), timed(one)  # warms up
    pairs = [(timed(many), timed(one)) for _ in range(rounds)]
    cells = [name, str(rounds)]
    for part in (0, 1):
        ratios = [a[part] / b[part] for a, b in pairs]
        middle = [statistics.median(side[part] for side in sides) for sides in zip(*pairs, strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        cells += [f"{middle[0]:.2f}", f"{middle[1]:.2f}", f"{statistics.median(ratios):.2f} ({low:.2f}-{high:.2f})"]
    return "| " + " | ".join(cells) + " |"


def bare_seconds(x: torch.Tensor, y: torch.Tensor, rows: torch.Tensor, epochs: int, threads: int) -> float:
    """One training of the bare loop: one of five folds, scored after every epoch."""
    torch.set_num_threads(threads)
    train, valid = rows[len(rows) // 5 :], rows[: len(rows) // 5]
    model = make_mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * (len(train) // 32 + 1))
    began = time.perf_counter()
    for _ in range(epochs):
        order = train[torch.randperm(len(train))]
        for batch in order.split(32):
            value = F.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            (model(x[valid]).argmax(1) == y[valid]).float().mean()
    return time.perf_counter() - began


def eighty(rounds: int, epochs: int, most_threads: int) -> str:
    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)
    rows = torch.randperm(len(x))
    methods = {f"{rate:.2g}": (make_mlp, {"lr": rate}) for rate in RATES}

    def grid(out: Path) -> tenfold.Run:
        return tenfold.compare(
            methods, "digits", folds=5, seeds=2, epochs=epochs, test_fraction=0.0, out=out, batch_size=32
        )

    threads = min((1, most_threads), key=lambda n: min(bare_seconds(x, y, rows, 2, n) for _ in range(3)))
    torch.set_num_threads(most_threads)
    timed(grid)
    ratios, ours, theirs = [], [], []
    for _ in range(rounds):
        theirs.append(80 * bare_seconds(x, y, rows, epochs, threads))
        torch.set_num_threads(most_threads)
        ours.append(timed(grid)[1])
        ratios.append(theirs[-1] / ours[-1])
    low, _, high = statistics.quantiles(ratios, n=4)
    return (
        f"8 rates x 5 folds x 2 seeds, {epochs} epochs: bare loop {statistics.median(theirs):.1f} s ({threads} "
        f"thread{'s' if threads > 1 else ''}), `compare` {statistics.median(ours):.1f} s as a whole: "
        f"{statistics.median(ratios):.1f}x ({low:.1f}-{high:.1f}), n = {rounds}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="alternations, at least 2")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--form", default="auto")
    options = parser.parse_args()
    folds, threads = digits_folds(), torch.get_num_threads()
    common: dict[str, Any] = {
        "epochs": options.epochs, "batch_size": 32, "final": "none", "form": options.form, "config": {"lr": 1e-3},
    }  # fmt: skip
    print(
        f"{platform.machine()}, {threads} threads at most, torch {torch.__version__}, tenfold {tenfold.__version__}, "
        f"{options.epochs} epochs\n"
    )
    print("| | n | train: ten, s | one, s | ratio | whole call: ten, s | one, s | ratio |")
    print("|---|---|---|---|---|---|---|---|")

    def cv(chosen: list[Any]) -> Side:
        return lambda out: tenfold.cross_validate(make_mlp, "digits", folds=chosen, out=out, **common)

    def seeds(count: int) -> Side:
        return lambda out: tenfold.replicate(make_mlp, "digits", seeds=count, test_fraction=0.0, out=out, **common)

    print(row("folds", cv(folds), cv(folds[:1]), options.rounds), flush=True)
    print(row("seeds", seeds(10), seeds(1), options.rounds), flush=True)
    print("\n" + eighty(max(options.rounds // 2, 2), options.epochs, threads), flush=True)


if __name__ == "__main__":
    main()
