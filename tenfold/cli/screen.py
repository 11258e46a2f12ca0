"""A study shown while it goes on."""

from __future__ import annotations

import textwrap
import time

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tenfold.cli.app import err
from tenfold.core.wording import plural
from tenfold.report import format_number
from tenfold.study import Listener
from tenfold.train import Progress as TrainingProgress


class Screen(Listener):
    """Shows a study on stderr: a moving line on a terminal, a plain line now and then elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.moving = err.is_terminal and not quiet
        self._bar: Progress | None = None
        self._said = time.monotonic()
        self._shown = 0.0

    def note(self, sentence: str) -> None:
        """A line as it is; on a terminal cut between words, its later lines indented further."""
        if self.quiet:
            return
        if err.is_terminal:
            indented = textwrap.wrap(sentence, err.width, initial_indent="  ", subsequent_indent="    ")
            err.print("\n".join(indented), markup=False)
        else:
            err.print(f"  {sentence}", markup=False)

    def stage(self, name: str) -> None:
        """A title."""
        self._stop()
        titles = {
            "read": "Reading the data",
            "plan": "Planning",
            "train": "Training",
            "final": "Making the final model",
            "score": "Scoring on the test part, with baselines",
            "scores": "Scoring every training",
            "report": "Writing the report",
        }
        if not self.quiet:
            err.print(titles.get(name, name), style="bold")

    def progress(self, progress: TrainingProgress) -> None:
        """The moving line, or a plain one every ten seconds."""
        if self.quiet:
            return
        now = time.monotonic()
        if self.moving and now - self._shown > 0.1:
            self._shown = now
            self._move(progress)
        elif not self.moving and now - self._said > 10.0:
            self._said = now
            err.print(f"  {progress.share:4.0%}  {_progress_text(progress)}", markup=False)

    def _move(self, progress: TrainingProgress) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("  {task.description}"), BarColumn(bar_width=20), TimeRemainingColumn(), console=err
            )
            self._bar.add_task("", total=1.0)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=progress.share, description=_progress_text(progress))

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def close(self) -> None:
        """Takes the moving line off the terminal."""
        self._stop()


def _progress_text(progress: TrainingProgress) -> str:
    best = "" if progress.best is None else f", best {format_number(progress.best)}"
    return f"epoch {progress.epoch + 1}/{progress.epochs}, {plural(progress.members, 'member')} training{best}"
