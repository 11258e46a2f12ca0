"""`tenfold learning-curve` and `width-curve`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

import tenfold
from tenfold.cli.app import app, guarded
from tenfold.cli.asking import ask_for_run
from tenfold.cli.groups import grouped
from tenfold.cli.options import (
    AnswerOptions,
    Config,
    DataOptions,
    Epochs,
    FolderOptions,
    NetworkName,
    SourceName,
    StepOptions,
    ValidFraction,
    values_of,
)
from tenfold.core.errors import InputError
from tenfold.report.learning import render_curve
from tenfold.study import Run

Seeds = Annotated[int, typer.Option(help="Trainings at each point.")]


@app.command(name="learning-curve")
@guarded
@grouped
def learning_curve(
    source: SourceName,
    network: NetworkName = None,
    config: Config = None,
    sizes: Annotated[
        str | None, typer.Option(help="Shares or counts of training rows, such as 0.1,0.2,0.5,1. Default: 1/16 to 1.")
    ] = None,
    seeds: Seeds = 3,
    epochs: Epochs = None,
    valid_fraction: ValidFraction = 0.2,
    *,
    data: DataOptions,
    steps: StepOptions,
    folder: FolderOptions,
    answer: AnswerOptions,
) -> None:
    """Would more data help? The score against the number of training rows."""
    given = data.arguments() | steps.arguments() | folder.arguments()
    if sizes is not None:
        given["sizes"] = _numbers("--sizes", sizes)
    ask_for_run(
        lambda screen: tenfold.learning_curve(
            network, source, config=values_of(config), seeds=seeds, epochs=epochs, valid_fraction=valid_fraction,
            listener=screen, **given,
        ),
        _show, answer,
    )  # fmt: skip


@app.command(name="width-curve")
@guarded
@grouped
def width_curve(
    source: SourceName,
    network: NetworkName = None,
    config: Config = None,
    widths: Annotated[
        str | None, typer.Option(help="Rising, such as 16,64,256. Default: 8 to 256, or the network's own.")
    ] = None,
    parameter: Annotated[
        str | None, typer.Option(help="Of the configuration: what is varied. Default: the network's width.")
    ] = None,
    seeds: Seeds = 3,
    epochs: Epochs = None,
    valid_fraction: ValidFraction = 0.2,
    *,
    data: DataOptions,
    steps: StepOptions,
    folder: FolderOptions,
    answer: AnswerOptions,
) -> None:
    """Would a larger network help? The score against its width."""
    given: dict[str, Any] = data.arguments() | steps.arguments() | folder.arguments()
    if widths is not None:
        given["widths"] = [int(width) if width.is_integer() else width for width in _numbers("--widths", widths)]
    ask_for_run(
        lambda screen: tenfold.width_curve(
            network, source, parameter=parameter, config=values_of(config), seeds=seeds, epochs=epochs,
            valid_fraction=valid_fraction, listener=screen, **given,
        ),
        _show, answer,
    )  # fmt: skip


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option} must be numbers with commas between, got {text!r}. Write 16,64,256.") from error


def _show(run: Run, console: Console) -> None:
    console.print(render_curve(run.result))
    console.print(run.result["sentence"], style="bold", markup=False, soft_wrap=True)
    console.print(f"report: {run.path / 'report.html'}", markup=False, soft_wrap=True)
