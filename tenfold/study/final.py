"""The final model: the best member's weights, its configuration trained anew, or an average of the finalists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from tenfold.core.records import read_records
from tenfold.study.material import DatasetProvider, Material, make_task, prepare_refit
from tenfold.study.model import Model, ModelPart
from tenfold.study.options import FitOptions
from tenfold.train import (
    Checkpointer,
    Cohort,
    Lane,
    MemberSpec,
    PlannedStack,
    build_lane,
    compile_where_it_pays,
)


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The member that the validation part chose.

    Attributes:
        trial: its trial.
        epoch: the epoch of its best score.
        score: that score.
        best_model: makes its plain module, with the weights of that epoch.
        line: of the plan that it trained in; None for a member that stopped and left it.
    """

    trial: int
    epoch: int
    score: float
    best_model: Callable[[], nn.Module]
    line: PlannedStack | None = None


def ranked(cohort: Cohort) -> list[Winner]:
    """The members that reached the end, or stopped before, best first by their best score; ties by trial number."""
    sign = -1.0 if cohort.metric.direction == "maximize" else 1.0
    members = [
        Winner(
            trial=member.trial,
            epoch=int(lane.best_epoch_M[place]),
            score=float(lane.best_score_M[place]),
            best_model=partial(lane.best_model, place),
            line=lane.line,
        )
        for lane in cohort.lanes
        for place, member in enumerate(lane.ids)
    ]
    members += [
        Winner(trial=own.id.trial, epoch=own.epoch, score=own.score, best_model=partial(getattr, own, "model"))
        for own in cohort.parked
    ]
    return sorted(members, key=lambda member: (sign * member.score, member.trial))


def final_model(
    cohort: Cohort,
    specs: list[MemberSpec],
    material: Material,
    options: FitOptions,
    device: torch.device,
    own_networks: frozenset[str],
    on_epoch: Callable[[int, int], None],
    checkpointer: Checkpointer,
) -> Model:
    """Makes the final model as `--final` says.

    Args:
        cohort: the trained cohort.
        specs: its members, at the places of their trials.
        material: what it was trained on.
        options: `final` and what a refit needs.
        device: where a refit trains.
        own_networks: names of networks that are not the zoo's.
        on_epoch: told the epoch and the number of epochs of a refit.
        checkpointer: keeps a refit's state, so that a run killed in it goes on there.
    """
    members = ranked(cohort)
    best = members[0]
    notes: dict[str, Any] = {"how": options.final, "trial": best.trial, "epoch": best.epoch}
    notes |= {"metric": cohort.metric.name, "valid": best.score}
    if options.final == "refit":
        refit = prepare_refit(material, device)
        lane = _lane_anew(specs[best.trial], refit, options, cohort, device, best.line)
        module = _train_anew(lane, refit, options, cohort.epoch, on_epoch, checkpointer)
        part = _part(specs[best.trial], module, own_networks)
        return Model(parts=(part,), preprocessor=refit.preprocessor, encoder=refit.encoder, notes=notes)
    scored = [member for member in members if abs(member.score) < float("inf")]
    chosen = scored if options.final == "average" else members[:1]
    parts = tuple(_part(specs[m.trial], m.best_model(), own_networks) for m in chosen)
    notes |= {"trials": [member.trial for member in chosen]}
    return Model(parts=parts, preprocessor=material.preprocessor, encoder=material.encoder, notes=notes)


def _part(spec: MemberSpec, module: torch.nn.Module, own_networks: frozenset[str]) -> ModelPart:
    name = spec.label.split(" ")[0]
    return ModelPart(
        network=name, config=dict(spec.config.network), module=module.cpu(), in_zoo=name not in own_networks
    )


def _lane_anew(
    spec: MemberSpec,
    material: Material,
    options: FitOptions,
    cohort: Cohort,
    device: torch.device,
    line: PlannedStack | None,
) -> Lane:
    """The configuration at its own start, to be trained for as many epochs as the cohort."""
    metrics = [cohort.metric.name] if material.encoder.classes else None
    steps = DatasetProvider(material, batch_size=spec.config.recipe.batch_size, seed=options.seed).steps_per_epoch
    lane = build_lane(
        [spec],
        make_task(material, options, metrics),
        form="serial",
        device=device,
        total_steps=cohort.epoch * steps,
        direction=cohort.metric.direction,
        line=line,
    )
    compile_where_it_pays([lane], lambda lane: cohort.epoch * steps)
    return lane


def _train_anew(
    lane: Lane,
    material: Material,
    options: FitOptions,
    epochs: int,
    on_epoch: Callable[[int, int], None],
    checkpointer: Checkpointer,
) -> torch.nn.Module:
    """Trains on all but the test rows, from the checkpoint where there is one."""
    provider = DatasetProvider(material, batch_size=lane.recipe.batch_size, seed=options.seed)
    state = checkpointer.load(lane.stack.device)
    if state is not None:
        lane.load_state_dict(state["lane"])
    for epoch in range(state["epoch"] if state is not None else 0, epochs):
        for batch in provider.epoch(epoch):
            lane.train_step(batch)
        on_epoch(epoch + 1, epochs)
        if checkpointer.due():
            checkpointer.save(partial(_refit_state, lane, epoch + 1))
    return lane.present_model(0)


def _refit_state(lane: Lane, epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "lane": lane.state_dict()}


def best_valid(records_path: Any, trial: int, epoch: int) -> dict[str, float]:
    """The validation metrics of a trial at an epoch, from the records."""
    for record in read_records(records_path):
        if record["kind"] == "epoch" and record["trial"] == trial and record["epoch"] == epoch:
            return record["valid"]
    return {}
