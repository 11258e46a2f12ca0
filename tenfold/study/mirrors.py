"""Copies of a run's records for other people's tools: Optuna's storage and TensorBoard's event files.

Both follow at rungs, from the records; neither is ever read back.
"""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tenfold.core.task import Metric
from tenfold.tuning import Draw, MirrorTrial, OptunaMirror

_EVERY_S = 10.0


class Mirrors:
    """Keeps `study.db` and `tensorboard/` in step with the records.

    Args:
        folder: the run folder.
        metric: what the study optimises.
        draws: the trials by number, with what Optuna needs to store them; there may come more.
        storage: URL of another database for Optuna's copy.
    """

    def __init__(self, folder: Path, metric: Metric, draws: Sequence[Draw], storage: str | None = None) -> None:
        self.folder, self.metric = folder, metric
        self._draws = draws
        self._optuna = OptunaMirror(storage or folder / "study.db", folder.name, metric.direction)
        self._records = folder / "records.jsonl"
        self._read_bytes, self._synced = 0, time.monotonic()
        self._lines: dict[int, list[dict[str, Any]]] = {}
        self._gone: dict[int, bool] = {}
        self._events: dict[int, int] = {}
        self.warnings: list[str] = []
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)  # written anew from the records after a resume

    def sync_now_and_then(self) -> None:
        """As `sync`, where some seconds have passed: trials may leave after every epoch."""
        if time.monotonic() - self._synced >= _EVERY_S:
            self.sync()

    def sync(self, *, finished: bool = False) -> None:
        """Brings both up to date with the records on disk; what has been copied is forgotten."""
        self._read()
        epochs = {trial: _over_members(lines) for trial, lines in self._lines.items()}
        gone = {trial: self._gone.get(trial, False) for trial in epochs if finished or trial in self._gone}
        self._warn(self._optuna.sync([self._trial(n, epochs[n], pruned=pruned) for n, pruned in gone.items()]))
        try:
            self._sync_events(epochs)
        except (OSError, RuntimeError) as error:  # no room, no rights, no thread
            self._warn(
                f"{self.folder / 'tensorboard'}: was not updated ({error}). The run goes on and loses nothing."
            )
        for trial in gone:
            if self._optuna.holds(trial) and self._events.get(trial, 0) >= epochs[trial][-1]["epoch"]:
                del self._lines[trial]
        self._synced = time.monotonic()

    def _read(self) -> None:
        """Takes down what has been recorded since the last time."""
        if not self._records.exists():
            return
        with open(self._records, "rb") as file:
            file.seek(self._read_bytes)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for record in map(json.loads, whole.splitlines()):
            if record["kind"] == "epoch":
                self._lines.setdefault(record["trial"], []).append(record)
            elif record["kind"] == "rung":
                self._gone |= dict.fromkeys(record["left"], True)
            elif record["kind"] == "left":
                self._gone[record["trial"]] = record["how"] != "complete"

    def _warn(self, sentence: str | None) -> None:
        if sentence is not None and sentence not in self.warnings:
            self.warnings.append(sentence)

    def _trial(self, number: int, lines: Sequence[dict[str, Any]], *, pruned: bool) -> MirrorTrial:
        values = {line["epoch"]: _number(line["valid"].get(self.metric.name)) for line in lines}
        last = [line["epoch"] for line in lines if line.get("step") == lines[-1].get("step")]  # its step of a ladder
        finite = [values[epoch] for epoch in last if values[epoch] == values[epoch]]
        best = (max if self.metric.direction == "maximize" else min)(finite) if finite else None
        draw = self._draws[number]
        return MirrorTrial(
            number=number,
            state="pruned" if pruned else "complete",
            value=best,
            params=draw.params,
            distributions=draw.distributions,
            intermediate=values,
            user_attrs={"network": draw.config["network"]},
        )

    def _sync_events(self, epochs: Mapping[int, list[dict[str, Any]]]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorBoard's own imports warn
            from torch.utils.tensorboard.writer import SummaryWriter
        for number, lines in epochs.items():
            fresh = [line for line in lines if line["epoch"] > self._events.get(number, 0)]
            if not fresh:
                continue
            with SummaryWriter(str(self.folder / "tensorboard" / f"trial-{number}")) as writer:
                for line in fresh:
                    writer.add_scalar("train/loss", _number(line["train_loss"]), line["epoch"])
                    for name, value in line["valid"].items():
                        writer.add_scalar(f"valid/{name}", _number(value), line["epoch"])
            self._events[number] = fresh[-1]["epoch"]

    def close(self) -> None:
        """Lets go of the files."""
        self._optuna.close()


def _over_members(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line an epoch: where a trial has several folds and seeds, their means; NaN where a member has none."""
    by_epoch: dict[int, list[dict[str, Any]]] = {}
    for line in lines:
        by_epoch.setdefault(line["epoch"], []).append(line)
    if len(by_epoch) == len(lines):
        return list(lines)
    return [
        {
            "epoch": epoch,
            **({"step": own[0]["step"]} if "step" in own[0] else {}),
            "train_loss": fmean(_number(line["train_loss"]) for line in own),
            "valid": {name: fmean(_number(line["valid"].get(name)) for line in own) for name in own[0]["valid"]},
        }
        for epoch, own in sorted(by_epoch.items())
    ]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
