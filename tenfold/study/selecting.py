"""Which trials predict together in `--final ensemble`: greedy selection on the rows that trials are chosen by.

T trials, P networks, N scored rows
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tenfold.core.records import MemberId
from tenfold.core.task import Metric
from tenfold.data import DataPart, TargetEncoder
from tenfold.statistics import Selection, select_ensemble
from tenfold.study.grid_data import GridData
from tenfold.study.material import Material, task_of
from tenfold.study.model import Model
from tenfold.study.options import FitOptions
from tenfold.study.outputs import for_metrics

FEWEST_FINALISTS = 8
"""Trials that train to the end where an ensemble is asked for: halving alone leaves one or two to select from."""


def selected(
    model: Model,
    members: Sequence[MemberId],
    material: Material,
    options: FitOptions,
    metric: Metric,
    folds: GridData | None,
) -> Model:
    """The networks of the trials that predict best together, each with its weight.

    A trial is what its folds and seeds say in the mean, each of the rows that it did not learn from; it is taken as
    a whole, so that of 5 folds all 5 networks come along.

    Args:
        model: all networks to choose from.
        members: whose network each part of it is.
        material: what they were trained on.
        options: what the metric needs.
        metric: that decides.
        folds: of trials with several members, the data as each fold sees them.

    References:
        Caruana et al., "Ensemble selection from libraries of models", ICML 2004.
    """
    trials = list(dict.fromkeys(member.trial for member in members))
    outputs_T, targets_N = _validation_outputs(model, members, trials, material, folds)
    found = _select(outputs_T, targets_N, model.encoder, options, metric)
    shares = dict(zip(trials, found.weights.tolist(), strict=True))
    sizes = {trial: sum(member.trial == trial for member in members) for trial in trials}
    parts = tuple(
        replace(part, weight=shares[member.trial] / sizes[member.trial])
        for part, member in zip(model.parts, members, strict=True)
        if shares[member.trial] > 0
    )
    weights = {str(trial): share for trial, share in shares.items() if share > 0}
    notes = {"trials": [int(trial) for trial in weights], "weights": weights, "candidates": len(trials)}
    return replace(model, parts=parts, notes=model.notes | notes)


def _select(
    outputs_T: np.ndarray, targets_N: np.ndarray, encoder: TargetEncoder, options: FitOptions, metric: Metric
) -> Selection:
    if encoder.task == "regression":
        encoder = TargetEncoder(task=encoder.task, quantiles=encoder.quantiles)
    finer = [metric.name, *(["log_loss"] if encoder.task != "regression" else [])]
    task, targets = task_of(encoder, options, list(dict.fromkeys(finer))), torch.from_numpy(targets_N)

    def score(candidates: np.ndarray) -> np.ndarray:
        """The metric; where that is coarse and equal, the log loss, turned to the metric's direction."""
        found = task.measure(for_metrics(encoder, torch.from_numpy(candidates)), targets)
        turned = -1.0 if metric.direction == "maximize" else 1.0
        return np.stack([found[metric.name], *(turned * found[name] for name in finer[1:])], axis=1)

    return select_ensemble(outputs_T, score, direction=metric.direction)


def _validation_outputs(
    model: Model, members: Sequence[MemberId], trials: Sequence[int], material: Material, folds: GridData | None
) -> tuple[np.ndarray, np.ndarray]:
    """What each trial says of the scored rows, (T, N, ...), and their targets: classes, labels, or raw values."""
    parts = [material.valid]
    if folds is not None:
        parts = [folds.seen.part(fold, rows) for fold, rows in enumerate(folds.folds.valid)]
    said, truth = [], []
    for fold, part in enumerate(parts):
        places = [place for place, member in enumerate(members) if folds is None or member.fold == fold]
        encoder = material.encoder if folds is None else folds.seen.encoders[fold]
        each = _raw_units(_of_fold(model, places, encoder, folds, fold).outputs_of_each_on(part), encoder)
        owners = np.array([members[place].trial for place in places])
        said.append(np.stack([each[owners == trial].mean(dim=0).numpy() for trial in trials]))
        truth.append(_raw_targets(part, encoder))
    return np.concatenate(said, axis=1), np.concatenate(truth)


def _of_fold(model: Model, places: Sequence[int], encoder: TargetEncoder, folds: GridData | None, fold: int) -> Model:
    preprocessor = model.preprocessor if folds is None else folds.seen.preprocessors[fold]
    parts = tuple(model.parts[place] for place in places)
    return replace(model, parts=parts, preprocessor=preprocessor, encoder=encoder, votes=False)


def _raw_units(outputs: Tensor, encoder: TargetEncoder) -> Tensor:
    return outputs * encoder.std + encoder.mean if encoder.task == "regression" else outputs


def _raw_targets(part: DataPart, encoder: TargetEncoder) -> np.ndarray:
    encoded = part.targets.cpu().numpy()
    return np.asarray(encoder.decode(encoded)) if encoder.task == "regression" else encoded
