"""Promise 2, strangers: nothing that happens in one member changes a bit of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.stacking import Form, per_member
from tenfold.testing.recipe import Recipe
from tenfold.testing.trained import Batches, Bench, Loss, MakeModel, bench, cast_batches

_HUGE_LR = 1e30


def check_strangers(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    *,
    optimizer: Recipe | None = None,
    num_members: int = 3,
    poisoned: int = 1,
    num_steps: int = 4,
    dtype: torch.dtype = torch.float32,
    form: Form = "auto",
) -> None:
    """Poisons one member and looks whether a bit of the others changes: losses, parameters, buffers.

    The poisons are NaN parameters, an infinite loss, and a learning rate of 1e30. Gradients are clipped a member.

    Args:
        make_model: makes one model.
        batches: tuples of what `loss` takes besides the model.
        loss: `(model, *batch) -> loss`.
        optimizer: what trains; AdamW with clipping by default.
        num_members: members, at most as many as the recipe's lists hold.
        poisoned: the place of the poisoned member.
        num_steps: training steps after the poisoning.
        dtype: of parameters and batches.
        form: of the stack.

    Raises:
        AssertionError: a bit of a stranger changed; the sentence says by which poison, and where.

    Example:
        >>> batch = (torch.arange(8.0).view(4, 2), torch.ones(4, 1))
        >>> check_strangers(lambda: nn.Linear(2, 1), [batch], lambda model, x, y: (model(x) - y).square().mean())
    """
    recipe = optimizer or Recipe(clip_norm=1.0)
    members = list(range(num_members))
    batches = cast_batches(batches, dtype)
    others = [i for i in members if i != poisoned]

    def run(poison: Callable[[Bench, Tensor], None]) -> dict[str, Tensor]:
        work = bench(make_model, recipe, members, dtype=dtype, form=form)
        scale_M = torch.ones(num_members, dtype=dtype)
        poison(work, scale_M)
        losses = [work.step(_scaled(loss), per_member(scale_M), *batches[t % len(batches)]) for t in range(num_steps)]
        return {"the losses": torch.stack(losses, dim=1), **work.tensors()}

    clean = run(lambda work, scale_M: None)
    for name, poison in _poisons(poisoned).items():
        for part, tensor in run(poison).items():
            for other in others:
                assert _same_bits(tensor[other], clean[part][other]), (
                    f"check_strangers: {name} in member {poisoned} changed {part} of member {other}. "
                    "What is computed over all members together must be computed a member."
                )


def _scaled(loss: Loss) -> Loss:
    def scaled(model: nn.Module, scale: Tensor, *batch: Any) -> Tensor:
        return loss(model, *batch) * scale

    return scaled


def _poisons(place: int) -> dict[str, Callable[[Bench, Tensor], None]]:
    @torch.no_grad()
    def nan_parameters(work: Bench, scale_M: Tensor) -> None:
        for parameter in work.stack.parameters():
            parameter[place] = torch.nan

    def infinite_loss(work: Bench, scale_M: Tensor) -> None:
        scale_M[place] = torch.inf

    def huge_lr(work: Bench, scale_M: Tensor) -> None:
        for group in work.optimizer.param_groups:
            group["lr"] = _with_huge(group["lr"], len(scale_M), place)
        if work.schedule is not None:
            base_lrs = [_with_huge(lr, len(scale_M), place) for lr in work.schedule.base_lrs]
            work.schedule.base_lrs = base_lrs

    return {"NaN parameters": nan_parameters, "an infinite loss": infinite_loss, "a huge learning rate": huge_lr}


def _with_huge(lr: Any, num_members: int, place: int) -> Tensor:
    lr_M = lr.clone() if isinstance(lr, Tensor) else torch.full((num_members,), float(lr), dtype=torch.float64)
    lr_M[place] = _HUGE_LR
    return lr_M


def _same_bits(one: Tensor, two: Tensor) -> bool:
    """Bit for bit, so that a NaN equals itself."""
    return torch.equal(*(tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, two)))
