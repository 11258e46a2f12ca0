"""`tenfold networks` and `sources`: what comes along."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from tenfold.cli.app import app, guarded, out
from tenfold.cli.options import Json
from tenfold.core.specs import InputSpec
from tenfold.data import SOURCES
from tenfold.networks import NETWORKS, build_network


@app.command()
@guarded
def networks(as_json: Json = False) -> None:
    """List the networks, with parameters and FLOPs a sample (3x32x32 pictures or 16 columns, 10 classes).

    A multiplication and an addition are two FLOPs; biases, activations and normalisation are not counted.
    """
    rows: list[dict[str, Any]] = []
    for name in NETWORKS:
        entry = NETWORKS[name]
        image = "image" in entry.kinds
        shape = (3, 32, 32) if image else (16,)
        spec = InputSpec(kind="image" if image else "table", shape=shape, dense=entry.dense)
        model = build_network(name, spec, 10)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.eval()(torch.zeros(1, *spec.shape))
        rows.append(
            {
                "name": name,
                "parameters": parameters,
                "flops": counter.get_total_flops(),
                "inputs": sorted(entry.kinds),
                "stacks": entry.stacks,
                "reference": entry.reference,
            }
        )
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    out.print(f"{'name':<10}{'parameters':>11}{'FLOPs':>14}  {'inputs':<13} reference", style="bold")
    for row in rows:
        numbers = f"{row['name']:<10}{row['parameters']:>11,}{row['flops']:>14,}"
        out.print(f"{numbers}  {', '.join(row['inputs']):<13} {row['reference']}", soft_wrap=True)


@app.command(name="sources")
@guarded
def list_sources(as_json: Json = False) -> None:
    """List the data sets that come along, so that a first run needs no download."""
    rows = [{"name": name, "description": SOURCES[name].description} for name in SOURCES]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        out.print(f"{row['name']:<16} {row['description']}", markup=False, soft_wrap=True)
