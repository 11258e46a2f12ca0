"""`tenfold cv`, `replicate` and `compare`."""

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
    Folds,
    Manner,
    NetworkName,
    Repeats,
    SourceName,
    SplitOptions,
    StepOptions,
    TestFraction,
    Vary,
    methods_of,
    values_of,
)
from tenfold.report import events_line, load_run, outcome_line, render_outcome, together_line
from tenfold.study import Run


@app.command()
@guarded
@grouped
def cv(
    source: SourceName,
    network: NetworkName = None,
    config: Config = None,
    folds: Folds = 5,
    repeats: Repeats = 1,
    seeds: Annotated[int, typer.Option(help="Trainings on each fold.")] = 1,
    manner: Manner = None,
    final: Annotated[
        str,
        typer.Option(
            help="average, vote: all folds as one model. best: the best fold's. refit: anew on all rows. none."
        ),
    ] = "average",
    epochs: Epochs = None,
    test_fraction: TestFraction = 0.0,
    *,
    data: DataOptions,
    steps: StepOptions,
    folder: FolderOptions,
    answer: AnswerOptions,
) -> None:
    """How good is a network? Cross-validation, all folds as one program."""
    given = data.arguments() | steps.arguments() | folder.arguments()
    ask_for_run(
        lambda screen: tenfold.cross_validate(
            network, source, config=values_of(config), folds=folds, repeats=repeats, seeds=seeds, manner=manner,
            final=final, epochs=epochs, test_fraction=test_fraction, listener=screen, **given,
        ),
        _show, answer,
    )  # fmt: skip


@app.command()
@guarded
@grouped
def replicate(
    source: SourceName,
    network: NetworkName = None,
    config: Config = None,
    seeds: Annotated[int, typer.Option(help="How many trainings.")] = 10,
    vary: Vary = None,
    final: Annotated[
        str, typer.Option(help="none, best: the best start. average, vote: all as one model. refit: once more.")
    ] = "none",
    epochs: Epochs = None,
    *,
    data: DataOptions,
    splits: SplitOptions,
    steps: StepOptions,
    folder: FolderOptions,
    answer: AnswerOptions,
) -> None:
    """How much is luck? The same network from many seeds, as one program."""
    given = data.arguments() | splits.arguments() | steps.arguments() | folder.arguments() | _varied(vary)
    ask_for_run(
        lambda screen: tenfold.replicate(
            network, source, config=values_of(config), seeds=seeds, final=final, epochs=epochs, listener=screen,
            **given,
        ),
        _show, answer,
    )  # fmt: skip


@app.command()
@guarded
@grouped
def compare(
    source: SourceName,
    method: Annotated[
        list[str],
        typer.Option(help="NAME=NETWORK,KEY=VALUE,... such as small=mlp,hidden=32; at least two."),
    ],
    config: Config = None,
    folds: Folds = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each method on each fold.")] = 10,
    manner: Manner = None,
    against: Annotated[
        str | None, typer.Option(help="Hold all others against this method. Default: all pairs.")
    ] = None,
    vary: Vary = None,
    sequential: Annotated[
        bool,
        typer.Option("--sequential", help="Look after every five seeds, and stop when all differences are shown."),
    ] = False,
    final: Annotated[str, typer.Option(help="none, or of the better method best, average, vote or refit.")] = "none",
    epochs: Epochs = None,
    *,
    data: DataOptions,
    splits: SplitOptions,
    steps: StepOptions,
    folder: FolderOptions,
    answer: AnswerOptions,
) -> None:
    """Which is better, and how sure? Methods compared in pairs, by fold and seed."""
    given = data.arguments() | splits.arguments() | steps.arguments() | folder.arguments() | _varied(vary)
    ask_for_run(
        lambda screen: tenfold.compare(
            methods_of(method), source, config=values_of(config), folds=folds, seeds=seeds,
            manner=manner, against=against, sequential=sequential, final=final, epochs=epochs, listener=screen,
            **given,
        ),
        _show, answer,
    )  # fmt: skip


def _varied(vary: list[str] | None) -> dict[str, Any]:
    return {"vary": vary} if vary else {}


def _show(run: Run, console: Console) -> None:
    console.print(render_outcome(run.result))
    console.print(outcome_line(run.result), style="bold", markup=False, soft_wrap=True)
    for line in filter(None, (events_line(load_run(run.path)), together_line(run.result))):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"report: {run.path / 'report.html'}", markup=False, soft_wrap=True)
