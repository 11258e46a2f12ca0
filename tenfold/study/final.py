"""The final model: the best member's weights, its configuration trained anew, or an average of the finalists."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from tenfold.core.errors import RunError
from tenfold.core.records import MemberId, read_records
from tenfold.study.grid_data import GridData
from tenfold.study.material import DatasetProvider, Material, make_task, prepare_refit
from tenfold.study.model import Model, ModelPart
from tenfold.study.options import FitOptions
from tenfold.study.selecting import selected
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
        fold: its fold.
        seed: its seed.
        epoch: the epoch of its best score.
        score: that score.
        best_model: makes its plain module, with the weights of that epoch.
        line: of the plan that it trained in; None for a member that stopped and left it.
    """

    trial: int
    fold: int
    seed: int
    epoch: int
    score: float
    best_model: Callable[[], nn.Module]
    line: PlannedStack | None = None


def ranked(cohort: Cohort) -> list[Winner]:
    """The members that reached the end, or stopped before; the best trial first, of each its best member.

    A trial is as good as the mean of its members' best scores; ties go by trial number. A member that fell sick has
    no score, and neither has its trial.
    """
    sign = -1.0 if cohort.metric.direction == "maximize" else 1.0
    members = [
        Winner(
            trial=member.trial,
            fold=member.fold,
            seed=member.seed,
            epoch=int(lane.best_epoch_M[place]),
            score=math.nan if bool(lane.is_sick_M[place]) else float(lane.best_score_M[place]),
            best_model=partial(_whole_model, cohort, partial(lane.best_model, place)),
            line=lane.line,
        )
        for lane in furthest(cohort)
        for place, member in enumerate(lane.ids)
    ]
    members += [
        Winner(
            trial=own.id.trial,
            fold=own.id.fold,
            seed=own.id.seed,
            epoch=own.epoch,
            score=own.score,
            best_model=partial(_whole_model, cohort, partial(getattr, own, "model")),
        )
        for own in cohort.parked
    ]
    scores: dict[int, list[float]] = {}
    for member in members:
        scores.setdefault(member.trial, []).append(sign * member.score)
    means = {trial: sum(own) / len(own) for trial, own in scores.items()}

    def key(member: Winner) -> tuple[float | int, ...]:
        mean, own = means[member.trial], sign * member.score
        lost = math.isnan(mean)
        return lost, 0.0 if lost else mean, member.trial, math.isnan(own), own, member.fold, member.seed

    return sorted(members, key=key)


def furthest(cohort: Cohort) -> list[Lane]:
    """The lanes whose members may be chosen: all, but where steps are other models those of the highest step."""
    if cohort.judge.ladder is None or not cohort.judge.ladder.anew:
        return cohort.lanes
    steps = [lane.step for lane in cohort.lanes] + [cohort.judge.ladder.last for _ in cohort.parked[:1]]
    return [lane for lane in cohort.lanes if lane.step == max(steps)]


def _whole_model(cohort: Cohort, trained: Callable[[], nn.Module]) -> nn.Module:
    return cohort.whole(trained()).eval()


