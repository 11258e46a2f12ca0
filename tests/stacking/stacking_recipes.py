"""Optimisers and schedules for the contracts: a few by hand against PyTorch's own, and all that are registered."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import lr_scheduler

import tenfold
from tenfold.optim import OPTIMIZERS as REGISTERED_OPTIMIZERS
from tenfold.optim import SCHEDULES as REGISTERED_SCHEDULES
from tenfold.optim import SGD, AdamW, Constant, Cosine, OneCycle
from tenfold.testing import Recipe

STEPS = 20
LR = [0.02, 0.005, 0.1]

OPTIMIZERS = {
    "sgd": (SGD, torch.optim.SGD, {"lr": LR}),
    "momentum": (SGD, torch.optim.SGD, {"lr": LR, "momentum": [0.9, 0.0, 0.5]}),
    "nesterov": (SGD, torch.optim.SGD, {"lr": LR, "momentum": [0.9, 0.8, 0.5], "nesterov": True}),
    "weight decay": (SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "weight_decay": [0.1, 0.0, 0.01]}),
    "adamw": (AdamW, torch.optim.AdamW, {"lr": [0.01, 0.003, 0.001], "weight_decay": [0.0, 0.1, 0.01]}),
    "adamw, all options": (
        AdamW,
        torch.optim.AdamW,
        {"lr": [0.01, 0.003, 0.001], "betas": ([0.9, 0.8, 0.0], 0.99), "eps": [1e-8, 1e-6, 1e-3]},
    ),
}


def _warm_up(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / 6, total_iters=5)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS - 5)
    return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[5])


def _one_cycle(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    peak = [group["lr"] for group in optimizer.param_groups]
    return lr_scheduler.OneCycleLR(optimizer, max_lr=peak, total_steps=STEPS + 1, cycle_momentum=False)


SCHEDULES = {
    "none": (None, None),
    "constant": (lambda o: Constant(o), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    "cosine": (
        lambda o: Cosine(o, STEPS, final_factor=0.0),
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS),
    ),
    "one cycle": (lambda o: OneCycle(o, STEPS + 1), _one_cycle),
    "warm-up": (lambda o: Cosine(o, STEPS, warmup_steps=5), _warm_up),
}


def recipe(optimizer: str, schedule: str = "none", **more: float | None) -> Recipe:
    stacked, plain, options = OPTIMIZERS[optimizer]
    ours, theirs = SCHEDULES[schedule]
    return Recipe(stacked=stacked, plain=plain, options=options, schedule=ours, plain_schedule=theirs, **more)


PAIRS = list(itertools.product(OPTIMIZERS, SCHEDULES))

# -- all that are registered -------------------------------------------------------------------------------------

VALUES = {
    "lr": [0.02, 0.005, 0.05],
    "momentum": [0.9, 0.2, 0.5],
    "weight_decay": [0.1, 0.0, 0.01],
    "betas": ([0.9, 0.8, 0.5], [0.99, 0.9, 0.999]),
    "eps": [1e-6, 1e-5, 1e-3],
    "lr_decay": [0.0, 0.1, 0.01],
    "rho": [0.9, 0.5, 0.95],
    "alpha": [0.9, 0.5, 0.99],
    "momentum_decay": [4e-3, 1e-2, 1e-3],
    "lambd": [1e-4, 1e-2, 1e-3],
}
"""A value a member for the options that registered optimisers have; an option of another name keeps its default."""


def flags_of(name: str) -> list[str]:
    """The switches that both forms of a registered optimiser have, such as "nesterov"."""
    entry = REGISTERED_OPTIMIZERS[name]
    ours, theirs = (inspect.signature(cls).parameters for cls in (entry.stacked, entry.plain))
    return [flag for flag in ours if isinstance(ours[flag].default, bool) and flag in theirs]


def options_of(name: str, flags: Sequence[str] = ()) -> dict[str, object]:
    """Every option a value a member, and some switches on."""
    entry = REGISTERED_OPTIMIZERS[name]
    theirs = inspect.signature(entry.plain).parameters
    options = {option: VALUES[option] for option in theirs if option in VALUES}
    return options | dict.fromkeys(flags, True)


class ScheduleAlone:
    """A registered schedule of one member, moving a plain optimiser; its values are checked in tests/optim."""

    def __init__(self, name: str, optimizer: torch.optim.Optimizer, total: int, warmup: int) -> None:
        stack = tenfold.stack([nn.Linear(1, 1)])
        self.optimizer = optimizer
        self.shadow = SGD(stack.parameters(), lr=[optimizer.param_groups[0]["lr"]])
        self.schedule = REGISTERED_SCHEDULES[name].build(self.shadow, total, warmup)
        self._take_over()

    def step(self, *score: torch.Tensor) -> None:
        self.schedule.step(*(value.reshape(1) for value in score))
        self._take_over()

    def _take_over(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = float(self.shadow.param_groups[0]["lr"])


def registered(
    optimizer: str,
    schedule: str,
    *,
    flags: Sequence[str] = (),
    total: int = STEPS,
    warmup: int = 0,
    clip_norm: float | None = 1.0,
) -> Recipe:
    """A registered optimiser under a registered schedule."""
    entry, schedule_entry = REGISTERED_OPTIMIZERS[optimizer], REGISTERED_SCHEDULES[schedule]
    return Recipe(
        stacked=entry.stacked,
        plain=entry.plain,
        options=options_of(optimizer, flags),
        schedule=lambda o: schedule_entry.build(o, total, warmup),
        plain_schedule=lambda o: ScheduleAlone(schedule, o, total, warmup),
        reads_scores=schedule_entry.reads_scores,
        clip_norm=clip_norm,
    )
