"""What a study works on: a source read, split, encoded and resident, and the task it asks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.core.errors import InputError
from tenfold.core.specs import InputSpec
from tenfold.core.task import Batch, BatchProvider, Metric
from tenfold.data import (
    Batches,
    DataPart,
    Finding,
    Preprocessor,
    Source,
    Split,
    TargetEncoder,
    feature_part,
    fit_preprocessor,
    interleaved,
    num_of,
    read,
    split,
)
from tenfold.data.image_preprocessor import stays
from tenfold.data.mask_codes import IGNORED
from tenfold.data.preprocessor import Tensors
from tenfold.study.honesty import look_at
from tenfold.study.options import FitOptions
from tenfold.tasks import OwnMetric, balanced_class_weights, balanced_positive_weights, metric_of, task_from
from tenfold.tasks.supervised import SupervisedTask
from tenfold.train import CohortData

EVALUATION_SAMPLES = 16_384  # samples times members that are scored at once
EVALUATION_PIXELS = 1 << 21  # pixels times members, where each pixel is predicted
_HASHED_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Material:
    """Data ready to train on, and what fitted them.

    Attributes:
        source: what was read.
        split: its rows by part.
        preprocessor: fitted on the training rows alone.
        encoder: of the targets, fitted on the training rows alone.
        train: the training part, on the device.
        valid: the validation part.
        test: the test part; None when there are no test rows.
        findings: what makes scores say other than they seem to.
        workers: processes that prepare training batches ahead; None for as many as pay.
    """

    source: Source
    split: Split
    preprocessor: Preprocessor
    encoder: TargetEncoder
    train: DataPart
    valid: DataPart
    test: DataPart | None
    findings: tuple[Finding, ...] = ()
    workers: int | None = None

    def fingerprint(self) -> str:
        """A short hash of inputs, targets and split: a resumed run must work on the same data."""
        digest = hashlib.blake2b(digest_size=8)
        for part in (self.train, self.valid, self.test):
            for piece in input_bytes(part.inputs, self.preprocessor) if part is not None else ():
                digest.update(piece)
        digest.update(target_bytes(self.source))
        for rows in (self.split.train, self.split.valid, self.split.test):
            digest.update(np.ascontiguousarray(rows).tobytes())
        return digest.hexdigest()


def input_bytes(inputs: Tensors, preprocessor: Preprocessor) -> Iterator[memoryview]:
    """Transformed inputs as bytes, piece by piece: the same ones wherever the samples lie."""
    if preprocessor.fetched(tuple(tensor[:1] for tensor in inputs))[0].ndim == inputs[0].ndim:
        yield from (tensor.contiguous().cpu().numpy().data for tensor in inputs)
        return
    for chunk in inputs[0].split(_HASHED_AT_ONCE):
        yield preprocessor.fetched((chunk,))[0].contiguous().cpu().numpy().data


def target_bytes(source: Source) -> bytes:
    """The targets as bytes, the same for the same targets."""
    targets = source.targets
    return repr(targets.tolist()).encode() if targets.ndim == 1 else np.ascontiguousarray(targets).tobytes()


def read_source(argument: Any, options: FitOptions) -> Source:
    """Reads a source as the options say, and takes a part of it where they ask for one."""
    size: Any = options.image_size
    return read(
        argument, target=options.target, task=options.task, image_size=size, header=options.header,
        encoding=options.encoding, group=options.group, ignore=options.ignore, seed=options.seed,
        max_rows=None if options.max_rows is None else int(options.max_rows),
    )  # fmt: skip


def prepare(source: Source, options: FitOptions, device: torch.device) -> Material:
    """Splits a source, fits preprocessing and encoder on its training rows, and makes the parts resident.

    Raises:
        InputError: too few rows for the parts, or a target that cannot be learned.
    """
    rows = split(
        source, seed=options.seed, valid_fraction=options.valid_fraction, test_fraction=options.test_fraction
    )
    if not len(rows.valid):
        raise InputError(f"{source.name}: no validation rows, so trials cannot be compared. Raise --valid-fraction.")
    return replace(_material(source, rows, rows.train, options, device), findings=look_at(source, rows, options))


def prepare_refit(material: Material, options: FitOptions, device: torch.device) -> Material:
    """The same split with the validation rows among the training rows, and everything fitted anew on both."""
    rows = np.sort(np.concatenate([material.split.train, material.split.valid]))
    return _material(material.source, material.split, rows, options, device)


def _material(
    source: Source, rows: Split, train_rows: np.ndarray, options: FitOptions, device: torch.device
) -> Material:
    preprocessor = fit_preprocessor(source.inputs, train_rows, stay=stays(source.inputs, device))
    encoder = TargetEncoder.fit(source.targets, source.task, train_rows, **encoder_options(source, options))

    def part(part_rows: np.ndarray) -> DataPart:
        return DataPart.of(source, part_rows, preprocessor, encoder).to(device)

    return Material(
        source=source,
        split=rows,
        preprocessor=preprocessor,
        encoder=encoder,
        train=part(train_rows),
        valid=part(rows.valid),
        test=part(rows.test) if len(rows.test) else None,
        workers=options.workers,
    )


def encoder_options(source: Source, options: FitOptions) -> dict[str, Any]:
    """What `TargetEncoder.fit` is told of the options.

    Raises:
        InputError: an option that belongs to another task.
    """
    if options.final == "ensemble" and source.task == "segmentation":
        raise InputError("--final ensemble is not for a segmentation, whose maps do not fit. Choose average.")
    if options.final == "vote" and source.task != "classification":
        raise InputError(f"--final vote is for a classification, the task is {source.task}. Choose average.")
    found: dict[str, Any] = {}
    for name, owner in (("order", "classification"), ("quantiles", "regression")):
        value = getattr(options, name)
        if value and source.task != owner:
            raise InputError(f"--{name} is for a {owner}, the task is {source.task}. Leave it out.")
        if value:
            found[name] = tuple(value)
    if source.codes is not None:
        found["codes"] = source.codes
    return found


def task_of(
    encoder: TargetEncoder,
    options: FitOptions,
    metrics: Sequence[str] | None = None,
    class_weights: Tensor | None = None,
) -> SupervisedTask:
    """The task of encoded targets as the options say, with the metrics named, or all that say something.

    Raises:
        InputError: a loss or metric that the task does not have.
    """
    own = options.metric
    if metrics is None:
        return task_from(encoder, metric=own, loss=options.loss, class_weights=class_weights)
    chosen = [own if isinstance(own, OwnMetric) and name == own.name else name for name in metrics]
    return task_from(encoder, loss=options.loss, class_weights=class_weights, metrics=chosen)


def make_task(material: Material, options: FitOptions, metrics: Sequence[str] | None = None) -> SupervisedTask:
    """The task that the data ask, with the metrics named, or all of them.

    Raises:
        InputError: an option that belongs to another task, or a metric with no such name.
    """
    weights = weights_for(material.encoder, material.train.targets, options)
    return task_of(material.encoder, options, metrics, weights)


def weights_for(encoder: TargetEncoder, targets: Tensor, options: FitOptions) -> Tensor | None:
    """The weights of classes or labels that balance training targets, shape (K,); None where that is not asked for.

    Raises:
        InputError: the task is a regression.
    """
    if not options.balanced:
        return None
    if encoder.task == "regression":
        raise InputError("--balanced is for a classification, the task is regression. Leave it out.")
    if encoder.classes is None:
        return balanced_positive_weights(targets)
    if encoder.codes is not None:
        targets = targets[targets != IGNORED].long()
    return balanced_class_weights(targets, len(encoder.classes)).to(targets.device)


def deciding_metric(task: SupervisedTask, options: FitOptions) -> Metric:
    """The metric that was asked for, or the task's first."""
    own = options.metric
    return metric_of(task, own.name if isinstance(own, OwnMetric) else own)


