"""Which learning rate: one cohort of many rates, one short pass over the training rows.

Every rate is a member with its own weights, constant from the first step on, and all see the same batches. Nothing is
written to disk. The advice itself is made of plain numbers in `tenfold.tuning.rates`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from tenfold.core.errors import InputError
from tenfold.core.machine import check_threads, choose_device
from tenfold.core.task import Batch, MemberBatches
from tenfold.study.budget import default_batch_size
from tenfold.study.job import Job, Listener
from tenfold.study.material import cohort_data, prepare, read_source, training_task
from tenfold.study.options import FitOptions, Network, choose_networks
from tenfold.study.trials import make_space, member_specs
from tenfold.train import CohortData, Lane, MemberSpec, Progress, build_lane, num_threads, quickest_plan
from tenfold.tuning import Draw, RateAdvice, advise_rates, draw

PIECES = 20


@dataclass(frozen=True, kw_only=True)
class RateTest:
    """The answer of `find_lr`.

    Attributes:
        advice: the rate, the range, the losses, and what to do in words.
        network: what was trained.
        config: its configuration, without the rate.
        steps: of the pass.
        seconds: that it all took.
    """

    advice: RateAdvice
    network: str
    config: Mapping[str, Any]
    steps: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON types; a loss that is not finite is None."""
        about = asdict(self.advice)
        about["losses"] = [loss if math.isfinite(loss) else None for loss in self.advice.losses]
        rest = {"network": self.network, "config": dict(self.config), "steps": self.steps, "seconds": self.seconds}
        return {"schema": 1, **about, **rest}


def find_lr(
    network: Network | None,
    data: Any,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    num_rates: int = 64,
    steps: int = 100,
    config: Mapping[str, Any] | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> RateTest:
    """Trains one network with many learning rates side by side for a moment, and says which to use.

    Args:
        network: a name of the zoo or a function `make_model(**config)`; None for what suits the data.
        data: as in `fit`.
        low: the lowest rate, > 0.
        high: the highest, above `low`.
        num_rates: rates between them, evenly in the logarithm, at least 8.
        steps: of each, at least 20; a batch a step, the training rows over again when they run out.
        config: what is not to be drawn from the default space, such as {"optimizer": "sgd", "hidden": 256}.
        listener: hears what happens.
        **options: further fields of `tenfold.study.FitOptions`, such as target, task, batch_size, seed, device.

    Returns:
        The advice, and what it was taken from.

    Raises:
        InputError: the data or an option cannot be used.

    Example:
        >>> import tenfold
        >>> test = tenfold.find_lr("mlp", "iris", num_rates=16, steps=20)
        >>> test.advice.low <= test.advice.rate <= test.advice.high
        True
    """
    _check(low, high, num_rates, steps)
    if "lr" in (config or {}):
        raise InputError("find_lr: config must not hold lr, since that is the question. Leave it out.")
    try:
        fit_options = FitOptions(network=None if network is None else [network], **options)
    except TypeError as error:
        raise TypeError(f"find_lr: {str(error).split('__init__() ')[-1]}.") from error
    check_threads(fit_options.threads)
    job = Job(options=fit_options, listener=listener or Listener(), device=choose_device(fit_options.device))
    with job.stage("read"):
        source = read_source(data, fit_options)
        for note in source.notes:
            job.listener.note(note)
        material = prepare(source, replace(fit_options, no_checks=True), job.device)
    task, metric = training_task(material, fit_options)
    spec, rows = material.preprocessor.spec, len(material.train)
    networks = choose_networks(fit_options, spec)
    batch_size = fit_options.batch_size or min(default_batch_size(rows, spec), rows)
    space = make_space(fit_options, networks, batch_size) | dict(config or {})
    drawn = draw(space, 1, seed=fit_options.seed)[0].config | {"schedule": "constant", "warmup_fraction": 0.0}
    rates = np.geomspace(low, high, num_rates)
    draws = [_with_rate(drawn, place, float(rate)) for place, rate in enumerate(rates)]
    outputs = material.encoder.num_outputs
    specs = member_specs(draws, networks, spec, outputs, task.info.values, fit_options.seed)
    losses = _pass(job, specs, task, cohort_data(material, fit_options.seed), steps, metric.direction)
    known = {key: value for key, value in drawn.items() if key not in ("lr", "network")}
    return RateTest(
        advice=advise_rates(rates, losses),
        network=drawn["network"],
        config=known,
        steps=steps,
        seconds=round(job.clock(), 3),
    )


def _with_rate(config: Mapping[str, Any], place: int, rate: float) -> Draw:
    return Draw(number=place, config={**config, "lr": rate}, params={}, distributions={})


def _pass(
    job: Job, specs: Sequence[MemberSpec], task: Any, data: CohortData, steps: int, direction: Any
) -> np.ndarray:
    """The losses of all members, shape (M, P): the first step's, then the mean of each piece of the pass."""
    assert data.training is not None
    training = data.training(specs[0].config.recipe.batch_size)

    def batches() -> Iterator[Batch]:
        epoch = 0
        while True:
            for batch in training.epoch(epoch, None):
                assert not isinstance(batch, MemberBatches)
                yield batch
            epoch += 1

    with job.stage("plan"):
        plan, threads = quickest_plan(
            specs, task, lambda size: next(batches()), device=job.device, threads=job.options.threads,
            form="auto" if job.options.form == "compiled" else job.options.form,  # type: ignore[arg-type]
        )  # fmt: skip
    ends = sorted({1, *np.linspace(1, steps, PIECES + 1).round().astype(int).tolist()})
    losses = np.full((len(specs), len(ends)), np.nan)
    with job.stage("train"), num_threads(threads):
        lanes = {
            line: build_lane(
                [specs[place] for place in line.places], task, form=line.form, device=job.device, total_steps=steps,
                direction=direction,
            )
            for line in plan
        }  # fmt: skip
        for step, batch in zip(range(1, steps + 1), batches(), strict=False):
            for lane in lanes.values():
                lane.train_step(batch)
            share = step / steps
            job.listener.progress(Progress(step=step, steps=steps, epochs=1, members=len(specs), share=share))
            if step in ends:
                for line, lane in lanes.items():
                    losses[list(line.places), ends.index(step)] = _losses(lane)
    return losses


def _losses(lane: Lane) -> np.ndarray:
    """Each member's mean loss since the last look, NaN where it is sick."""
    loss_M = lane.end_epoch().detach().cpu().double()
    return torch.where(lane.is_sick_M, torch.nan, loss_M).numpy()


def _check(low: float, high: float, num_rates: int, steps: int) -> None:
    if not (0 < low < high and math.isfinite(high)):
        raise InputError(f"--low and --high must be 0 < low < high, got {low!r} and {high!r}. Use 1e-6 and 10.")
    for name, value, least in (("rates", num_rates, 8), ("steps", steps, PIECES)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"--{name} must be a whole number >= {least}, got {value!r}. Raise it.")
