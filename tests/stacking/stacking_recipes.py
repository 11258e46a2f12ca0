"""Optimisers and schedules, stacked and as PyTorch has them, every option a value a member."""

from __future__ import annotations

import itertools

import torch
from torch.optim import lr_scheduler

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


def recipe(optimizer: str, schedule: str = "none", *, clip_norm: float | None = None) -> Recipe:
    stacked, plain, options = OPTIMIZERS[optimizer]
    ours, theirs = SCHEDULES[schedule]
    return Recipe(
        stacked=stacked, plain=plain, options=options, schedule=ours, plain_schedule=theirs, clip_norm=clip_norm
    )


PAIRS = list(itertools.product(OPTIMIZERS, SCHEDULES))
