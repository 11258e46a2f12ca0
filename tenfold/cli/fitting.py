"""`tenfold fit`."""

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
    DataOptions,
    FolderOptions,
    Folds,
    Manner,
    MostEpochs,
    Networks,
    NoSharing,
    ReductionFactor,
    Repeats,
    SourceName,
    SplitOptions,
    StepOptions,
    Time,
    Trials,
    TrialSeeds,
    Vary,
)
from tenfold.core.errors import InputError
from tenfold.report import events_line, format_scored, leaderboard, load_run, render_leaderboard, together_line
from tenfold.study import Run


@app.command()
@guarded
@grouped
def fit(
    source: SourceName,
    network: Networks = None,
    trials: Trials = None,
    epochs: MostEpochs = None,
    time: Time = None,
    folds: Folds = None,
    seeds: TrialSeeds = 1,
    manner: Manner = None,
    repeats: Repeats = 1,
    vary: Vary = None,
    final: Annotated[
        str,
        typer.Option(
            help="best: keep the best weights. refit: train anew on everything. average, vote: the finalists (or the "
            "best trial's folds and seeds) predict together. ensemble: the trials that do so best, with weights."
        ),
    ] = "best",
    reduction_factor: ReductionFactor = 3,
    no_sharing: NoSharing = False,
    *,
    data: DataOptions,
    splits: SplitOptions,
    steps: StepOptions,
    folder: FolderOptions,
    answer: AnswerOptions,
) -> None:
    """Find a good model on your data, and keep it."""
    given = data.arguments() | splits.arguments() | steps.arguments() | folder.arguments()
    given |= _of_folds(folds, seeds, manner, repeats, vary)
    ask_for_run(
        lambda screen: tenfold.fit(
            source, network=network, trials=trials, epochs=epochs, time=time, folds=folds, seeds=seeds, final=final,
            reduction_factor=reduction_factor, no_sharing=no_sharing, listener=screen, **given,
        ),
        show_fit, answer,
    )  # fmt: skip


def _of_folds(
    folds: int | None, seeds: int, manner: str | None, repeats: int, vary: list[str] | None
) -> dict[str, Any]:
    """The options that say how rows are cut and what seeds vary.

    Raises:
        InputError: there are neither folds nor seeds.
    """
    given = {"manner": manner, "repeats": None if repeats == 1 else repeats, "varies": tuple(vary) if vary else None}
    found = {name: value for name, value in given.items() if value is not None}
    if found and folds is None and seeds == 1:
        flag = "--vary" if "varies" in found else f"--{next(iter(found))}"
        raise InputError(f"{flag} is for folds and seeds, and there are none. Add --folds 5 or --seeds 3.")
    return found


def show_fit(run: Run, console: Console) -> None:
    """The leaderboard, the test score of the chosen trial, and where the report is."""
    console.print(render_leaderboard(leaderboard(load_run(run.path))))
    result = run.result
    test = result["test"]
    if test is not None:
        console.print(
            f"{result['best']['network']} (trial {result['best']['trial']}): test {result['metric']} "
            f"{format_scored(test['value'], test['low'], test['high'])}, n = {test['n']}, "
            f"{result['seconds']:.0f} s",
            style="bold",
            markup=False,
            soft_wrap=True,
        )
    for line in filter(None, (events_line(load_run(run.path)), together_line(result))):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"report: {run.path / 'report.html'}", markup=False, soft_wrap=True)
