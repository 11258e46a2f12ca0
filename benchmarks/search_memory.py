"""Does a search of 256 trials hold its memory steady, and what share of its wall time does storage take?

Resident memory is read after every epoch of the cohort; the first and the last quarter of the epochs are compared by
their medians. Storage is all that is written: records, checkpoints, `run.json`, Optuna's copy, TensorBoard.

    python benchmarks/search_memory.py

Wanted: memory within 5 % and storage under 5 % of the wall time. Measured on a machine of 2 CPU cores with nothing
else running, two threads, torch 2.14.1, n = 1 (67.5 s, 1,870 epochs, 31 readings): memory -3.5 %, storage 4.1 %.
"""

from __future__ import annotations

import argparse
import functools
import resource
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import tenfold
from tenfold.core.records import RecordLog
from tenfold.study.mirrors import Mirrors
from tenfold.study.run_folder import RunFolder
from tenfold.train import Checkpointer, Cohort


class Stopwatch:
    """Seconds spent in some functions, each call within another one counted once."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def watch(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            began = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - began

        setattr(owner, name, watched)


def resident_mb() -> float:
    """Resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    """Runs the search and prints the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--data", default="digits")
    asked = parser.parse_args()
    watch, memory = Stopwatch(), []
    pairs = ((RecordLog, "append"), (RecordLog, "sync"), (Checkpointer, "save"), (Mirrors, "sync"))
    for owner, name in (*pairs, (RunFolder, "update")):
        watch.watch(owner, name)
    original = Cohort._score_epoch

    def score_epoch(self: Cohort, shares: Any) -> Any:
        memory.append(resident_mb())
        return original(self, shares)

    Cohort._score_epoch = score_epoch  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run = tenfold.search(
            "mlp", asked.data, trials=asked.trials, epochs=asked.epochs, sampler="tpe", halving="hyperband",
            out=Path(folder) / "run", no_checks=True,
        )  # fmt: skip
        wall_s = time.perf_counter() - began
    quarter = max(len(memory) // 4, 1)
    first, last = median(memory[:quarter]), median(memory[-quarter:])
    print(f"{asked.trials} trials, {run.result['epochs_trained']:.0f} epochs, {wall_s:.1f} s, {len(memory)} readings")
    print(f"resident memory: first quarter {first:.0f} MB, last {last:.0f} MB ({100 * (last / first - 1):+.1f} %)")
    print(f"storage: {watch.seconds:.2f} s, {100 * watch.seconds / wall_s:.1f} % of the wall time")


if __name__ == "__main__":
    main()
