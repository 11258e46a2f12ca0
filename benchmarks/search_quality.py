"""How good a configuration is found after how many seconds, by `tenfold search` and by Optuna with a plain loop.

Four tasks, with parts that both sides share; learning rate (3e-4 to 1e-2) and weight decay (1e-6 to 1e-1) are
searched, log-uniform, and what else is said:

- digits: an MLP 64-128-128-10 (one structure), 1,078 rows to train on, 360 to choose by, batches of 32.
- shapes: the same rows with the default space of the MLP, two widths and two depths besides: four structures.
- adult: the default space of the MLP on 8,000 rows of the census, 4,000 to choose by; numbers standardised, words as
  columns of zeros and ones; batches of 64.
- fashion: LeNet on 6,000 pictures of Fashion-MNIST, 2,000 to choose by, batches of 64.

The sides:

- loop: Optuna's own TPE and `HyperbandPruner` (its defaults; storage in memory) around the quickest plain loop that
  we could write: data in memory and shuffled once an epoch, no `DataLoader`, fused AdamW, the zoo's own module, one
  trial after another, at its better number of threads. It scores after each epoch and reports it to the pruner.
- tenfold's samplers and halvings, `tenfold.search` as its user calls it: checks, planning, compiling, records,
  checkpoints, Optuna's storage, the final model and the report are in its seconds.

Both train the same number of trials (a side that ends in *1.5 half as many again) for at most the same epochs,
warm-up and cosine schedule alike, and what counts is the best validation accuracy so far. The model that a side ends
with is also scored on rows that it never saw (digits 360, adult 8,000, fashion 10,000): no luck of many trainings
raises that. The sides take turns, seed by seed. Every measurement is appended to a file at once, and what is there is
not measured again, so that a benchmark that was killed goes on.

    TENFOLD_DATA=<folder> python benchmarks/search_quality.py                  # everything: more than an hour
    python benchmarks/search_quality.py --task digits --seeds 10
    python benchmarks/search_quality.py --task digits --only loop,tpe+hyperband --seeds 3
    python benchmarks/search_quality.py --table                               # what the file holds, as a table

Before the first measurement of a process tenfold runs once, small, so that imports are done on both sides. Searches
keep the caches that there are (tenfold's and the compiler's), as a user's do; `--cold` gives each search empty ones.
Results: benchmarks/results/search-quality.md.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tenfold
from tenfold.core.specs import InputSpec
from tenfold.networks import build_network
from tenfold.train import Cohort

LR, DECAY, WARM_UP = (3e-4, 1e-2), (1e-6, 1e-1), 0.05
WIDTHS, DEPTHS = (128, 256), (2, 3)
SHARES = (0.10, 0.25, 0.50, 1.00)
LOOP, OURS = "loop", "tpe+hyperband"
SIDES = (
    LOOP, OURS, OURS + "*1.5", OURS + "*2", "random+none", "random+successive", "random+hyperband", "random+curve",
    "tpe+none", "tpe+successive", "tpe+median", "tpe+curve", "gp+hyperband", "genetic+hyperband", "anneal+hyperband",
    "cmaes+hyperband",
)  # fmt: skip
Point = tuple[float, float, float]
"""Seconds since the call, epochs trained so far, best validation accuracy so far."""
Lines = dict[tuple[str, int, str, int], dict[str, Any]]
"""Measurements by task, number of trials, side and seed."""


@dataclass(frozen=True)
class Task:
    """What is searched: rows, network, and how long.

    Attributes:
        network: its name in the zoo.
        spec: what it gets.
        classes: how many outputs.
        shapes: of an MLP, whether its width and depth are searched; 128 and 2 otherwise.
        parts: x float32 and y int64 of the training and the validation rows, as the loop takes them.
        unseen: x and y of rows that nobody trains on or chooses by.
        batch_size: samples a step.
        trials: configurations.
        epochs: of a trial that is never stopped.
    """

    network: str
    spec: InputSpec
    classes: int
    shapes: bool
    parts: tuple[Tensor, Tensor, Tensor, Tensor]
    unseen: tuple[Tensor, Tensor]
    batch_size: int
    trials: int
    epochs: int


def digits(shapes: bool = False) -> Task:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x, xt, y, yt = train_test_split(x / 16, y, test_size=0.2, stratify=y, random_state=0)
    x, xv, y, yv = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)
    parts, unseen = _standardised((x, y), (xv, yv), (xt, yt))
    return Task("mlp", InputSpec(kind="table", shape=(64,)), 10, shapes, parts, unseen, 32, 64, 81)


def data_folder() -> Path:
    if "TENFOLD_DATA" not in os.environ:
        raise SystemExit("search_quality: adult and fashion need the folder of the data. Set TENFOLD_DATA.")
    return Path(os.environ["TENFOLD_DATA"])


def adult() -> Task:
    import pandas as pd

    path = data_folder() / "tabular" / "adult" / "adult-train.csv"
    frame = pd.read_csv(path, header=None, skipinitialspace=True, nrows=20_000)
    y = (frame.pop(frame.columns[-1]) == ">50K").to_numpy()
    x = pd.get_dummies(frame).to_numpy(dtype=np.float64)
    cut = (slice(0, 8000), slice(8000, 12_000), slice(12_000, None))
    parts, unseen = _standardised(*((x[rows], y[rows]) for rows in cut))
    return Task("mlp", InputSpec(kind="table", shape=(x.shape[1],)), 2, True, parts, unseen, 64, 64, 27)


def fashion() -> Task:
    from small_networks import read

    x, y = read(data_folder() / "fashion-mnist", "train")
    xt, yt = read(data_folder() / "fashion-mnist", "t10k")
    mean, std = x[:6000].mean(), x[:6000].std()
    x, xt = (x - mean) / std, (xt - mean) / std
    spec = InputSpec(kind="image", shape=(1, 28, 28))
    return Task("lenet", spec, 10, False, (x[:6000], y[:6000], x[6000:8000], y[6000:8000]), (xt, yt), 64, 48, 9)


TASKS: dict[str, Callable[[], Task]] = {
    "digits": digits, "shapes": functools.partial(digits, shapes=True), "adult": adult, "fashion": fashion,
}  # fmt: skip


Rows = tuple[np.ndarray, np.ndarray]


def _standardised(train: Rows, valid: Rows, unseen: Rows) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
    """By the training rows: the parts to train on and to choose by, and the unseen one."""
    mean, std = train[0].mean(0), train[0].std(0)
    std[std == 0] = 1.0
    x, xv, xt = (torch.tensor((part - mean) / std, dtype=torch.float32) for part, _ in (train, valid, unseen))
    y, yv, yt = (torch.tensor(part, dtype=torch.int64) for _, part in (train, valid, unseen))
    return (x, y, xv, yv), (xt, yt)


# -- Optuna and the loop -------------------------------------------------------------------------------------------


def rates(lr: float, steps: int) -> list[float]:
    """Linear warm-up and cosine, the rate of each step."""
    warm = max(round(WARM_UP * steps), 1)
    up = [lr * (step + 1) / warm for step in range(warm)]
    down = [0.5 * lr * (1 + math.cos(math.pi * step / (steps - warm))) for step in range(steps - warm)]
    return up + down


def train(task: Task, config: dict[str, Any], report: Callable[[int, float, nn.Module], None]) -> float:
    """The plain loop; returns the best validation accuracy."""
    x, y, xv, yv = task.parts
    lr, decay = config.pop("lr"), config.pop("weight_decay")
    model = build_network(task.network, task.spec, task.classes, **config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay, fused=True)
    schedule = iter(rates(lr, task.epochs * math.ceil(len(x) / task.batch_size)))
    best = 0.0
    for epoch in range(1, task.epochs + 1):
        model.train()
        order = torch.randperm(len(x))
        for inputs, targets in zip(x[order].split(task.batch_size), y[order].split(task.batch_size), strict=True):
            optimizer.param_groups[0]["lr"] = next(schedule)
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        model.eval()
        score = accuracy(model, xv, yv)
        best = max(best, score)
        report(epoch, score, model)
    return best


@torch.inference_mode()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    model.eval()
    return (model(x).argmax(1) == y).sum().item() / len(y)


def by_loop(task: Task, seed: int, trials: int) -> tuple[list[Point], float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    began, points, chosen = time.perf_counter(), [], None
    torch.manual_seed(seed)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=task.epochs, reduction_factor=3),
    )

    def objective(trial: optuna.Trial) -> float:
        def report(epoch: int, score: float, model: nn.Module) -> None:
            nonlocal chosen
            best = points[-1][2] if points else 0.0
            if score > best:
                chosen = copy.deepcopy(model)
            points.append((time.perf_counter() - began, len(points) + 1.0, max(score, best)))
            trial.report(score, epoch)
            if epoch < task.epochs and trial.should_prune():
                raise optuna.TrialPruned

        config = {
            "lr": trial.suggest_float("lr", *LR, log=True),
            "weight_decay": trial.suggest_float("weight_decay", *DECAY, log=True),
        }
        if task.shapes:
            config["hidden"] = trial.suggest_categorical("hidden", WIDTHS)
            config["depth"] = trial.suggest_categorical("depth", DEPTHS)
        elif task.network == "mlp":
            config |= {"hidden": WIDTHS[0], "depth": DEPTHS[0]}
        return train(task, config, report)

    study.optimize(objective, n_trials=trials)
    end = (time.perf_counter() - began, points[-1][1], points[-1][2])
    return [*points, end], accuracy(chosen, *task.unseen)


# -- tenfold -------------------------------------------------------------------------------------------------------


@contextmanager
def looking_on(points: list[Point], began: float) -> Iterator[None]:
    """Takes down time, epochs and the best score after each epoch of a cohort."""
    original = Cohort._score_epoch

    @functools.wraps(original)
    def score_epoch(self: Cohort, shares: Any) -> Any:
        scores = original(self, shares)
        best = max(max(curve) for curve in self.best.values())
        points.append((time.perf_counter() - began, self.epochs_trained, best))
        return scores

    Cohort._score_epoch = score_epoch  # type: ignore[method-assign]
    try:
        yield
    finally:
        Cohort._score_epoch = original  # type: ignore[method-assign]


def by_tenfold(task: Task, seed: int, trials: int, side: str) -> tuple[list[Point], dict[str, Any]]:
    names, _, times = side.partition("*")
    sampler, halving = names.split("+")
    trials = round(trials * float(times or 1))
    x, y, xv, yv = (part.numpy() for part in task.parts)
    space = {"hidden": WIDTHS[0], "depth": DEPTHS[0]} if task.network == "mlp" and not task.shapes else None
    points: list[Point] = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, looking_on(points, began):
        run = tenfold.search(
            task.network, {"x_train": x, "y_train": y, "x_valid": xv, "y_valid": yv}, space, sampler=sampler,
            halving=halving, trials=trials, epochs=task.epochs, batch_size=task.batch_size, test_fraction=0.0,
            seed=seed, out=Path(folder) / "run",
        )  # fmt: skip
        end = (time.perf_counter() - began, points[-1][1], points[-1][2])
        known = json.loads((run.path / "run.json").read_text())
        xt, yt = (part.numpy() for part in task.unseen)
        unseen = float((run.predict(xt) == yt).mean())
        facts = {"timings": known["timings"], "threads": known["threads"], "unseen": unseen}
    return [*points, end], facts


# -- measuring -----------------------------------------------------------------------------------------------------


def measure(task: Task, side: str, seed: int, threads: int, cold: bool) -> dict[str, Any]:
    torch.set_num_threads(threads)
    if side == LOOP:
        points, unseen = by_loop(task, seed, task.trials)
        facts = {"threads": threads, "unseen": unseen}
    else:
        with empty_caches() if cold else kept_caches():
            points, facts = by_tenfold(task, seed, task.trials, side)
    return {"seconds": points[-1][0], "epochs": points[-1][1], "best": points[-1][2], **facts, "points": thin(points)}


@contextmanager
def kept_caches() -> Iterator[None]:
    yield


@contextmanager
def empty_caches() -> Iterator[None]:
    """Gives the block empty caches of its own."""
    names = ("TENFOLD_CACHE", "TORCHINDUCTOR_CACHE_DIR")
    before = {name: os.environ.get(name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update({name: f"{folder}/{name}" for name in names})
        torch._dynamo.reset()
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def thin(points: list[Point]) -> list[list[float]]:
    """The points where the best score rises, and the last."""
    kept = [point for point, last in zip(points, [(0, 0, -1.0), *points], strict=False) if point[2] > last[2]]
    return [[round(when, 4), round(epochs, 2), best] for when, epochs, best in [*kept, points[-1]]]


def best_threads(task: Task, most: int) -> int:
    """The loop's quicker number of threads, found on two trials."""

    def seconds(threads: int) -> float:
        torch.set_num_threads(threads)
        return by_loop(replace(task, epochs=2), 0, 2)[0][-1][0]

    return min(sorted({1, most}), key=seconds)


