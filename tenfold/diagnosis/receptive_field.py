"""Receptive fields by theory: which stretch of the input each layer's outputs depend on, along every path.

The fields are carried from op to op (`intervals.py`, `field_rules.py`), so that branches join to the widest,
attention and whole products see everything, and functions called inside `forward` count like modules.

References:
    Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019, for size,
    stride and start; its table lists networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, ops

from tenfold.diagnosis.field_rules import carried
from tenfold.diagnosis.intervals import Axis, Field, compact, input_field
from tenfold.diagnosis.tracing import Trace


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """What one output of a layer depends on, along each axis of the input (height and width, or time).

    Attributes:
        size: in pixels (or steps); the widest of all outputs. Borders count as pixels, so that it can be more than
            the input has.
        stride: by how many pixels the field moves from one output to the next; None where it does not.
        center: of the first output, in pixels from the first one; negative in a border.
        whole: whether every output sees the whole input.
    """

    size: tuple[int, ...]
    stride: tuple[float | None, ...]
    center: tuple[float, ...]
    whole: bool

    def __str__(self) -> str:
        return "whole" if self.whole else sizes_in_words(self.size)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "size": list(self.size),
            "stride": list(self.stride),
            "center": list(self.center),
            "whole": self.whole,
        }


def sizes_in_words(sizes: Sequence[int]) -> str:
    """Sizes with signs between them; equal ones once.

    Example:
        >>> sizes_in_words((3, 3)), sizes_in_words((3, 1)), sizes_in_words((5,))
        ('3', '3x1', '5')
    """
    return "x".join(map(str, sizes)) if len(set(sizes)) > 1 else str(sizes[0])


def receptive_fields(seen: Trace) -> dict[str, ReceptiveField | None]:
    """The field of each module's output.

    Args:
        seen: a traced pass; its first input has the axes.

    Returns:
        By the module's name; None for outputs that depend on no input, and for all where the input has no axes.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tenfold.diagnosis.tracing import trace
        >>> network = nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3, dilation=2))
        >>> [str(f) for f in receptive_fields(trace(network, [torch.zeros(1, 1, 32, 32)])).values()]
        ['3', '4', '12', '12']
    """
    dims = _axes_of(seen)
    if not dims:
        return dict.fromkeys(seen.outputs)
    fields: dict[int, Field] = {id(seen.inputs[0]): input_field(seen.inputs[0].shape, dims)}

    def field_of(thing: Any) -> Field | None:
        return fields.get(id(thing)) if isinstance(thing, Tensor) else None

    for op in seen.ops:
        for out, field in carried(op, field_of):
            fields[id(out)] = field
            base = out._base
            if base is not None and out is op.args[0] and op.func._schema.is_mutable:
                fields[id(base)] = _cover(field, base)
    return {name: _measured(field_of(out)) for name, out in seen.outputs.items()}


def last_local(fields: Mapping[str, ReceptiveField | None]) -> str | None:
    """The module with the widest field that is not the whole input yet; the first of equals, None without any.

    Args:
        fields: by the module's name, as `receptive_fields` gives them.
    """
    local = {name: field for name, field in fields.items() if field is not None and not field.whole}
    return max(local, key=lambda name: local[name].size, default=None)


def _cover(field: Field, base: Tensor) -> Field:
    """What a tensor depends on of which a part was written: taken as all of the part's."""
    whole = (axis.map(lambda ends: ends.amax().expand(tuple(base.shape))) for axis in field)
    return tuple(axis.clipped() for axis in whole)


def _axes_of(seen: Trace) -> tuple[int, ...]:
    """The dims of the first input that a field has: all behind the channels; of (steps, features) the steps."""
    x = seen.inputs[0]
    if x.ndim >= 4:
        return tuple(range(2, x.ndim))
    if x.ndim == 3:
        is_first_met = (op.args[0].ndim == 3 for op in seen.ops if op.func.overloadpacket is ops.aten.convolution)
        return (2,) if next(is_first_met, False) else (1,)
    return (1,) if x.ndim == 2 and not x.is_floating_point() else ()


def _measured(field: Field | None) -> ReceptiveField | None:
    if field is None:
        return None
    small = tuple(axis.map(compact) for axis in field)
    if not all(bool(axis.high.isfinite().any()) for axis in small):
        return None
    return ReceptiveField(
        size=tuple(int((axis.high + axis.negated_low).max()) + 1 for axis in small),
        stride=tuple(None if axis.high.numel() > 1 and _sees_all(axis) else axis.jump for axis in small),
        center=tuple(_first_center(axis) for axis in small),
        whole=all(_sees_all(axis) for axis in small),
    )


def _first_center(axis: Axis) -> float:
    """Of the first output that depends on the input: a class token, say, does not."""
    shape = torch.broadcast_shapes(axis.negated_low.shape, axis.high.shape)
    low, high = -axis.negated_low.expand(shape).flatten(), axis.high.expand(shape).flatten()
    first = int(high.isfinite().to(torch.uint8).argmax())
    return float((low[first] + high[first]) / 2)


def _sees_all(axis: Axis) -> bool:
    return bool((axis.negated_low == 0).all() and (axis.high == axis.size - 1).all())
