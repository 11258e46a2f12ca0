"""What a run leaves on disk, as plain values: trials, curves, rungs, baselines and the final model.

Nothing here reads a file (`load.py` does) and nothing needs a model or a device. A number that is missing or
was not a number is NaN throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Score:
    """A metric's value with its uncertainty.

    Attributes:
        value: the metric.
        n: number of samples it was computed on, or None when unknown.
        low: lower end of the interval, NaN when there is none.
        high: upper end of the interval, NaN when there is none.
        level: coverage of the interval, in (0, 1).
    """

    value: float
    n: int | None = None
    low: float = float("nan")
    high: float = float("nan")
    level: float = 0.95

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are finite."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration: its number, network by name, configuration, the stack it was trained in, its own name."""

    number: int
    network: str
    config: dict[str, Any]
    stack: int | None = None
    name: str | None = None

    @property
    def title(self) -> str:
        """What to call it: the name that the user gave, or network and number."""
        return self.name or f"{self.network} #{self.number}"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What one member (trial, fold, seed) recorded, in the order of its epochs.

    Attributes:
        trial: the member's trial.
        fold: the member's fold.
        seed: the member's seed.
        epochs: int, shape (E,), rising, counted from 1.
        train_loss: float, shape (E,).
        valid: for each metric a float array of shape (E,).
        steps: of a search over data or scale, on which step each epoch was, int, shape (E,); None elsewhere.
    """

    trial: int
    fold: int
    seed: int
    epochs: np.ndarray
    train_loss: np.ndarray
    valid: dict[str, np.ndarray]
    steps: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class MemberScore:
    """What one member (trial, fold, seed) was worth in the end.

    Attributes:
        trial: the member's trial.
        fold: its fold; the folds of a second repeat are numbered after those of the first.
        seed: its seed.
        valid: for each metric the score on the rows that the fold leaves out, or on the validation part.
        epoch: the epoch whose weights were scored, or None when unknown.
        test: for each metric the score on the test part; None where there is none.
    """

    trial: int
    fold: int
    seed: int
    valid: Mapping[str, float | None]
    epoch: int | None = None
    test: Mapping[str, float | None] | None = None

    def score(self, metric: str, part: str = "valid") -> float:
        """The score on a part, "valid" or "test"; NaN where it is missing, None or infinite: the member diverged."""
        value = ((self.valid if part == "valid" else self.test) or {}).get(metric)
        return float(value) if value is not None and np.isfinite(value) else float("nan")


@dataclass(frozen=True, kw_only=True)
class RungRecord:
    """One rung of a bracket: the epoch, every trial's score there, and who went on and who left."""

    rung: int
    epoch: int
    scores: dict[int, float]
    kept: tuple[int, ...]
    left: tuple[int, ...]
    bracket: int = 0