def training_task(material: Material, options: FitOptions) -> tuple[SupervisedTask, Metric]:
    """The task with what is worth scoring at every epoch, and the metric that decides."""
    everything = make_task(material, options)
    metric = deciding_metric(everything, options)
    return make_task(material, options, every_epoch(everything, metric)), metric


def every_epoch(task: SupervisedTask, metric: Metric) -> list[str]:
    """The metrics worth scoring at every epoch, the one that decides first."""
    usual = ("accuracy", "micro_f1", "log_loss", "pinball", "coverage", "rmse", "mae", "r2", "miou", "pixel_accuracy")
    return list(dict.fromkeys((metric.name, *(name for name in usual if name in task.info.metrics))))


class DatasetProvider(BatchProvider):
    """The batches of a part, in the run's own order for each epoch; every stack sees the very same ones."""

    def __init__(self, material: Material, *, batch_size: int, seed: int) -> None:
        self._batches = Batches(
            material.train, material.preprocessor, batch_size=batch_size, seed=seed, augment=True,
            workers=material.workers,
        )  # fmt: skip
        self.steps_per_epoch = self._batches.steps

    def epoch(self, epoch: int, stack: Any = None) -> Iterator[Batch]:
        """Batches of (*inputs, targets)."""
        for inputs, targets in self._batches.epoch(epoch):
            yield (*inputs, targets)


