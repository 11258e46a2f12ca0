"""Promise 4's ground: a stack that is saved and loaded goes on as if nothing had happened."""

from __future__ import annotations

import io
from typing import Any

import torch

from tenfold.stacking import Form
from tenfold.testing.comparing import same_bits
from tenfold.testing.recipe import Recipe
from tenfold.testing.trained import Batches, Bench, Loss, MakeModel, bench, cast_batches


def check_saving(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    *,
    optimizer: Recipe | None = None,
    num_members: int = 4,
    kept: tuple[int, ...] = (3, 0, 2),
    num_steps: int = 3,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    form: Form = "auto",
) -> None:
    """Trains, lets members leave, saves, loads into a new stack, and asks both for the same bits from there on.

    The states of the stack, the optimiser and the schedule go through `torch.save` and `torch.load`; they are loaded
    into a stack of other members, so that nothing is right by chance. Losses, parameters and buffers are compared.

    Args:
        make_model: makes one model.
        batches: tuples of what `loss` takes besides the model.
        loss: `(model, *batch) -> loss`.
        optimizer: what trains; AdamW with a learning rate a member by default.
        num_members: members at the start.
        kept: who stays before the stack is saved.
        num_steps: training steps before and after `keep`, and after saving.
        dtype: of parameters and batches.
        device: where it trains.
        form: of the stack.

    Raises:
        AssertionError: the loaded stack went another way; the sentence says in what.

    Example:
        >>> from torch import nn
        >>> batch = (torch.arange(8.0).view(4, 2), torch.ones(4, 1))
        >>> check_saving(lambda: nn.Linear(2, 1), [batch], lambda model, x, y: (model(x) - y).abs().mean())
    """
    recipe = optimizer or Recipe()
    batches = cast_batches(batches, dtype, device)
    build: dict[str, Any] = {"dtype": dtype, "device": device, "form": form}
    work = bench(make_model, recipe, list(range(num_members)), **build)
    _train(work, batches, loss, range(num_steps))
    work.stack.keep(list(kept))
    _train(work, batches, loss, range(num_steps, 2 * num_steps))
    others = [num_members + place for place in range(len(kept))]
    loaded = bench(make_model, recipe, others, **build)
    _load(loaded, _saved(work))
    for t in range(2 * num_steps, 3 * num_steps):
        losses = [each.step(loss, *batches[t % len(batches)]) for each in (work, loaded)]
        assert same_bits(*losses), f"check_saving: the losses differ {t - 2 * num_steps + 1} steps after loading."
    tensors = loaded.tensors()
    for name, tensor in work.tensors().items():
        assert same_bits(tensor, tensors[name]), f"check_saving: {name} differs {num_steps} steps after loading."
    assert work.stack.members == loaded.stack.members, "check_saving: the loaded stack takes its members for others."


def _train(work: Bench, batches: Batches, loss: Loss, steps: range) -> None:
    for t in steps:
        work.step(loss, *batches[t % len(batches)])


def _saved(work: Bench) -> dict[str, Any]:
    state = {"stack": work.stack.state_dict(), "optimizer": work.optimizer.state_dict()}
    if work.schedule is not None:
        state["schedule"] = work.schedule.state_dict()
    if work.scaler is not None:
        state["scaler"] = work.scaler.state_dict()
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file)


def _load(work: Bench, state: dict[str, Any]) -> None:
    work.stack.load_state_dict(state["stack"])
    work.optimizer.load_state_dict(state["optimizer"])
    if work.schedule is not None:
        work.schedule.load_state_dict(state["schedule"])
    if work.scaler is not None:
        work.scaler.load_state_dict(state["scaler"])
