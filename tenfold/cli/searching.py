"""`tenfold search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import tenfold
from tenfold.cli.app import app, guarded, out, say_json
from tenfold.cli.asking import ask_for_run
from tenfold.cli.fitting import show_fit
from tenfold.cli.groups import grouped
from tenfold.cli.options import (
    AnswerOptions,
    DataOptions,
    FolderOptions,
    Folds,
    Networks,
    NoSharing,
    ReductionFactor,
    SourceName,
    SplitOptions,
    StepOptions,
    Time,
    TrialSeeds,
    configs_of,
)
from tenfold.study import Question, Run, SearchOptions, framed_on
from tenfold.study.options import parse_time
from tenfold.tuning import Space, format_space


@app.command()
@guarded
@grouped
def search(
    source: SourceName,
    network: Networks = None,
    space: Annotated[
        Path | None, typer.Option(help="A TOML file of ranges, laid over the default space; `tenfold.tuning.toml`.")
    ] = None,
    show_space: Annotated[bool, typer.Option("--show-space", help="Print what would be searched, and end.")] = False,
    sampler: Annotated[
        str, typer.Option(help="grid, random, tpe, gp, anneal, genetic, cmaes, qmc, nsga2; grid:points=5 sets one.")
    ] = "tpe",
    halving: Annotated[str, typer.Option(help="none, successive, hyperband, median or curve.")] = "hyperband",
    resource: Annotated[
        str, typer.Option(help="What those who go on get more of: epochs, data or scale.")
    ] = "epochs",
    steps: Annotated[
        str | None,
        typer.Option(help="Of data or scale: 0.1,0.3,1 of the rows or of the width, or resnet18,resnet50."),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Configurations to try. Default: 64, of photos 16.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of a trial that is never stopped; of data and scale on each step.")
    ] = None,
    time: Time = None,
    epoch_budget: Annotated[float | None, typer.Option(help="Epochs that all trainings together may take.")] = None,
    target_score: Annotated[float | None, typer.Option(help="It is enough when a trial has this score.")] = None,
    population: Annotated[
        int | None, typer.Option(help="Trials that train side by side where the sampler learns.")
    ] = None,
    min_resource: Annotated[int | None, typer.Option(help="Nobody leaves before so many epochs.")] = None,
    reduction_factor: ReductionFactor = 3,
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
    seeds: TrialSeeds = 1,
    final: Annotated[
        str, typer.Option(help="best, refit (anew on everything), average, vote or ensemble of the best trials.")
    ] = "best",
    no_sharing: NoSharing = False,
    *,
    data: DataOptions,
    splits: SplitOptions,
    training: StepOptions,
    folder: FolderOptions,
    answer: AnswerOptions,
) -> None:
    """Which hyper-parameters? Any sampler, losers leave, others take their room."""
    ranges = None if space is None else Space.from_toml(space)
    given: dict[str, Any] = data.arguments() | splits.arguments() | training.arguments() | {
        "sampler": sampler, "halving": halving, "resource": resource, "steps": steps or (), "trials": trials,
        "epochs": epochs,
        "epoch_budget": epoch_budget, "target_score": target_score, "population": population,
        "min_resource": min_resource, "reduction_factor": reduction_factor, "objectives": objective or (),
        "enqueue": configs_of(enqueue), "warm_start": None if warm_start is None else str(warm_start),
        "storage": storage, "folds": folds, "seeds": seeds, "final": final, "no_sharing": no_sharing,
    }  # fmt: skip
    if show_space:
        options = SearchOptions(network=network, space=ranges, time_s=parse_time(time), **given)
        _show_space(framed_on(source, options), answer)
        return
    ask_for_run(
        lambda screen: tenfold.search(
            network, source, ranges, time=time, listener=screen, **given, **folder.arguments()
        ),
        _show, answer,
    )  # fmt: skip


def _show_space(question: Question, answer: AnswerOptions) -> None:
    out.print(format_space(question.space, width=out.width), markup=False, soft_wrap=True)
    if question.steps is not None:
        out.print(question.steps.describe(question.epochs, question.rows), markup=False, soft_wrap=True)
    if answer.as_json:
        say_json(question.space.to_json())


def _show(run: Run, console: Console) -> None:
    """As of a fit, and the front where there is one."""
    for line in run.result.get("front", ()):
        values = ", ".join(f"{name} {value:.4g}" for name, value in line.items() if name != "trial")
        console.print(f"on the front: trial {line['trial']}: {values}", markup=False, soft_wrap=True)
    show_fit(run, console)
