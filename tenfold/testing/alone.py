"""Promise 1, alone or together: a member trains the same whoever stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tenfold.testing.comparing import compare_exactly, compare_within_noise
from tenfold.testing.recipe import Recipe
from tenfold.testing.trained import (
    Batches,
    Loss,
    MakeModel,
    cast_batches,
    nudged_alone,
    predict_inputs,
    train_alone,
    train_together,
)

_NAME = "check_alone_or_together"


def check_alone_or_together(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    *,
    optimizer: Recipe | None = None,
    num_members: int = 3,
    num_steps: int = 20,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    predict: Callable[..., Any] = predict_inputs,
) -> None:
    """Trains members stacked and each alone, and compares.

    In float64 the parameters, buffers and losses of the stack, of the serial form and of a stack of one agree with
    a plain PyTorch loop to 1e-9, where that loop itself is determined so well (see `compare_exactly`). In float32
    the losses and predictions differ from the plain loop's by no more than 10 times what moving the input by one
    unit in the last place does to that loop.

    Args:
        make_model: makes one model; called once a member, each under a seed of its own.
        batches: tuples of what `loss` takes besides the model; they are taken in turn.
        loss: `(model, *batch) -> loss`, a 0-dimensional tensor.
        optimizer: what trains; AdamW with a learning rate a member by default.
        num_members: members, at least 1.
        num_steps: training steps.
        dtype: torch.float64 or torch.float32.
        device: where it trains.
        predict: `(model, *batch) -> tensors`; by default the model of all of the batch but its last part.

    Raises:
        AssertionError: they differ; the sentence says where and by how much.

    Example:
        >>> from torch import nn
        >>> from torch.nn.functional import mse_loss
        >>> batch = (torch.arange(8.0).view(4, 2), torch.ones(4, 1))
        >>> check_alone_or_together(
        ...     lambda: nn.Linear(2, 1), [batch], lambda model, x, y: mse_loss(model(x), y), num_steps=3
        ... )
    """
    recipe = optimizer or Recipe()
    members = list(range(num_members))
    batches = cast_batches(batches, dtype, device)
    job: dict[str, Any] = {"num_steps": num_steps, "dtype": dtype, "device": device, "predict": predict}
    together = train_together(make_model, batches, loss, recipe, members, **job)
    alone = train_alone(make_model, batches, loss, recipe, members, **job)
    nudged = nudged_alone(make_model, batches, loss, recipe, members, **job)
    if dtype != torch.float64:
        compare_within_noise(_NAME, together, alone, nudged())
        return
    compare_exactly(_NAME, together, alone, "a plain PyTorch loop", nudged)
    serial = train_together(make_model, batches, loss, recipe, members, form="serial", **job)
    compare_exactly(_NAME, serial, alone, "a plain PyTorch loop, in the serial form", nudged)
    last = members[-1:]
    single = train_together(make_model, batches, loss, recipe, last, **job)
    single_nudged = nudged_alone(make_model, batches, loss, recipe, last, **job)
    compare_exactly(_NAME, single, alone.of_places(last), "a plain PyTorch loop, in a stack of one", single_nudged)
