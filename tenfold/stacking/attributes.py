"""Plain attributes that forward leaves behind in the one model that all members run through.

A counter (`self.calls += 1`) must count once a step and not once a member, and a tensor (`self.attention = w`)
must not outlive the call: it holds the whole graph, and the next member would read it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_TORCH_INTERNALS = frozenset(vars(nn.Module())) - {"training"}
_RNN_CACHE = ("_flat_weights", "_flat_weight_refs")
_MISSING = object()
Snapshot = list[dict[str, Any]]


class PlainAttributes:
    """The attributes of a model's modules that are no layers, parameters or buffers.

    Args:
        model: the model that runs.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._owners = [(name, vars(module)) for name, module in model.named_modules()]

    def snapshot(self) -> Snapshot:
        """What there is now; shallow, so lists that forward appends to are not watched."""
        return [{key: value for key, value in own.items() if key not in _TORCH_INTERNALS} for _, own in self._owners]

    def restore(self, before: Snapshot) -> None:
        """Puts everything back to what it was."""
        for (_, own), values in zip(self._owners, before, strict=True):
            for key in [key for key in own if key not in values and key not in _TORCH_INTERNALS]:
                del own[key]
            own.update(values)

    def changed(self, before: Snapshot) -> list[str]:
        """The places of what is new, gone or another object since then, such as "1.calls"."""
        places = []
        for (name, own), values in zip(self._owners, before, strict=True):
            keys = [key for key in {**values, **own} if key not in _TORCH_INTERNALS and key not in _RNN_CACHE]
            for key in keys:
                if own.get(key, _MISSING) is not values.get(key, _MISSING):
                    places.append(f"{name}.{key}" if name else key)
        return places

    def drop_tensors(self, before: Snapshot) -> list[str]:
        """Puts back what has come to hold tensors; returns the places, such as "1.attention"."""
        dropped = []
        for (name, own), values in zip(self._owners, before, strict=True):
            for key in [key for key, value in own.items() if key not in _TORCH_INTERNALS and _holds_tensor(value)]:
                if own[key] is values.get(key):
                    continue
                if key not in _RNN_CACHE:
                    dropped.append(f"{name}.{key}" if name else key)
                if key in values:
                    own[key] = values[key]
                else:
                    del own[key]
        return dropped


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(isinstance(item, torch.Tensor) for item in value)
    if isinstance(value, dict):
        return any(isinstance(item, torch.Tensor) for item in value.values())
    return isinstance(value, torch.Tensor)
