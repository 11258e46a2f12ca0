"""`tenfold fit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import tenfold
from tenfold.cli.app import app, err, guarded, out
from tenfold.cli.options import (
    Balanced,
    Folds,
    Group,
    Ignore,
    ImageSize,
    Json,
    LossName,
    Manner,
    MaxRows,
    NoChecks,
    NoSharing,
    Order,
    Quantiles,
    Quiet,
    Repeats,
    Target,
    TaskName,
    Vary,
    Workers,
    columns_of,
    name_or_number,
    numbers_of,
    size_of,
    words_of,
)
from tenfold.cli.screen import Screen
from tenfold.core.errors import InputError
from tenfold.report import events_line, leaderboard, load_run, render_leaderboard, together_line
from tenfold.study import Run


@app.command()
@guarded
def fit(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder, a file, or a name from `tenfold sources`.")
    ],
    target: Target = None,
    task: TaskName = None,
    metric: Annotated[str | None, typer.Option(help="What decides: accuracy, macro_f1, log_loss, rmse, ...")] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="A name from `tenfold networks`; may be repeated.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Configurations to try.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a trial that is never stopped.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="What it all may take: 90s, 10m, 1h30m.")] = None,
    folds: Folds = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each trial on each fold; their mean decides.")] = 1,
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
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.")] = None,
    image_size: ImageSize = None,
    ignore: Ignore = None,
    header: Annotated[bool | None, typer.Option(help="Whether a table's first row holds names.")] = None,
    loss: LossName = None,
    order: Order = None,
    quantiles: Quantiles = None,
    balanced: Balanced = False,
    group: Group = None,
    max_rows: MaxRows = None,
    workers: Workers = None,
    no_checks: NoChecks = False,
    no_sharing: NoSharing = False,
    valid_fraction: Annotated[float, typer.Option(help="Share of the rows to choose by.")] = 0.2,
    test_fraction: Annotated[float, typer.Option(help="Share of the rows to score on, once.")] = 0.2,
    reduction_factor: Annotated[int, typer.Option(help="From a rung one trial in this many goes on.")] = 3,
    form: Annotated[
        str,
        typer.Option(
            help="auto, stacked (one program), serial (one by one), side-by-side (one a CPU thread) or compiled."
        ),
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads for training. Default: measured.")] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    out_folder: Annotated[Path | None, typer.Option("--out", help="Run folder. Default: runs/<source>-<n>.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find a good model on your data, and keep it."""
    folded = _of_folds(folds, seeds, manner, repeats, vary)
    screen = Screen(quiet=quiet)
    try:
        run = tenfold.fit(
            source,
            target=columns_of(target), task=task, metric=metric, network=network, trials=trials, epochs=epochs,
            time=time, folds=folds, seeds=seeds, final=final, batch_size=batch_size,
            image_size=size_of(image_size), ignore=ignore, header=header, loss=loss, order=words_of(order),
            quantiles=numbers_of(quantiles, "--quantiles"), balanced=balanced,
            group=name_or_number(group), no_checks=no_checks, no_sharing=no_sharing, max_rows=max_rows,
            workers=workers, valid_fraction=valid_fraction,
            test_fraction=test_fraction, form=form,
            reduction_factor=reduction_factor, threads=threads, seed=seed,
            device=device, out=out_folder, resume=resume, overwrite=overwrite, listener=screen, **folded,
        )  # fmt: skip
    finally:
        screen.close()
    _answer(run, as_json, quiet)


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


def _answer(run: Run, as_json: bool, quiet: bool) -> None:
    """The leaderboard, the sentence that answers, and where to look further."""
    if as_json:
        if not quiet:
            show_fit(run, err)
        print(json.dumps(run.result, ensure_ascii=False))
    else:
        show_fit(run, out)


def show_fit(run: Run, console: Console) -> None:
    """The leaderboard, the test score of the chosen trial, and where the report is."""
    console.print(render_leaderboard(leaderboard(load_run(run.path))))
    result = run.result
    test = result["test"]
    if test is not None:
        console.print(
            f"{result['best']['network']} (trial {result['best']['trial']}): test {result['metric']} "
            f"{test['value']:.4g} [{test['low']:.4g}, {test['high']:.4g}], n = {test['n']}, "
            f"{result['seconds']:.0f} s",
            style="bold",
            markup=False,
            soft_wrap=True,
        )
    for line in filter(None, (events_line(load_run(run.path)), together_line(result))):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"report: {run.path / 'report.html'}", markup=False, soft_wrap=True)
