"""Small image networks on Fashion-MNIST: test accuracy and seconds of one training on one CPU thread.

    TENFOLD_DATA=<folder> python benchmarks/small_networks.py --network cnn --epochs 2

Reads <folder>/fashion-mnist (the four IDX files). Trains each network alone, in plain PyTorch, with AdamW and a
one-cycle schedule, on the first `--rows` training pictures (all 60,000 by default), without augmentation and without
a look at the test part before the end; scores the 10,000 test pictures once. One seed: the intervals (95 %, Wilson's)
speak of the test pictures alone.

Measured with `--network lenet --epochs 3` (torch 2.15.0, one thread of a busy two-core Intel Xeon): 89.08 % (88.45 to
89.68, n = 10,000) after 27 s of CPU time.
"""

from __future__ import annotations

import argparse
import gzip
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.core.intervals import wilson
from tenfold.core.seeds import torch_seed
from tenfold.core.specs import InputSpec
from tenfold.networks import build_network

NETWORKS: dict[str, dict[str, float]] = {
    "lenet": {},
    "cnn": {},
    "nin": {"width": 0.25},
    "resnet18": {"width": 0.25},
    "residual_cnn": {"depth": 20},
}
SPEC = InputSpec(kind="image", shape=(1, 28, 28))


def read(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Pictures float, shape (N, 1, 28, 28), and labels."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        pictures = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    return torch.tensor(pictures / 255.0, dtype=torch.float32), torch.tensor(labels)


def train(network: nn.Module, x: Tensor, y: Tensor, epochs: int, lr: float, batch_size: int = 128) -> float:
    """Seconds that the training took."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.01)
    steps = epochs * (len(x) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    start = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for step in range(len(x) // batch_size):
            rows = order[step * batch_size : (step + 1) * batch_size]
            optimizer.zero_grad()
            F.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
    return time.perf_counter() - start


def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    network.eval()
    with torch.no_grad():
        return float(torch.cat([network(part).argmax(1) for part in x.split(500)]).eq(y).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", action="append", choices=list(NETWORKS))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if "TENFOLD_DATA" not in os.environ:
        raise SystemExit("small_networks: needs the folder of the data. Set TENFOLD_DATA.")
    folder = Path(os.environ["TENFOLD_DATA"]) / "fashion-mnist"
    x, y = (part[: options.rows] for part in read(folder, "train"))
    x_test, y_test = read(folder, "t10k")
    mean, std = x.mean(), x.std()
    for name in options.network or list(NETWORKS):
        with torch_seed(options.seed):
            network = build_network(name, SPEC, 10, **NETWORKS[name])
            cpu = time.process_time()
            seconds = train(network, (x - mean) / std, y, options.epochs, options.lr)
            cpu = time.process_time() - cpu
        score = accuracy(network, (x_test - mean) / std, y_test)
        low, high = wilson(score, len(y_test))
        parameters = sum(parameter.numel() for parameter in network.parameters())
        print(
            f"{name} {NETWORKS[name]}: {100 * score:.2f} % ({100 * low:.2f} to {100 * high:.2f}, n = {len(y_test)}), "
            f"{options.epochs} epochs of {len(x)}, {seconds:.0f} s ({cpu:.0f} s of CPU), {parameters:,} parameters, "
            f"torch {torch.__version__}, one thread",
            flush=True,
        )


if __name__ == "__main__":
    main()