def final_model(
    cohort: Cohort,
    specs: Sequence[MemberSpec],
    material: Material,
    options: FitOptions,
    device: torch.device,
    own_networks: frozenset[str],
    on_epoch: Callable[[int, int], None],
    checkpointer: Checkpointer,
    folds: GridData | None = None,
) -> Model:
    """Makes the final model as `--final` says.

    Args:
        cohort: the trained cohort.
        specs: for each trial its first member.
        material: what it was trained on.
        options: `final` and what a refit needs.
        device: where a refit trains.
        own_networks: names of networks that are not the zoo's.
        on_epoch: told the epoch and the number of epochs of a refit.
        checkpointer: keeps a refit's state, so that a run killed in it goes on there.
        folds: of trials with several members, the data as each fold sees them; "average" is then of the best trial's
            folds and seeds, in place of the finalists.
    """
    members = ranked(cohort)
    best = members[0]
    notes: dict[str, Any] = {"how": options.final, "trial": best.trial, "epoch": best.epoch}
    notes |= {"metric": cohort.metric.name, "valid": best.score}
    if options.final == "refit":
        refit = prepare_refit(material, options, device)
        lane = _lane_anew(specs[best.trial], refit, options, cohort, device, best.line)
        module = _train_anew(lane, refit, options, cohort.longest, on_epoch, checkpointer)
        part = _part(specs[best.trial], module, own_networks)
        return Model(parts=(part,), preprocessor=refit.preprocessor, encoder=refit.encoder, notes=notes)
    scored = [member for member in members if abs(member.score) < float("inf")]
    if folds is not None:
        notes |= {"fold": best.fold, "seed": best.seed}
    if options.final == "ensemble":
        whole = _whole_trials(scored, members)
        model = joined(whole, specs, material, own_networks, notes, folds)
        ids = [MemberId(trial=member.trial, fold=member.fold, seed=member.seed) for member in whole]
        return selected(model, ids, material, options, cohort.metric, folds)
    if folds is not None:
        scored = [member for member in scored if member.trial == best.trial]
    chosen = scored if options.final in ("average", "vote") else members[:1]
    notes |= {"trials": list(dict.fromkeys(member.trial for member in chosen))}
    return replace(
        joined(chosen, specs, material, own_networks, notes, folds), votes=options.final == "vote" and len(chosen) > 1
    )


def _whole_trials(scored: Sequence[Winner], members: Sequence[Winner]) -> list[Winner]:
    """The members of trials none of whose members is without a score."""
    lost = {member.trial for member in members} - {member.trial for member in scored}
    lost |= {member.trial for member in members if not abs(member.score) < float("inf")}
    return [member for member in scored if member.trial not in lost]


def joined(
    members: Sequence[Winner],
    specs: Sequence[MemberSpec],
    material: Material,
    own_networks: frozenset[str],
    notes: dict[str, Any],
    folds: GridData | None,
) -> Model:
    """One model of some members' best weights; where there are folds, each looks through its own preprocessing."""
    parts = [_part(specs[member.trial], member.best_model(), own_networks) for member in members]
    if folds is None:
        return Model(parts=tuple(parts), preprocessor=material.preprocessor, encoder=material.encoder, notes=notes)
    preprocessors, encoders, first = folds.seen.preprocessors, folds.seen.encoders, members[0].fold
    if len(parts) > 1:
        parts = [
            replace(part, preprocessor=preprocessors[member.fold], encoder=encoders[member.fold])
            for part, member in zip(parts, members, strict=True)
        ]
    return Model(parts=tuple(parts), preprocessor=preprocessors[first], encoder=encoders[first], notes=notes)


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
        total_steps=cohort.longest * steps,
        direction=cohort.metric.direction,
        line=line,
    )
    compile_where_it_pays([lane], lambda lane: cohort.longest * steps)
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
    return refitted(lane)


def refitted(lane: Lane) -> nn.Module:
    """The only member of a lane that has been trained anew.

    Raises:
        RunError: it fell sick on the way, so that its weights are not those of the training that was asked for.
    """
    if bool(lane.is_sick_M.any()):
        raise RunError(
            "--final refit: the chosen configuration diverged when it was trained anew on all rows. "
            "Keep what was trained already (--final best), or lower its learning rate."
        )
    return lane.present_model(0)


def _refit_state(lane: Lane, epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "lane": lane.state_dict()}


def best_valid(records_path: Any, members: Sequence[Winner]) -> dict[str, float]:
    """The validation metrics of a trial's members at their best epochs, in the mean, from the records."""
    wanted = {(member.trial, member.fold, member.seed, member.epoch) for member in members}
    found = [
        record["valid"]
        for record in read_records(records_path)
        if record["kind"] == "epoch" and (record["trial"], record["fold"], record["seed"], record["epoch"]) in wanted
    ]
    if len(found) == 1:
        return dict(found[0])
    values = {name: [_or_nan(valid[name]) for valid in found] for name in (found[0] if found else ())}
    return {name: sum(own) / len(own) for name, own in values.items()}


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
