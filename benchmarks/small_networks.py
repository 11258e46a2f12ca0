"""Small image networks on Fashion-MNIST: test accuracy and seconds of CPU time of one training on one thread.

    TENFOLD_DATA=<folder> python benchmarks/small_networks.py --network cnn --network resnet18

Reads <folder>/fashion-mnist (the four IDX files). Trains each network alone, in plain PyTorch, on the first `--rows`
training pictures (60,000 by default) with AdamW, a one-cycle schedule and gradients clipped at a norm of 1, without
augmentation and without a look at the test part before the end; scores the 10,000 test pictures once. `RECIPES` has
each network's form, rate and epochs. One seed: the intervals (95 %, Wilson's) speak of the test pictures alone.

Prints a row of the table in `benchmarks/results/small_networks.md` for each network.
"""

from __future__ import annotations

import argparse
import gzip
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.core.intervals import wilson
from tenfold.core.seeds import torch_seed
from tenfold.core.specs import InputSpec
from tenfold.networks import build_network


@dataclass(frozen=True)
class Recipe:
    """How a network is built and trained.

    Attributes:
        config: settings of its form for 28x28 pixels.
        epochs: passes over the training pictures; half of one looks at half of them once.
        lr: the highest rate of the schedule.
    """

    config: dict[str, Any]
    epochs: float
    lr: float


RECIPES = {
    "mlp": Recipe({}, 10, 4e-3),
    "tabm": Recipe({}, 8, 4e-3),
    "rnn": Recipe({}, 60, 1e-3),
    "lstm": Recipe({}, 4, 4e-3),
    "gru": Recipe({}, 4, 4e-3),
    "transformer": Recipe({}, 10, 2e-3),
    "lenet": Recipe({}, 3, 4e-3),
    "cnn": Recipe({"width": 0.5}, 3, 8e-3),
    "plain_cnn": Recipe({"depth": 20, "width": 0.5}, 2, 4e-3),
    "residual_cnn": Recipe({"depth": 20, "width": 0.5}, 1, 8e-3),
    "alexnet": Recipe({"width": 0.125, "dropout": 0.2}, 5, 2e-3),
    "vgg11": Recipe({"width": 0.125, "dropout": 0.2}, 5, 2e-3),
    "vgg11_bn": Recipe({"width": 0.125, "dropout": 0.2}, 4, 8e-3),
    "nin": Recipe({"width": 0.125, "dropout": 0.1}, 4, 4e-3),
    "googlenet": Recipe({"width": 0.125}, 1.5, 8e-3),
    "inception_v3": Recipe({"width": 0.0625, "dropout": 0.2}, 2, 8e-3),
    "resnet18": Recipe({"width": 0.125}, 2, 8e-3),
    "convnext_tiny": Recipe({"width": 0.125, "stochastic_depth": 0.0}, 4, 4e-3),
    "swin_t": Recipe({"width": 0.125, "stochastic_depth": 0.0}, 6, 4e-3),
    "vit_b_16": Recipe({"width": 1 / 24, "patch_size": 7}, 12, 3e-3),
}
SPEC = InputSpec(kind="image", shape=(1, 28, 28))


def read(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Pictures float, shape (N, 1, 28, 28), and labels."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        pictures = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    return torch.tensor(pictures / 255.0, dtype=torch.float32), torch.tensor(labels)


def train(network: nn.Module, x: Tensor, y: Tensor, epochs: float, lr: float, batch_size: int = 128) -> float:
    """Seconds of CPU time that the training took."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.01)
    batches = len(x) // batch_size
    steps = round(epochs * batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    start = time.process_time()
    for step in range(steps):
        if step % batches == 0:
            order = torch.randperm(len(x))
        rows = order[step % batches * batch_size :][:batch_size]
        optimizer.zero_grad()
        F.cross_entropy(network(x[rows]), y[rows]).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return time.process_time() - start


def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    network.eval()
    with torch.no_grad():
        return float(torch.cat([network(part).argmax(1) for part in x.split(500)]).eq(y).float().mean())


def row(name: str, recipe: Recipe, seconds: float, score: float, num_test: int, network: nn.Module) -> str:
    """A row of the table."""
    low, high = (100 * bound for bound in wilson(score, num_test))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    form = ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in recipe.config.items()
    )
    return (
        f"| {name} | {form or 'as it comes'} | {parameters:,} | {recipe.epochs:g} | {recipe.lr:g} | {seconds:.0f} s "
        f"| {100 * score:.2f} % ({low:.2f} to {high:.2f}) |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", action="append", choices=list(RECIPES))
    parser.add_argument("--epochs", type=float, help="in place of the recipe's")
    parser.add_argument("--lr", type=float, help="in place of the recipe's")
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
    for name in options.network or list(RECIPES):
        recipe = RECIPES[name]
        recipe = replace(recipe, epochs=options.epochs or recipe.epochs, lr=options.lr or recipe.lr)
        with torch_seed(options.seed):
            network = build_network(name, SPEC, 10, **recipe.config)
            seconds = train(network, (x - mean) / std, y, recipe.epochs, recipe.lr)
        score = accuracy(network, (x_test - mean) / std, y_test)
        print(row(name, recipe, seconds, score, len(y_test), network), flush=True)


if __name__ == "__main__":
    main()
