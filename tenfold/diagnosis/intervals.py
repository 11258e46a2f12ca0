"""Which stretch of the input each element of a tensor depends on, one interval an axis of the input.

An interval is kept as its two ends, each with a value an element of the tensor: "high", and "minus low", so that the
union of two is the maximum of both ends. Ends are ordinary tensors of the traced tensor's shape, and what moves
elements about (views, permutations, concatenation) is applied to them as it is. A dim along which nothing varies is
expanded from one element, so that the ends of a map of 64x224x224 hold 224 numbers.

Outside of the input the axis goes on: a border that is padded counts as pixels that happen to be zero. The field of a
deep layer is then larger than the input, as in the literature.

A axes of the input
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NOTHING = -torch.inf


@dataclass(frozen=True)
class Axis:
    """The ends of the intervals along one axis of the input.

    Attributes:
        size: of the input along this axis.
        negated_low: minus the first position, float64, expandable to the tensor's shape; minus infinity where an
            element depends on no input.
        high: the last position, likewise.
        jump: by how much positions move from one element to the next; taken from the ends where they show it.
    """

    size: int
    negated_low: Tensor
    high: Tensor
    jump: float

    def map(self, change: Callable[[Tensor], Tensor]) -> Axis:
        """The axis with both ends changed alike."""
        return Axis(self.size, change(self.negated_low), change(self.high), self.jump)

    def clipped(self) -> Axis:
        """Within the input."""
        return Axis(
            self.size, self.negated_low.clamp(max=0.0), self.high.clamp(max=self.size - 1.0), self.jump
        )  # minus infinity stays


Field = tuple[Axis, ...]


def input_field(shape: Sequence[int], dims: Sequence[int]) -> Field:
    """The field of the input itself: each element depends on its own position.

    Args:
        shape: of the input, batch included.
        dims: which of its dims are axes.

    Example:
        >>> [axis] = input_field((1, 3, 8), [2])
        >>> axis.high[0, 0], axis.high.stride()[1]
        (tensor([0., 1., 2., 3., 4., 5., 6., 7.], dtype=torch.float64), 0)
    """
    field = []
    for dim in dims:
        places = torch.arange(shape[dim], dtype=torch.float64)
        places = places.view([-1 if d == dim else 1 for d in range(len(shape))])
        field.append(Axis(shape[dim], fit(-places, shape), fit(places, shape), 1.0))
    return tuple(field)


def compact(ends: Tensor) -> Tensor:
    """One element of each dim that was expanded from one."""
    for dim, (size, stride) in enumerate(zip(ends.shape, ends.stride(), strict=True)):
        if stride == 0 and size > 1:
            ends = ends.narrow(dim, 0, 1)
    return ends


def fit(ends: Tensor, shape: Sequence[int]) -> Tensor:
    """Ends of a shape that broadcasts to this one, expanded."""
    return ends.expand(tuple(shape))


def union(parts: Sequence[Field], shape: Sequence[int]) -> Field:
    """What elements depend on that are computed from these, element by element, of this shape."""

    def joined(ends: Sequence[Tensor]) -> Tensor:
        small = [compact(e) for e in ends]
        whole = small[0]
        for other in small[1:]:
            whole = torch.maximum(whole, other)
        return fit(whole, shape)

    return tuple(
        Axis(
            axes[0].size,
            joined([axis.negated_low for axis in axes]),
            joined([axis.high for axis in axes]),
            max(axis.jump for axis in axes),
        )
        for axes in zip(*parts, strict=True)
    )


def mixed(field: Field, dims: Sequence[int], shape: Sequence[int] | None = None) -> Field:
    """What elements depend on that are computed from all elements along these dims, which keep the size 1.

    Where that joins different positions the result is cut to the input: what lies outside of it is not part of a
    whole map.

    Args:
        field: of the argument.
        dims: along which all is mixed.
        shape: to expand to; None leaves sizes of 1.
    """

    def one(axis: Axis) -> Axis:
        low, high = (_amax(compact(e), dims) for e in (axis.negated_low, axis.high))
        joined = Axis(axis.size, low, high, axis.jump)
        if _varies(axis.high, dims) or _varies(axis.negated_low, dims):
            joined = joined.clipped()
        return joined if shape is None else joined.map(lambda ends: fit(ends, shape))

    return tuple(one(axis) for axis in field)


def _amax(ends: Tensor, dims: Sequence[int]) -> Tensor:
    return ends.amax(dim=tuple(dims), keepdim=True) if dims else ends


def _varies(ends: Tensor, dims: Sequence[int]) -> bool:
    small = compact(ends)
    if not dims or all(small.shape[dim] == 1 for dim in dims):
        return False
    lowest = torch.where(small == NOTHING, torch.inf, small).amin(dim=tuple(dims))
    return bool((small.amax(dim=tuple(dims)) > lowest).any())


def slid(ends: Tensor, dim: int, places: Tensor, *, slope: float | None) -> Tensor:
    """The maximum over windows along one dim.

    Args:
        ends: as in `Axis`.
        dim: along which the windows slide.
        places: int64, shape (out, kernel): the elements of each window; outside of the dim they are extrapolated.
        slope: by how much the ends move from one element to the next; None where outside of the dim there is nothing.

    Returns:
        As `ends`, with `out` elements along the dim.
    """
    size, out = ends.shape[dim], places.shape[0]
    small = compact(ends)
    if small.shape[dim] == 1 and not slope:
        if slope is not None or bool(((places >= 0) & (places < size)).any(dim=1).all()):
            return small.expand([out if d == dim else s for d, s in enumerate(small.shape)])
        small = ends  # some windows see nothing at all
    inside = places.clamp(0, size - 1)
    taken = small.expand([size if d == dim else s for d, s in enumerate(small.shape)])
    taken = taken.index_select(dim, inside.flatten()).unflatten(dim, tuple(places.shape))
    beyond = (places - inside).to(torch.float64).view([*places.shape] + [1] * (taken.ndim - dim - 2))
    taken = torch.where(beyond != 0, NOTHING, taken) if slope is None else taken + beyond * slope
    return taken.amax(dim=dim + 1)


def windows(out: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Tensor:
    """The elements that each output of a convolution or pooling sees, int64, shape (out, kernel).

    Example:
        >>> windows(3, kernel=3, stride=2, padding=1)
        tensor([[-1,  0,  1],
                [ 1,  2,  3],
                [ 3,  4,  5]])
    """
    return torch.arange(out)[:, None] * stride - padding + torch.arange(kernel) * dilation


def jump_along(axis: Axis, dim: int) -> float:
    """By how much positions move from one element to the next along a dim; 0 where they do not move along it.

    Where steps differ, as after up-sampling, it is what the axis remembers.
    """
    ends = compact(axis.high)
    if ends.shape[dim] == 1:
        return 0.0
    steps = ends.diff(dim=dim)
    steps = steps[steps.isfinite()]
    if not steps.numel() or not bool((steps != 0).any()):
        return 0.0
    return float(steps[0]) if bool((steps == steps[0]).all()) else axis.jump
