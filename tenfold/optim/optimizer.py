"""What all stacked optimisers share: groups, a value a member for every hyper-parameter, state that follows `keep`.

The surface is that of `torch.optim`: groups of parameters with their own options, `zero_grad`, `step`,
`state_dict`. The difference is that every option may be a tensor with one value a member.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tenfold.stacking import Stack, stack_of
from tenfold.stacking.layout import contiguous_view, lying_order, per_member_shape, take_members

Value = float | bool | Tensor
Group = dict[str, Any]
State = dict[str, Any]
"""Of one parameter: "steps", how often it has moved, and tensors that lie as `contiguous_view` of it."""


class Move(NamedTuple):
    """What one parameter's step works on.

    Attributes:
        parameter: the stacked parameter, its dimensions in the order in which they lie in memory; without a graph.
        gradient: likewise.
        state: its moments, which lie likewise, and "steps".
    """

    parameter: Tensor
    gradient: Tensor
    state: State


class StackedOptimizer:
    """Base of the stacked optimisers; a subclass gives `_update`, the step of a group's parameters.

    Args:
        params: stacked parameters of one stack (`stack.parameters()`), or groups as in `torch.optim`: dicts with
            the key "params" and options of their own.
        defaults: the options' values where a group does not give its own; a number for all members, or a tensor
            of shape (M,) with a value a member.

    Raises:
        ValueError: no parameters, parameters that belong to no stack or to two, a value out of its range, or a
            tensor of values that does not hold one a member.
    """

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Value]) -> None:
        groups = self._groups(params)
        self.stack = self._owner(groups)
        self.param_groups: list[Group] = [self._group(group, defaults) for group in groups]
        self.state: dict[Tensor, State] = {}
        self._views: dict[Tensor, tuple[Tensor, tuple[int, ...]]] = {}
        self._working: dict[tuple[torch.dtype, torch.device], Tensor] = {}
        self.num_steps = 0
        self.stack.follow(self)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _groups(self, params: Iterable[Any]) -> list[dict[str, Any]]:
        """The groups, each with a list of its own; a generator can be read only once."""
        entries: list[Any] = [params] if isinstance(params, Tensor | Mapping) else list(params)
        if entries and isinstance(entries[0], Mapping):
            groups = [{**group, "params": _listed(group["params"])} for group in entries]
        else:
            groups = [{"params": entries}]
        flat = [parameter for group in groups for parameter in group["params"]]
        if not flat:
            raise ValueError(f"{self._name}: params must hold at least one parameter, got none.")
        if len({id(parameter) for parameter in flat}) < len(flat):
            raise ValueError(
                f"{self._name}: params must hold each parameter once, got one twice. Put it into one group only."
            )
        return groups

    def _owner(self, groups: Sequence[Mapping[str, Any]]) -> Stack:
        owners = {stack_of(parameter) for group in groups for parameter in group["params"]}
        if len(owners) != 1 or None in owners:
            raise ValueError(
                f"{self._name}: params must come from one stack's parameters(), got parameters of "
                f"{'no stack' if None in owners else f'{len(owners)} stacks'}. For a plain model use torch.optim."
            )
        owner = owners.pop()
        assert owner is not None
        return owner

    def _group(self, group: Mapping[str, Any], defaults: Mapping[str, Value]) -> Group:
        unknown = set(group) - set(defaults) - {"params"}
        if unknown:
            raise ValueError(
                f"{self._name}: a group has the unknown option {sorted(unknown)[0]!r}. "
                f"Options are {', '.join(sorted(defaults))}."
            )
        values = {name: self._value(name, group.get(name, default)) for name, default in defaults.items()}
        return {"params": group["params"], **values}

    def _value(self, name: str, value: Any) -> Any:
        """Checks an option: a plain number stays one, a value a member becomes float64 of shape (M,)."""
        if isinstance(value, bool):
            return value
        if name == "betas":
            if isinstance(value, Tensor) or len(value) != 2:
                raise ValueError(f"{self._name}: betas must be a pair, got {value!r}. (0.9, 0.999) is common.")
            return tuple(self._value(f"{name}[{i}]", part) for i, part in enumerate(value))
        if not isinstance(value, Real | Tensor | Sequence | np.ndarray) or isinstance(value, str):
            raise TypeError(f"{self._name}: {name} must be a number or one value a member, got {value!r}.")
        if not isinstance(value, Real):
            value = torch.as_tensor(value, dtype=torch.float64, device=self.stack.device)
            if value.shape != (len(self.stack),):
                raise ValueError(
                    f"{self._name}: {name} must be a number or one value a member, shape ({len(self.stack)},), "
                    f"got shape {tuple(value.shape)}."
                )
        low, high = self._range(name)
        if isinstance(value, Tensor):
            smallest, largest = float(value.min()), float(value.max())
        else:
            smallest = largest = value = float(value)
        if not (low <= smallest and largest < high):
            bounds = f">= {low}" + (f" and < {high}" if high != float("inf") else "")
            raise ValueError(
                f"{self._name}: {name} must be {bounds} and finite, got {smallest if smallest < low else largest}."
            )
        return value

    def _range(self, name: str) -> tuple[float, float]:
        """The smallest allowed value of an option and the bound that it must stay under."""
        return (0.0, 1.0) if name.startswith(("betas", "momentum")) else (0.0, float("inf"))

    def zero_grad(self) -> None:
        """Forgets the gradients of all members."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Moves every member by its own gradient, with its own options."""
        self.num_steps += 1
        for group in self.param_groups:
            moves = [self._move(parameter) for parameter in group["params"] if parameter.grad is not None]
            self._update(moves, group)

    def _move(self, parameter: Tensor) -> Move:
        state = self.state.setdefault(parameter, {"steps": 0})
        state["steps"] += 1
        view, order = self._lying(parameter)
        # a copy only where the gradient lies otherwise: fused kernels read memory without its strides
        return Move(view, parameter.grad.permute(order).contiguous(), state)  # type: ignore[union-attr]

    def _update(self, moves: Sequence[Move], group: Group) -> None:
        """Moves the stacked parameters of a group; subclasses write it in the member axis' terms."""
        raise NotImplementedError

    def _lying(self, parameter: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """A parameter's memory with its dimensions in the order in which they lie, and that order."""
        known = self._views.get(parameter)
        if known is None or known[0].data_ptr() != parameter.data_ptr() or known[0].shape[0] != parameter.shape[0]:
            known = self._views[parameter] = (contiguous_view(parameter.detach()), lying_order(parameter))
        return known

    def _scratch(self, views: Sequence[Tensor]) -> list[Tensor]:
        """Working memory of some parameters' sizes; one piece serves all in turn, so that it stays in the cache."""
        key, numels = (views[0].dtype, views[0].device), [view.numel() for view in views]
        if key not in self._working or self._working[key].numel() < sum(numels):
            self._working[key] = torch.empty(sum(numels), dtype=views[0].dtype, device=views[0].device)
        pieces = self._working[key][: sum(numels)].split(numels)
        return [piece.view(view.shape) for piece, view in zip(pieces, views, strict=True)]

    def keep(self, indices: Tensor) -> None:
        """Keeps the options and the state of the members at these places; the stack calls it."""
        self._working, self._views = {}, {}
        for group in self.param_groups:
            for name, value in group.items():
                if name != "params":
                    group[name] = _take(value, indices)
        for state in self.state.values():
            for name, value in state.items():
                state[name] = _take(value, indices)

    def state_dict(self) -> dict[str, Any]:
        """The moments and the step counts, by the parameters' places in the groups and in the parameters' shapes."""
        order = [parameter for group in self.param_groups for parameter in group["params"]]
        return {
            "num_steps": self.num_steps,
            "state": {
                place: {name: _as_parameter(value, like=parameter) for name, value in self.state[parameter].items()}
                for place, parameter in enumerate(order)
                if parameter in self.state
            },
            "groups": [{k: v for k, v in group.items() if k != "params"} for group in self.param_groups],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` gave for the same groups and number of members.

        Raises:
            ValueError: the state is of other groups, parameters or another number of members.
        """
        order = [parameter for group in self.param_groups for parameter in group["params"]]
        if len(state["groups"]) != len(self.param_groups):
            raise ValueError(
                f"{self._name}.load_state_dict: the state has {len(state['groups'])} groups and the optimiser "
                f"{len(self.param_groups)}. Build the optimiser with the same groups."
            )
        for place, values in state["state"].items():
            shapes = {tuple(value.shape) for value in values.values() if isinstance(value, Tensor)}
            if place >= len(order) or shapes - {tuple(order[place].shape)}:
                raise ValueError(
                    f"{self._name}.load_state_dict: the state of parameter {place} has shapes {sorted(shapes)}, "
                    f"expected {tuple(order[place].shape) if place < len(order) else 'no such parameter'}. "
                    "Build the optimiser on a stack of the same structure and number of members."
                )
        self.num_steps = state["num_steps"]
        self.state = {
            order[place]: {name: _as_lying(value, like=order[place]) for name, value in values.items()}
            for place, values in state["state"].items()
        }
        for group, saved in zip(self.param_groups, state["groups"], strict=True):
            group.update(saved)


def _listed(params: Any) -> list[Tensor]:
    return [params] if isinstance(params, Tensor) else list(params)


def _as_parameter(value: Any, like: Tensor) -> Any:
    """A moment in its parameter's shape; what is no tensor stays."""
    if not isinstance(value, Tensor):
        return value
    order = lying_order(like)
    return value.permute([order.index(dim) for dim in range(like.dim())])


def _as_lying(value: Any, like: Tensor) -> Any:
    """A copy of a moment in the layout in which `_update` works on it."""
    if not isinstance(value, Tensor):
        return value
    return contiguous_view(torch.empty_like(like, dtype=value.dtype).copy_(value), like=like)


def _take(value: Any, indices: Tensor) -> Any:
    if isinstance(value, tuple):
        return tuple(_take(part, indices) for part in value)
    return take_members(value, indices) if isinstance(value, Tensor) else value


def spread(value: Value, like: Tensor) -> Any:
    """An option ready to be multiplied with a stacked tensor: a number, or shape (M, 1, ..., 1) in its dtype."""
    return per_member_shape(value, like).to(like.dtype) if isinstance(value, Tensor) else value


def is_zero(value: Value) -> bool:
    """Whether an option is switched off for every member (a value a member counts as on)."""
    return not isinstance(value, Tensor) and value == 0
