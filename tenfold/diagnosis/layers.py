"""The table by layer: what each module gives out, holds, computes, keeps, and sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tenfold.diagnosis.costs import Cost, biases_of, cost_of
from tenfold.diagnosis.receptive_field import ReceptiveField
from tenfold.diagnosis.tracing import Trace


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A module with what runs in it and in none of its children, for one sample.

    Attributes:
        name: its place in the network, such as "layer1.0.conv1"; "" for the network itself.
        kind: its class.
        output_shape: of its first output, without the batch; None where it never ran or gave no tensor.
        parameters: numbers that it holds; what several modules share counts at the first.
        trainable: how many of them have a gradient.
        flops: forward, two a multiply-add, without biases.
        bias_flops: of adding biases.
        backward_flops: of the gradients, without biases.
        activation_bytes: what it keeps for the backward pass.
        receptive_field: of its outputs; None where there is none.
        calls: how often it ran.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    parameters: int = 0
    trainable: int = 0
    flops: int = 0
    bias_flops: int = 0
    backward_flops: int = 0
    activation_bytes: int = 0
    receptive_field: ReceptiveField | None = None
    calls: int = 1

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        field = self.receptive_field
        shape = None if self.output_shape is None else list(self.output_shape)
        return {
            **vars(self),
            "output_shape": shape,
            "receptive_field": None if field is None else field.to_json(),
        }


def layers_of(
    model: nn.Module, seen: Trace, fields: Mapping[str, ReceptiveField | None], kept: Mapping[str, int]
) -> tuple[Layer, ...]:
    """The layers of a network in the order in which they end; those that never ran stand last.

    Modules without children have a row each; others where they hold parameters or compute products themselves, as
    functions called in `forward` do.

    Args:
        model: any module.
        seen: its traced pass, with a batch of one sample.
        fields: the receptive field of each module's output.
        kept: bytes that each module keeps for the backward pass.

    Example:
        >>> import torch
        >>> from tenfold.diagnosis.tracing import trace
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))
        >>> rows = layers_of(network, trace(network, [torch.zeros(1, 3, 8, 8)]), {}, {})
        >>> [(row.kind, row.parameters, row.flops) for row in rows]
        [('Conv2d', 224, 15552), ('ReLU', 0, 0), ('Flatten', 0, 0), ('Linear', 578, 1152)]
    """
    costs, biases = dict.fromkeys(seen.calls, Cost()), biases_of(seen)
    for op in seen.ops:
        costs[op.module] = costs.get(op.module, Cost()) + cost_of(op, biases)
    parameters = _parameters_by_module(model, seen)
    rows = []
    for name, module in _in_order(model, seen):
        own = parameters.get(name, [])
        cost, is_leaf = costs.get(name, Cost()), not any(True for _ in module.children())
        if not (is_leaf and name in seen.calls) and not own and cost == Cost() and not kept.get(name):
            continue
        out = seen.outputs.get(name)
        rows.append(
            Layer(
                name=name,
                kind=type(module).__name__,
                output_shape=None if out is None else tuple(out.shape[1:]),
                parameters=sum(p.numel() for p in own),
                trainable=sum(p.numel() for p in own if p.requires_grad),
                flops=cost.forward,
                bias_flops=cost.bias,
                backward_flops=cost.backward,
                activation_bytes=kept.get(name, 0),
                receptive_field=fields.get(name),
                calls=seen.calls.get(name, 0),
            )
        )
    return tuple(rows)


def _in_order(model: nn.Module, seen: Trace) -> list[tuple[str, nn.Module]]:
    modules = dict(model.named_modules())
    return [(name, modules[name]) for name in (*seen.calls, *(name for name in modules if name not in seen.calls))]


def _parameters_by_module(model: nn.Module, seen: Trace) -> dict[str, list[nn.Parameter]]:
    """Each parameter at its module; at the one that used it, where its own never ran (as in attention)."""
    used = {
        id(leaf) for op in seen.ops for leaf in pytree.tree_leaves((op.args, op.kwargs)) if isinstance(leaf, Tensor)
    }
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        owner = name.rpartition(".")[0]
        if id(seen.state[name]) in used:
            while owner and owner not in seen.calls:
                owner = owner.rpartition(".")[0]
        found.setdefault(owner, []).append(parameter)
    return found


def grouped(layers: Sequence[Layer], depth: int) -> tuple[Layer, ...]:
    """Layers summed up to a depth of names.

    Args:
        layers: as `layers_of` gives them.
        depth: number of parts of a name, at least 1.

    Example:
        >>> rows = [Layer(name=name, kind="Linear", output_shape=(2,), flops=5) for name in ("a.0", "a.1", "b")]
        >>> [(row.name, row.flops) for row in grouped(rows, 1)]
        [('a', 10), ('b', 5)]
    """
    groups: dict[str, list[Layer]] = {}
    for layer in layers:
        groups.setdefault(".".join(layer.name.split(".")[:depth]), []).append(layer)
    return tuple(rows[0] if len(rows) == 1 else _summed(name, rows) for name, rows in groups.items())


def _summed(name: str, rows: Sequence[Layer]) -> Layer:
    last = next((row for row in reversed(rows) if row.calls), rows[-1])
    return Layer(
        name=name,
        kind=f"{len(rows)} layers",
        output_shape=last.output_shape,
        parameters=sum(row.parameters for row in rows),
        trainable=sum(row.trainable for row in rows),
        flops=sum(row.flops for row in rows),
        bias_flops=sum(row.bias_flops for row in rows),
        backward_flops=sum(row.backward_flops for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
        receptive_field=last.receptive_field,
        calls=max(row.calls for row in rows),
    )
