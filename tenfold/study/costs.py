"""What a trial costs besides its score, where a search weighs that too, and the front of the best bargains."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tenfold.core.records import read_records
from tenfold.study.question import Question
from tenfold.study.run_folder import RunFolder
from tenfold.tuning import front

_REPEATS = 20


class Costs:
    """Looks up or measures what trials cost.

    Args:
        names: of `tenfold.study.search_options.COSTS`.
        folder: the run's; what is measured is kept in its `run.json`, so that a resumed run knows the same.
    """

    def __init__(self, names: Sequence[str], folder: RunFolder) -> None:
        self.names, self.folder = tuple(names), folder

    def of(self, trial: int, question: Question) -> list[float]:
        """The costs of a trial, in the order of the names: a number of parameters, or milliseconds a sample."""
        known = {"parameters": self._parameters, "latency": self._latency}
        return [known[name](trial, question) for name in self.names]

    def _parameters(self, trial: int, question: Question) -> float:
        place = _place(trial, question)
        return float(next(line.parameters for line in question.plan if place in line.places))

    def _latency(self, trial: int, question: Question) -> float:
        """Milliseconds that a new network of this kind takes for one sample; once for each structure."""
        place = _place(trial, question)
        label = next(line.label for line in question.plan if place in line.places)
        known = self.folder.info.get("latency_ms") or {}
        if label not in known:
            known = {**known, label: _measured_ms(question, place)}
            self.folder.update(latency_ms=known)
        return float(known[label])

    def best_bargains(self, records: Path, question: Question) -> dict[str, Any]:
        """The trials that no other beats in everything, best score first; nothing where there is one objective."""
        if not self.names:
            return {}
        names = (question.metric.name, *self.names)
        told = {
            record["trial"]: record["values"]
            for record in read_records(records)
            if record["kind"] == "told" and record["values"] is not None
        }
        trials = list(told)
        best = front(list(told.values()), (question.metric.direction, *("minimize" for _ in self.names)))
        return {
            "front": [
                {"trial": trials[place], **dict(zip(names, told[trials[place]], strict=True))} for place in best
            ]
        }


def _place(trial: int, question: Question) -> int:
    """Where a trial's first member stands."""
    return next(place for place, spec in enumerate(question.specs) if spec.id.trial == trial)


def _measured_ms(question: Question, place: int) -> float:
    model = question.specs[place].make_model().eval()
    batch = question.known.example(1) if question.known.example is not None else ()
    inputs = [tensor.cpu() for tensor in batch]
    best = float("inf")
    with torch.no_grad():
        for _ in range(_REPEATS):
            began = time.perf_counter()
            question.task.predict(model, tuple(inputs))
            best = min(best, time.perf_counter() - began)
    return 1000 * best
