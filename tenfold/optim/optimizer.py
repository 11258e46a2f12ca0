"""What all stacked optimisers share: groups, a value a member for every hyper-parameter, state that follows `keep`.

The surface is that of `torch.optim`: groups of parameters with their own options, `zero_grad`, `step`,
`state_dict`. The difference is that every option may be a tensor with one value a member.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.stacking import Stack, stack_of
from tenfold.stacking.layout import contiguous_view, per_member_shape, take_members

Value = float | bool | Tensor
Group = dict[str, Any]


class StackedOptimizer:
    """Base of the stacked optimisers; a subclass gives `_update`, the step of one stacked parameter.

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
        entries = list(params)
        if not entries:
            raise ValueError(f"{self._name}: params must hold at least one parameter, got none.")
        groups = entries if isinstance(entries[0], Mapping) else [{"params": entries}]
        self.stack = self._owner(groups)
        self.param_groups: list[Group] = [self._group(group, defaults) for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self.num_steps = 0
        self.stack.follow(self)

    @property
    def _name(self) -> str:
        return type(self).__name__

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
        return {"params": list(group["params"]), **values}

    def _value(self, name: str, value: Any) -> Any:
        """Checks an option: a plain number stays one, a value a member becomes float64 of shape (M,)."""
        if isinstance(value, bool):
            return value
        if isinstance(value, tuple):
            return tuple(self._value(f"{name}[{i}]", part) for i, part in enumerate(value))
        if isinstance(value, Tensor | Sequence):
            value = torch.as_tensor(value, dtype=torch.float64, device=self.stack.device)
            if value.shape != (len(self.stack),):
                raise ValueError(
                    f"{self._name}: {name} must be a number or one value a member, shape ({len(self.stack)},), "
                    f"got shape {tuple(value.shape)}."
                )
        low, high = self._range(name)
        smallest, largest = (float(value.min()), float(value.max())) if isinstance(value, Tensor) else (value, value)
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
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state.setdefault(parameter, {})
                    self._update(contiguous_view(parameter), contiguous_view(parameter.grad), state, group)

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: Group) -> None:
        """Moves one stacked parameter; subclasses write it in the member axis' terms."""
        raise NotImplementedError

    def keep(self, indices: Tensor) -> None:
        """Keeps the options and the state of the members at these places; the stack calls it."""
        for group in self.param_groups:
            for name, value in group.items():
                if name != "params":
                    group[name] = _take(value, indices)
        for state in self.state.values():
            for name, value in state.items():
                state[name] = take_members(value, indices)

    def state_dict(self) -> dict[str, Any]:
        """The moments and the step count, by the parameters' places in the groups."""
        order = [parameter for group in self.param_groups for parameter in group["params"]]
        return {
            "num_steps": self.num_steps,
            "state": {place: self.state[p] for place, p in enumerate(order) if p in self.state},
            "groups": [{k: v for k, v in group.items() if k != "params"} for group in self.param_groups],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` gave for the same groups and number of members."""
        order = [parameter for group in self.param_groups for parameter in group["params"]]
        self.num_steps = state["num_steps"]
        self.state = {
            order[place]: {name: tensor.clone() for name, tensor in tensors.items()}
            for place, tensors in state["state"].items()
        }
        for group, saved in zip(self.param_groups, state["groups"], strict=True):
            group.update(saved)


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


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float | Tensor) -> Tensor:
    """Scales each member's gradient down to a norm of at most `max_norm`; members do not see each other's.

    Args:
        parameters: stacked parameters whose gradients are set; those without one are passed over.
        max_norm: the largest allowed 2-norm, over all of a member's gradients together; a number > 0, or shape (M,).

    Returns:
        Each member's norm before clipping, float, shape (M,).

    Raises:
        ValueError: no parameter has a gradient.

    References:
        Pascanu, Mikolov, Bengio: On the difficulty of training recurrent neural networks, ICML 2013, algorithm 1.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        raise ValueError("clip_grad_norm_: no parameter has a gradient. Call it between backward() and step().")
    norms = torch.stack([torch.linalg.vector_norm(g, dim=tuple(range(1, g.dim()))) for g in gradients])
    norm_M = torch.linalg.vector_norm(norms, dim=0)
    bound = torch.as_tensor(max_norm, dtype=norm_M.dtype, device=norm_M.device)
    scale_M = (bound / (norm_M + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(per_member_shape(scale_M, gradient))
    return norm_M
