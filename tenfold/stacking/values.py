"""Numbers that members may differ in: the `p` of a dropout, the slope of a LeakyReLU, the momentum of a batch norm.

Such an attribute does not belong to the structure. While all members run as one program, the module holds a
`MemberNumber` in its place; one by one, each member's own Python number.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn

MEMBER_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "torch.nn.modules.dropout._DropoutNd": ("p",),
    "torch.nn.modules.activation.LeakyReLU": ("negative_slope",),
    "torch.nn.modules.activation.ELU": ("alpha",),
    "torch.nn.modules.activation.RReLU": ("lower", "upper"),
    "torch.nn.modules.activation.MultiheadAttention": ("dropout",),
    "torch.nn.modules.rnn.RNNBase": ("dropout",),
    "torch.nn.modules.batchnorm._BatchNorm": ("momentum",),
    "torchvision.ops.stochastic_depth.StochasticDepth": ("p",),
    "torchvision.ops.drop_block.DropBlock2d": ("p",),
}
"""Attributes that a rule takes a member, by the class that has them; by name, so that torchvision stays unloaded."""


def member_attributes(module: nn.Module) -> dict[str, float]:
    """The attributes of one module that members may differ in, with this module's values."""
    own, kind = vars(module), cast(Hashable, type(module))
    return {name: own[name] for name in _names_in(kind) if type(own.get(name)) in (int, float)}


@functools.cache
def _names_in(kind: Any) -> tuple[str, ...]:
    """The attributes that members may differ in, of a module of this class."""
    names = (MEMBER_ATTRIBUTES.get(f"{cls.__module__}.{cls.__qualname__}", ()) for cls in kind.__mro__)
    return tuple(chain.from_iterable(names))


class MemberNumber:
    """One number a member, which the members' common program takes for a number.

    Arithmetic gives another such; a comparison gives a truth value where all members agree. Handed to a torch
    function it is a 0-dimensional tensor.

    Args:
        values: the number of each member.
        tensor: the same, as one member sees it inside vmap: shape ().
    """

    def __init__(self, values: Sequence[float], tensor: Tensor) -> None:
        self.values = tuple(values)
        self.tensor = tensor

    def _with(self, other: Any, operation: Callable[[Any, Any], Any], turned: bool = False) -> Any:
        if not isinstance(other, MemberNumber | int | float):
            return NotImplemented
        others = other.values if isinstance(other, MemberNumber) else (other,) * len(self.values)
        theirs = other.tensor if isinstance(other, MemberNumber) else other
        pairs = zip(others, self.values, strict=True) if turned else zip(self.values, others, strict=True)
        values = [operation(one, two) for one, two in pairs]
        return MemberNumber(values, operation(theirs, self.tensor) if turned else operation(self.tensor, theirs))

    def _agreed(self, other: Any, operation: Callable[[Any, Any], bool]) -> Any:
        if not isinstance(other, MemberNumber | int | float):
            return NotImplemented
        others = other.values if isinstance(other, MemberNumber) else (other,) * len(self.values)
        answers = {operation(one, two) for one, two in zip(self.values, others, strict=True)}
        if len(answers) > 1:
            raise RuntimeError("a branch depends on a number in which the members differ")
        return answers.pop()

    def __add__(self, other: Any) -> Any:
        return self._with(other, operator.add)

    def __radd__(self, other: Any) -> Any:
        return self._with(other, operator.add, turned=True)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, operator.sub)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, operator.sub, turned=True)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, operator.mul)

    def __rmul__(self, other: Any) -> Any:
        return self._with(other, operator.mul, turned=True)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, operator.truediv)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, operator.truediv, turned=True)

    def __lt__(self, other: Any) -> Any:
        return self._agreed(other, operator.lt)

    def __le__(self, other: Any) -> Any:
        return self._agreed(other, operator.le)

    def __gt__(self, other: Any) -> Any:
        return self._agreed(other, operator.gt)

    def __ge__(self, other: Any) -> Any:
        return self._agreed(other, operator.ge)

    def __eq__(self, other: object) -> Any:
        return self._agreed(other, operator.eq)

    def __ne__(self, other: object) -> Any:
        return self._agreed(other, operator.ne)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._agreed(0, operator.ne))

    def __float__(self) -> float:
        raise RuntimeError("a number in which the members differ is needed as one Python number")

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """A torch function that no rule knows gets the tensor."""
        return func(
            *(plain_number(argument) for argument in args),
            **{name: plain_number(value) for name, value in (kwargs or {}).items()},
        )


def plain_number(value: Any) -> Any:
    """The tensor of a member's number; anything else as it is."""
    return value.tensor if isinstance(value, MemberNumber) else value


class CumulativeMomentum:
    """The momentum of a batch norm with `momentum=None`, read where it is needed: 1 / (batches so far).

    PyTorch reads the count into a Python number, which one program for all members does not have.
    """

    def __init__(self, norm: nn.Module) -> None:
        self._norm = norm

    def tensor(self) -> Tensor:
        """The weight of the newest batch, shape (); the count already includes it."""
        count = self._norm.num_batches_tracked
        assert isinstance(count, Tensor)
        return count.to(torch.float64).reciprocal()


def cumulative_norms(model: nn.Module) -> dict[str, CumulativeMomentum]:
    """What stands in for `momentum=None` in each batch norm, by place, while all members run as one program."""
    return {
        f"{place}.momentum" if place else "momentum": CumulativeMomentum(module)
        for place, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.momentum is None
        and module.num_batches_tracked is not None
    }


def gather_values(models: Sequence[nn.Module]) -> dict[str, Tensor]:
    """The attributes in which models of one structure differ.

    Returns:
        By place ("1.p"), float64, shape (M,); what is the same in all models is left out.
    """
    tables = [
        {
            f"{place}.{name}" if place else name: float(value)
            for place, module in model.named_modules()
            for name, value in member_attributes(module).items()
        }
        for model in models
    ]
    columns = {place: [table[place] for table in tables] for place in tables[0]}
    return {
        place: torch.tensor(column, dtype=torch.float64) for place, column in columns.items() if len(set(column)) > 1
    }


def set_values(model: nn.Module, values: Mapping[str, Any]) -> None:
    """Sets attributes by their places."""
    for place, value in values.items():
        module, _, name = place.rpartition(".")
        vars(model.get_submodule(module))[name] = value
