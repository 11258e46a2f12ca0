"""`tenfold learning-curve` and `width-curve`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

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
    FormName,
    Group,
    Header,
    Ignore,
    ImageSize,
    Json,
    LossName,
    MaxRows,
    MetricName,
    NetworkName,
    NoChecks,
    Order,
    OutFolder,
    Overwrite,
    Quantiles,
    Quiet,
    Resume,
    Seed,
    SourceName,
    Target,
    TaskName,
    Threads,
    ValidFraction,
    Workers,
    columns_of,
    name_or_number,
    numbers_of,
    size_of,
    values_of,
    words_of,
)
from tenfold.cli.screen import Screen
from tenfold.core.errors import InputError
from tenfold.report.learning import render_curve
from tenfold.study import Run

Seeds = Annotated[int, typer.Option(help="Trainings at each point.")]


@app.command(name="learning-curve")
@guarded
def learning_curve(
    source: SourceName,
    target: Target = None,
    task: TaskName = None,
    metric: MetricName = None,
    network: NetworkName = None,
    config: Config = None,
    sizes: Annotated[
        str | None, typer.Option(help="Shares or counts of training rows, such as 0.1,0.2,0.5,1. Default: 1/16 to 1.")
    ] = None,
    seeds: Seeds = 3,
    epochs: Epochs = None,
    group: Group = None,
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    ignore: Ignore = None,
    header: Header = None,
    loss: LossName = None,
    order: Order = None,
    quantiles: Quantiles = None,
    balanced: Balanced = False,
    valid_fraction: ValidFraction = 0.2,
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
    """Would more data help? The score against the number of training rows."""
    more: dict[str, Any] = {} if sizes is None else {"sizes": _numbers("--sizes", sizes)}
    _ask(
        lambda screen: tenfold.learning_curve(
            network, source, target=columns_of(target), task=task, metric=metric, config=values_of(config),
            seeds=seeds, group=name_or_number(group), epochs=epochs, batch_size=batch_size,
            image_size=size_of(image_size), ignore=ignore, header=header, loss=loss, order=words_of(order),
            quantiles=numbers_of(quantiles, "--quantiles"), balanced=balanced, valid_fraction=valid_fraction,
            max_rows=max_rows, workers=workers, no_checks=no_checks, form=form, threads=threads, seed=seed,
            device=device, out=out_folder, resume=resume, overwrite=overwrite, listener=screen, **more,
        ),
        as_json, quiet,
    )  # fmt: skip


@app.command(name="width-curve")
@guarded
def width_curve(
    source: SourceName,
    target: Target = None,
    task: TaskName = None,
    metric: MetricName = None,
    network: NetworkName = None,
    config: Config = None,
    widths: Annotated[str | None, typer.Option(help="Rising, such as 16,64,256. Default: 8 to 256.")] = None,
    parameter: Annotated[str, typer.Option(help="Of the configuration: what is varied.")] = "hidden",
    seeds: Seeds = 3,
    epochs: Epochs = None,
    group: Group = None,
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    ignore: Ignore = None,
    header: Header = None,
    loss: LossName = None,
    order: Order = None,
    quantiles: Quantiles = None,
    balanced: Balanced = False,
    valid_fraction: ValidFraction = 0.2,
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
    """Would a larger network help? The score against its width."""
    more: dict[str, Any] = (
        {}
        if widths is None
        else {"widths": [int(width) if width.is_integer() else width for width in _numbers("--widths", widths)]}
    )
    _ask(
        lambda screen: tenfold.width_curve(
            network, source, parameter=parameter, target=columns_of(target), task=task, metric=metric,
            config=values_of(config), seeds=seeds, group=name_or_number(group), epochs=epochs, batch_size=batch_size,
            image_size=size_of(image_size), ignore=ignore, header=header, loss=loss, order=words_of(order),
            quantiles=numbers_of(quantiles, "--quantiles"), balanced=balanced, valid_fraction=valid_fraction,
            max_rows=max_rows, workers=workers, no_checks=no_checks, form=form, threads=threads, seed=seed,
            device=device, out=out_folder, resume=resume, overwrite=overwrite, listener=screen, **more,
        ),
        as_json, quiet,
    )  # fmt: skip


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option} must be numbers with commas between, got {text!r}. Write 16,64,256.") from error


def _ask(question: Callable[[Screen], Run], as_json: bool, quiet: bool) -> None:
    screen = Screen(quiet=quiet)
    try:
        run = question(screen)
    finally:
        screen.close()
    if as_json:
        if not quiet:
            _show(run, err)
        print(json.dumps(run.result, ensure_ascii=False))
    else:
        _show(run, out)


def _show(run: Run, console: Console) -> None:
    console.print(render_curve(run.result))
    console.print(run.result["sentence"], style="bold", markup=False, soft_wrap=True)
    console.print(f"report: {run.path / 'report.html'}", markup=False, soft_wrap=True)
