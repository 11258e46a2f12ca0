"""Checkpoints that survive a crash at any moment: written beside, brought to the disk, then renamed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from tenfold.core.errors import RunError
from tenfold.core.writing import written_beside

FILE_NAME = "cohort.pt"


class Checkpointer:
    """Saves a state now and then; a crash while saving leaves the state before.

    Args:
        folder: where `cohort.pt` goes; made when it is missing.
        every_s: seconds that must have passed since the last save.
    """

    def __init__(self, folder: Path, *, every_s: float = 30.0) -> None:
        self.folder = folder
        self.every_s = every_s
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._last >= self.every_s

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        """Saves the state whatever the time.

        Raises:
            OSError: there is no room, or the folder may not be written to; the state before is kept.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with written_beside(self.folder / FILE_NAME) as draft, open(draft, "wb") as file:
            _write(state(), file)
            file.flush()
            os.fsync(file.fileno())
        self._last = time.monotonic()

    def load(self, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """The last saved state, or None when there is none; no code in the file is run.

        Raises:
            RunError: the file is damaged, or holds more than tensors and plain values.
        """
        path = self.folder / FILE_NAME
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location=device, weights_only=True)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a torn file fails in many ways: IndexError, EOFError, UnpicklingError ...
            reason = str(error).strip().split("\n")[0].split(". ")[0]
            raise RunError(
                f"checkpoint: {path} cannot be read ({reason}). Restore it, or delete it to train anew."
            ) from error


def _write(state: dict[str, Any], file: IO[bytes]) -> None:
    """The writer of torch stumbles over a full disk with an error of its own, behind which is the system's."""
    try:
        torch.save(state, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
