"""Copies of a run's records for other people's tools: Optuna's storage and TensorBoard's event files.

Both follow at rungs, from the records; neither is ever read back.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tenfold.core.records import read_records
from tenfold.core.task import Metric
from tenfold.tuning import Draw, MirrorTrial, OptunaMirror


class Mirrors:
    """Keeps `study.db` and `tensorboard/` in step with the records.

    Args:
        folder: the run folder.
        metric: what the study optimises.
        draws: the trials, with what Optuna needs to store them.
    """

    def __init__(self, folder: Path, metric: Metric, draws: Sequence[Draw]) -> None:
        self.folder, self.metric = folder, metric
        self._draws = {draw.number: draw for draw in draws}
        self._optuna = OptunaMirror(folder / "study.db", folder.name, metric.direction)
        self._events: dict[int, int] = {}
        self.warnings: list[str] = []
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)  # written anew from the records after a resume

    def sync(self, *, finished: bool = False) -> None:
        """Brings both up to date with the records on disk."""
        records = list(read_records(self.folder / "records.jsonl"))
        epochs: dict[int, list[dict[str, Any]]] = {}
        for record in records:
            if record["kind"] == "epoch":
                epochs.setdefault(record["trial"], []).append(record)
        epochs = {trial: _over_members(lines) for trial, lines in epochs.items()}
        left = {trial for record in records if record["kind"] == "rung" for trial in record["left"]}
        self._sync_optuna(epochs, left, finished)
        try:
            self._sync_events(epochs)
        except (OSError, RuntimeError) as error:  # no room, no rights, no thread
            self._warn(
                f"{self.folder / 'tensorboard'}: was not updated ({error}). The run goes on and loses nothing."
            )

    def _sync_optuna(self, epochs: Mapping[int, list[dict[str, Any]]], left: set[int], finished: bool) -> None:
        trials = [
            self._trial(number, lines, pruned=number in left)
            for number, lines in epochs.items()
            if finished or number in left
        ]
        self._warn(self._optuna.sync(trials))

    def _warn(self, sentence: str | None) -> None:
        if sentence is not None and sentence not in self.warnings:
            self.warnings.append(sentence)

    def _trial(self, number: int, lines: Sequence[dict[str, Any]], *, pruned: bool) -> MirrorTrial:
        values = {line["epoch"]: _number(line["valid"].get(self.metric.name)) for line in lines}
        finite = [value for value in values.values() if value == value]
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
            "train_loss": fmean(_number(line["train_loss"]) for line in own),
            "valid": {name: fmean(_number(line["valid"].get(name)) for line in own) for name in own[0]["valid"]},
        }
        for epoch, own in sorted(by_epoch.items())
    ]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