@dataclass(frozen=True, kw_only=True)
class DepartureRecord:
    """A trial of a search that trains no more: after which epoch, how ("complete", "left", "sick", "budget"), why.

    Where trials climb a ladder, `step` is the one that it was on, counted from 0.
    """

    trial: int
    epoch: int
    how: str
    reason: str = ""
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A simple model that the chosen one has to beat, scored on the same parts."""

    name: str
    valid: dict[str, float]
    test: dict[str, Score]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Final:
    """The chosen model: its trial, how it was made (as `--final` names it), its epoch and its scores."""

    trial: int | None
    how: str
    epoch: int | None
    valid: dict[str, float]
    test: dict[str, Score]


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """A run folder in memory.

    Attributes:
        folder: where it lies.
        run: `run.json` as it stands there.
        trials: the trials by number, in rising order.
        curves: one for each member that finished an epoch, by (trial, fold, seed).
        scores: of members at the end, in the order of (trial, fold, seed); empty for a run that scores none.
        rungs: rising, bracket by bracket; records of the same rung are one.
        departures: of a search, in the order in which trials left.
        generations: of a search, the number of the first trial of each generation.
        baselines: in the order of the file.
        events: the records of trainings that fell sick or stopped, and of memory that ran out, as they stand there.
        final: the chosen model, or None while nothing is chosen.
        evaluation: "targets", "predictions", of classes "probabilities", of masks "counts": of the test part, or, of
            a verb that trains folds or seeds, of the rows that members did not learn from; empty when there are none.
        gallery: arrays of `gallery.npz`, empty when there is none.
        worst_rows: rows of `gallery.json`, empty when there are none.
        honesty: arrays of `honesty.npz`, the pictures that the look at the data found, empty when there are none.
        problems: for each file that is there and could not be read, the reason.
    """

    folder: Path
    run: dict[str, Any]
    trials: dict[int, Trial] = field(default_factory=dict)
    curves: dict[tuple[int, int, int], Curve] = field(default_factory=dict)
    scores: tuple[MemberScore, ...] = ()
    rungs: tuple[RungRecord, ...] = ()
    departures: tuple[DepartureRecord, ...] = ()
    generations: tuple[int, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    events: tuple[dict[str, Any], ...] = ()
    final: Final | None = None
    evaluation: dict[str, np.ndarray] = field(default_factory=dict)
    gallery: dict[str, np.ndarray] = field(default_factory=dict)
    worst_rows: tuple[dict[str, Any], ...] = ()
    honesty: dict[str, np.ndarray] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The run's name, the folder's when `run.json` has none."""
        return str(self.run.get("name") or self.folder.name)

    @property
    def verb(self) -> str:
        """The question: "fit", "search", "cv", "replicate" or "compare"."""
        return str(self.run.get("verb") or "fit")

    @property
    def result(self) -> dict[str, Any]:
        """The answer in numbers, empty while there is none."""
        return dict(self.run.get("result") or {})

    @property
    def ladder(self) -> dict[str, Any]:
        """Of a search over data or scale the steps: "resource", "labels", "costs", "epochs" on each; else empty."""
        return dict(self.run.get("ladder") or {})

    @property
    def best_trial(self) -> int:
        """The trial that the answer is about; the first while there is no answer."""
        best = (self.result.get("best") or {}).get("trial")
        return int(best) if best is not None else min(self.trials, default=0)

    @property
    def evaluated(self) -> str:
        """What a sample of `evaluation` is called."""
        if self.verb in ("fit", "search"):
            return "test sample"
        return "out-of-fold sample" if self.run.get("folds") else "validation sample"

    @property
    def evaluation_file(self) -> str:
        """The file that `evaluation` comes from."""
        return "evaluation.npz" if self.verb in ("fit", "search") else "out-of-fold.npz"

    @property
    def task(self) -> str:
        """What is learned, such as "classification"; empty when unknown."""
        return str(self.run.get("task") or "")

    @property
    def status(self) -> str:
        """One of "running", "interrupted", "done", "failed"; empty when unknown."""
        return str(self.run.get("status") or "")

    @property
    def metric(self) -> str:
        """The metric that decides, such as "accuracy"."""
        return str(self.run.get("metric") or "score")

    @property
    def maximize(self) -> bool:
        """Whether more of the metric is better."""
        return self.run.get("direction") != "minimize"

    @property
    def chosen(self) -> int | None:
        """The number of the chosen trial, or None while nothing is chosen."""
        return self.final.trial if self.final else None

    def part_size(self, part: str) -> int | None:
        """Number of samples in "train", "valid" or "test", or None when it was not recorded."""
        size = (self.run.get("parts") or {}).get(part)
        return int(size) if isinstance(size, int | float) and np.isfinite(size) else None

    def class_name(self, index: int) -> str:
        """The name of a class by its index, the index itself when there is no name."""
        classes = self.run.get("classes") or []
        return str(classes[index]) if 0 <= index < len(classes) else str(index)
