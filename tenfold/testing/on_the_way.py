"""Promises 1 and 3 together: many start, most leave on the way, and the rest are as if they had been alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.testing.comparing import compare_exactly, compare_within_noise
from tenfold.testing.recipe import Recipe
from tenfold.testing.trained import (
    Batches,
    Loss,
    MakeModel,
    Trained,
    bench,
    cast_batches,
    nudged_alone,
    predict_inputs,
    train_alone,
    train_together,
)

_NAME = "check_leaving_on_the_way"


def check_leaving_on_the_way(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    *,
    optimizer: Recipe | None = None,
    num_members: int = 64,
    rungs: Sequence[tuple[int, int]] = ((5, 40), (10, 15), (15, 7)),
    num_steps: int = 20,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    predict: Callable[..., Any] = predict_inputs,
) -> None:
    """Trains a large stack that members leave in several steps, and compares those who arrive.

    They agree with each trained alone in a plain PyTorch loop, and with a stack of them alone from the first step:
    in float64 parameters, buffers, losses and predictions to 1e-9; in float32 losses and predictions within 10 times
    what moving the input by one unit in the last place does to training alone.

    Args:
        make_model: makes one model.
        batches: tuples of what `loss` takes besides the model.
        loss: `(model, *batch) -> loss`.
        optimizer: what trains; AdamW with a learning rate a member by default.
        num_members: members at the start.
        rungs: pairs (after how many steps, how many stay), in order. Who stays, and in which order, is drawn.
        num_steps: training steps of those who arrive.
        dtype: torch.float64 or torch.float32.
        device: where it trains.
        predict: `(model, *batch) -> tensors`; by default the model of all of the batch but its last part.

    Raises:
        AssertionError: they differ; the sentence says where and by how much.

    Example:
        >>> from torch import nn
        >>> batch = (torch.arange(8.0).view(4, 2), torch.ones(4, 1))
        >>> check_leaving_on_the_way(
        ...     lambda: nn.Linear(2, 1), [batch], lambda model, x, y: (model(x) - y).abs().mean(),
        ...     num_members=9, rungs=[(1, 5), (2, 2)], num_steps=4,
        ... )
    """
    recipe = optimizer or Recipe()
    batches = cast_batches(batches, dtype, device)
    job: dict[str, Any] = {"dtype": dtype, "device": device, "predict": predict}
    arrived, members = _train_and_leave(make_model, batches, loss, recipe, num_members, dict(rungs), num_steps, job)
    alone = train_alone(make_model, batches, loss, recipe, members, num_steps=num_steps, **job)
    small = train_together(make_model, batches, loss, recipe, members, num_steps=num_steps, **job)
    nudged = nudged_alone(make_model, batches, loss, recipe, members, num_steps=num_steps, **job)
    if dtype == torch.float64:
        compare_exactly(_NAME, arrived, alone, "a plain PyTorch loop", nudged)
        compare_exactly(_NAME, small, alone, f"a plain PyTorch loop, in a stack of {len(members)}", nudged)
        return
    compare_within_noise(_NAME, arrived, alone, nudged())
    compare_within_noise(_NAME, small, alone, nudged())


def _train_and_leave(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    recipe: Recipe,
    num_members: int,
    rungs: dict[int, int],
    num_steps: int,
    job: dict[str, Any],
) -> tuple[Trained, list[int]]:
    """What those leave behind who arrive, and who they are."""
    work = bench(make_model, recipe, list(range(num_members)), dtype=job["dtype"], device=job["device"])
    generator = torch.Generator().manual_seed(num_members)
    losses: list[Tensor] = []
    for t in range(num_steps):
        if t in rungs:
            staying = torch.randperm(len(work.stack), generator=generator)[: rungs[t]].tolist()
            work.stack.keep(staying)
            losses = [loss_M[staying] for loss_M in losses]
        losses.append(work.step(loss, *batches[t % len(batches)]))
    tensors = work.tensors()
    predictions = work.predictions(job["predict"], *batches[0])
    return Trained(losses=torch.stack(losses), tensors=tensors, predictions=predictions), list(work.stack.members)
