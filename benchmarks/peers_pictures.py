"""The same search of LeNets on Fashion-MNIST by tenfold and by Optuna with a `DataLoader` loop.

Pictures of 28x28 in IDX files (`--rows` of the 60,000 to train and choose by, a fifth of them to choose by), LeNet-5,
batches of 64, AdamW with a cosine schedule; learning rate (3e-4 to 1e-2) and weight decay (1e-6 to 1e-1) at random,
log-uniform; every trial is scored on the validation rows after each epoch, and its best score counts.

Each side decodes and loads as its users do:

- tenfold: `tenfold.search` on the folder of `.gz` files, storage, checkpoints, baselines, the final model, its test
  and the report included; once with all trials trained to the end, and once with its default, successive halving.
- optuna: Optuna's random sampler; torchvision's `FashionMNIST` with `PILToTensor`, `ToDtype` and `Normalize` on each
  picture when it is asked for, a `DataLoader`, and a plain PyTorch loop, with the better of no and two worker
  processes; timed on `--some` trials and counted up to all of them.

Rounds alternate between the sides; each first runs once on two trials.

    python benchmarks/peers_pictures.py --folder fashion-mnist      # pictures are made up without one

Results with device and versions: benchmarks/results/peers.md.
"""

from __future__ import annotations

import argparse
import gzip
import platform
import statistics
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from peers import DECAY, LR, Side, by_optuna, timed
from stack_vs_loop import make_lenet
from torch.utils.data import DataLoader, Subset
from torchvision.transforms import v2

import tenfold

BATCH = 64
FILES = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
         "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}  # fmt: skip


def make_pictures(folder: Path, rows: int) -> Path:
    """Made-up files of the same kind: each class is a pattern, under noise."""
    numbers = np.random.default_rng(0)
    patterns = numbers.integers(0, 128, (10, 784))
    folder.mkdir()
    for part, (images, labels) in FILES.items():
        count = rows if part == "train" else max(rows // 6, 100)
        classes = numbers.integers(0, 10, count)
        pixels = (patterns[classes] + numbers.integers(0, 128, (count, 784))).astype(np.uint8)
        sizes = b"".join(size.to_bytes(4, "big") for size in (count, 28, 28))
        (folder / f"{images}.gz").write_bytes(gzip.compress(b"\0\0\x08\x03" + sizes + pixels.tobytes()))
        content = b"\0\0\x08\x01" + sizes[:4] + classes.astype(np.uint8).tobytes()
        (folder / f"{labels}.gz").write_bytes(gzip.compress(content))
    return folder


def cut(folder: Path, out: Path, rows: int) -> None:
    """Writes the first rows of the data as they come (`out/gz`), and as torchvision wants them."""
    raw = out / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (out / "gz").mkdir()
    for part, names in FILES.items():
        count = rows if part == "train" else max(rows // 6, 100)
        for name in names:
            content = gzip.decompress((folder / f"{name}.gz").read_bytes())
            header = 16 if "images" in name else 8
            size = 784 if "images" in name else 1
            short = content[:4] + count.to_bytes(4, "big") + content[8 : header + count * size]
            (raw / name).write_bytes(short)
            (out / "gz" / f"{name}.gz").write_bytes(gzip.compress(short))


def tenfold_side(folder: Path, halving: str) -> Side:
    def search(trials: int, epochs: int) -> float:
        space = {"lr": tenfold.Float(*LR, log=True), "weight_decay": tenfold.Float(*DECAY, log=True)}
        with tempfile.TemporaryDirectory() as out:
            run = tenfold.search(
                make_lenet, folder / "gz", space, sampler="random", halving=halving, trials=trials, epochs=epochs,
                batch_size=BATCH, out=Path(out) / "run",
            )  # fmt: skip
            return float(run.result["valid"]["mean"])

    return search


def train(folder: Path, workers: int, lr: float, weight_decay: float, epochs: int) -> float:
    """The loop that everybody writes; returns the best validation accuracy."""
    prepare = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.286,), (0.353,))])
    data = torchvision.datasets.FashionMNIST(str(folder), train=True, transform=prepare)
    order = np.random.default_rng(0).permutation(len(data)).tolist()
    valid = len(order) // 5
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    loader = DataLoader(Subset(data, order[valid:]), batch_size=BATCH, shuffle=True, **options)
    scored = DataLoader(Subset(data, order[:valid]), batch_size=256, **options)
    model, best = make_lenet(), 0.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader))
    for _ in range(epochs):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(inputs).argmax(1) == targets).sum().item() for inputs, targets in scored)
        best = max(best, hits / valid)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="the four .gz files of Fashion-MNIST; made up without one")
    parser.add_argument("--rounds", type=int, default=2, help="alternations")
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--some", type=int, default=4, help="trials that the loop is timed on")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    most = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        cut(options.folder or make_pictures(folder / "made", options.rows), folder, options.rows)
        loops = {(workers, n): by_optuna(partial(train, folder, workers)) for workers in (0, 2) for n in (1, most)}
        workers, threads = min(loops, key=lambda kind: timed(loops[kind], 1, 1, kind[1])[0])
        sides: dict[str, Callable[[int, int], float]] = {
            "tenfold, all to the end": tenfold_side(folder, "none"),
            "tenfold, halving": tenfold_side(folder, "successive"),
            "Optuna and a `DataLoader` loop": loops[(workers, threads)],
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        scores: dict[str, list[float]] = {name: [] for name in sides}
        for name, side in sides.items():
            if name.startswith("tenfold"):
                timed(side, options.trials, options.epochs, most)
        for _ in range(options.rounds):
            for name, side in sides.items():
                own = name.startswith("tenfold")
                trials = options.trials if own else min(options.some, options.trials)
                taken, best = timed(side, trials, options.epochs, most if own else threads)
                seconds[name].append(taken * options.trials / trials)
                scores[name].append(best)
    print(
        f"{platform.machine()}, {most} threads at most, torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}, tenfold {tenfold.__version__}; {options.trials} trials of {options.epochs} "
        f"epochs on {options.rows} pictures, n = {options.rounds}; the loop with {workers} workers and "
        f"{threads} threads, {options.some} trials counted up\n"
    )
    print(
        "| | seconds, median (range) | best validation accuracy, mean | over tenfold, all | over tenfold, halving |"
    )
    print("|---|---|---|---|---|")
    for name, taken in seconds.items():
        ratios = [
            f"{statistics.median(a / b for a, b in zip(taken, seconds[ours], strict=True)):.1f}x"
            for ours in list(sides)[:2]
        ]
        cells = [f"{statistics.median(taken):.1f} ({min(taken):.1f}-{max(taken):.1f})"]
        print("| " + " | ".join([name, *cells, f"{statistics.mean(scores[name]):.3f}", *ratios]) + " |")


if __name__ == "__main__":
    main()
