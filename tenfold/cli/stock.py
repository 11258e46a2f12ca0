"""`tenfold networks` and `sources`: what comes along."""

from __future__ import annotations

import textwrap

from tenfold.cli.app import app, guarded, out, say_json
from tenfold.cli.options import Json
from tenfold.data import SOURCES
from tenfold.study.inspecting import list_networks

_MORE = (
    "Any model of timm is timm:NAME (pip install 'tenfold[timm]'). Parts of networks are put together by "
    "tenfold.networks.compose. One network by layer: tenfold inspect NETWORK."
)


@app.command()
@guarded
def networks(as_json: Json = False) -> None:
    """List the networks with parameters, FLOPs a sample on a usual input, and how members of each stack.

    A multiplication and an addition are two FLOPs; biases, activations and normalisation are not counted.
    """
    rows = list_networks()
    if as_json:
        say_json(rows)
        return
    width = max(len(row["name"]) for row in rows) + 1
    out.print(f"{'name':<{width}}{'parameters':>13} {'FLOPs':>16}  {'input':<11} outputs", style="bold")
    for row in rows:
        shape = "x".join(map(str, row["input"]))
        numbers = f"{row['name']:<{width}}{row['parameters']:>13,} {row['flops']:>16,}"
        out.print(f"{numbers}  {shape:<11} {row['classes']:>7}", soft_wrap=True)
        names = f"also {', '.join(row['aliases'])}; " if row["aliases"] else ""
        words = f"{' or '.join(row['inputs'])}; {names}{row['stacks']}"
        shown = textwrap.fill(words, out.width, initial_indent="  ", subsequent_indent="  ")
        out.print(shown, style="dim", markup=False, soft_wrap=True)
    out.print(f"\n{_MORE}", markup=False)


@app.command(name="sources")
@guarded
def list_sources(as_json: Json = False) -> None:
    """List the data sets that come along, so that a first run needs no download."""
    rows = [{"name": name, "description": SOURCES[name].description} for name in SOURCES]
    if as_json:
        say_json(rows)
        return
    for row in rows:
        out.print(f"{row['name']:<16} {row['description']}", markup=False, soft_wrap=True)
