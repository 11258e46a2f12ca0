"""`tenfold inspect`: what networks cost, see, and suffer from."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

import tenfold
from tenfold.cli.app import app, guarded, out, say_json
from tenfold.cli.options import Config, Json, Quiet, values_of
from tenfold.core.errors import InputError
from tenfold.core.wording import plural
from tenfold.diagnosis import as_text, effective_field
from tenfold.report.tradeoff import render_costs, write_costs
from tenfold.study.inspecting import subject_of
from tenfold.study.side_by_side import side_by_side


@app.command()
@guarded
def inspect(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK|RUN|module:callable...",
            help="A name from `tenfold networks`, a run folder, or a function in a Python file of this directory.",
        ),
    ],
    input_shape: Annotated[
        str | None, typer.Option("--input", help="Shape of one sample, such as 3x224x224, or 16 for columns.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="Outputs of a network of the zoo. Default: what is usual, or 10.")
    ] = None,
    config: Config = None,
    data: Annotated[
        str | None, typer.Option(help="A source: also take a few training steps and look at the gradients.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps to take with --data.")] = 8,
    depth: Annotated[int | None, typer.Option(min=1, help="Sum layers up to so many parts of their names.")] = None,
    field: Annotated[
        Path | None, typer.Option(help="Measure the effective receptive field; write it as this .png.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Of --field: the layer. Default: the last before all is mixed.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Of several networks: write table and plots as this .html.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What does a network cost, see, and suffer from? Several stand side by side.

    Shows output shape, parameters, FLOPs (two a multiply-add), memory and receptive field by layer.
    """
    values = values_of(config)
    if len(networks) > 1:
        _refuse("of one network alone", {"--data": data, "--field": field, "--layer": layer, "--depth": depth})
        _compare(networks, input_shape, classes, values, plot, as_json)
        return
    _refuse("of several networks", {"--plot": plot})
    if field is None:
        _refuse("of --field", {"--layer": layer})
    _one(networks[0], input_shape, classes, values, data, steps, depth, field, layer, as_json)


def _refuse(of: str, given: dict[str, Any]) -> None:
    for option, value in given.items():
        if value is not None:
            raise InputError(f"{option} is {of}. Leave it out.")


def _compare(
    networks: list[str],
    shape: str | None,
    classes: int | None,
    config: dict[str, Any],
    plot: Path | None,
    as_json: bool,
) -> None:
    rows = side_by_side(networks, input=shape, classes=classes, config=config)
    if plot is not None:
        write_costs(rows, plot)
    if as_json:
        answer = {"schema": 1, "networks": [row.to_json() for row in rows], "plot": plot and str(plot)}
        say_json(answer)
        return
    out.print(render_costs(rows))
    if plot is not None:
        out.print(f"plot: {escape(str(plot))}", soft_wrap=True)


def _one(
    network: str, shape: str | None, classes: int | None, config: dict[str, Any], data: str | None, steps: int,
    depth: int | None, field: Path | None, layer: str | None, as_json: bool,
) -> None:  # fmt: skip
    seen = tenfold.inspect(network, input=shape, classes=classes, config=config, data=data, steps=steps)
    answer = {"schema": 1, **seen.to_json()}
    if seen.health is not None:
        answer["health"] = seen.health.to_json()
    measured = None
    if field is not None:
        subject = subject_of(network, shape, classes, config, numbers=True)
        measured = effective_field(subject.model, tuple(subject.inputs[0].shape[1:]), layer=layer)
        answer["effective_field"] = {**measured.to_json(), "picture": str(measured.save(field))}
    if as_json:
        say_json(answer)
        return
    print(as_text(seen, depth=depth))
    if measured is not None:
        print(f"\n{textwrap.fill(str(measured), 80)}\npicture: {field}")
    if seen.health is not None and not seen.findings:
        steps = len(seen.health.losses)
        print(f"\nNothing is wrong with the gradients of {plural(steps, 'training step')}.")
