"""How a member is trained: the part of a configuration that belongs to training, checked once at the door."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from tenfold import optim
from tenfold.core.errors import did_you_mean
from tenfold.stacking import Stack

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("constant", "cosine", "onecycle")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Optimiser, schedule and batch of one member.

    Attributes:
        optimizer: "adamw" or "sgd".
        lr: learning rate, > 0 (the peak, where a schedule moves it).
        weight_decay: >= 0; decoupled for AdamW, an L2 penalty for SGD.
        momentum: in [0, 1); SGD alone reads it.
        schedule: "constant", "cosine" or "onecycle", over all the steps of the full budget.
        warmup_fraction: share of the steps with a linear warm-up, in [0, 1); "onecycle" has its own.
        clip_norm: largest 2-norm of the gradient, > 0; 0 switches clipping off.
        batch_size: samples a step, >= 1.
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup_fraction: float = 0.05
    clip_norm: float = 0.0
    batch_size: int = 32

    def __post_init__(self) -> None:
        _check_choice("optimizer", self.optimizer, OPTIMIZERS)
        _check_choice("schedule", self.schedule, SCHEDULES)
        _check(0 < self.lr < math.inf, "lr", "> 0 and finite", self.lr)
        _check(0 <= self.weight_decay < math.inf, "weight_decay", ">= 0 and finite", self.weight_decay)
        _check(0 <= self.momentum < 1, "momentum", "in [0, 1)", self.momentum)
        _check(0 <= self.warmup_fraction < 1, "warmup_fraction", "in [0, 1)", self.warmup_fraction)
        _check(0 <= self.clip_norm < math.inf, "clip_norm", ">= 0 and finite", self.clip_norm)
        whole = isinstance(self.batch_size, int) and not isinstance(self.batch_size, bool)
        _check(whole and self.batch_size >= 1, "batch_size", "a whole number >= 1", self.batch_size)

    @property
    def program(self) -> tuple[Any, ...]:
        """What members must share to take their steps as one program."""
        return (self.optimizer, self.schedule, self.warmup_fraction, self.batch_size, self.clip_norm > 0)


RECIPE_KEYS = frozenset(field.name for field in fields(Recipe))


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """A configuration, cut by owner."""

    recipe: Recipe
    task_values: Mapping[str, float]
    network: Mapping[str, Any]


def split_config(config: Mapping[str, Any], task_values: Mapping[str, float]) -> SplitConfig:
    """Cuts a configuration into training's keys, the task's, and the rest, which is the network's.

    Args:
        config: key to value; the key "network" names the architecture and is left out.
        task_values: the task's hyper-parameters with their defaults.

    Raises:
        ValueError: a value out of its range.
    """
    recipe = Recipe(**{key: value for key, value in config.items() if key in RECIPE_KEYS})
    values = {key: float(config.get(key, default)) for key, default in task_values.items()}
    owned = RECIPE_KEYS | set(task_values) | {"network"}
    return SplitConfig(
        recipe=recipe,
        task_values=values,
        network={key: value for key, value in config.items() if key not in owned},
    )


def make_optimizer(
    stack: Stack, parameters: Sequence[torch.nn.Parameter], recipes: Sequence[Recipe]
) -> optim.StackedOptimizer:
    """The stacked optimiser of members that share a program, with each member's own values."""
    lr = torch.tensor([recipe.lr for recipe in recipes], dtype=torch.float64)
    weight_decay = torch.tensor([recipe.weight_decay for recipe in recipes], dtype=torch.float64)
    if recipes[0].optimizer == "adamw":
        return optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    momentum = torch.tensor([recipe.momentum for recipe in recipes], dtype=torch.float64)
    return optim.SGD(parameters, lr=lr, weight_decay=weight_decay, momentum=momentum)


def make_schedule(optimizer: optim.StackedOptimizer, recipe: Recipe, total_steps: int) -> optim.Schedule:
    """The schedule over all steps that a member trains if it never leaves."""
    if recipe.schedule == "onecycle" and total_steps > 4:
        return optim.OneCycle(optimizer, total_steps)
    warmup_steps = int(recipe.warmup_fraction * total_steps)
    if recipe.schedule == "cosine" and total_steps > warmup_steps:
        return optim.Cosine(optimizer, total_steps, warmup_steps=warmup_steps)
    return optim.Constant(optimizer, warmup_steps=warmup_steps)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(choices)}, got {value!r}.{did_you_mean(str(value), choices)}"
        )


def _check(holds: bool, name: str, requirement: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {requirement}, got {value!r}. Change it in the space or the configuration.")
