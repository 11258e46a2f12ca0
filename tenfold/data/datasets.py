"""A user's Dataset or DataLoader, as it is: read once when it always gives the same, anew in each epoch otherwise."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, default_collate, get_worker_info

from tenfold.core.errors import InputError
from tenfold.core.seeds import torch_seed
from tenfold.core.specs import InputSpec
from tenfold.data.arrays import USUAL_CHANNELS
from tenfold.data.inputs import DatasetInputs
from tenfold.data.preprocessor import Preprocessor, Tensors, refuse_inputs
from tenfold.data.scratch import memory_for_data
from tenfold.data.source import PARTS, Source
from tenfold.data.targets import clean_target

RESIDENT_BYTES = 4 << 30
_PROBES = 4


def is_dataset(argument: Any) -> bool:
    """Whether the argument is a torch Dataset or DataLoader."""
    return isinstance(argument, Dataset | DataLoader)


def dataset_source(datasets: Sequence[Any], *, task: str | None, name: str) -> Source:
    """A Source from one Dataset or DataLoader, or from one each for training, validation and test.

    Args:
        datasets: one to three; a loader's data set is taken, its batches and order are not.
        task: as in `read`.
        name: the source's name.

    Raises:
        InputError: no samples, samples that are no (input, target) pairs or not finite, or useless targets.
    """
    if len(datasets) > len(PARTS):
        raise InputError(f"{name}: at most 3 data sets (train, valid, test) can be given, got {len(datasets)}.")
    notes = []
    if any(isinstance(dataset, DataLoader) for dataset in datasets):
        notes.append("data loader: its data set is used; batch size and order are those of the search")
    plain = [map_style(dataset, name) for dataset in datasets]
    whole = plain[0] if len(plain) == 1 else ConcatDataset(plain)
    parts = None if len(plain) == 1 else np.repeat(PARTS[: len(plain)], [len(dataset) for dataset in plain])
    targets, samples = _read_once(whole, name)
    if samples is None:
        notes.append("data set: gives other inputs at each reading, or is large, and is read anew in each epoch")
    notes += _layout_note(tuple(fetch(whole, 0, 0, name)[0][0].shape))
    whole_numbers = np.asarray(targets).dtype.kind in "iu"
    found = clean_target(targets, name="target", task=task, where=name, whole_are_classes=whole_numbers)
    return Source(
        name=name,
        kind="dataset",
        inputs=DatasetInputs(whole, found.kept, samples),
        targets=found.values,
        task=found.task,
        parts=None if parts is None else parts[found.kept],
        notes=(*notes, *found.notes),
        problem=found.problem,
    )


def _layout_note(shape: tuple[int, ...]) -> list[str]:
    """That samples look like (H, W, C), which they are not taken for, since a network of the user's own may be."""
    if len(shape) != 3 or shape[0] in USUAL_CHANNELS or shape[2] not in USUAL_CHANNELS:
        return []
    return [
        f"samples: shape {shape} read as (C, H, W); if it is (H, W, C), turn them around with torchvision's "
        "ToTensor() or permute(2, 0, 1)"
    ]


def map_style(dataset: Any, name: str) -> Any:
    """The data set itself, from a loader too; a stream is read into a list.

    Raises:
        InputError: it is empty, or has no length.
    """
    if isinstance(dataset, DataLoader):
        dataset = dataset.dataset
    if isinstance(dataset, IterableDataset):
        dataset = list(dataset)
    if not hasattr(dataset, "__len__") or not len(dataset):
        raise InputError(f"{name}: the data set must have samples and a length, got none. Check its files.")
    return dataset


