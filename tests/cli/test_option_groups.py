"""Options in groups, as typer sees them and as a command gets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from tenfold.cli.groups import grouped


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Paint: what a wall gets."""

    color: Annotated[str, typer.Option(help="Of the wall.")] = "white"
    coats: Annotated[int, typer.Option(help="How often.", rich_help_panel="Work")] = 1


@dataclass(frozen=True, kw_only=True)
class Primer(Paint):
    """Paint: what comes before."""

    hours: Annotated[int, typer.Option("--dry", help="Until it is dry.")] = 8


def command_of(group: type) -> typer.Typer:
    app = typer.Typer()

    def paint(wall: str, *, layer: group, times: int = 1) -> None:  # type: ignore[valid-type]
        print(wall, type(layer).__name__, vars(layer), times)

    paint.__annotations__ = {"wall": str, "layer": group, "times": int}
    app.command()(grouped(paint))
    return app


@pytest.mark.parametrize(
    ("group", "arguments", "said"),
    [
        (Paint, ["north"], "north Paint {'color': 'white', 'coats': 1} 1"),
        (Paint, ["north", "--color", "red", "--times", "2"], "north Paint {'color': 'red', 'coats': 1} 2"),
        (Primer, ["east", "--dry", "3"], "east Primer {'color': 'white', 'coats': 1, 'hours': 3} 1"),
    ],
)
def test_a_command_gets_its_group_as_an_object(group: type, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(command_of(group), arguments)
    assert (result.exit_code, result.output.strip()) == (0, said)


def test_help_shows_a_group_under_the_word_that_its_docstring_begins_with() -> None:
    text = CliRunner().invoke(command_of(Primer), ["--help"], env={"COLUMNS": "80"}).output
    assert "─ Paint ─" in text
    assert text.index("─ Paint ─") < text.index("--color") < text.index("Until it is dry.")
    assert "─ Work ─" in text, "an option that has a title of its own keeps it"


def test_the_options_of_a_group_are_not_changed_by_being_shown() -> None:
    command_of(Paint)
    assert Paint.__dataclass_fields__["color"].default == "white"
    assert "Paint" not in str(Paint.__annotations__["color"])


def test_two_groups_with_one_field_are_refused() -> None:
    def paint(first: Paint, second: Paint) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name: 'color'"):
        grouped(paint)
