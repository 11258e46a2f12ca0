"""The application: its streams, its exit codes, and errors as sentences."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

import tenfold
from tenfold.core.errors import TenfoldError
from tenfold.core.records import finite

app = typer.Typer(
    name="tenfold",
    help="Trains many sibling networks as one program. Begin with: tenfold fit digits",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
out = Console(highlight=False, emoji=False)  # ":x:" in a name stays what it is


def main() -> None:
    """The command `tenfold`."""
    try:
        code = app(standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        if sentence := " ".join(error.format_message().split()).rstrip("."):  # empty where help was shown instead
            path = getattr(getattr(error, "ctx", None), "command_path", "tenfold")
            err.print(f"tenfold: {sentence}. See {path} --help.", markup=False)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _version(value: bool) -> None:
    if value:
        print(f"tenfold {tenfold.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Trains many sibling networks as one program. Begin with: tenfold fit digits."""


def say_json(answer: Any) -> None:
    """One line of JSON on stdout; numbers that JSON does not know (NaN, infinities) are null."""
    print(json.dumps(finite(answer), ensure_ascii=False, allow_nan=False))


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turns errors that a user can mend into one sentence and exit code 2, and Ctrl-C into exit code 130."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt as error:
            err.print(f"interrupted{'; ' * bool(str(error))}{error}", markup=False)
            raise typer.Exit(130) from error
        except Exception as error:
            if os.environ.get("TENFOLD_DEBUG") or not _can_be_mended(error):
                raise
            err.print(f"tenfold: {_sentence(error)}", markup=False)
            raise typer.Exit(2) from error

    return run


def _can_be_mended(error: Exception) -> bool:
    """Whether an error tells a user about data, command or machine, and not a programmer about a mistake."""
    return isinstance(error, TenfoldError | ValueError | OSError) or _lacks_memory(error)


def _lacks_memory(error: Exception) -> bool:
    if isinstance(error, TenfoldError):
        return False
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _sentence(error: Exception) -> str:
    if _lacks_memory(error):
        return f"out of memory ({_first_line(error)}). Choose a smaller --batch-size, --image-size or network."
    if isinstance(error, OSError) and error.strerror and not isinstance(error, TenfoldError):
        return f"{error.filename or 'the disk'}: {error.strerror}."
    return " ".join(str(error).split())


def _first_line(error: Exception) -> str:
    """What an error says before it goes into its own details, such as torch's place in its source."""
    text = str(error).strip().split("\n")[0].split("] . ")[-1]
    return text.rstrip(".") or type(error).__name__