def _read_once(dataset: Any, name: str) -> tuple[np.ndarray, Sequence[torch.Tensor] | None]:
    """All targets, and all inputs when they do not change and fit into memory."""
    targets: list[Any] = []
    columns: list[list[torch.Tensor]] | None = None
    resident = not _changes(dataset, name)
    for row in range(len(dataset)):
        inputs, target = fetch(dataset, row, 0, name)
        targets.append(target)
        if resident:
            columns = columns or [[] for _ in inputs]
            for column, tensor in zip(columns, inputs, strict=True):
                column.append(tensor)
            if row == 0:
                size = sum(tensor.numel() * tensor.element_size() for tensor in inputs)
                resident = size * len(dataset) <= min(RESIDENT_BYTES, memory_for_data())
    return np.array(targets), _stacked(columns, name) if resident and columns else None


def _stacked(columns: list[list[torch.Tensor]], name: str) -> list[torch.Tensor]:
    try:
        stacked = [torch.stack(column) for column in columns]
    except RuntimeError as error:
        raise InputError(f"{name}: all samples must have one shape ({error}). Resize or pad them.") from error
    for tensor in stacked:
        bad = (~tensor.isfinite()).reshape(len(tensor), -1).any(dim=1).nonzero()
        if len(bad):
            raise InputError(
                f"{name}: {len(bad)} of {len(tensor)} samples hold NaN or infinite values, first sample "
                f"{int(bad[0, 0])} (counted from 0). Mend or remove them."
            )
    return stacked


def _changes(dataset: Any, name: str) -> bool:
    """Whether some samples differ between two readings under different seeds."""
    probes = np.linspace(0, len(dataset) - 1, min(_PROBES, len(dataset))).astype(int).tolist()
    for row in probes:
        first, second = fetch(dataset, row, 1, name)[0], fetch(dataset, row, 2, name)[0]
        if not all(map(_same, first, second)):
            return True
    return False