def done(path: Path) -> Lines:
    """What the file holds."""
    if not path.exists():
        return {}
    lines = map(json.loads, path.read_text().splitlines())
    return {(line["task"], line["trials"], line["side"], line["seed"]): line for line in lines}


# -- telling -------------------------------------------------------------------------------------------------------


def at(points: list[list[float]], seconds: float) -> float:
    """The best score by then; 0 before the first."""
    return max((best for when, _, best in points if when <= seconds), default=0.0)


def reached(points: list[list[float]], score: float) -> float:
    return next((when for when, _, best in points if best >= score), math.inf)


def mean_and_error(values: list[float]) -> str:
    if not values:
        return "-"
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{100 * statistics.mean(values):.2f} ± {100 * error:.2f}"


def reached_by_mean(runs: list[dict[str, Any]], score: float) -> float:
    """When the mean over the runs of the best score so far reaches a score."""
    times = sorted({when for run in runs for when, _, _ in run["points"]})
    return next((t for t in times if statistics.mean(at(run["points"], t) for run in runs) >= score), math.inf)


def table(name: str, trials: int, lines: Lines) -> None:
    """One row a side; seconds and scores at shares of the loop's mean time."""
    own = {key[2:]: line for key, line in lines.items() if key[:2] == (name, trials)}
    loops = {seed: line for (side, seed), line in own.items() if side == LOOP}
    if not loops:
        return
    whole = statistics.mean(line["seconds"] for line in loops.values())
    target = statistics.mean(line["best"] for line in loops.values())
    heads = ["side", "n", "epochs", "seconds, median (range)", *(f"at {100 * share:.0f} %" for share in SHARES)]
    heads += [
        "at the end",
        "on rows that nobody chose by",
        "reaches the loop's mean after",
        "seeds that reach their loop's, median share of its time",
    ]
    print(f"\n## {name}, {trials} trials: the loop takes {whole:.1f} s and ends at {100 * target:.2f} %\n")
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for side in SIDES:
        runs = {seed: line for (name_of_side, seed), line in own.items() if name_of_side == side}
        if not runs:
            continue
        seconds = [run["seconds"] for run in runs.values()]
        when = reached_by_mean(list(runs.values()), target)
        shares = [reached(run["points"], loops[seed]["best"]) / loops[seed]["seconds"] for seed, run in runs.items()
                  if seed in loops]  # fmt: skip
        row = [
            side, str(len(runs)), f"{statistics.mean(run['epochs'] for run in runs.values()):.0f}",
            f"{statistics.median(seconds):.1f} ({min(seconds):.1f}-{max(seconds):.1f})",
            *(f"{100 * statistics.mean(at(run['points'], share * whole) for run in runs.values()):.2f}"
              for share in SHARES),
            mean_and_error([run["best"] for run in runs.values()]),
            mean_and_error([run["unseen"] for run in runs.values() if "unseen" in run]),
            "never" if when == math.inf else f"{when:.1f} s, {when / whole:.2f} of its time",
            f"{sum(share < math.inf for share in shares)} of {len(shares)}, {statistics.median(shares):.2f}",
        ]  # fmt: skip
        print("| " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", choices=list(TASKS), help="default: all")
    parser.add_argument("--only", default="", help="sides, with commas between; default: all")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--file", type=Path, default=Path("search-quality.jsonl"), help="where measurements go")
    parser.add_argument("--trials", type=int, help="configurations; 64 by default")
    parser.add_argument("--cold", action="store_true", help="empty caches for each search")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    options = parser.parse_args()
    names = options.task or list(TASKS)
    sides = [side for side in options.only.split(",") if side] or list(SIDES)
    if not options.table:
        for name in names:
            measure_task(name, sides, options)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, tenfold {tenfold.__version__}")
    lines = done(options.file)
    for name, trials in dict.fromkeys(key[:2] for key in lines):
        if name in names:
            table(name, trials, lines)


def measure_task(name: str, sides: list[str], options: argparse.Namespace) -> None:
    """All measurements of a task that the file does not hold."""
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    task, most = TASKS[name](), torch.get_num_threads()
    task = replace(task, trials=options.trials or task.trials)
    known = done(options.file)
    wanted = [(side, seed) for seed in seeds for side in sides if (name, task.trials, side, seed) not in known]
    if not wanted:
        return
    threads = best_threads(task, most) if any(side == LOOP for side, _ in wanted) else most
    if not options.cold and any(side != LOOP for side, _ in wanted):
        torch.set_num_threads(most)
        by_tenfold(task, 1000, 4, "tpe+successive")
    for side, seed in wanted:
        found = measure(task, side, seed, threads if side == LOOP else most, options.cold)
        line = {"task": name, "trials": task.trials, "side": side, "seed": seed, "cold": options.cold, **found}
        with open(options.file, "a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{name} {side} seed {seed}: {found['seconds']:.1f} s, {found['best']:.4f}", flush=True)


if __name__ == "__main__":
    main()
