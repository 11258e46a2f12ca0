"""What can befall a run: each function, called in a process before its command, arranges one mishap for later.

Points of no return are counted in the run's own terms (the n-th step, record, checkpoint ...), never in seconds.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNPRIVILEGED = 65534  # "nobody"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _at(owner: Any, name: str, number: int, act: Callable[..., None], *, before: bool = False) -> None:
    """Calls `act` with the arguments of the n-th call (from 1) of `owner.name`, before or after that call."""
    original, calls = getattr(owner, name), 0

    @functools.wraps(original)
    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if before and calls == number:
            act(*args, **kwargs)
        result = original(*args, **kwargs)
        if not before and calls == number:
            act(*args, **kwargs)
        return result

    setattr(owner, name, counted)


def checkpoint_every_epoch() -> None:
    from tenfold.train import Checkpointer

    Checkpointer.due = lambda self: True  # type: ignore[method-assign]


def _at_step(number: int, act: Callable[..., None]) -> None:
    """At the n-th step of training; the planner's own steps do not count."""
    from tenfold.train import Cohort, Lane

    _at(Cohort, "run", 1, lambda *args: _at(Lane, "train_step", number, act), before=True)


def die_at_step(number: int) -> None:
    _at_step(number, lambda *args: _die())


def die_at_record(number: int) -> None:
    """Half of the n-th line is on the disk."""
    from tenfold.core.records import RecordLog

    def tear(log: RecordLog, kind: str, **facts: Any) -> None:
        log._file.write(b'{"kind": "epoch", "tri')
        log._file.flush()
        _die()

    _at(RecordLog, "append", number, tear, before=True)


def die_at_kind(kind: str, number: int, when: str) -> None:
    """Right before or right after the n-th record of a kind; what was written before is on the disk."""
    from tenfold.core.records import RecordLog

    original, calls = RecordLog.append, 0

    def append(log: RecordLog, now: str, **facts: Any) -> None:
        nonlocal calls
        calls += now == kind
        reached = now == kind and calls == number
        if not (reached and when == "before"):
            original(log, now, **facts)
        if reached:
            log._file.flush()
            _die()

    RecordLog.append = append  # type: ignore[method-assign]


def die_at_update(number: int, when: str) -> None:
    """Right before or right after the n-th time that `run.json` is replaced."""
    from tenfold.study.run_folder import RunFolder

    _at(RunFolder, "update", number, lambda *args, **kwargs: _die(), before=when == "before")


def die_at_sync(number: int, when: str) -> None:
    """Right before or right after the n-th time that trials are copied to Optuna's storage."""
    from tenfold.tuning import OptunaMirror

    _at(OptunaMirror, "sync", number, lambda *args: _die(), before=when == "before")


def mirror_always() -> None:
    """Copies are brought up to date whenever somebody leaves."""
    import tenfold.study.mirrors as mirrors

    mirrors._EVERY_S = 0.0


def die_in_refit_at_step(number: int) -> None:
    """At the n-th step of training the chosen configuration anew."""
    import tenfold.study.final as final
    from tenfold.train import Lane

    _at(final, "_train_anew", 1, lambda *args: _at(Lane, "train_step", number, lambda *args: _die()), before=True)


def die_in_checkpoint(number: int) -> None:
    """Half of the n-th checkpoint is written beside the one before."""
    import torch

    def tear(state: Any, file: Any) -> None:
        file.write(b"PK\x03\x04 half of a checkpoint")
        file.flush()
        _die()

    _at(torch, "save", number, tear, before=True)


def die_after_checkpoint(number: int) -> None:
    from tenfold.train import Checkpointer

    _at(Checkpointer, "save", number, lambda *args: _die())


def die_after_rung(number: int) -> None:
    """The losers have left, and no checkpoint says so."""
    from tenfold.train import Cohort

    _at(Cohort, "_leave", number, lambda *args: _die())


def die_in_stage(name: str) -> None:
    from tenfold.cli.screen import Screen

    original = Screen.stage

    def stage(self: Any, now: str) -> None:
        if now == name:
            _die()
        original(self, now)

    Screen.stage = stage  # type: ignore[method-assign]


def die_before(module: str, name: str) -> None:
    """The process ends where `module.name` would be called."""
    __import__(module)
    _at(sys.modules[module], name, 1, lambda *args, **kwargs: _die(), before=True)


def die_after(module: str, name: str) -> None:
    __import__(module)
    _at(sys.modules[module], name, 1, lambda *args, **kwargs: _die())


def press_ctrl_c_at_step(number: int) -> None:
    _at_step(number, lambda *args: os.kill(os.getpid(), signal.SIGINT))


def press_ctrl_c_in(module: str, name: str) -> None:
    __import__(module)
    _at(sys.modules[module], name, 1, lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGINT), before=True)


def press_ctrl_c_inside_numpy() -> None:
    """Ctrl-C while the baselines look at a buffer: NumPy raises a ValueError from it."""
    import tenfold.study.baselines as baselines

    def raise_as_numpy_does(*args: Any, **kwargs: Any) -> None:
        raise ValueError("not a valid PEP 3118 buffer format string") from KeyboardInterrupt()

    _at(baselines, "run_baselines", 1, raise_as_numpy_does, before=True)


def wait_in_training_for(file: str) -> None:
    """The first step lasts until a file is there; `file` with ".reached" behind says that it began."""

    def wait(*args: Any) -> None:
        Path(file + ".reached").touch()
        while not Path(file).exists():
            time.sleep(0.01)

    _at_step(1, wait)


def slow_steps(seconds: float) -> None:
    """Training is slower than the planner measured."""
    from tenfold.train import Cohort, Lane

    def slow_down(*_: Any) -> None:
        original = Lane.train_step

        def slowly(self: Any, batch: Any) -> None:
            time.sleep(seconds)
            original(self, batch)

        Lane.train_step = slowly  # type: ignore[method-assign]

    _at(Cohort, "run", 1, slow_down, before=True)


def no_room_for_files_above(num_bytes: int) -> None:
    """The system refuses to write any file further than this."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def little_memory(num_bytes: int) -> None:
    import tenfold.train.planner as planner

    planner.available_memory_bytes = lambda device: num_bytes  # type: ignore[assignment]


def refuse_allocations_above(num_bytes: int) -> None:
    """NumPy and torch run out of memory where they would take more than this at once."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + num_bytes, used + num_bytes))


def become_nobody() -> None:
    """A user without rights; for processes of root, whom no permission stops."""
    os.setgroups([])
    os.setgid(UNPRIVILEGED)
    os.setuid(UNPRIVILEGED)


def ask_for_too_much_memory(library: str) -> None:
    """More is asked for than any machine has, so that the library's own error comes."""
    import numpy as np
    import torch

    import tenfold.study.question as question

    def ask(*args: Any, **kwargs: Any) -> None:
        np.empty(1 << 60, np.uint8) if library == "numpy" else torch.empty(1 << 60, dtype=torch.uint8)

    _at(question, "training_task", 1, ask, before=True)


def no_threads_for_events() -> None:
    from torch.utils.tensorboard import writer

    def refuse(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    writer.SummaryWriter.__init__ = refuse  # type: ignore[method-assign]
