"""Promise 1, alone or together: a member trains the same whoever stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tenfold.testing.recipe import Recipe
from tenfold.testing.trained import (
    Batches,
    Loss,
    MakeModel,
    Trained,
    cast_batches,
    nudge,
    predict_inputs,
    train_alone,
    train_together,
)

_EXACT = 1e-9
_TIMES_A_NUDGE = 10.0


def check_alone_or_together(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    *,
    optimizer: Recipe | None = None,
    num_members: int = 3,
    num_steps: int = 20,
    dtype: torch.dtype = torch.float64,
    predict: Callable[..., Any] = predict_inputs,
) -> None:
    """Trains members stacked and each alone, and compares.

    In float64 the parameters, buffers and losses of the stack agree to 1e-9 with a plain PyTorch loop, with the
    serial form, and with a stack of one. In float32 the losses and predictions differ from the plain loop's by no
    more than 10 times what moving the input by one unit in the last place does to that loop.

    Args:
        make_model: makes one model; called once a member, each under a seed of its own.
        batches: tuples of what `loss` takes besides the model; they are taken in turn.
        loss: `(model, *batch) -> loss`, a 0-dimensional tensor.
        optimizer: what trains; AdamW with a learning rate a member by default.
        num_members: members, at most as many as the recipe's lists hold.
        num_steps: training steps.
        dtype: torch.float64 or torch.float32.
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
    batches = cast_batches(batches, dtype)
    job: dict[str, Any] = {"num_steps": num_steps, "dtype": dtype, "predict": predict}
    together = train_together(make_model, batches, loss, recipe, members, **job)
    alone = train_alone(make_model, batches, loss, recipe, members, **job)
    if dtype != torch.float64:
        nudged = [
            train_alone(make_model, nudge(batches, direction), loss, recipe, members, **job)
            for direction in (torch.inf, -torch.inf)
        ]
        _compare_within_noise(together, alone, nudged)
        return
    _compare_exactly(together, alone, "a plain PyTorch loop")
    serial = train_together(make_model, batches, loss, recipe, members, form="serial", **job)
    _compare_exactly(together, serial, "the serial form")
    last = members[-1:]
    single = train_together(make_model, batches, loss, recipe, last, **job)
    _compare_exactly(_of_places(together, last), single, "a stack of one")


def _of_places(trained: Trained, places: list[int]) -> Trained:
    return Trained(
        losses=trained.losses[:, places],
        tensors={name: tensor[places] for name, tensor in trained.tensors.items()},
        predictions=[leaf[places] for leaf in trained.predictions],
    )


def _named_parts(trained: Trained) -> dict[str, Tensor]:
    predictions = {f"prediction {i}": leaf for i, leaf in enumerate(trained.predictions)}
    return {"the losses": trained.losses, **dict(trained.tensors), **predictions}


def _compare_exactly(together: Trained, other: Trained, whom: str) -> None:
    for (name, one), two in zip(_named_parts(together).items(), _named_parts(other).values(), strict=True):
        assert one.shape == two.shape, (
            f"check_alone_or_together: {name} has shape {tuple(one.shape)} together and {tuple(two.shape)} "
            f"against {whom}."
        )
        off = _distance(one, two)
        assert off <= _EXACT, (
            f"check_alone_or_together: {name} is off by {off:.1e} against {whom}, allowed are {_EXACT:.0e}."
        )


def _compare_within_noise(together: Trained, alone: Trained, nudged: list[Trained]) -> None:
    trainings = [_seen(trained) for trained in (together, alone, *nudged)]
    for name, reference in trainings[1].items():
        # what the last place does to this very value, but never less than the last place of the value itself
        rounding = float(torch.finfo(reference.dtype).eps) * float(reference.abs().max())
        noise = max(rounding, *(float((training[name] - reference).abs().max()) for training in trainings[2:]))
        off = float((trainings[0][name] - reference).abs().max())
        assert off <= _TIMES_A_NUDGE * noise, (
            f"check_alone_or_together: {name} is off by {off:.1e}, allowed are {_TIMES_A_NUDGE:.0f} times the "
            f"{noise:.1e} that moving the input by one unit in the last place makes."
        )


def _seen(trained: Trained) -> dict[str, Tensor]:
    """What users see: losses and float predictions."""
    predictions = {f"prediction {i}": leaf for i, leaf in enumerate(trained.predictions) if leaf.is_floating_point()}
    return {"the losses": trained.losses, **predictions}


def _distance(one: Tensor, two: Tensor) -> float:
    """The largest difference, relative where the values are larger than 1; NaN in one alone counts as infinite."""
    if one.numel() == 0:
        return 0.0
    one, two = one.to(torch.float64), two.to(torch.float64)
    off = (one - two).abs() / two.abs().clamp(min=1.0)
    off = torch.where(one.isnan() & two.isnan() | (one == two), 0.0, off)
    return float(off.nan_to_num(nan=torch.inf).max())
