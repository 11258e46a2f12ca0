"""How each op carries intervals from its arguments to its output.

What an op does not say (one that no rule is for) is taken to depend on all of its arguments. Statistics of a
normalisation are left out, as in the literature: a group norm sees the whole map, but one pixel moves it little.
Which elements an attention mask hides is not looked at, so that causal attention counts as seeing all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, ops
from torch.utils import _pytree as pytree

from tenfold.diagnosis.intervals import Axis, Field, compact, fit, jump_along, mixed, slid, union, windows
from tenfold.diagnosis.tracing import Op

aten = ops.aten

FieldOf = Callable[[Any], Field | None]


def carried(op: Op, field_of: FieldOf) -> list[tuple[Tensor, Field]]:
    """The fields of an op's outputs, each with its tensor; none where it depends on no input."""
    outs = [leaf for leaf in pytree.tree_leaves(op.out) if isinstance(leaf, Tensor)]
    sources = [leaf for leaf in pytree.tree_leaves((op.args, op.kwargs)) if field_of(leaf) is not None]
    if not outs or not sources or _is_constant(op):
        return []
    rule = RULES.get(op.func.overloadpacket)
    if rule is None and torch.Tag.pointwise in op.func.tags:
        rule = _pointwise
    fields = None if rule is None else rule(op, field_of)
    if fields is None:
        everything = [_all_of(field) for source in sources if (field := field_of(source)) is not None]
        return [(out, _everywhere(everything, out.shape)) for out in outs]
    return list(zip(outs, fields, strict=False))


def _is_constant(op: Op) -> bool:
    """Whether only the shape of an argument matters."""
    name = op.func.overloadpacket.__name__
    return name.endswith("_like") or name.startswith("new_") or name in ("zero_", "fill_")


def _all_of(field: Field) -> Field:
    whole = mixed(field, range(field[0].high.ndim))
    return tuple(axis.map(lambda ends: ends.reshape(())) for axis in whole)


def _everywhere(wholes: Sequence[Field], shape: Sequence[int]) -> Field:
    return union(wholes, shape)


def _shape_of(op: Op) -> tuple[int, ...]:
    out = op.out[0] if isinstance(op.out, tuple | list) else op.out
    return tuple(out.shape)


# -- element by element, and moving elements about -----------------------------------------------------------------


def _pointwise(op: Op, field_of: FieldOf) -> list[Field]:
    leaves = pytree.tree_leaves((op.args, op.kwargs))
    return [union([field for leaf in leaves if (field := field_of(leaf)) is not None], _shape_of(op))]


def _first_only(op: Op, field_of: FieldOf) -> list[Field] | None:
    """Normalisation: the first output as the first argument."""
    field = field_of(op.args[0])
    return None if field is None else [field]


def _copied(op: Op, field_of: FieldOf) -> list[Field] | None:
    field = field_of(op.args[1])
    return None if field is None else [union([field], _shape_of(op))]


def _moved(op: Op, field_of: FieldOf) -> list[Field] | None:
    """The op itself, done to the ends."""
    field = field_of(op.args[0])
    if field is None:
        return None
    ends = [end for axis in field for end in (axis.negated_low, axis.high)]
    done = [op.func(end, *op.args[1:], **op.kwargs) for end in ends]
    parts = [[part] if isinstance(part, Tensor) else list(part) for part in done]
    return [
        tuple(Axis(axis.size, parts[2 * i][k], parts[2 * i + 1][k], axis.jump) for i, axis in enumerate(field))
        for k in range(len(parts[0]))
    ]


def _reshaped(op: Op, field_of: FieldOf) -> list[Field] | None:
    field, shape = field_of(op.args[0]), _shape_of(op)
    return None if field is None else [tuple(axis.map(lambda ends: _reshape(ends, shape)) for axis in field)]


def _reshape(ends: Tensor, shape: Sequence[int]) -> Tensor:
    """A reshape that leaves dims at both sides, if they stay, as small as they are."""
    old, small = tuple(ends.shape), compact(ends)
    last = 0
    while last < min(len(old), len(shape)) and old[len(old) - 1 - last] == shape[len(shape) - 1 - last]:
        last += 1
    first = 0
    while first < min(len(old), len(shape)) - last and old[first] == shape[first]:
        first += 1
    middle, kept = old[first : len(old) - last], (small.shape[:first], small.shape[len(old) - last :])
    small = small.expand([*kept[0], *middle, *kept[1]])
    return fit(small.reshape([*kept[0], *shape[first : len(shape) - last], *kept[1]]), shape)


