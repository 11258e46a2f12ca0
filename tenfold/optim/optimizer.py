"""What all stacked optimisers share: groups, a value a member for every hyper-parameter, state that follows `keep`.

The surface is that of `torch.optim`: groups of parameters with their own options, `zero_grad`, `step`,
`state_dict`. The difference is that every option may be a tensor with one value a member.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from tenfold.optim.options import Group, OptionCheck
from tenfold.optim.unreached import put_parts_back, resting_parts
from tenfold.optim.values import Value, add_scaled, advance_, is_zero, shrink_
from tenfold.stacking import Stack, stack_of
from tenfold.stacking.layout import contiguous_view, lying_order, take_members

State = dict[str, Any]
"""Of one parameter: "steps", how often it has moved; tensors that lie as `contiguous_view` of it; numbers, or values
a member."""

_BATCH_NUMBERS = 1 << 18  # 1 MB of float32: parameters up to this size together share their kernel calls


class Move(NamedTuple):
    """What one parameter's step works on.

    Attributes:
        parameter: the stacked parameter, its dimensions in the order in which they lie in memory; without a graph.
        gradient: likewise; with the penalties' part, and turned round where the group maximises.
        state: its moments, which lie likewise, and "steps", an int, or float64 of shape (M,) for members of
            different ages.
    """

    parameter: Tensor
    gradient: Tensor
    state: State


class _Place(NamedTuple):
    """A parameter's memory, its dimensions in the order in which they lie, that order if it is another, its state."""

    view: Tensor
    order: tuple[int, ...] | None
    state: State


