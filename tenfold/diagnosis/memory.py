"""What a training step holds: what the forward pass keeps for the backward pass, module by module.

The pass runs in training mode on tensors without numbers, and what autograd saves is counted once, however many ops
save it. Parameters and the batch are there anyway and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.diagnosis.tracing import evaluating, fake_converter, module_names, quiet_fakes

_SAMPLES = 2  # batch norm refuses to be trained on one


def kept_bytes(model: nn.Module, inputs: Sequence[Tensor]) -> dict[str, int]:
    """Bytes kept for the backward pass by each module, for one sample.

    Args:
        model: any module.
        inputs: what it is called with; the first sample counts.

    Returns:
        By the module's name ("" for what runs in the network itself); empty where the pass cannot be made on tensors
        without numbers.

    Example:
        >>> kept_bytes(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), [torch.zeros(1, 4)])
        {'1': 32}
    """
    try:
        return _kept(model, inputs)
    except Exception:
        return {}


def _kept(model: nn.Module, inputs: Sequence[Tensor]) -> dict[str, int]:
    found: dict[str, int] = {}
    with quiet_fakes() as fake:
        convert = fake_converter(fake)
        state = {name: convert(t) for name, t in (*model.named_parameters(), *model.named_buffers())}
        batch = [torch.cat([convert(x)[:1]] * _SAMPLES) for x in inputs]
        elsewhere: list[Any] = [t.untyped_storage() for t in (*state.values(), *batch)]
        seen = {storage._cdata for storage in elsewhere}
        with module_names(model) as running, evaluating(model, training=True), torch.enable_grad():
            pack = _counter(found, running, seen, elsewhere)
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                torch.func.functional_call(model, state, tuple(batch))
    return {name: size // _SAMPLES for name, size in found.items()}


def _counter(
    found: dict[str, int], running: list[str], seen: set[int], alive: list[Any]
) -> Callable[[Tensor], Tensor]:
    """What autograd calls with each tensor that it saves; storages stay alive, so that numbers stay unique."""

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen.add(storage._cdata)
            alive.append(storage)
            name = running[-1] if running else ""
            found[name] = found.get(name, 0) + storage.nbytes()
        return tensor

    return pack
