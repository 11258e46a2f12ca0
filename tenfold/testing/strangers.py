"""Promise 2, strangers: nothing that happens in one member changes a bit of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.stacking import Form, per_member
from tenfold.testing.comparing import same_bits
from tenfold.testing.poisons import POISONS, Poison, own_batches
from tenfold.testing.recipe import Recipe
from tenfold.testing.trained import Batches, Loss, MakeModel, bench, cast_batches


def check_strangers(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    *,
    optimizer: Recipe | None = None,
    num_members: int = 3,
    poisoned: int = 1,
    poisons: Sequence[str] = tuple(POISONS),
    num_steps: int = 4,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    form: Form = "auto",
) -> None:
    """Poisons one member and looks whether a bit of the others changes: losses, parameters, buffers.

    The poisons are NaN, inf and 1e30 in the parameters, in a batch of the member's own, in the loss and in the
    learning rate. Gradients are clipped a member.

    Args:
        make_model: makes one model.
        batches: tuples of what `loss` takes besides the model.
        loss: `(model, *batch) -> loss`.
        optimizer: what trains; AdamW with clipping by default.
        num_members: members, at least 2.
        poisoned: the place of the poisoned member.
        poisons: names in `POISONS`, one training each.
        num_steps: training steps after the poisoning.
        dtype: of parameters and batches.
        device: where it trains.
        form: of the stack.

    Raises:
        AssertionError: a bit of a stranger changed; the sentence says by which poison, and where.

    Example:
        >>> batch = (torch.arange(8.0).view(4, 2), torch.ones(4, 1))
        >>> check_strangers(lambda: nn.Linear(2, 1), [batch], lambda model, x, y: (model(x) - y).square().mean())
    """
    recipe = optimizer or Recipe(clip_norm=1.0)
    members = list(range(num_members))
    batches = cast_batches(batches, dtype, device)

    def run(poison: Poison | None, own: bool) -> dict[str, Tensor]:
        work = bench(make_model, recipe, members, dtype=dtype, device=device, form=form)
        scale_M = torch.ones(num_members, dtype=dtype, device=device)
        if poison is not None:
            poison.strike(work, scale_M, poisoned)
        value = poison.value if poison is not None else None
        fed = own_batches(batches, num_members, poisoned, value) if own else batches
        losses = [work.step(_scaled(loss), per_member(scale_M), *fed[t % len(fed)]) for t in range(num_steps)]
        scales = {} if work.scaler is None else {"the loss scales": work.scaler.scale_M.clone()}
        return {"the losses": torch.stack(losses, dim=1), **work.tensors(), **scales}

    chosen = {name: POISONS[name] for name in poisons}
    clean = {own: run(None, own) for own in sorted({poison.where == "batch" for poison in chosen.values()})}
    for name, poison in chosen.items():
        own = poison.where == "batch"
        _compare_strangers(run(poison, own), clean[own], name, poisoned)


def _scaled(loss: Loss) -> Loss:
    def scaled(model: nn.Module, scale: Tensor, *batch: Any) -> Tensor:
        return loss(model, *batch) * scale

    return scaled


def _compare_strangers(sick: dict[str, Tensor], clean: dict[str, Tensor], name: str, poisoned: int) -> None:
    for part, tensor in sick.items():
        for other in (place for place in range(len(tensor)) if place != poisoned):
            assert same_bits(tensor[other], clean[part][other]), (
                f"check_strangers: {name} in member {poisoned} changed {part} of member {other}. "
                "What is computed over all members together must be computed a member."
            )
