"""From recipes to what moves a stack: groups of parameters, the optimiser, the schedule, and what is frozen."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold import optim
from tenfold.core.errors import did_you_mean
from tenfold.core.task import Direction
from tenfold.optim import OPTIMIZERS, SCHEDULES
from tenfold.stacking import Stack
from tenfold.train.recipe import Recipe

_NEVER = 2**31  # epochs of patience of a member that does not stop


def make_optimizer(stack: Stack, parameters: Sequence[Tensor], recipes: Sequence[Recipe]) -> optim.StackedOptimizer:
    """The stacked optimiser of members that share a program, with each member's own values.

    Args:
        stack: the members.
        parameters: those of the stack that are trained.
        recipes: one a member.
    """
    stacked, recipe = OPTIMIZERS[recipes[0].optimizer].stacked, recipes[0]
    options = _options(recipes)
    groups = _rate_groups(stack, parameters, recipes, options["lr"])
    if not recipe.decay_biases:
        groups = optim.decay_groups(stack, options["weight_decay"], l1=options["l1"], groups=groups)
    known = inspect.signature(stacked).parameters
    return stacked(groups, **{name: value for name, value in options.items() if name in known})


def _options(recipes: Sequence[Recipe]) -> dict[str, Any]:
    recipe, default = recipes[0], 0.9 if recipes[0].optimizer == "sgd" else 0.0
    momentum = [default if own.momentum is None else own.momentum for own in recipes]
    options: dict[str, Any] = {
        "lr": _values([own.lr for own in recipes]),
        "weight_decay": _values([own.weight_decay for own in recipes]),
        "l1": _number_or_values([own.l1 for own in recipes]),
        "betas": tuple(_number_or_values([getattr(own, beta) for own in recipes]) for beta in ("beta1", "beta2")),
        "nesterov": recipe.nesterov,
        # a momentum of zeros would be a velocity for nothing
        "momentum": _values(momentum) if any(momentum) else 0.0,
    }
    if any(own.eps is not None for own in recipes):
        own_eps = inspect.signature(OPTIMIZERS[recipe.optimizer].stacked).parameters.get("eps")
        default_eps = own_eps.default if own_eps is not None else 0.0
        options["eps"] = _number_or_values([default_eps if own.eps is None else own.eps for own in recipes])
    return options


def _values(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _number_or_values(numbers: Sequence[float]) -> float | Tensor:
    """One number where all members have the same: kernels take numbers at no cost."""
    return float(numbers[0]) if len(set(numbers)) == 1 else _values(numbers)


def _rate_groups(
    stack: Stack, parameters: Sequence[Tensor], recipes: Sequence[Recipe], lr_M: Tensor
) -> list[dict[str, Any]]:
    """What has the rate itself, then the groups with a factor; none of them is empty."""
    taken = {id(parameter) for parameter in parameters}
    patterns = [pattern for pattern, _ in recipes[0].lr_groups]
    rest: list[Tensor] = []
    by_pattern: dict[str, list[Tensor]] = {pattern: [] for pattern in patterns}
    for name, parameter in stack.named_parameters():
        if id(parameter) in taken:
            pattern = next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)
            (rest if pattern is None else by_pattern[pattern]).append(parameter)
    _refuse_unknown("lr_groups", patterns, stack)
    groups: list[dict[str, Any]] = [{"params": rest}] if rest else []
    for place, (pattern, members) in enumerate(by_pattern.items()):
        factor_M = _values([recipe.lr_groups[place][1] for recipe in recipes])
        if members:
            groups.append({"params": by_pattern[pattern], "lr": lr_M * factor_M})
    return groups


def freeze_parameters(stack: Stack, patterns: Sequence[str]) -> None:
    """Switches the gradients of the parameters off whose names match.

    Raises:
        ValueError: a pattern that matches no parameter.
    """
    _refuse_unknown("freeze", patterns, stack)
    for name, parameter in stack.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)


def _refuse_unknown(key: str, patterns: Sequence[str], stack: Stack) -> None:
    names = [name for name, _ in stack.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"{key}: patterns must match parameters of the network, got {pattern!r}, which matches none."
                f"{did_you_mean(pattern, names)}"
            )


def make_schedule(
    optimizer: optim.StackedOptimizer, recipes: Sequence[Recipe], total_steps: Sequence[int], direction: Direction
) -> optim.Schedule:
    """The schedule over all steps that a member trains if it never leaves.

    Args:
        optimizer: whose rates it moves.
        recipes: one a member; all name the same schedule.
        total_steps: of each member.
        direction: of the score that "plateau" reads.
    """
    total_M = np.array(total_steps, dtype=np.float64)
    warmup_M = np.floor(np.array([recipe.warmup_fraction for recipe in recipes]) * total_M)
    total, warmup = _one_if_equal(total_M), _one_if_equal(warmup_M)
    name = recipes[0].schedule
    if name == "onecycle":
        warmup, least = 0, 5
    else:
        least = 1
    if np.any(total - warmup < least):  # too few steps for a curve
        return optim.Constant(optimizer, warmup_steps=warmup)
    if name in _WITH_OPTIONS:
        return _WITH_OPTIONS[name](optimizer, recipes, total, warmup, direction)
    return SCHEDULES[name].build(optimizer, total, warmup)


def _one_if_equal(numbers: Any) -> Any:
    return int(numbers[0]) if len(set(numbers.tolist())) == 1 else numbers


def _gamma(recipes: Sequence[Recipe]) -> Any:
    return [recipe.lr_gamma for recipe in recipes]


def _step(
    optimizer: optim.StackedOptimizer, recipes: Sequence[Recipe], total: Any, warmup: Any, _: Direction
) -> optim.Schedule:
    size = np.ceil((total - warmup) / 3)
    return optim.Step(optimizer, size, gamma=_gamma(recipes), warmup_steps=warmup)


def _multistep(
    optimizer: optim.StackedOptimizer, recipes: Sequence[Recipe], total: Any, warmup: Any, _: Direction
) -> optim.Schedule:
    steps_M = np.zeros(len(recipes)) + (total - warmup)
    milestones = [
        [int(share * steps) for share in recipe.lr_milestones] for recipe, steps in zip(recipes, steps_M, strict=True)
    ]
    return optim.MultiStep(optimizer, milestones, gamma=_gamma(recipes), warmup_steps=warmup)


def _plateau(
    optimizer: optim.StackedOptimizer, recipes: Sequence[Recipe], total: Any, warmup: Any, direction: Direction
) -> optim.Schedule:
    return optim.Plateau(
        optimizer,
        mode="max" if direction == "maximize" else "min",
        factor=_gamma(recipes),
        patience=[recipe.plateau_patience for recipe in recipes],
        warmup_steps=warmup,
    )


_WITH_OPTIONS: Mapping[str, Callable[..., optim.Schedule]] = {
    "step": _step,
    "multistep": _multistep,
    "plateau": _plateau,
}


def make_average(stack: Stack, recipes: Sequence[Recipe]) -> optim.WeightAverage | None:
    """The members' exponential averages; None where no member has one. A decay of 0 is the weights themselves."""
    decay = [recipe.ema_decay for recipe in recipes]
    return optim.WeightAverage(stack, decay=decay) if any(decay) else None


def make_stopping(stack: Stack, recipes: Sequence[Recipe], direction: Direction) -> optim.EarlyStopping | None:
    """What says which members have stopped; None where none ever does."""
    patience = [recipe.patience or _NEVER for recipe in recipes]
    if all(recipe.patience == 0 for recipe in recipes):
        return None
    stopping = optim.EarlyStopping(len(recipes), patience=patience, direction=direction)
    stack.follow(stopping)
    return stopping


def clip_bounds(recipes: Sequence[Recipe], name: str, device: torch.device) -> Tensor | None:
    """The members' bounds, float64, shape (M,): 0 in a recipe is no bound; None where no member has one."""
    bounds = [getattr(recipe, name) or float("inf") for recipe in recipes]
    if all(bound == float("inf") for bound in bounds):
        return None
    return torch.tensor(bounds, dtype=torch.float64, device=device)
