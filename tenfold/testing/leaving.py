"""Promise 3, leaving is free: `keep` carries everything over, and those who stay go on as if nobody had left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.stacking import Form
from tenfold.testing.comparing import EXACT, distance, same_bits
from tenfold.testing.recipe import Recipe
from tenfold.testing.trained import Batches, Bench, Loss, MakeModel, bench, cast_batches


def check_leaving_is_free(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    *,
    optimizer: Recipe | None = None,
    num_members: int = 3,
    kept: Sequence[Sequence[int]] = ((2, 0), (1,), (2, 1, 0)),
    num_steps: int = 5,
    device: torch.device | str = "cpu",
    form: Form = "auto",
) -> None:
    """Trains in float64, lets members leave, goes on, and compares with a stack that nobody left.

    Right after `keep` the parameters, gradients, buffers, streams, optimiser state and options and the schedule's
    values are those of the kept members bit for bit, in memory of no more than their size. After as many steps
    again, parameters, buffers and losses agree with the undisturbed stack's to 1e-9.

    Args:
        make_model: makes one model.
        batches: tuples of what `loss` takes besides the model.
        loss: `(model, *batch) -> loss`.
        optimizer: what trains; AdamW with a learning rate a member by default.
        num_members: members, more than the largest place in `kept`.
        kept: the places to keep, in order, each on a stack of its own.
        num_steps: training steps before and after.
        device: where it trains.
        form: of the stack.

    Raises:
        AssertionError: something was lost or changed; the sentence says what.

    Example:
        >>> from torch import nn
        >>> batch = (torch.arange(8.0).view(4, 2), torch.ones(4, 1))
        >>> check_leaving_is_free(lambda: nn.Linear(2, 1), [batch], lambda model, x, y: (model(x) - y).abs().mean())
    """
    recipe = optimizer or Recipe()
    members = list(range(num_members))
    batches = cast_batches(batches, torch.float64, device)

    def trained() -> Bench:
        work = bench(make_model, recipe, members, dtype=torch.float64, device=device, form=form)
        for t in range(num_steps):
            work.step(loss, *batches[t % len(batches)])
        return work

    later = [batches[t % len(batches)] for t in range(num_steps, 2 * num_steps)]
    stayed = trained()
    losses = [stayed.step(loss, *batch) for batch in later]
    for places in kept:
        shrunken = trained()
        before = _everything(shrunken)
        shrunken.stack.keep(list(places))
        _compare_bits(before, _everything(shrunken), list(places))
        _check_memory(shrunken)
        for t, batch in enumerate(later):
            loss_K = shrunken.step(loss, *batch)
            _compare_near("the loss", losses[t][list(places)], loss_K, places, num_steps + t)
        tensors = stayed.tensors()
        for name, tensor in shrunken.tensors().items():
            _compare_near(name, tensors[name][list(places)], tensor, places, 2 * num_steps)


def _everything(work: Bench) -> dict[str, Any]:
    """Every value that belongs to members, by name: tensors of shape (M, ...) and plain numbers."""
    stack_state, optimizer_state = work.stack.state_dict(), work.optimizer.state_dict()
    everything: dict[str, Any] = {
        **{f"parameter {name}": value for name, value in stack_state["parameters"].items()},
        **{f"gradient of {name}": parameter.grad for name, parameter in work.stack.named_parameters()},
        **{f"buffer {name}": value for name, value in stack_state["buffers"].items()},
        "the streams' keys": stack_state["keys"],
        "the members' numbers": torch.tensor(stack_state["members"]),
        "the calls": stack_state["calls"],
    }
    for place, values in optimizer_state["state"].items():
        everything |= {f"the optimiser's {name} of parameter {place}": value for name, value in values.items()}
    for place, group in enumerate(optimizer_state["groups"]):
        everything |= {f"{name} of group {place}": value for name, value in _flat(group).items()}
    if work.schedule is not None:
        everything |= {f"the schedule's {name}": value for name, value in _flat(work.schedule.state_dict()).items()}
    if work.scaler is not None:
        everything |= {f"the scaler's {name}": value for name, value in _flat(work.scaler.state_dict()).items()}
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in everything.items()}


def _flat(values: Any, name: str = "") -> dict[str, Any]:
    if isinstance(values, list | tuple):
        values = dict(enumerate(values))
    if not isinstance(values, dict):
        return {name: values}
    return {
        found: value
        for key, item in values.items()
        for found, value in _flat(item, f"{name}.{key}" if name else str(key)).items()
    }


def _compare_bits(before: dict[str, Any], after: dict[str, Any], places: list[int]) -> None:
    lost = sorted(set(before) - set(after))
    assert not lost, f"check_leaving_is_free: keep({places}) lost {lost[0]}."
    for name, old in before.items():
        new = after[name]
        same = same_bits(old[places], new) if isinstance(old, Tensor) and isinstance(new, Tensor) else old == new
        assert same, f"check_leaving_is_free: keep({places}) did not carry {name} over bit for bit."


def _check_memory(work: Bench) -> None:
    for name, tensor in (*work.stack.named_parameters(), *work.stack.named_buffers()):
        held, needed = tensor.untyped_storage().nbytes(), tensor.numel() * tensor.element_size()
        assert held <= needed, (
            f"check_leaving_is_free: {name} holds {held} bytes after keep and needs {needed}: those who left "
            "are still in memory."
        )


def _compare_near(name: str, stayed: Tensor, shrunken: Tensor, places: Sequence[int], step: int) -> None:
    off = distance(shrunken, stayed)
    assert off <= EXACT, (
        f"check_leaving_is_free: after keep({list(places)}) {name} is off by {off:.1e} at step {step} "
        f"against the undisturbed stack, allowed are {EXACT:.0e}."
    )
