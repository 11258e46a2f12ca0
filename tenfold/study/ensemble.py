"""The networks of a model, run together: those of one structure as a stack, in one forward pass.

P networks, N samples, K classes
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.data import Preprocessor
from tenfold.stacking import Replay, group_by_structure, per_member, stack

_BATCH_SIZE = 256
_PIXELS = 1 << 19  # of a batch, where each has outputs of its own
Tensors = tuple[Tensor, ...]


class Ensemble:
    """Networks that look at the same samples, each through its own preprocessing.

    Args:
        modules: P networks, in evaluation mode; one alone is run as it is.
        preprocessors: one for each network; several may be the same object.
    """

    def __init__(self, modules: Sequence[nn.Module], preprocessors: Sequence[Preprocessor]) -> None:
        self._modules, self._preprocessors = list(modules), list(preprocessors)
        self._groups: list[tuple[list[int], Replay | nn.Module]] | None = None

    def outputs(self, inputs: Sequence[Tensors]) -> list[Tensor]:
        """What each network says, float64 on the CPU: P tensors of shape (N, ...).

        Args:
            inputs: for each network what its preprocessor's `transform` gave, each of shape (N, ...).
        """
        batches = list(self.by_batch(inputs))
        return [torch.cat([said[place] for said in batches]) for place in range(len(self._modules))]

    def by_batch(self, inputs: Sequence[Tensors]) -> Iterator[list[Tensor]]:
        """As `outputs`, some samples at a time: what each pixel of many pictures is said to be would not fit."""
        spec, size = self._preprocessors[0].spec, _BATCH_SIZE
        if spec.dense:
            size = max(1, _PIXELS // (spec.shape[1] * spec.shape[2]))
        for start in range(0, len(inputs[0][0]), size):
            found: list[Tensor] = [torch.empty(0)] * len(self._modules)
            with torch.no_grad():
                for places, network in self._grouped():
                    said = self._run(network, self._batches(places, inputs, slice(start, start + size)))
                    for number, place in enumerate(places):
                        found[place] = said[number]
            yield found

    def _grouped(self) -> list[tuple[list[int], Replay | nn.Module]]:
        """Networks of one structure as a stack, made once."""
        if self._groups is None:
            groups = group_by_structure(self._modules)
            self._groups = [
                (list(places), self._modules[places[0]] if len(places) == 1 else self._stacked(places))
                for places in groups
            ]
        return self._groups

    def _stacked(self, places: Sequence[int]) -> Replay:
        return Replay(stack([self._modules[place] for place in places]).eval(), _forward)

    def _batches(self, places: Sequence[int], inputs: Sequence[Tensors], rows: slice) -> list[Tensors]:
        """A batch for each network; the very same object where preprocessing and samples are the same."""
        device = next((p.device for p in self._modules[places[0]].parameters()), torch.device("cpu"))
        known: dict[tuple[int, int], Tensors] = {}
        batches = []
        for place in places:
            key = (id(self._preprocessors[place]), id(inputs[place]))
            if key not in known:
                raw = tuple(tensor[rows].to(device) for tensor in inputs[place])
                known[key] = self._preprocessors[place].prepare_batch(raw, False)
            batches.append(known[key])
        return batches

    def _run(self, network: Replay | nn.Module, batches: list[Tensors]) -> list[Tensor]:
        if not isinstance(network, Replay):
            return [network(*batches[0]).double().cpu()]
        same = all(batch is batches[0] for batch in batches)
        own: Any = (
            batches[0] if same else [per_member(torch.stack(columns)) for columns in zip(*batches, strict=True)]
        )
        return list(network(*own).double().cpu())


def _forward(model: nn.Module, *inputs: Tensor) -> Any:
    return model(*inputs)


def prepared_once(preprocessors: Sequence[Preprocessor], transform: Any) -> list[Tensors]:
    """What each preprocessor makes of the same samples; the same object is asked once."""
    known: dict[int, Tensors] = {}
    for preprocessor in preprocessors:
        if id(preprocessor) not in known:
            known[id(preprocessor)] = transform(preprocessor)
    return [known[id(preprocessor)] for preprocessor in preprocessors]
