"""The same 64-trial search by tenfold and by what its users would else take.

Digits of 8x8 pixels (1,078 rows to train on, 359 to choose by), an MLP 64-128-128-10, batches of 32, AdamW with a
cosine schedule; learning rate (3e-4 to 1e-2) and weight decay (1e-6 to 1e-1) at random, log-uniform; every trial is
scored on the validation rows after each epoch, and its best score counts.

- tenfold: `tenfold.search`, storage, checkpoints, baselines, the final model and the report included; once with all
  trials trained to the end, and once with its default, successive halving.
- optuna: Optuna's random sampler and a plain PyTorch loop over a `DataLoader`, at its best number of threads.
- lightning: the same with Lightning's `Trainer` (no logger, no checkpoints, no progress bar).
- ray: Ray Tune, a process a core, the plain loop with one thread in each.
- sklearn: scikit-learn's `MLPClassifier` under joblib, a process a core (Adam, no schedule; L2 in place of decay).
- keras: Keras on the torch backend in a loop.

Rounds alternate between the sides. Each side first runs once (tenfold as it is, the others on two trials), so that
imports, process pools and the compiler's cache are warm; `--cold` leaves that out and shows what the first run of a
machine costs. Sides that take minutes are timed on `--some` trials and counted up to all of them (said in the table).
Peers that are not installed are left out, by name.

    pip install optuna lightning ray keras
    python benchmarks/peers.py                     # about fifteen minutes on two cores
    python benchmarks/peers.py --only optuna --rounds 7

Results with device and versions: benchmarks/results/peers.md.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import math
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tenfold

LR, DECAY, BATCH = (3e-4, 1e-2), (1e-6, 1e-1), 32
Side = Callable[[int, int], float]
"""From the numbers of trials and epochs to the best validation accuracy."""


def make_mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def parts() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    x, _, y, _ = train_test_split(x / 16, y, test_size=0.2, stratify=y, random_state=0)
    x, xv, y, yv = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)
    return x.astype(np.float32), y, xv.astype(np.float32), yv


def draws(trials: int) -> list[dict[str, float]]:
    """Configurations for the sides that bring no sampler."""
    numbers = np.random.default_rng(0).uniform(size=(trials, 2))

    def between(bounds: tuple[float, float], share: float) -> float:
        return math.exp(math.log(bounds[0]) + share * math.log(bounds[1] / bounds[0]))

    return [{"lr": between(LR, a), "weight_decay": between(DECAY, b)} for a, b in numbers]


def tenfold_side(halving: str) -> Side:
    def search(trials: int, epochs: int) -> float:
        space = {"lr": tenfold.Float(*LR, log=True), "weight_decay": tenfold.Float(*DECAY, log=True)}
        with tempfile.TemporaryDirectory() as folder:
            run = tenfold.search(
                make_mlp, "digits", space, sampler="random", halving=halving, trials=trials, epochs=epochs,
                batch_size=BATCH, out=Path(folder) / "run",
            )  # fmt: skip
            return float(
                run.result["best"]["valid"] if "valid" in run.result["best"] else run.result["valid"]["mean"]
            )

    return search


def train_plainly(
    lr: float, weight_decay: float, epochs: int, report: Callable[[float], None] | None = None
) -> float:
    """The loop that everybody writes; returns the best validation accuracy."""
    x, y, xv, yv = (torch.from_numpy(array) for array in parts())
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    model, best = make_mlp(), 0.0
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
            best = max(best, (model(xv).argmax(1) == yv).float().mean().item())
        if report is not None:
            report(best)
    return best


def by_optuna(train: Callable[..., float]) -> Side:
    def search(trials: int, epochs: int) -> float:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))

        def objective(trial: optuna.Trial) -> float:
            lr = trial.suggest_float("lr", *LR, log=True)
            return train(lr, trial.suggest_float("weight_decay", *DECAY, log=True), epochs)

        study.optimize(objective, n_trials=trials)
        return study.best_value

    return search


def train_by_lightning(lr: float, weight_decay: float, epochs: int) -> float:
    import lightning

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.best = make_mlp(), 0.0
            self.hits: list[torch.Tensor] = []

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            return F.cross_entropy(self.model(batch[0]), batch[1])

        def validation_step(self, batch: Any, number: int) -> None:
            self.hits.append((self.model(batch[0]).argmax(1) == batch[1]).float())

        def on_validation_epoch_end(self) -> None:
            self.best, self.hits = max(self.best, torch.cat(self.hits).mean().item()), []

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=lr, weight_decay=weight_decay)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    x, y, xv, yv = (torch.from_numpy(array) for array in parts())
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    module = Classifier()
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, loader, DataLoader(TensorDataset(xv, yv), batch_size=len(xv)))
    return module.best


def by_ray(trials: int, epochs: int) -> float:
    import ray
    from ray import tune

    if not ray.is_initialized():
        ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")

    def train(config: dict[str, float]) -> None:
        torch.set_num_threads(1)
        train_plainly(**config, epochs=epochs, report=lambda best: tune.report({"accuracy": best}))

    space = {"lr": tune.loguniform(*LR), "weight_decay": tune.loguniform(*DECAY)}
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            train,
            param_space=space,
            tune_config=tune.TuneConfig(num_samples=trials, metric="accuracy", mode="max"),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        return float(tuner.fit().get_best_result().metrics["accuracy"])


def by_sklearn(trials: int, epochs: int) -> float:
    from joblib import Parallel, delayed

    return max(Parallel(n_jobs=os.cpu_count())(delayed(train_by_sklearn)(one, epochs) for one in draws(trials)))


def train_by_sklearn(config: dict[str, float], epochs: int) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    x, y, xv, yv = parts()
    model = MLPClassifier(
        (128, 128), batch_size=BATCH, learning_rate_init=config["lr"], alpha=config["weight_decay"], max_iter=1
    )
    best = 0.0
    for _ in range(epochs):
        model.partial_fit(x, y, classes=np.arange(10))
        best = max(best, float(model.score(xv, yv)))
    return best


def by_keras(trials: int, epochs: int) -> float:
    import keras

    x, y, xv, yv = parts()
    steps, best = epochs * math.ceil(len(x) / BATCH), 0.0
    for config in draws(trials):
        layers = [keras.layers.Dense(128, "relu"), keras.layers.Dense(128, "relu"), keras.layers.Dense(10)]
        model = keras.Sequential([keras.Input((64,)), *layers])
        rate = keras.optimizers.schedules.CosineDecay(config["lr"], steps)
        model.compile(
            keras.optimizers.AdamW(rate, weight_decay=config["weight_decay"]),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            ["accuracy"],
        )
        seen = model.fit(x, y, batch_size=BATCH, epochs=epochs, validation_data=(xv, yv), verbose=0)
        best = max(best, *seen.history["val_accuracy"])
    return best


SIDES: dict[str, tuple[Side, str | None, bool]] = {
    "tenfold, all to the end": (tenfold_side("none"), None, False),
    "tenfold, halving": (tenfold_side("successive"), None, False),
    "optuna": (by_optuna(train_plainly), "optuna", False),
    "lightning": (by_optuna(train_by_lightning), "lightning", True),
    "ray": (by_ray, "ray", False),
    "sklearn": (by_sklearn, "sklearn", False),
    "keras": (by_keras, "keras", True),
}
"""By name the side, the package that it needs, and whether it is timed on some trials alone."""


def timed(side: Side, trials: int, epochs: int, threads: int) -> tuple[float, float]:
    torch.set_num_threads(threads)
    began = time.perf_counter()
    best = side(trials, epochs)
    return time.perf_counter() - began, best


def best_threads(name: str, side: Side, most: int) -> int:
    """The quicker number of threads, found on two trials; tenfold and the process pools choose their own."""
    if name.startswith("tenfold") or name in ("ray", "sklearn"):
        return most
    return min(sorted({1, most}), key=lambda threads: timed(side, 2, 3, threads)[0])


def is_there(package: str | None) -> bool:
    try:
        if package is not None:
            importlib.import_module(package)
    except ImportError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="alternations")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--some", type=int, default=8, help="trials of the sides that take minutes")
    parser.add_argument("--only", default="", help="names of peers, with commas between")
    parser.add_argument("--cold", action="store_true", help="no warming up")
    options = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "torch")
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    most = torch.get_num_threads()
    asked = [name for name in options.only.split(",") if name]
    sides = {name: side for name, side in SIDES.items() if not asked or name in asked or name.startswith("tenfold")}
    missing = [name for name, (_, package, _) in sides.items() if not is_there(package)]
    sides = {name: side for name, side in sides.items() if name not in missing}
    threads = {name: best_threads(name, side, most) for name, (side, _, _) in sides.items()}
    if not options.cold:
        for name, (side, _, _) in sides.items():
            timed(side, options.trials if name.startswith("tenfold") else 2, options.epochs, threads[name])
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    scores: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, (side, _, in_part) in sides.items():
            trials = min(options.some, options.trials) if in_part else options.trials
            taken, best = timed(side, trials, options.epochs, threads[name])
            seconds[name].append(taken * options.trials / trials)
            scores[name].append(best)
    versions = {
        name: importlib.import_module(name).__version__ for name in sides if name in ("lightning", "ray", "keras")
    }
    versions |= {"torch": torch.__version__, "tenfold": tenfold.__version__}
    print(f"{platform.machine()}, {most} threads at most, " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    print(
        f"{options.trials} trials of {options.epochs} epochs, n = {options.rounds}; left out: {missing or 'none'}\n"
    )
    heads = ["", "seconds, median (range)", "threads", "best validation accuracy, mean", *list(sides)[:2]]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for name, taken in seconds.items():
        ratios = [
            f"{statistics.median(a / b for a, b in zip(taken, seconds[ours], strict=True)):.1f}x"
            for ours in list(sides)[:2]
        ]
        note = f" (of {options.some} trials, counted up)" if sides[name][2] else ""
        cells = [
            name + note,
            f"{statistics.median(taken):.1f} ({min(taken):.1f}-{max(taken):.1f})",
            str(threads[name]),
            f"{statistics.mean(scores[name]):.3f}",
            *ratios,
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
