"""What is kept of folds and seeds: out-of-fold predictions, and one model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.core.errors import RunError
from tenfold.core.records import MemberId
from tenfold.data import FoldData, Folds, TargetEncoder
from tenfold.study.final import refitted
from tenfold.study.gains import score_gain
from tenfold.study.grid_data import GridData, GridProvider, fold_weights, score_lane
from tenfold.study.grid_options import GridOptions
from tenfold.study.job import Job
from tenfold.study.material import encoder_options, task_of
from tenfold.study.model import Model, ModelPart
from tenfold.study.options import network_name
from tenfold.study.outputs import for_metrics, read_outputs
from tenfold.study.temperature import with_temperature
from tenfold.tasks import metric_intervals
from tenfold.train import Cohort, Lane, build_lane, compile_where_it_pays

if TYPE_CHECKING:
    from tenfold.study.grid import Grid


Said = list[tuple[Lane, list[Tensor], list[Tensor]]]
"""For each lane what its members say of the rows that they are scored on, and the targets."""


def save_out_of_fold(
    folder: Path, said: Said, data: GridData, options: GridOptions, *, scored: bool
) -> dict[str, Any] | None:
    """Writes `out-of-fold.npz`: what the members say of the rows they did not learn from, a trial.

    Arrays: "rows" (each time a row is scored, numbered as in what was read), "folds", "targets" (encoded classes or
    labels, or values), and for each trial "outputs-<trial>": probabilities or values, averaged over the seeds.

    Args:
        folder: of the run.
        said: what the members say.
        data: what they say it of.
        options: of the question.
        scored: whether they are scored together, which takes a thousand resamples of all rows.

    Returns:
        Every metric of the first trial's predictions together, with its interval; None unless that was asked for, and
        each row was scored once.
    """
    found: dict[tuple[int, int], list[Tensor]] = {}
    for lane, outputs, _ in said:
        for member, own in zip(lane.ids, outputs, strict=True):
            units = _in_units(own.double().cpu(), data, member.fold)
            found.setdefault((member.trial, member.fold), []).append(units)
    folds = range(len(data.folds))
    arrays: dict[str, Any] = {
        "rows": data.source.row_numbers(np.concatenate([data.folds.valid[fold] for fold in folds])),
        "folds": np.concatenate([np.full(len(data.folds.valid[fold]), fold) for fold in folds]),
    }
    targets = [_targets(data, fold) for fold in folds]
    arrays["targets"] = np.concatenate(targets)
    for trial in sorted({trial for trial, _ in found}):
        means = [torch.stack(found[trial, fold]).mean(dim=0).numpy() for fold in folds]
        arrays[f"outputs-{trial}"] = np.concatenate(means)
    np.savez_compressed(folder / "out-of-fold.npz", **arrays)
    if not scored or data.folds.manner == "split" or data.folds.repeats > 1 or not data.folds.complete:
        return None
    return _score_out_of_fold(data, arrays["outputs-0"], arrays["targets"], options)


def _score_out_of_fold(
    data: GridData, outputs: np.ndarray, targets: np.ndarray, options: GridOptions
) -> dict[str, Any]:
    """As one part: probabilities as they are, values in the target's own units."""
    encoder, task = data.seen.encoders[0], data.tasks[0]
    if encoder.task == "regression":
        task = task_of(TargetEncoder(task=encoder.task, quantiles=encoder.quantiles), options)
    said = torch.from_numpy(outputs)
    predicted = said if encoder.codes is not None else for_metrics(encoder, said)  # counts are what metrics take
    return dict(metric_intervals(task, predicted, torch.from_numpy(targets), seed=0))


def _in_units(outputs: Tensor, data: GridData, fold: int) -> Tensor:
    """Probabilities, or values in the target's own units."""
    encoder = data.seen.encoders[fold]
    said = read_outputs(encoder, outputs)
    return said * encoder.std + encoder.mean if encoder.task == "regression" else said


def _targets(data: GridData, fold: int) -> np.ndarray:
    encoder = data.seen.encoders[fold]
    encoded = data.seen.part(fold, data.folds.valid[fold]).targets.cpu().numpy()
    return encoded if encoder.task != "regression" else np.asarray(encoder.decode(encoded))