class StackedOptimizer:
    """Base of the stacked optimisers; a subclass gives `_update`, the step of some parameters of a group.

    Penalties are applied here, before `_update` sees the gradient: it grows by `weight_decay` times the parameter
    (L2) and by `l1` times the parameter's sign. Where decay is decoupled, the parameter shrinks by
    lr * weight_decay instead, in `_advance`, by which every `_update` ends that may have it.

    Args:
        params: stacked parameters of one stack (`stack.parameters()`), or groups as in `torch.optim`: dicts with
            the key "params" and options of their own.
        defaults: the numeric options' values where a group does not give its own; a number for all members, or one
            value a member, shape (M,). "lr", "weight_decay" and "l1" are among them.
        flags: likewise the options that are on or off for all members of a group; "maximize" is among them.

    Raises:
        ValueError: no parameters, parameters that belong to no stack or to two, a value out of its range, or a
            tensor of values that does not hold one a member.
    """

    decoupled_weight_decay: ClassVar[bool] = False
    """Whether decay is decoupled where a group has no option of this name."""
    _below_one: ClassVar[tuple[str, ...]] = ()
    """Options that must stay under 1, besides being >= 0 as all are."""

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any], flags: Mapping[str, bool]) -> None:
        groups = self._groups(params)
        self.stack = self._owner(groups)
        self._options = OptionCheck(self._name, self.stack, tuple(flags), self._below_one)
        self.param_groups: list[Group] = [self._options.group(group, {**defaults, **flags}) for group in groups]
        self.state: dict[Tensor, State] = {}
        self._places: dict[int, tuple[list[int], list[_Place]]] = {}
        self._working: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}
        self.num_steps = 0
        self._is_traced = False
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

    def zero_grad(self) -> None:
        """Forgets the gradients of all members."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Moves every member by its own gradient, with its own options."""
        self.num_steps += 1
        for number, group in enumerate(self.param_groups):
            moving = [p for p in group["params"] if p.grad is not None]
            parts = resting_parts(moving, self.state)
            self.move(self._own_moves(number, moving), group)
            if parts:
                put_parts_back(parts, self.state, functools.partial(self.first_state, group=group))

    def move(self, moves: Sequence[Move], group: Group) -> None:
        """Moves parameters by these gradients, states and options: what `step` does with each group's own."""
        for batch in batches_of(moves):
            self._update(self._penalise(batch, group), group)

    @contextmanager
    def traced(self) -> Iterator[None]:
        """While a program is traced within the block, working memory is the program's own."""
        self._is_traced = True
        try:
            yield
        finally:
            self._is_traced = False

    def _own_moves(self, number: int, moving: Sequence[Tensor]) -> list[Move]:
        """The moves of a group's parameters; a copy of a gradient only where it lies otherwise than its parameter.

        Fused kernels read memory without its strides.
        """
        moves = []
        for (view, order, state), parameter in zip(self._places_of(number, moving), moving, strict=True):
            state["steps"] += 1
            gradient: Tensor = parameter.grad if order is None else parameter.grad.permute(order)  # type: ignore[assignment, union-attr]
            moves.append(Move(view, gradient.contiguous(), state))
        return moves

    def _places_of(self, number: int, moving: Sequence[Tensor]) -> list[_Place]:
        """Where a group's parameters and states are: looked up when they are others than at the step before."""
        key = [*map(Tensor.data_ptr, moving), *map(id, self.state.values())]
        known = self._places.get(number)
        if known is None or known[0] != key:
            places = [self._place_of(parameter) for parameter in moving]
            key = [*map(Tensor.data_ptr, moving), *map(id, self.state.values())]
            known = self._places[number] = (key, places)
        return known[1]

    def _place_of(self, parameter: Tensor) -> _Place:
        order = lying_order(parameter)
        is_usual = order == tuple(range(parameter.dim()))
        state = self.state.setdefault(parameter, {"steps": 0})
        return _Place(contiguous_view(parameter.detach()), None if is_usual else order, state)

    def _penalise(self, batch: list[Move], group: Group) -> list[Move]:
        """The moves with what decay, penalties and `maximize` make of gradient and parameter."""
        if not self._penalises(group):
            return batch
        l2 = 0.0 if self._decouples(group) else group["weight_decay"]
        l1, maximize = group["l1"], group["maximize"]
        parameters = [move.parameter for move in batch]
        pieces = self._scratch(parameters, "gradients")
        signs = pieces if is_zero(l1) else self._scratch(parameters, "signs")
        return [
            move._replace(gradient=_penalised(move, piece, sign, l2, l1, maximize))
            for move, piece, sign in zip(batch, pieces, signs, strict=True)
        ]

    def _penalises(self, group: Group) -> bool:
        """Whether decay, penalties or `maximize` change gradients."""
        adds_decay = not self._decouples(group) and not is_zero(group["weight_decay"])
        return adds_decay or group["maximize"] or not is_zero(group["l1"])

    def _decouples(self, group: Group) -> bool:
        return group.get("decoupled_weight_decay", self.decoupled_weight_decay)

    def _advance(self, parameters: list[Tensor], directions: list[Tensor], rate: Value, group: Group) -> None:
        """The end of an update: decoupled decay, and each parameter += rate * direction."""
        if self._decouples(group) and not is_zero(group["weight_decay"]):
            # here and not before the directions are made: the parameters are then in the cache for both
            shrink_(parameters, 1.0 - group["lr"] * group["weight_decay"])
        advance_(parameters, directions, rate)

    def _update(self, batch: Sequence[Move], group: Group) -> None:
        """Moves parameters of one dtype, and of one age where ages are numbers, by the options of their group."""
        raise NotImplementedError

    def first_state(self, name: str, group: Group) -> Value:
        """What a part of a parameter's state is before its first step, for members that step later than others."""
        return 0.0

    def _scratch(self, views: Sequence[Tensor], name: str) -> list[Tensor]:
        """Working memory of some parameters' sizes; one piece serves all in turn, so that it stays in the cache."""
        if self._is_traced:
            return [torch.empty_like(view) for view in views]
        key, numels = (name, views[0].dtype, views[0].device), [view.numel() for view in views]
        if key not in self._working or self._working[key].numel() < sum(numels):
            self._working[key] = torch.empty(sum(numels), dtype=views[0].dtype, device=views[0].device)
        pieces = self._working[key][: sum(numels)].split(numels)
        return [piece.view(view.shape) for piece, view in zip(pieces, views, strict=True)]

    def keep(self, indices: Tensor) -> None:
        """Keeps the options and the state of the members at these places; the stack calls it."""
        self._working, self._places = {}, {}
        for group in self.param_groups:
            for name, value in group.items():
                if name != "params":
                    group[name] = _take(value, indices)
        for state in self.state.values():
            for name, value in state.items():
                state[name] = _take(value, indices)

    def state_dict(self) -> dict[str, Any]:
        """The moments and the step counts, by the parameters' places in the groups and in the parameters' shapes."""
        return {
            "num_steps": self.num_steps,
            "state": {
                place: {name: _as_parameter(value, like=parameter) for name, value in self.state[parameter].items()}
                for place, parameter in enumerate(self._order())
                if parameter in self.state
            },
            "groups": [{k: v for k, v in group.items() if k != "params"} for group in self.param_groups],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` gave for the same groups and number of members.

        Raises:
            ValueError: the state is of other groups, parameters or options, or of another number of members.
        """
        order = self._order()
        if len(state["groups"]) != len(self.param_groups):
            raise ValueError(
                f"{self._name}.load_state_dict: the state has {len(state['groups'])} groups and the optimiser "
                f"{len(self.param_groups)}. Build the optimiser with the same groups."
            )
        for place, values in state["state"].items():
            shapes = {tuple(value.shape) for value in values.values() if isinstance(value, Tensor)}
            if place >= len(order) or shapes - {tuple(order[place].shape), (len(self.stack),)}:
                raise ValueError(
                    f"{self._name}.load_state_dict: the state of parameter {place} has shapes {sorted(shapes)}, "
                    f"expected {tuple(order[place].shape) if place < len(order) else 'no such parameter'}. "
                    "Build the optimiser on a stack of the same structure and number of members."
                )
        pairs = list(zip(self.param_groups, state["groups"], strict=True))
        loaded = [self._options.group({**saved, "params": group["params"]}, group) for group, saved in pairs]
        self.num_steps = state["num_steps"]
        self.state = {
            order[place]: {name: _as_lying(value, like=order[place]) for name, value in values.items()}
            for place, values in state["state"].items()
        }
        for group, values in zip(self.param_groups, loaded, strict=True):
            group.update(values)

    def _order(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]


def _listed(params: Any) -> list[Tensor]:
    return [params] if isinstance(params, Tensor) else list(params)


def batches_of(moves: Sequence[Move], most_numbers: int = _BATCH_NUMBERS) -> Iterator[list[Move]]:
    """Neighbours of one dtype and age, up to a size: small ones share their calls, large ones stay in the cache."""
    batch: list[Move] = []
    kind, numbers = None, 0
    for move in moves:
        steps, own_numbers = move.state["steps"], move.parameter.numel()
        own_kind = (move.parameter.dtype, steps if isinstance(steps, int) else None)
        if batch and (own_kind != kind or numbers + own_numbers > most_numbers):
            yield batch
            batch, numbers = [], 0
        batch.append(move)
        kind, numbers = own_kind, numbers + own_numbers
    if batch:
        yield batch


def _penalised(move: Move, piece: Tensor, sign: Tensor, l2: Value, l1: Value, maximize: bool) -> Tensor:
    """The gradient of loss + l2 / 2 * |p|_2^2 + l1 * |p|_1, in `piece`; of -loss where it is to be maximised."""
    gradient = torch.neg(move.gradient, out=piece) if maximize else move.gradient
    if not is_zero(l2):
        gradient = add_scaled(gradient, move.parameter, l2, out=piece)
    if not is_zero(l1):
        gradient = add_scaled(gradient, torch.sign(move.parameter, out=sign), l1, out=piece)
    return gradient


def _is_moment(value: Any, like: Tensor) -> bool:
    """Whether a part of a parameter's state is as large as it; the rest are numbers and values a member."""
    return isinstance(value, Tensor) and value.dim() == like.dim()


def _as_parameter(value: Any, like: Tensor) -> Any:
    """A moment in its parameter's shape; other state as it is."""
    if not _is_moment(value, like):
        return value
    order = lying_order(like)
    return value.permute([order.index(dim) for dim in range(like.dim())])


def _as_lying(value: Any, like: Tensor) -> Any:
    """A copy of a moment in the layout in which `_update` works on it; of other state on its device."""
    if not isinstance(value, Tensor):
        return value
    if not _is_moment(value, like):
        return value.to(like.device, copy=True)
    return contiguous_view(torch.empty_like(like, dtype=value.dtype).copy_(value), like=like)


def _take(value: Any, indices: Tensor) -> Any:
    if isinstance(value, tuple):
        return tuple(_take(part, indices) for part in value)
    return take_members(value, indices) if isinstance(value, Tensor) else value
