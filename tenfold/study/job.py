"""What every question shares while it is worked on: a listener, a clock, and an end that is written down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch

from tenfold.core.errors import RunError
from tenfold.stacking.kernels import telling
from tenfold.study.options import FitOptions
from tenfold.study.run_folder import RunFolder
from tenfold.train import Clock, Progress


class Listener:
    """Hears what a study does; the command line shows it, Python is silent by default."""

    def note(self, sentence: str) -> None:
        """Something was inferred, chosen or skipped."""

    def stage(self, name: str) -> None:
        """A part of the work begins."""

    def progress(self, progress: Progress) -> None:
        """A step was made."""


@dataclass(kw_only=True)
class Job:
    """A question on its way: what was asked, who listens, and the clock."""

    options: FitOptions
    listener: Listener
    device: torch.device
    clock: Clock = field(default_factory=Clock)
    timings: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Runs a part of the work, and notes how long it took."""
        self.listener.stage(name)
        began = time.monotonic()
        with telling(self.listener.note):
            yield
        self.timings[name] = round(self.timings.get(name, 0.0) + time.monotonic() - began, 3)

    def seconds_left(self) -> float:
        """Of the time that the user gave; endless without one."""
        return float("inf") if self.options.time_s is None else self.options.time_s - self.clock()


@contextmanager
def noting_the_end(folder: RunFolder) -> Iterator[None]:
    """Writes down that a run ended before it was done, and why; where the disk is full it cannot.

    Raises:
        RunError: a file could not be written or read.
    """
    try:
        yield
    except BaseException as error:
        if _was_interrupted(error):
            folder.update(status="interrupted")
            raise KeyboardInterrupt(f"the same command with --out {folder.path} --resume goes on") from None
        with suppress(OSError):
            folder.update(status="failed", error=f"{type(error).__name__}: {error}")
        if isinstance(error, OSError):
            raise RunError(
                f"{error.filename or folder.path}: {error.strerror or error}. Mend that; the same command with "
                f"--out {folder.path} --resume goes on."
            ) from error
        raise


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error; NumPy's buffers turn one that comes in between into a ValueError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