def keep_model(cohort: Cohort, grid: Grid, options: GridOptions, job: Job) -> Model:
    """The model that `--final` asks for.

    "best" is the member with the best score of its fold, "average" and "vote" all members of the best method, which
    predict together, "refit" its configuration trained anew on all rows that the folds hold.

    Raises:
        RunError: no member has a finite score.
    """
    data, sign = grid.data, -1.0 if cohort.metric.direction == "maximize" else 1.0
    scored = [
        (lane, place, member, score)
        for lane in cohort.lanes
        for place, (member, score) in enumerate(zip(lane.ids, _last_scores(lane, grid), strict=True))
        if abs(score) < float("inf") and not lane.is_sick_M[place]
    ]
    if not scored:
        raise RunError("no training has a finite score, so there is no model to keep. Lower the learning rate.")
    means: dict[int, list[float]] = {}
    for _, _, member, score in scored:
        means.setdefault(member.trial, []).append(score)
    trial = min(means, key=lambda number: (sign * sum(means[number]) / len(means[number]), number))
    of_trial = [entry for entry in scored if entry[2].trial == trial]
    notes: dict[str, Any] = {"how": options.final, "trial": trial, "metric": cohort.metric.name}
    if options.final == "refit":
        return _refit(trial, grid, options, job, notes, of_trial[0][0])
    if options.final == "best":
        of_trial = sorted(of_trial, key=lambda entry: (sign * entry[3], entry[2]))[:1]
        notes |= {"fold": of_trial[0][2].fold, "seed": of_trial[0][2].seed, "valid": of_trial[0][3]}
    parts = tuple(
        replace(
            _part(lane.present_model(place), trial, grid),
            preprocessor=data.seen.preprocessors[member.fold],
            encoder=data.seen.encoders[member.fold],
        )
        for lane, place, member, _ in of_trial
    )
    first = of_trial[0][2].fold
    scores = [sign * score for *_, score in of_trial]
    model = Model(
        parts=parts,
        preprocessor=data.seen.preprocessors[first],
        encoder=data.seen.encoders[first],
        notes=notes | {"best_part": scores.index(min(scores))},
        votes=options.final == "vote" and len(parts) > 1,
    )
    if model.votes or len({member.fold for _, _, member, _ in of_trial}) > 1:
        return model  # shares of votes are no probabilities; of folds, each row is a training row of some
    return with_temperature(model, data.seen.part(first, data.folds.valid[first]))


def describe_together(model: Model, grid: Grid, options: GridOptions) -> dict[str, Any] | None:
    """What is known of several networks that predict together: the gain over the best alone, on the test part."""
    if len(model.parts) == 1:
        return None
    data = grid.data
    told: dict[str, Any] = {"how": options.final, "networks": len(model.parts), "trials": [model.notes["trial"]]}
    if not len(data.test_rows):
        return told | {"gain": None}
    outputs = model.outputs_on(data.source.inputs.take(data.test_rows))
    single, task = model.alone(model.notes["best_part"]), task_of(model.encoder, options, [data.metric.name])
    return told | {"gain": score_gain(model, single, outputs, data.source, data.test_rows, task, options.seed)}


def _last_scores(lane: Lane, grid: Grid) -> list[float]:
    return score_lane(lane, grid.data)[grid.data.metric.name].tolist()


def _part(module: nn.Module, trial: int, grid: Grid) -> ModelPart:
    _, network, _ = grid.methods[trial]
    spec = next(spec for spec in grid.specs if spec.id.trial == trial)
    return ModelPart(
        network=network_name(network),
        config=dict(spec.config.network),
        module=module.cpu(),
        in_zoo=isinstance(network, str),
    )


def _refit(trial: int, grid: Grid, options: GridOptions, job: Job, notes: dict[str, Any], like: Lane) -> Model:
    """The configuration trained anew, for as many epochs, on all rows that the folds hold."""
    rows = grid.data.folds.rows
    folds = Folds(train=(rows,), valid=(rows[:1],), names=("all",), rows=rows, manner="own", how="all rows")
    seen = FoldData.of(
        grid.data.source, folds, device=job.device, target_options=encoder_options(grid.data.source, options),
        workers=options.workers,
    )  # fmt: skip
    task = task_of(seen.encoders[0], options, class_weights=fold_weights(seen, options))
    spec = next(spec for spec in grid.specs if spec.id.trial == trial)
    member = MemberId(trial=trial, fold=0, seed=options.seed)
    data = GridData(
        source=grid.data.source, folds=folds, seen=seen, test_rows=grid.data.test_rows, tasks=grid.data.tasks,
        epoch_tasks=grid.data.epoch_tasks, metric=grid.data.metric,
    )  # fmt: skip
    provider = GridProvider(data, [member], spec.config.recipe.batch_size, options)
    steps = grid.epochs * provider.steps_per_epoch
    lane = build_lane(
        [spec], task, form="serial", device=job.device, total_steps=steps,
        direction=grid.data.metric.direction, line=like.line,
    )  # fmt: skip
    compile_where_it_pays([lane], lambda lane: steps)
    for epoch in range(grid.epochs):
        for batch in provider.epoch(epoch):
            lane.train_step(batch)
    part = _part(refitted(lane), trial, grid)
    return Model(parts=(part,), preprocessor=seen.preprocessors[0], encoder=seen.encoders[0], notes=notes)
