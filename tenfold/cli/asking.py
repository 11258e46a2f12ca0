"""A question asked from the command line: shown while it goes on, and answered as text or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from rich.console import Console

from tenfold.cli.app import err, out, say_json
from tenfold.cli.options import AnswerOptions
from tenfold.cli.screen import Screen

Answer = TypeVar("Answer")


def ask(
    question: Callable[[Screen], Answer],
    show: Callable[[Answer, Console], None],
    plainly: Callable[[Answer], dict[str, Any]],
    answer: AnswerOptions,
) -> None:
    """Asks, and says the answer: on stdout; with `--json` as its last line, and to a person on stderr.

    Args:
        question: is told of by a screen.
        show: writes an answer for a person.
        plainly: gives it as plain JSON types.
        answer: how it is said.
    """
    screen = Screen(quiet=answer.quiet)
    try:
        found = question(screen)
    finally:
        screen.close()
    if not answer.as_json:
        show(found, out)
        return
    if not answer.quiet:
        show(found, err)
    say_json(plainly(found))


def ask_for_run(
    question: Callable[[Screen], Any], show: Callable[[Any, Console], None], answer: AnswerOptions
) -> None:
    """The same where the answer is a run."""
    ask(question, show, lambda run: run.result, answer)
