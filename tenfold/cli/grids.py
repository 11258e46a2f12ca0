"""`tenfold cv`, `replicate` and `compare`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

import tenfold
from tenfold.cli.app import app, err, guarded, out
from tenfold.cli.options import (
    Balanced,
    BatchSize,
    Config,
    Device,
    Epochs,
    Folds,
    FormName,
    Group,
    Header,
    Ignore,
    ImageSize,
    Json,
    LossName,
    Manner,
    MaxRows,
    MetricName,
    NetworkName,
    NoChecks,
    Order,
    OutFolder,
    Overwrite,
    Quantiles,
    Quiet,
    Repeats,
    Resume,
    Seed,
    SourceName,
    Target,
    TaskName,
    TestFraction,
    Threads,
    ValidFraction,
    Vary,
    Workers,
    columns_of,
    methods_of,
    name_or_number,
    numbers_of,
    size_of,
    values_of,
    words_of,
)
from tenfold.cli.screen import Screen
from tenfold.report import events_line, load_run, outcome_line, render_outcome, together_line
from tenfold.study import Run


@app.command()
@guarded
def cv(
    source: SourceName,
    target: Target = None,
    task: TaskName = None,
    metric: MetricName = None,
    network: NetworkName = None,
    config: Config = None,
    folds: Folds = 5,
    repeats: Repeats = 1,
    seeds: Annotated[int, typer.Option(help="Trainings on each fold.")] = 1,
    manner: Manner = None,
    group: Group = None,
    final: Annotated[
        str,
        typer.Option(
            help="average, vote: all folds as one model. best: the best fold's. refit: anew on all rows. none."
        ),
    ] = "average",
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    ignore: Ignore = None,
    header: Header = None,
    loss: LossName = None,
    order: Order = None,
    quantiles: Quantiles = None,
    balanced: Balanced = False,
    test_fraction: TestFraction = 0.0,
    max_rows: MaxRows = None,
    workers: Workers = None,
    no_checks: NoChecks = False,
    form: FormName = "auto",
    threads: Threads = None,
    seed: Seed = 0,
    device: Device = "auto",
    out_folder: OutFolder = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """How good is a network? Cross-validation, all folds as one program."""
    _ask(
        lambda screen: tenfold.cross_validate(
            network, source, target=columns_of(target), task=task, metric=metric, config=values_of(config),
            folds=folds, repeats=repeats, seeds=seeds, manner=manner, group=name_or_number(group), final=final,
            epochs=epochs,
            batch_size=batch_size, image_size=size_of(image_size), ignore=ignore, header=header,
            loss=loss, order=words_of(order), quantiles=numbers_of(quantiles, "--quantiles"),
            balanced=balanced, test_fraction=test_fraction,
            form=form, threads=threads, seed=seed, device=device, out=out_folder, resume=resume, overwrite=overwrite,
            no_checks=no_checks, max_rows=max_rows, workers=workers, listener=screen,
        ),
        as_json, quiet,
    )  # fmt: skip


@app.command()
@guarded
def replicate(
    source: SourceName,
    target: Target = None,
    task: TaskName = None,
    metric: MetricName = None,
    network: NetworkName = None,
    config: Config = None,
    seeds: Annotated[int, typer.Option(help="How many trainings.")] = 10,
    vary: Vary = None,
    group: Group = None,
    final: Annotated[
        str, typer.Option(help="none, best: the best start. average, vote: all as one model. refit: once more.")
    ] = "none",
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    ignore: Ignore = None,
    header: Header = None,
    loss: LossName = None,
    order: Order = None,
    quantiles: Quantiles = None,
    balanced: Balanced = False,
    valid_fraction: ValidFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    max_rows: MaxRows = None,
    workers: Workers = None,
    no_checks: NoChecks = False,
    form: FormName = "auto",
    threads: Threads = None,
    seed: Seed = 0,
    device: Device = "auto",
    out_folder: OutFolder = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """How much is luck? The same network from many seeds, as one program."""
    varied = {"vary": vary} if vary else {}
    _ask(
        lambda screen: tenfold.replicate(
            network, source, target=columns_of(target), task=task, metric=metric, config=values_of(config),
            seeds=seeds, group=name_or_number(group), final=final, epochs=epochs, batch_size=batch_size,
            image_size=size_of(image_size), ignore=ignore, header=header,
            loss=loss, order=words_of(order), quantiles=numbers_of(quantiles, "--quantiles"), balanced=balanced,
            valid_fraction=valid_fraction, test_fraction=test_fraction, form=form, threads=threads,
            seed=seed, device=device, out=out_folder, resume=resume, overwrite=overwrite, no_checks=no_checks,
            max_rows=max_rows, workers=workers, listener=screen, **varied,
        ),
        as_json, quiet,
    )  # fmt: skip


@app.command()
@guarded
def compare(
    source: SourceName,
    method: Annotated[
        list[str],
        typer.Option(help="NAME=NETWORK,KEY=VALUE,... such as small=mlp,hidden=32; at least two."),
    ],
    target: Target = None,
    task: TaskName = None,
    metric: MetricName = None,
    config: Config = None,
    folds: Folds = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each method on each fold.")] = 10,
    manner: Manner = None,
    group: Group = None,
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
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    ignore: Ignore = None,
    header: Header = None,
    loss: LossName = None,
    order: Order = None,
    quantiles: Quantiles = None,
    balanced: Balanced = False,
    valid_fraction: ValidFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    max_rows: MaxRows = None,
    workers: Workers = None,
    no_checks: NoChecks = False,
    form: FormName = "auto",
    threads: Threads = None,
    seed: Seed = 0,
    device: Device = "auto",
    out_folder: OutFolder = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Which is better, and how sure? Methods compared in pairs, by fold and seed."""
    varied = {"vary": vary} if vary else {}
    _ask(
        lambda screen: tenfold.compare(
            methods_of(method), source, target=columns_of(target), task=task,
            metric=metric, config=values_of(config), folds=folds, seeds=seeds, manner=manner,
            group=name_or_number(group),
            against=against, final=final, epochs=epochs, batch_size=batch_size,
            image_size=size_of(image_size), ignore=ignore, header=header, loss=loss, order=words_of(order),
            quantiles=numbers_of(quantiles, "--quantiles"), balanced=balanced, valid_fraction=valid_fraction,
            test_fraction=test_fraction, form=form, threads=threads, seed=seed, device=device, out=out_folder,
            resume=resume, overwrite=overwrite, no_checks=no_checks, max_rows=max_rows, workers=workers,
            listener=screen, sequential=sequential, **varied,
        ),
        as_json, quiet,
    )  # fmt: skip


def _ask(question: Callable[[Screen], Run], as_json: bool, quiet: bool) -> None:
    screen = Screen(quiet=quiet)
    try:
        run = question(screen)
    finally:
        screen.close()
    if as_json:
        if not quiet:
            _show_outcome(run, err)
        print(json.dumps(run.result, ensure_ascii=False))
    else:
        _show_outcome(run, out)


def _show_outcome(run: Run, console: Console) -> None:
    console.print(render_outcome(run.result))
    console.print(outcome_line(run.result), style="bold", markup=False, soft_wrap=True)
    for line in filter(None, (events_line(load_run(run.path)), together_line(run.result))):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"report: {run.path / 'report.html'}", markup=False, soft_wrap=True)
