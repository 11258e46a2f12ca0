"""`tenfold find-lr`."""

from __future__ import annotations

import math
from typing import Annotated

import typer
from rich.console import Console

import tenfold
from tenfold.cli.app import app, guarded
from tenfold.cli.asking import ask
from tenfold.cli.groups import grouped
from tenfold.cli.options import (
    AnswerOptions,
    Config,
    NetworkName,
    SourceName,
    SourceOptions,
    StepOptions,
    values_of,
)
from tenfold.core.wording import plural
from tenfold.study import RateTest
from tenfold.tuning import RateAdvice

LINES = 22
BAR = 40


@app.command(name="find-lr")
@guarded
@grouped
def find_lr(
    source: SourceName,
    network: NetworkName = None,
    config: Config = None,
    low: Annotated[float, typer.Option(help="The lowest rate.")] = 1e-6,
    high: Annotated[float, typer.Option(help="The highest rate.")] = 10.0,
    rates: Annotated[int, typer.Option(help="Rates between them, evenly in the logarithm.")] = 64,
    steps: Annotated[int, typer.Option(help="Batches that each rate is trained on.")] = 100,
    *,
    data: SourceOptions,
    step: StepOptions,
    answer: AnswerOptions,
) -> None:
    """Which learning rate? Many rates side by side in one stack, one short pass; nothing is written to disk."""
    ask(
        lambda screen: tenfold.find_lr(
            network, source, low=low, high=high, num_rates=rates, steps=steps, config=values_of(config),
            listener=screen, **data.arguments(), **step.arguments(),
        ),
        _show, RateTest.to_json, answer,
    )  # fmt: skip


def _show(test: RateTest, console: Console) -> None:
    """The loss against the rate, a line a rate, and what to do."""
    advice = test.advice
    console.print(f"{'rate':>9}  {'loss':>8}", style="bold")
    every = max(1, math.ceil(len(advice.rates) / LINES))
    for rate, loss in list(zip(advice.rates, advice.losses, strict=True))[::every]:
        console.print(_line(rate, loss, advice), markup=False)
    about = f"{test.network}, {len(advice.rates)} rates, {plural(test.steps, 'step')} each, {test.seconds:.1f} s"
    console.print(about, markup=False, soft_wrap=True)
    console.print(advice.sentence, style="bold", markup=False, soft_wrap=True)


def _line(rate: float, loss: float, advice: RateAdvice) -> str:
    """One rate: its loss, a bar as long as the loss is high, and a mark where it lies in the range to search."""
    if not math.isfinite(loss):
        return f"{rate:>9.2g}  {'diverged':>8}"
    known = [one for one in advice.losses if math.isfinite(one)]
    lowest, span = min(known), max(advice.start, min(known)) - min(known)
    share = min((loss - lowest) / span, 1.0) if span > 0 else 1.0
    inside = advice.low is not None and advice.high is not None and advice.low <= rate <= advice.high
    return f"{rate:>9.2g}  {loss:>8.4g}  {'█' * max(1, round(BAR * share))}{'  search' if inside else ''}"
