"""A search over 32 heads on a frozen ResNet-18: what computing the backbone once is worth.

Class folders of JPEG pictures, at 64 pixels, five epochs, batches of 32; the heads (dropout, a linear layer) differ
in their learning rates. The backbone (torchvision's ResNet-18 without its last layer) has random weights here, which
costs as much as trained ones; it is frozen and in evaluation mode, and all sides share the very same one.

- tenfold: `tenfold.search`, as a whole call: reading, planning, training, scoring, baselines, report; and its stage
  "train" alone.
- backbone for each: the loop that everybody writes, with pictures decoded, resized and normalised in memory; the
  backbone runs under `no_grad` in every step of every head. Timed on `--some` heads and counted up.
- cached by hand: features computed once, then each head trained on them, one after another.

tenfold augments photographs (crops, flips), which the loops do not; `tenfold, not augmented` turns that off by giving
the pictures as arrays.

    python benchmarks/heads.py --folder path/of/class/folders      # pictures are made up without one

Results with device and versions: benchmarks/results/heads.md.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import Tensor, nn

import tenfold

HEADS, EPOCHS, BATCH, SIZE = 32, 5, 32, 64
RATES = [float(rate) for rate in np.logspace(-4, -1, HEADS)]


def make_backbone() -> nn.Module:
    torch.manual_seed(0)
    model = torchvision.models.resnet18()
    model.fc = nn.Identity()
    return model.eval().requires_grad_(False)


BACKBONE = make_backbone()


class Heads(nn.Module):
    """A head on the backbone, which stays in evaluation mode."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.backbone = BACKBONE
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(512, num_classes))

    def train(self, mode: bool = True) -> Heads:
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def make_pictures(folder: Path, count: int) -> Path:
    """Two classes of made-up photographs."""
    numbers = np.random.default_rng(0)
    for name, tint in (("one", 60), ("two", -60)):
        (folder / name).mkdir(parents=True)
        for i in range(count // 2):
            noise = numbers.integers(60, 195, (12, 12, 3)) + np.array([tint, 0, -tint]) // 2
            Image.fromarray(noise.astype(np.uint8)).resize((160, 120)).save(folder / name / f"{i}.jpg")
    return folder


def arrays(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """All pictures as float32 (N, 3, SIZE, SIZE), normalised, and their classes."""
    names = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    pictures = [np.asarray(Image.open(path).convert("RGB").resize((SIZE, SIZE)), np.float32) / 255 for path in names]
    classes = {name: number for number, name in enumerate(sorted({path.parent.name for path in names}))}
    x = np.stack(pictures).transpose(0, 3, 1, 2)
    return (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True), np.array(
        [classes[path.parent.name] for path in names]
    )


def by_tenfold(data: object, aside: dict[str, list[float]], name: str) -> float:
    space = {"lr": tenfold.Categorical(RATES), "weight_decay": 0.01}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run = tenfold.search(
            Heads, data, space, sampler="grid", halving="none", trials=HEADS, epochs=EPOCHS, batch_size=BATCH,
            out=Path(folder) / "run",
        )  # fmt: skip
        aside.setdefault(name, []).append(run.info["timings"]["train"])
        return time.perf_counter() - began


def train(model: nn.Module, trained: nn.Module, x: Tensor, y: Tensor, valid: int, lr: float) -> None:
    optimizer = torch.optim.AdamW(trained.parameters(), lr=lr, fused=True)
    for _ in range(EPOCHS):
        model.train()
        for rows in torch.randperm(len(x) - valid).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            (model(x[-valid:]).argmax(1) == y[-valid:]).float().mean()


def backbone_for_each(x: Tensor, y: Tensor, some: int) -> float:
    began = time.perf_counter()
    for lr in RATES[:: HEADS // some][:some]:
        model = Heads()
        train(model, model.head, x, y, len(x) // 5, lr)
    return (time.perf_counter() - began) * HEADS / some


def cached_by_hand(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Seconds as a whole, and of training alone."""
    began = time.perf_counter()
    with torch.no_grad():
        features = torch.cat([BACKBONE(part) for part in x.split(64)])
    middle = time.perf_counter()
    for lr in RATES:
        head = copy.deepcopy(Heads().head)
        train(head, head, features, y, len(x) // 5, lr)
    return time.perf_counter() - began, time.perf_counter() - middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="alternations")
    parser.add_argument("--some", type=int, default=2, help="heads that run the backbone")
    parser.add_argument("--folder", type=Path, help="class folders of pictures; made up by default")
    parser.add_argument("--pictures", type=int, default=240, help="how many are made up")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or make_pictures(Path(made) / "pictures", options.pictures)
        pixels, classes = arrays(folder)
        x, y = torch.from_numpy(pixels), torch.from_numpy(classes)
        aside: dict[str, list[float]] = {}
        seconds: dict[str, list[float]] = {}
        for number in range(options.rounds + 1):  # the first warms up
            hand, heads = cached_by_hand(x, y)
            taken = {
                "tenfold, augmented": by_tenfold(folder, aside, "tenfold, augmented"),
                "tenfold, not augmented": by_tenfold((pixels, classes), aside, "tenfold, not augmented"),
                "backbone for each": backbone_for_each(x, y, options.some),
                "cached by hand": hand,
            }
            aside.setdefault("cached by hand", []).append(heads)
            aside.setdefault("backbone for each", []).append(taken["backbone for each"])
            for name, value in taken.items() if number else ():
                seconds.setdefault(name, []).append(value)
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, tenfold "
        f"{tenfold.__version__}; {len(x)} pictures, {HEADS} heads, {EPOCHS} epochs, n = {options.rounds}\n"
    )
    print("| | whole, s | training, s |\n|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {statistics.median(values):.2f} | {statistics.median(aside[name][1:]):.2f} |")


if __name__ == "__main__":
    main()