def scored_at_once(num_members: int, spec: InputSpec) -> int:
    """Samples of a batch that this many members are scored on.

    Example:
        >>> scored_at_once(8, InputSpec(kind="table", shape=(5,)))
        1024
        >>> scored_at_once(8, InputSpec(kind="image", shape=(3, 96, 128), dense=True))
        21
    """
    if spec.dense:
        return max(1, EVALUATION_PIXELS // (spec.shape[1] * spec.shape[2] * num_members))
    return min(max(EVALUATION_SAMPLES // num_members, 32), 1024)


class PartBatches:
    """All samples of a part in row order, in batches that fit the number of members that look at them."""

    def __init__(self, part: DataPart, preprocessor: Preprocessor) -> None:
        self._batches = Batches(part, preprocessor, batch_size=32, seed=0)
        self._spec = preprocessor.spec

    def __call__(self, num_members: int) -> Iterator[Batch]:
        """Batches of (*inputs, targets)."""
        batch_size = scored_at_once(num_members, self._spec)
        for inputs, targets in self._batches.ordered(batch_size):
            yield (*inputs, targets)


def cohort_data(
    material: Material,
    seed: int,
    features: Callable[..., Tensor] | None = None,
    fractions: Sequence[float] = (),
) -> CohortData:
    """Training batches by batch size, made once each, and the validation batches.

    Args:
        material: what they are made of.
        seed: of their order and augmentation.
        features: of samples, where members get these in place of them.
        fractions: of the training rows, for the steps of a ladder over the data: nested subsets, of a classification
            stratified. The validation batches are whole on every step.
    """
    providers: dict[tuple[int, float], BatchProvider] = {}
    train, preprocessor = material.train, material.preprocessor
    valid, scored_by = material.valid, material.preprocessor
    if features is not None:
        train, preprocessor = feature_part(train, material.preprocessor, features, vary=True)
        valid, scored_by = feature_part(valid, material.preprocessor, features, vary=False)

    @cache
    def part(fraction: float) -> DataPart:
        if fraction == 1:
            return train
        classes = train.targets.cpu().numpy() if material.source.task == "classification" else np.zeros(len(train))
        return train.take(np.sort(interleaved(classes, seed)[: num_of(fraction, len(train))]))

    def training(batch_size: int, step: int = -1) -> BatchProvider:
        fraction = fractions[step] if fractions else 1.0
        if (batch_size, fraction) not in providers:
            own = replace(material, train=part(fraction), preprocessor=preprocessor)
            providers[batch_size, fraction] = DatasetProvider(own, batch_size=batch_size, seed=seed)
        return providers[batch_size, fraction]

    return CohortData(training=training, validation=PartBatches(valid, scored_by), by_step=bool(fractions))
