"""What early stopping saves and what it loses, replayed on recorded curves of 256 trials.

256 trials of the default space are trained to the end once, as stacks, and their validation accuracy is written down
after each epoch. A replay then takes a random half of them, in random order, and lets a rule see what it would have
seen: the scores of the epochs that were trained, nothing of those to come. Saved are the epochs of all that the rule
did not train; lost is the best accuracy of the half minus the best of the trials that trained to the end. One replay
takes the half side by side, as `fit` does; `--room` gives them room for so many, and the next one enters when one has
left.

    python benchmarks/curve_replays.py                      # all recorded sets, 50 replays: 15 minutes on one core
    python benchmarks/curve_replays.py --set pima           # one of them
    python benchmarks/curve_replays.py --room 32            # side by side 32 at a time
    python benchmarks/curve_replays.py --record digits      # trains the 256 trials anew: minutes
    python benchmarks/curve_replays.py --record wine --source winequality-red.csv
    python benchmarks/curve_replays.py --record titanic --source train.csv --target Survived
    python benchmarks/curve_replays.py --record cancer --source breast_cancer
    python benchmarks/curve_replays.py --record white --source winequality-white.csv
    python benchmarks/curve_replays.py --record fashion --source <folder of the IDX files> --rows 5000

Digits and wine were recorded at commit 8403a2f (torch 2.15), pima and fashion at 39499ab, titanic, white and cancer
at a135547 (torch 2.14.1), with one thread of 2 shared CPU cores, Python 3.11.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.tuning import HALVINGS, CurveStopping, MedianStopping, StoppingRule

RESULTS = Path(__file__).parent / "results"
SETS = ("digits", "wine", "pima", "fashion", "titanic", "white", "cancer")
TRIALS, EPOCHS = 256, 30
Make = Callable[[int, int], StoppingRule]


def record(name: str, source: str, rows: int | None, target: str | None) -> None:
    """Trains 256 trials to the end and keeps their validation accuracies, in steps of 1e-6, shape (256, 30)."""
    import tenfold

    data: Any = source
    if rows is not None:
        from small_networks import read

        x, y = read(Path(source), "train")
        data = (x[:rows].numpy(), y[:rows].numpy())

    with tempfile.TemporaryDirectory() as folder:
        run = tenfold.fit(
            data,
            target=target,
            task="classification",
            network="mlp",
            trials=TRIALS,
            epochs=EPOCHS,
            reduction_factor=EPOCHS + 1,  # no rung fits in: nobody leaves
            out=Path(folder) / name,
        )
        keep(name, run.path)


def keep(name: str, run: Path) -> None:
    """The curves of a run folder as `results/curves-NAME.npz`."""
    curves: dict[int, list[float]] = {}
    for line in (run / "records.jsonl").read_text().splitlines():
        fact = json.loads(line)
        if fact["kind"] == "epoch":
            curves.setdefault(fact["trial"], []).append(fact["valid"]["accuracy"])
    table = np.array([curves[trial][:EPOCHS] for trial in sorted(curves)])
    path = RESULTS / f"curves-{name}.npz"
    np.savez_compressed(path, millionths=np.rint(1e6 * table).astype(np.int32))
    print(f"{path}: {table.shape}, best {table.max():.4f}")


def load(name: str) -> np.ndarray:
    """Validation accuracies, float, shape (trials, epochs)."""
    with np.load(RESULTS / f"curves-{name}.npz") as stored:
        return stored["millionths"] / 1e6


def replay(rule: StoppingRule, curves: np.ndarray, room: int) -> tuple[int, float]:
    """Epochs trained, and the best score of those who trained to the end."""
    waiting, running, through = list(range(len(curves))), set(), set()
    lengths = [0] * len(curves)
    while running or waiting:
        while waiting and len(running) < room:
            running.add(waiting.pop(0))
        for trial in running:
            lengths[trial] += 1
        seen = {trial: curves[trial, :length].tolist() for trial, length in enumerate(lengths) if length}
        running -= set(rule.leavers(seen, running))
        done = {trial for trial in running if lengths[trial] == curves.shape[1]}
        running, through = running - done, through | done
    return sum(lengths), max(curves[trial].max() for trial in through)


def measure(make: Make, curves: np.ndarray, replays: int, room: int | None) -> np.ndarray:
    """For each replay the share of epochs saved and the points of accuracy lost, in percent, shape (replays, 2)."""
    half = len(curves) // 2
    rows = []
    for number in range(replays):
        chosen = np.random.Generator(np.random.Philox(number)).permutation(len(curves))[:half]
        ours = curves[chosen]
        epochs, best = replay(make(half, curves.shape[1]), ours, room or half)
        rows.append((100 * (1 - epochs / ours.size), 100 * (ours.max() - best)))
    return np.array(rows)


def rules() -> Iterator[tuple[str, Make]]:
    """Every rule with its defaults, and with settings that stop less or more."""
    for warm_up, thresholds in ((7, (0.01, 0.018, 0.03)), (3, (0.018,))):
        for threshold in thresholds:
            name = f"curve, warm-up {warm_up}, threshold {threshold}"
            yield name, partial(_curve, threshold=threshold, warm_up=warm_up)
    for warm_up in (1, 2, 3):
        yield f"median, warm-up {warm_up}", partial(_median, warm_up=warm_up)
    for eta, least in ((2, 1), (3, 1), (4, 1), (2, 3), (3, 3), (2, 7)):
        yield f"successive, eta {eta}, first rung >= {least}", partial(_halving, "successive", eta=eta, least=least)
    for eta in (2, 3):
        yield f"hyperband, eta {eta}", partial(_halving, "hyperband", eta=eta, least=1)


def _curve(trials: int, epochs: int, threshold: float, warm_up: int) -> StoppingRule:
    return CurveStopping(
        num_trials=trials,
        max_resource=epochs,
        direction="maximize",
        threshold=threshold,
        min_resource=warm_up,
    )


def _median(trials: int, epochs: int, warm_up: int) -> StoppingRule:
    return MedianStopping(num_trials=trials, max_resource=epochs, direction="maximize", min_resource=warm_up)


def _halving(name: str, trials: int, epochs: int, eta: int, least: int) -> StoppingRule:
    return HALVINGS[name](trials, epochs, "maximize", reduction_factor=eta, min_resource=least)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--record", choices=SETS, help="train the trials of this set anew")
    parser.add_argument("--source", help="where its data lie; digits come with scikit-learn")
    parser.add_argument("--rows", type=int, help="take so many pictures of a folder of IDX files")
    parser.add_argument("--target", help="the column to predict; the last one by default")
    parser.add_argument("--set", action="append", choices=SETS, help="default: all")
    parser.add_argument("--replays", type=int, default=50)
    parser.add_argument("--room", type=int, help="trials side by side; all by default")
    options = parser.parse_args()
    if options.record:
        record(options.record, options.source or options.record, options.rows, options.target)
        return
    for name in options.set or SETS:
        curves = load(name)
        print(f"\n## {name}: {len(curves)} trials of {curves.shape[1]} epochs, best {100 * curves.max():.2f} %\n")
        print("| rule | epochs saved, % | accuracy lost, points | replays that lose nothing |\n|---|---|---|---|")
        for rule, make in rules():
            rows = measure(make, curves, options.replays, options.room)
            (saved, lost), error = rows.mean(axis=0), rows[:, 1].std(ddof=1) / np.sqrt(len(rows))
            none = int((rows[:, 1] <= 0).sum())
            print(f"| {rule} | {saved:.1f} | {lost:.3f} ± {error:.3f} | {none} of {len(rows)} |", flush=True)


if __name__ == "__main__":
    main()
