"""Synthetic run folders, written as study/ writes them: two tasks, any number of trials, finished or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CLASSES = ["<script>alert(1)</script>", "猫", "🌸 flower", "a & b", "shirt"]
RUNGS = ((3, 1 / 3), (9, 1 / 9), (27, 0))

MakeRun = Callable[..., Path]


def config_of(rng: np.random.Generator, network: str) -> dict[str, Any]:
    config = {
        "optimizer": str(rng.choice(["adamw", "sgd"])),
        "lr": float(10 ** rng.uniform(-4.5, -0.5)),
        "batch_size": int(rng.choice([32, 64, 128])),
    }
    if config["optimizer"] == "sgd":
        config["momentum"] = float(rng.uniform(0, 0.99))
    return config | ({"hidden": int(rng.integers(16, 512))} if network == "mlp" else {})


SPACE = [
    {"name": "network", "type": "categorical", "choices": ["mlp", "lenet"], "reason": "what suits the input"},
    {"name": "optimizer", "type": "categorical", "choices": ["adamw", "sgd"]},
    {"name": "lr", "type": "float", "low": 3e-5, "high": 0.3, "log": True, "reason": "the one that matters"},
    {"name": "batch_size", "type": "categorical", "choices": [32, 64, 128]},
    {"name": "momentum", "type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}},
    {"name": "hidden", "type": "int", "low": 16, "high": 512, "log": True, "when": {"network": "mlp"}},
]


class Writer:
    """Writes one folder; every piece can be left out."""

    def __init__(self, folder: Path, task: str, status: str, seed: int = 0) -> None:
        self.folder, self.task, self.status = folder, task, status
        self.rng = np.random.default_rng(seed)
        self.lines: list[dict[str, Any]] = []
        self.metric = "accuracy" if task == "classification" else "rmse"
        self.sign = 1 if task == "classification" else -1
        self.scores: dict[int, float] = {}

    def run(self, **changes: Any) -> None:
        classification = self.task == "classification"
        record = {
            "schema": 1,
            "verb": "fit",
            "name": "flowers",
            "status": self.status,
            "source": {
                "name": "flowers",
                "kind": "image" if classification else "table",
                "argument": "my flowers/",
                "rows": 1800,
                "notes": ["target: column 'price' (last column; --target)", "task: <b>inferred</b> (--task)"],
                "skipped": [{"file": "花/<i>torn</i>.jpg", "reason": "image file is truncated"}],
            },
            "task": self.task,
            "metric": self.metric,
            "direction": "maximize" if classification else "minimize",
            "classes": CLASSES if classification else None,
            "input": {"kind": "image", "shape": [3, 32, 32], "cardinalities": []}
            if classification
            else {"kind": "table", "shape": [8], "cardinalities": [4, 3]},
            "parts": {"train": 1080, "valid": 360, "test": 360, "how": "60/20/20, stratified by class."},
            "seed": 0,
            "arguments": {"trials": 64, "network": ["mlp", "lenet"], "time": None},
            "space": SPACE,
            "rungs": [{"resource": r, "keep": 1} for r, _ in RUNGS],
            "versions": {"tenfold": "0.1.0", "torch": "2.15", "python": "3.12"},
            "commit": "1a2b3c4",
            "device": "cpu, 2 threads",
            "plan": [
                {
                    "stack": 0,
                    "network": "mlp",
                    "members": 40,
                    "form": "stacked",
                    "reason": "6.0x the serial loop on real batches",
                    "structure": "hidden=128 depth=2",
                    "parameters": 26122,
                },
                {
                    "stack": 1,
                    "network": "lenet",
                    "members": 24,
                    "form": "serial",
                    "reason": "stacked was 0.9x the loop",
                    "structure": "lenet 3x32x32",
                    "parameters": 62006,
                },
            ],
            "timings": {"read": 0.4, "plan": 1.31, "train": 41.2, "baselines": 3.3, "evaluate": 0.08},
            "peak_memory_bytes": 812_345_678,
            "result": {"members": 64, "epochs_trained": 540, "seconds": 46.3},
        }
        record.update(changes)
        record = {name: value for name, value in record.items() if value is not ...}
        (self.folder / "run.json").write_text(json.dumps(record), encoding="utf-8")

    def trials(self, count: int, *, nan: int = 0, folds: int = 1, stop: int = 27) -> None:
        """Trials with curves and rungs up to epoch `stop`; the first `nan` of them diverge at epoch 2."""
        networks = {t: str(self.rng.choice(["mlp", "lenet"])) for t in range(count)}
        configs = {t: config_of(self.rng, networks[t]) for t in range(count)}
        for t in range(count):
            self.lines.append({"kind": "trial", "trial": t, "network": networks[t], "config": configs[t], "stack": 0})
        alive, begin = list(range(count)), 1
        for rung, (resource, share) in enumerate(RUNGS):
            for epoch in range(begin, min(resource, stop) + 1):
                for t in alive:
                    for fold in range(folds):
                        self.epoch(t, fold, epoch, configs[t], broken=t < nan and epoch > 1)
            if stop < resource or count < 2:
                if count >= 2 or stop < resource:
                    return
                begin = resource + 1
                continue
            if share:
                keep = max(1, int(count * share))
                kept = sorted(alive, key=lambda t: (np.isnan(self.scores[t]), -self.sign * self.scores[t]))[:keep]
                left = [t for t in alive if t not in kept]
                scores = {str(t): self.scores[t] for t in alive}
                self.lines.append(
                    {"kind": "rung", "rung": rung, "epoch": resource, "scores": scores, "kept": kept, "left": left}
                )
                alive = kept
            begin = resource + 1

    def epoch(self, t: int, fold: int, epoch: int, config: dict[str, Any], *, broken: bool) -> None:
        skill = 1 / (1 + (np.log10(config["lr"]) + 2.5) ** 2) * (1 - np.exp(-epoch / 4))
        skill += float(self.rng.normal(0, 0.008))
        valid = min(0.2 + 0.77 * skill, 0.99) if self.sign > 0 else 9.0 - 6.5 * skill
        loss: float | None = float(np.exp(-3 * skill) * (1.6 if self.sign > 0 else 40))
        if broken:
            valid, loss = float("nan"), None
        self.scores[t] = valid
        line = {"kind": "epoch", "trial": t, "fold": fold, "seed": 0, "epoch": epoch, "train_loss": loss}
        self.lines.append(line | {"valid": {self.metric: valid, "loss": 1.0}, "lr": config["lr"]})

    def score(self, value: float) -> dict[str, Any]:
        half = 0.02 if self.sign > 0 else 0.3
        return {self.metric: {"value": value, "n": 360, "low": value - half, "high": value + half}}

    def baselines(self) -> None:
        values = (0.21, 0.84, 0.942) if self.sign > 0 else (9.1, 4.4, 3.1)
        names = ("majority" if self.sign > 0 else "mean", "linear", "gradient-boosted trees")
        for name, value in zip(names, values, strict=True):
            line = {"kind": "baseline", "name": name, "valid": {self.metric: value}, "seconds": 0.7}
            self.lines.append(line | {"test": self.score(value)})

    def final(self, **changes: Any) -> None:
        finite = [t for t in self.scores if not np.isnan(self.scores[t])]
        best = max(finite, key=lambda t: self.sign * self.scores[t], default=0)
        value = self.scores.get(best, float("nan"))
        line = {"kind": "final", "trial": best, "how": "best", "epoch": 27, "valid": {self.metric: value}}
        self.lines.append(line | {"test": self.score(value)} | changes)

    def evaluation(self, *, num_classes: int = len(CLASSES), one_class: bool = False) -> None:
        n = 360
        if self.task == "regression":
            targets = self.rng.normal(20, 6, n)
            arrays = {"targets": targets, "predictions": targets + self.rng.normal(0, 2, n), "rows": np.arange(n)}
        else:
            targets = self.rng.integers(0, num_classes, n)
            wrong = self.rng.random(n) < 0.15
            predictions = np.where(wrong, self.rng.integers(0, num_classes, n), targets)
            predictions = np.zeros_like(targets) if one_class else predictions
            probabilities = np.full((n, num_classes), 1 / num_classes)
            arrays = {"targets": targets, "predictions": predictions, "probabilities": probabilities}
        np.savez(self.folder / "evaluation.npz", **arrays)

    def gallery(self, *, channels: int = 3, side: int = 32) -> None:
        if self.task == "classification":
            ramp = np.linspace(0, 255, side, dtype=np.uint8)
            pictures = np.stack(
                [np.roll(np.broadcast_to(ramp, (channels, side, side)), i, axis=2) for i in range(16)]
            )
            labels = np.array([CLASSES[i % 5] for i in range(16)])
            captions = np.array([f"true {name}, predicted shirt, 98 %" for name in labels])
            np.savez(
                self.folder / "gallery.npz",
                batch=pictures,
                batch_labels=labels,
                worst=pictures,
                worst_captions=captions,
            )
        else:
            rows = [
                {
                    "row": i,
                    "target": 3.5,
                    "prediction": 31.25,
                    "confidence": None,
                    "values": {"town": "<b>", "x": None},
                }
                for i in range(6)
            ]
            (self.folder / "gallery.json").write_text(json.dumps({"worst": rows}), encoding="utf-8")

    def close(self, *, torn: str = "") -> None:
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        (self.folder / "records.jsonl").write_text(text + torn, encoding="utf-8")


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Makes a run folder: `make_run(task=..., trials=..., status=..., nan=...)`; unfinished ones stop at epoch 5."""

    def make(
        *,
        task: str = "classification",
        trials: int = 64,
        status: str = "done",
        nan: int = 0,
        folds: int = 1,
        torn: str = "",
        **changes: Any,
    ) -> Path:
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        writer = Writer(folder, task, status)
        done = status == "done"
        writer.run(**changes)
        writer.trials(trials, nan=nan, folds=folds, stop=27 if done else 5)
        if done and trials:
            writer.baselines()
            writer.final()
            writer.evaluation()
            writer.gallery()
        writer.close(torn=torn)
        return folder

    return make