def _same(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two readings are equal; a NaN is equal to a NaN."""
    if torch.equal(first, second) or first.shape != second.shape or not first.is_floating_point():
        return torch.equal(first, second)
    return torch.allclose(first, second, rtol=0.0, atol=0.0, equal_nan=True)


def fetch(dataset: Any, row: int, seed: int, name: str = "data") -> tuple[Tensors, Any]:
    """The inputs and the target of one sample, read under one seed of torch, NumPy and `random`.

    Raises:
        InputError: the sample is no (input, ..., target), or an input is no tensor or array.
    """
    with _seeded(seed):
        sample = dataset[row]
    if not isinstance(sample, tuple | list) or len(sample) < 2:
        raise InputError(f"{name}: a sample must be a tuple (input, target), got {type(sample).__name__}.")
    inputs = tuple(_tensor(value, name) for value in sample[:-1])
    target = sample[-1]
    if isinstance(target, torch.Tensor | np.ndarray):
        if int(np.prod(target.shape)) != 1:
            raise InputError(f"{name}: a target must be one label or number, got shape {tuple(target.shape)}.")
        target = target.item() if isinstance(target, torch.Tensor) else target.reshape(()).item()
    return inputs, target


def _tensor(value: Any, name: str) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, np.ndarray | np.generic | int | float):
        return torch.as_tensor(value)
    raise InputError(
        f"{name}: an input must be a tensor or an array, got {type(value).__name__}. "
        "Give the data set a transform such as torchvision.transforms.ToTensor()."
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds what users' transforms draw from, and gives the states back (a worker has no other use for them)."""
    if get_worker_info() is not None:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)  # leaves a GPU alone, which a forked process cannot use
        yield
        return
    python, numpy = random.getstate(), np.random.get_state()
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        with torch_seed(seed):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class DatasetPreprocessor(Preprocessor):
    """Changes nothing: a user's data set has transforms of its own.

    Args:
        spec: what a sample is.
        dataset: the data set to fetch from when its samples change, or None.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> source = dataset_source([TensorDataset(torch.rand(6, 3), torch.tensor([0, 1] * 3))], task=None, name="x")
        >>> DatasetPreprocessor.fit(source.inputs, np.arange(6)).spec
        InputSpec(kind='table', shape=(3,), cardinalities=(), dense=False)
    """

    def __init__(self, *, spec: InputSpec, dataset: Any = None) -> None:
        self.spec, self.dataset = spec, dataset
        self.resident = dataset is None
        self.augments = dataset is not None

    @classmethod
    def fit(cls, inputs: DatasetInputs, rows: np.ndarray, **options: Any) -> DatasetPreprocessor:
        """Looks at one sample; there are no options.

        Raises:
            TypeError: the inputs are no data set.
            InputError: samples are neither features (D,) nor pictures (C, H, W) or (H, W).
        """
        if not isinstance(inputs, DatasetInputs):
            raise refuse_inputs("DatasetPreprocessor", inputs)
        tensors = cls._sample(inputs, int(rows[0]))
        return cls(spec=_spec(tensors), dataset=inputs.dataset if inputs.samples is None else None)

    @staticmethod
    def _sample(inputs: DatasetInputs, row: int) -> Tensors:
        if inputs.samples is not None:
            return tuple(tensor[inputs.rows[row]] for tensor in inputs.samples)
        return fetch(inputs.dataset, int(inputs.rows[row]), 0)[0]

    def transform(self, inputs: DatasetInputs) -> Tensors:
        """The samples, each of shape (N, ...); of a data set that changes, their positions, int64 of shape (N,).

        Raises:
            TypeError: the inputs are no data set.
        """
        if not isinstance(inputs, DatasetInputs):
            raise refuse_inputs("DatasetPreprocessor", inputs)
        rows = torch.from_numpy(np.asarray(inputs.rows, dtype=np.int64))
        if not self.resident and inputs.dataset is self.dataset:
            return (rows,)
        if inputs.samples is not None:
            return _as_model_inputs(tuple(tensor.index_select(0, rows) for tensor in inputs.samples), self.spec)
        fetched = [fetch(inputs.dataset, row, 0)[0] for row in rows.tolist()]
        return _as_model_inputs(tuple(map(torch.stack, zip(*fetched, strict=True))), self.spec)

    def prepare_batch(self, tensors: Tensors, train: bool, keys: Sequence[int] | None = None) -> Tensors:
        """The samples themselves, fetched under their keys if the data set changes."""
        if self.resident or tensors[0].ndim != 1:
            return tensors
        batch = self.vary(tensors, [0] * len(tensors[0]) if keys is None else keys)
        return tuple(tensor.to(tensors[0].device) for tensor in batch)

    def vary(self, tensors: Tensors, keys: Sequence[int]) -> Tensors:
        """The samples themselves, each of shape (B, ...), fetched under their keys if the data set changes."""
        if self.resident:
            return tensors
        fetched = [fetch(self.dataset, row, key)[0] for row, key in zip(tensors[0].tolist(), keys, strict=True)]
        return _as_model_inputs(tuple(default_collate(fetched)), self.spec)

    def to_json(self) -> dict[str, Any]:
        """The spec; the data set itself is not kept."""
        return {"kind": "dataset", "spec": self.spec.to_json()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> DatasetPreprocessor:
        """The preprocessor that `to_json` wrote, without a data set."""
        return cls(spec=InputSpec.from_json(record["spec"]))


def _spec(tensors: Tensors) -> InputSpec:
    shape = tuple(tensors[0].shape)
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) == 3:
        return InputSpec(kind="image", shape=shape)
    if len(shape) <= 1:
        return InputSpec(kind="table", shape=shape or (1,))
    raise InputError(f"data set: an input must have shape (D,), (H, W) or (C, H, W), got {shape}. Reshape it.")


def _as_model_inputs(tensors: Tensors, spec: InputSpec) -> Tensors:
    """Float samples of the spec's shape; further inputs stay as they are. uint8 pictures become [0, 1]."""
    first, *others = tensors
    first = first.float().div_(255) if first.dtype == torch.uint8 and spec.kind == "image" else first.float()
    return first.reshape(len(first), *spec.shape), *others