def _same(op: Op, field_of: FieldOf) -> list[Field] | None:
    return None if (field := field_of(op.args[0])) is None else [field]


def _joined(op: Op, field_of: FieldOf) -> list[Field] | None:
    """Concatenation; a part without a field depends on nothing."""
    dim, shape = (op.args[1] if len(op.args) > 1 else op.kwargs.get("dim", 0)) % op.out.ndim, _shape_of(op)
    stacked = op.func.overloadpacket is aten.stack
    known = next(field for part in op.args[0] if (field := field_of(part)) is not None)

    def ends_of(part: Tensor, axis: int, name: str) -> Tensor:
        field = field_of(part)
        nothing = torch.full((), -torch.inf, dtype=torch.float64).expand(tuple(part.shape))
        ends = nothing if field is None else getattr(field[axis], name)
        return ends.unsqueeze(dim) if stacked else ends

    def joined(axis: int, name: str) -> Tensor:
        parts = [ends_of(part, axis, name) for part in op.args[0] if part.ndim == op.args[0][-1].ndim]
        kept = [d for d in range(len(shape)) if d == dim or any(_is_wide(part, d) for part in parts)]
        small = [part[tuple(slice(None) if d in kept else slice(0, 1) for d in range(len(shape)))] for part in parts]
        return fit(torch.cat(small, dim), shape)

    jumps = [max(f[i].jump for part in op.args[0] if (f := field_of(part)) is not None) for i in range(len(known))]
    return [tuple(Axis(a.size, joined(i, "negated_low"), joined(i, "high"), jumps[i]) for i, a in enumerate(known))]


def _is_wide(ends: Tensor, dim: int) -> bool:
    return ends.shape[dim] > 1 and ends.stride(dim) != 0


def _looked_up(op: Op, field_of: FieldOf) -> list[Field] | None:
    """Rows of an embedding depend on their index."""
    field = field_of(op.args[1])
    if field is None:
        return None
    return [tuple(axis.map(lambda ends: fit(ends.unsqueeze(-1), _shape_of(op))) for axis in field)]


# -- mixing all elements along dims --------------------------------------------------------------------------------


def _product(op: Op, field_of: FieldOf) -> list[Field]:
    """Products of matrices: rows of the first, columns of the second; and what is added to them."""
    factors = op.args if op.func.overloadpacket in (aten.mm, aten.bmm) else op.args[1:3]
    added = [] if factors is op.args else [field_of(op.args[0])]
    last = len(_shape_of(op)) - 1
    parts = [
        mixed(field, [dim])
        for factor, dim in zip(factors[:2], (last, last - 1), strict=True)
        if (field := field_of(factor)) is not None
    ]
    return [union([*parts, *(field for field in added if field is not None)], _shape_of(op))]


def _vector_product(op: Op, field_of: FieldOf) -> list[Field] | None:
    field = field_of(op.args[0])
    if field is None or field_of(op.args[1]) is not None:
        return None
    return [tuple(axis.map(lambda ends: ends.squeeze(-1)) for axis in mixed(field, [1]))]


def _reduced(op: Op, field_of: FieldOf) -> list[Field] | None:
    """Sums, means, maxima along dims."""
    field, shape = field_of(op.args[0]), _shape_of(op)
    if field is None:
        return None
    ndim = field[0].high.ndim
    asked = op.args[1] if len(op.args) > 1 else op.kwargs.get("dim")
    dims = [asked] if isinstance(asked, int) else list(asked or range(ndim))
    dims = sorted({dim % ndim for dim in dims})
    whole = mixed(field, dims)
    if len(shape) < ndim:
        whole = tuple(axis.map(lambda ends: ends.squeeze(tuple(dims))) for axis in whole)
    count = len(op.out) if isinstance(op.out, tuple | list) else 1
    return [tuple(axis.map(lambda ends: fit(ends, shape)) for axis in whole)] * count


def _along(op: Op, field_of: FieldOf) -> list[Field] | None:
    """Softmax and cumulated sums."""
    field = field_of(op.args[0])
    return None if field is None else [mixed(field, [op.args[1] % len(_shape_of(op))], _shape_of(op))]


# -- windows --------------------------------------------------------------------------------------------------------


