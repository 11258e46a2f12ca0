"""Ten folds as one model: one stacked forward against its ten networks one after another.

The digits MLP (64-128-128-10, float32) is cross-validated on ten folds, and its average predicts probabilities for
rows of digits: all 1,797 in one batch, in batches of 256, and one row alone. Both sides get the very same prepared
tensors, alternate in one process, and each runs at its own best number of threads. The loop is plain PyTorch under
`torch.inference_mode`: ten modules in evaluation mode, softmax, mean. The stack is the same ten modules in
`tenfold.stack`, softmax, mean: by `Stack.each`, and by `Replay`, with which the models of runs predict. Medians over
the rounds; the ratio is that of each round, with its quartiles.

    python benchmarks/ensemble.py              # a minute on two cores
    python benchmarks/ensemble.py --rounds 300

Results with device and versions: benchmarks/results/ensemble.md.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import tenfold
from tenfold.stacking import Replay

Side = Callable[[Tensor], Tensor]


def make_mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def ten_folds() -> tenfold.study.Model:
    with tempfile.TemporaryDirectory() as folder:
        run = tenfold.cross_validate(
            make_mlp, "digits", folds=10, epochs=5, batch_size=32, config={"lr": 1e-3}, out=Path(folder) / "run"
        )
        return run.model


def one_by_one(modules: list[nn.Module]) -> Side:
    def predict(x: Tensor) -> Tensor:
        return torch.stack([module(x).softmax(dim=1) for module in modules]).mean(dim=0)

    return predict


def forward(model: nn.Module, x: Tensor) -> Tensor:
    return model(x)


def stacked(modules: list[nn.Module]) -> Side:
    together = tenfold.stack(modules).eval()

    def predict(x: Tensor) -> Tensor:
        return together.each(forward, x).softmax(dim=2).mean(dim=0)

    return predict


def replayed(modules: list[nn.Module]) -> Side:
    together = Replay(tenfold.stack(modules).eval(), forward)

    def predict(x: Tensor) -> Tensor:
        return together(x).softmax(dim=2).mean(dim=0)

    return predict


def seconds(side: Side, batches: tuple[Tensor, ...], threads: int) -> float:
    torch.set_num_threads(threads)
    began = time.perf_counter()
    for batch in batches:
        side(batch)
    return time.perf_counter() - began


def best_threads(side: Side, batches: tuple[Tensor, ...], most: int) -> int:
    def usual(threads: int) -> float:
        return statistics.median(seconds(side, batches, threads) for _ in range(30))

    return min(sorted({1, most}), key=usual)


def row(name: str, sides: tuple[Side, ...], batches: tuple[Tensor, ...], rounds: int, most: int) -> str:
    threads = [best_threads(side, batches, most) for side in sides]
    times = [[seconds(side, batches, n) for side, n in zip(sides, threads, strict=True)] for _ in range(rounds)]
    middle = [1000 * statistics.median(column) for column in zip(*times, strict=True)]
    cells = [name, str(rounds), *(f"{ms:.3f} ({n})" for ms, n in zip(middle, threads, strict=True))]
    for place in range(1, len(sides)):
        low, ratio, high = statistics.quantiles([taken[0] / taken[place] for taken in times], n=4)
        cells.append(f"{ratio:.2f} ({low:.2f}-{high:.2f})")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="alternations, at least 2")
    options = parser.parse_args()
    most = torch.get_num_threads()
    modules = [part.module for part in ten_folds().parts]
    pixels, _ = load_digits(return_X_y=True)
    x = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    sides = one_by_one(modules), stacked(modules), replayed(modules)
    print(f"{platform.machine()}, {most} threads at most, torch {torch.__version__}, tenfold {tenfold.__version__}\n")
    print("| | n | one by one, ms (threads) | each | Replay | one by one / each | one by one / Replay |")
    print("|---|---|---|---|---|---|---|")
    with torch.inference_mode():
        torch.testing.assert_close(sides[0](x), sides[1](x))
        torch.testing.assert_close(sides[0](x), sides[2](x))
        for name, batches in (
            ("one batch of 1,797", (x,)),
            ("batches of 256", x.split(256)),
            ("32 rows", (x[:32],)),
            ("one row", (x[:1],)),
        ):
            print(row(name, sides, batches, options.rounds, most), flush=True)


if __name__ == "__main__":
    main()
