"""`tenfold search`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import tenfold
from tenfold.cli.app import app, err, guarded, out
from tenfold.cli.fitting import show_fit
from tenfold.cli.options import (
    BatchSize,
    Device,
    Folds,
    FormName,
    Group,
    Header,
    ImageSize,
    Json,
    LossName,
    MaxRows,
    MetricName,
    NoChecks,
    NoSharing,
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
    Workers,
    columns_of,
    configs_of,
    name_or_number,
    numbers_of,
    words_of,
)
from tenfold.cli.screen import Screen
from tenfold.study import Run, SearchOptions, space_of
from tenfold.study.options import parse_time
from tenfold.tuning import Space, format_space


@app.command()
@guarded
def search(
    source: SourceName,
    target: Target = None,
    task: TaskName = None,
    metric: MetricName = None,
    network: Annotated[
        list[str] | None, typer.Option(help="A name from `tenfold networks`; may be repeated.")
    ] = None,
    space: Annotated[
        Path | None, typer.Option(help="A TOML file of ranges, laid over the default space; `tenfold.tuning.toml`.")
    ] = None,
    show_space: Annotated[bool, typer.Option("--show-space", help="Print what would be searched, and end.")] = False,
    sampler: Annotated[
        str, typer.Option(help="grid, random, tpe, gp, anneal, genetic, cmaes, qmc, nsga2; grid:points=5 sets one.")
    ] = "tpe",
    halving: Annotated[str, typer.Option(help="none, successive, hyperband, median or curve.")] = "hyperband",
    resource: Annotated[str, typer.Option(help="What those who go on get more of: epochs.")] = "epochs",
    trials: Annotated[int | None, typer.Option(help="Configurations to try. Default: 64, of photos 16.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a trial that is never stopped.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="What it all may take: 90s, 10m, 1h30m.")] = None,
    epoch_budget: Annotated[float | None, typer.Option(help="Epochs that all trainings together may take.")] = None,
    target_score: Annotated[float | None, typer.Option(help="It is enough when a trial has this score.")] = None,
    population: Annotated[
        int | None, typer.Option(help="Trials that train side by side where the sampler learns.")
    ] = None,
    min_resource: Annotated[int | None, typer.Option(help="Nobody leaves before so many epochs.")] = None,
    reduction_factor: Annotated[int, typer.Option(help="From a rung one trial in this many goes on.")] = 3,
    objective: Annotated[
        list[str] | None, typer.Option(help="What is to be small besides: parameters, latency; may be repeated.")
    ] = None,
    enqueue: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE,... of a configuration to try first; may be repeated.")
    ] = None,
    warm_start: Annotated[
        Path | None, typer.Option(help="A run whose trials the sampler is told before it proposes.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="URL of a database for Optuna's copy. Default: study.db in the run folder.")
    ] = None,
    folds: Folds = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each trial on each fold; their mean decides.")] = 1,
    final: Annotated[
        str, typer.Option(help="best, refit (anew on everything), average, vote or ensemble of the best trials.")
    ] = "best",
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    header: Header = None,
    loss: LossName = None,
    order: Order = None,
    quantiles: Quantiles = None,
    balanced: Annotated[bool, typer.Option("--balanced", help="Weigh classes inversely to their frequency.")] = False,
    group: Group = None,
    max_rows: MaxRows = None,
    workers: Workers = None,
    no_checks: NoChecks = False,
    no_sharing: NoSharing = False,
    valid_fraction: Annotated[float, typer.Option(help="Share of the rows to choose by.")] = 0.2,
    test_fraction: Annotated[float, typer.Option(help="Share of the rows to score on, once.")] = 0.2,
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
    """Which hyper-parameters? Any sampler, losers leave, others take their room."""
    ranges = None if space is None else Space.from_toml(space)
    given: dict[str, Any] = {
        "target": columns_of(target), "task": task, "metric": metric, "sampler": sampler, "halving": halving,
        "resource": resource, "trials": trials, "epochs": epochs, "epoch_budget": epoch_budget,
        "target_score": target_score, "population": population, "min_resource": min_resource,
        "reduction_factor": reduction_factor, "objectives": objective or (), "enqueue": configs_of(enqueue),
        "warm_start": None if warm_start is None else str(warm_start), "storage": storage, "folds": folds,
        "seeds": seeds, "final": final, "batch_size": batch_size, "image_size": image_size, "header": header,
        "loss": loss, "order": words_of(order), "quantiles": numbers_of(quantiles, "--quantiles"),
        "balanced": balanced, "group": name_or_number(group), "no_checks": no_checks, "no_sharing": no_sharing,
        "max_rows": max_rows, "workers": workers,
        "valid_fraction": valid_fraction, "test_fraction": test_fraction, "form": form, "threads": threads,
        "seed": seed, "device": device,
    }  # fmt: skip
    if show_space:
        options = SearchOptions(network=network, space=ranges, time_s=parse_time(time), **given)
        found = space_of(source, options)
        out.print(format_space(found, width=out.width), markup=False, soft_wrap=True)
        if as_json:
            print(json.dumps(found.to_json(), ensure_ascii=False))
        return
    screen = Screen(quiet=quiet)
    try:
        run = tenfold.search(
            network, source, ranges, time=time, out=out_folder, resume=resume, overwrite=overwrite, listener=screen,
            **given,
        )  # fmt: skip
    finally:
        screen.close()
    if as_json:
        if not quiet:
            _show(run, err)
        print(json.dumps(run.result, ensure_ascii=False))
    else:
        _show(run, out)


def _show(run: Run, console: Console) -> None:
    """As of a fit, and the front where there is one."""
    for line in run.result.get("front", ()):
        values = ", ".join(f"{name} {value:.4g}" for name, value in line.items() if name != "trial")
        console.print(f"on the front: trial {line['trial']}: {values}", markup=False, soft_wrap=True)
    show_fit(run, console)