def _convolved(op: Op, field_of: FieldOf) -> list[Field] | None:
    x, weight, _, stride, padding, dilation, transposed, _, groups = op.args
    field, shape = field_of(x), _shape_of(op)
    if field is None:
        return None
    num_dims = len(shape) - 2
    field = _over_channels(field, groups, shape[1])
    for i in range(num_dims):
        dim, kernel = i + 2, weight.shape[i + 2]
        step = _step(i, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
        if transposed:
            places = _transposed_windows(shape[dim], x.shape[dim], **step)
            field = _slid_field(field, dim, places, own=None, scale=1 / _at(stride, i), nothing_outside=True)
        else:
            own = i if num_dims == len(field) else None
            field = _slid_field(field, dim, windows(shape[dim], **step), own=own, scale=_at(stride, i))
    return [field]


def _step(i: int, **settings: Any) -> dict[str, int]:
    """The settings of a window along one dim."""
    return {name: _at(values, i) for name, values in settings.items()}


def _at(values: Any, i: int) -> int:
    if isinstance(values, int):
        return values
    return int(values[i] if len(values) > 1 else values[0])


def _over_channels(field: Field, groups: int, out_channels: int) -> Field:
    """The union over the channels of each group, for as many channels as come out."""

    def one(ends: Tensor) -> Tensor:
        small = compact(ends)
        if small.shape[1] > 1:
            grouped = small.unflatten(1, (groups, -1)).amax(dim=2)
            small = grouped if groups == 1 else grouped.repeat_interleave(out_channels // groups, dim=1)
        return small.expand([out_channels if d == 1 else s for d, s in enumerate(ends.shape)])

    return tuple(axis.map(one) for axis in field)


def _slid_field(
    field: Field, dim: int, places: Tensor, *, own: int | None, scale: float, nothing_outside: bool = False
) -> Field:
    """Windows along one dim.

    Args:
        field: of the argument.
        dim: along which they slide.
        places: the elements of each window.
        own: the axis that this dim is, for maps of one element that do not show it.
        scale: by what the jump of the axis that moves along the dim is multiplied.
        nothing_outside: whether there is nothing outside of the dim, instead of a border that goes on.
    """
    size = field[0].high.shape[dim]

    def one(number: int, axis: Axis) -> Axis:
        jump = jump_along(axis, dim) if size > 1 else axis.jump * (number == own)
        slope = None if nothing_outside else jump
        low = slid(axis.negated_low, dim, places, slope=None if slope is None else -slope)
        high = slid(axis.high, dim, places, slope=slope)
        shape = [len(places) if d == dim else s for d, s in enumerate(axis.high.shape)]
        return Axis(axis.size, fit(low, shape), fit(high, shape), jump * scale if jump else axis.jump)

    return tuple(one(number, axis) for number, axis in enumerate(field))


def _transposed_windows(out: int, size: int, *, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """The elements that reach each output of a transposed convolution; those that do not are out of the dim."""
    from_start = torch.arange(out)[:, None] + padding - torch.arange(kernel) * dilation
    reached = from_start.remainder(stride) == 0
    return torch.where(reached, torch.div(from_start, stride, rounding_mode="floor"), size)


def _pooled(op: Op, field_of: FieldOf) -> list[Field] | None:
    field, shape = field_of(op.args[0]), _shape_of(op)
    if field is None:
        return None
    x, kernel = op.args[0], op.args[1]
    stride = op.args[2] if len(op.args) > 2 and op.args[2] else kernel
    padding = op.args[3] if len(op.args) > 3 else 0
    is_max = "max" in op.func.overloadpacket.__name__
    dilation = op.args[4] if is_max and len(op.args) > 4 else 1
    num_dims = len(shape) - (x.ndim - _num_window_dims(op))
    for i in range(num_dims):
        dim = len(shape) - num_dims + i
        step = _step(i, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
        own = i if num_dims == len(field) else None
        is_whole = shape[dim] == 1 and step["padding"] == 0 and step["kernel"] >= x.shape[dim]
        field = (
            mixed(field, [dim])
            if is_whole
            else _slid_field(field, dim, windows(shape[dim], **step), own=own, scale=step["stride"])
        )
    return [tuple(axis.map(lambda ends: fit(ends, shape)) for axis in field)] * 2


def _num_window_dims(op: Op) -> int:
    return int(next(letter for letter in op.func.overloadpacket.__name__ if letter.isdigit()))


def _adaptively_pooled(op: Op, field_of: FieldOf) -> list[Field] | None:
    field, shape = field_of(op.args[0]), _shape_of(op)
    if field is None:
        return None
    for dim in range(len(shape) - _num_window_dims(op), len(shape)):
        size, out = op.args[0].shape[dim], shape[dim]
        if out == 1:
            field = mixed(field, [dim])
        elif size != out:
            starts = torch.arange(out) * size // out
            ends = torch.tensor([math.ceil((i + 1) * size / out) for i in range(out)])
            offsets = torch.arange(int((ends - starts).max()))
            places = torch.minimum(starts[:, None] + offsets, ends[:, None] - 1)
            field = _slid_field(field, dim, places, own=None, scale=size / out)
    return [tuple(axis.map(lambda ends: fit(ends, shape)) for axis in field)] * 2


def _padded(op: Op, field_of: FieldOf) -> list[Field] | None:
    """A border of any kind goes on where the map ends."""
    field, pads, shape = field_of(op.args[0]), op.args[1], _shape_of(op)
    if field is None:
        return None
    for i in range(len(pads) // 2):
        dim = len(shape) - 1 - i
        own = len(field) - 1 - i if dim >= 2 else None
        field = _slid_field(field, dim, windows(shape[dim], kernel=1, padding=pads[2 * i]), own=own, scale=1.0)
    return [field]


def _resampled(op: Op, field_of: FieldOf) -> list[Field] | None:
    """Up-sampling and down-sampling: the pixels that each one is interpolated from."""
    field, shape = field_of(op.args[0]), _shape_of(op)
    if field is None:
        return None
    name = op.func.overloadpacket.__name__
    corners = not name.startswith("upsample_nearest") and len(op.args) > 2 and op.args[2] is True
    for dim in range(2, len(shape)):
        size, out = op.args[0].shape[dim], shape[dim]
        if size != out:
            places = _interpolated_from(name, size, out, corners).clamp(0, size - 1)
            field = _slid_field(field, dim, places, own=None, scale=size / out)
    return [field]


def _interpolated_from(name: str, size: int, out: int, corners: bool) -> Tensor:
    if "nearest" in name:
        exact = 0.5 if "exact" in name else 0.0
        return ((torch.arange(out) + exact) * size / out).floor().long()[:, None]
    place = torch.arange(out, dtype=torch.float64)
    place = place * (size - 1) / max(out - 1, 1) if corners else ((place + 0.5) * size / out - 0.5)
    if "bicubic" in name:
        return place.floor().long()[:, None] + torch.arange(-1, 3)
    place = place.clamp(min=0.0)
    return torch.stack([place.floor(), place.ceil()], dim=1).long()


def _packets(*names: str) -> Iterator[Any]:
    return (getattr(aten, name) for name in names if hasattr(aten, name))


RULES: dict[Any, Callable[[Op, FieldOf], list[Field] | None]] = {
    **dict.fromkeys(
        _packets(
            "permute", "transpose", "t", "expand", "unsqueeze", "squeeze", "select", "slice", "split",
            "split_with_sizes", "unbind", "roll", "flip", "repeat", "pixel_shuffle", "pixel_unshuffle", "unfold",
            "diagonal", "unsafe_split", "unsafe_chunk", "channel_shuffle", "transpose_", "unsqueeze_", "squeeze_",
        ),
        _moved,
    ),
    **dict.fromkeys(_packets("view", "_unsafe_view", "reshape", "_reshape_alias", "_view_copy"), _reshaped),
    **dict.fromkeys(_packets("clone", "detach", "alias", "_to_copy", "lift_fresh"), _same),
    **dict.fromkeys(_packets("cat", "stack"), _joined),
    **dict.fromkeys(_packets("copy_", "copy"), _copied),
    **dict.fromkeys(_packets("embedding"), _looked_up),
    **dict.fromkeys(
        _packets(
            "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
            "_batch_norm_with_update", "_batch_norm_no_update", "cudnn_batch_norm", "native_layer_norm",
            "native_group_norm", "_fused_rms_norm", "native_dropout",
        ),
        _first_only,
    ),
    **dict.fromkeys(_packets("mm", "bmm", "addmm", "baddbmm"), _product),
    **dict.fromkeys(_packets("mv"), _vector_product),
    **dict.fromkeys(
        _packets("mean", "sum", "amax", "amin", "max", "min", "var", "std", "logsumexp", "prod"),
        _reduced,
    ),
    **dict.fromkeys(_packets("_softmax", "_log_softmax", "_safe_softmax", "cumsum", "cumprod"), _along),
    **dict.fromkeys(_packets("convolution", "_convolution"), _convolved),
    **dict.fromkeys(
        _packets("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
        _pooled,
    ),
    **dict.fromkeys(
        _packets("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
        _adaptively_pooled,
    ),
    **dict.fromkeys(
        _packets(
            "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
            "replication_pad2d", "replication_pad3d",
        ),
        _padded,
    ),
    **dict.fromkeys(
        _packets(
            "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d",
            "upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d",
        ),
        _resampled,
    ),
}  # fmt: skip
