"""The networks of a model, run together: those of one structure as a stack, in one forward pass.

P networks, N samples, K classes
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.data import Preprocessor
from tenfold.stacking import Stack, group_by_structure, per_member, stack

_BATCH_SIZE = 256
Tensors = tuple[Tensor, ...]


class Ensemble:
    """Networks that look at the same samples, each through its own preprocessing.

    Args:
        modules: P networks, in evaluation mode; one alone is run as it is.
        preprocessors: one for each network; several may be the same object.
    """

    def __init__(self, modules: Sequence[nn.Module], preprocessors: Sequence[Preprocessor]) -> None:
        self._modules, self._preprocessors = list(modules), list(preprocessors)
        self._groups: list[tuple[list[int], Stack | nn.Module]] | None = None

    def outputs(self, inputs: Sequence[Tensors]) -> list[Tensor]:
        """What each network says, float64 on the CPU: P tensors of shape (N, ...).

        Args:
            inputs: for each network what its preprocessor's `transform` gave, each of shape (N, ...).
        """
        found: list[Tensor] = [torch.empty(0)] * len(self._modules)
        with torch.no_grad():
            for places, network in self._grouped():
                rows = [
                    self._run(network, self._batches(places, inputs, start))
                    for start in range(0, len(inputs[0][0]), _BATCH_SIZE)
                ]
                for number, place in enumerate(places):
                    found[place] = torch.cat([row[number] for row in rows])
        return found

    def _grouped(self) -> list[tuple[list[int], Stack | nn.Module]]:
        """Networks of one structure as a stack, made once."""
        if self._groups is None:
            groups = group_by_structure(self._modules)
            self._groups = [
                (list(places), self._modules[places[0]] if len(places) == 1 else self._stacked(places))
                for places in groups
            ]
        return self._groups

    def _stacked(self, places: Sequence[int]) -> Stack:
        return stack([self._modules[place] for place in places]).eval()

    def _batches(self, places: Sequence[int], inputs: Sequence[Tensors], start: int) -> list[Tensors]:
        """A batch for each network; the very same object where preprocessing and samples are the same."""
        device = next((p.device for p in self._modules[places[0]].parameters()), torch.device("cpu"))
        known: dict[tuple[int, int], Tensors] = {}
        batches = []
        for place in places:
            key = (id(self._preprocessors[place]), id(inputs[place]))
            if key not in known:
                raw = tuple(tensor[start : start + _BATCH_SIZE].to(device) for tensor in inputs[place])
                known[key] = self._preprocessors[place].prepare_batch(raw, False)
            batches.append(known[key])
        return batches

    def _run(self, network: Stack | nn.Module, batches: list[Tensors]) -> list[Tensor]:
        if not isinstance(network, Stack):
            return [network(*batches[0]).double().cpu()]
        same = all(batch is batches[0] for batch in batches)
        own: Any = (
            batches[0] if same else [per_member(torch.stack(columns)) for columns in zip(*batches, strict=True)]
        )
        return list(network.each(_forward, *own).double().cpu())


def _forward(model: nn.Module, *inputs: Tensor) -> Any:
    return model(*inputs)


def prepared_once(preprocessors: Sequence[Preprocessor], transform: Any) -> list[Tensors]:
    """What each preprocessor makes of the same samples; the same object is asked once."""
    known: dict[int, Tensors] = {}
    for preprocessor in preprocessors:
        if id(preprocessor) not in known:
            known[id(preprocessor)] = transform(preprocessor)
    return [known[id(preprocessor)] for preprocessor in preprocessors]
