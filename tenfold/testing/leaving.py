"""Promise 3, leaving is free: `keep` carries everything over, and those who stay go on as if nobody had left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tenfold.stacking import Form
from tenfold.testing.recipe import Recipe
from tenfold.testing.trained import Batches, Bench, Loss, MakeModel, bench, cast_batches

_EXACT = 1e-9


def check_leaving_is_free(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    *,
    optimizer: Recipe | None = None,
    num_members: int = 3,
    kept: Sequence[Sequence[int]] = ((2, 0), (1,), (2, 1, 0)),
    num_steps: int = 5,
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
        num_members: members, at most as many as the recipe's lists hold.
        kept: the places to keep, in order, each on a stack of its own.
        num_steps: training steps before and after.
        form: of the stack.

    Raises:
        AssertionError: something was lost or changed; the sentence says what.

    Example:
        >>> from torch import nn
        >>> batch = (torch.arange(8.0).view(4, 2), torch.ones(4, 1))
        >>> check_leaving_is_free(lambda: nn.Linear(2, 1), [batch], lambda model, x, y: (model(x) - y).abs().mean())
    """
    recipe = optimizer or Recipe()
    batches = cast_batches(batches, torch.float64)
    for places in kept:
        stayed = _trained(make_model, batches, loss, recipe, num_members, num_steps, form)
        shrunken = _trained(make_model, batches, loss, recipe, num_members, num_steps, form)
        before = _everything(shrunken)
        shrunken.stack.keep(list(places))
        _compare_bits(before, _everything(shrunken), list(places))
        _check_memory(shrunken)
        for t in range(num_steps, 2 * num_steps):
            batch = batches[t % len(batches)]
            loss_M, loss_K = stayed.step(loss, *batch), shrunken.step(loss, *batch)
            _compare_near("the loss", loss_M[list(places)], loss_K, places, t)
        for name, tensor in shrunken.tensors().items():
            _compare_near(name, stayed.tensors()[name][list(places)], tensor, places, 2 * num_steps)


def _trained(
    make_model: MakeModel, batches: Batches, loss: Loss, recipe: Recipe, num_members: int, num_steps: int, form: Form
) -> Bench:
    work = bench(make_model, recipe, list(range(num_members)), dtype=torch.float64, form=form)
    for t in range(num_steps):
        work.step(loss, *batches[t % len(batches)])
    return work


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
        same = torch.equal(old[places], new) if isinstance(old, Tensor) and isinstance(new, Tensor) else old == new
        assert same, f"check_leaving_is_free: keep({places}) did not carry {name} over bit for bit."


def _check_memory(work: Bench) -> None:
    for name, tensor in (*work.stack.named_parameters(), *work.stack.named_buffers()):
        held, needed = tensor.untyped_storage().nbytes(), tensor.numel() * tensor.element_size()
        assert held <= needed, (
            f"check_leaving_is_free: {name} holds {held} bytes after keep and needs {needed}: those who left "
            "are still in memory."
        )


def _compare_near(name: str, stayed: Tensor, shrunken: Tensor, places: Sequence[int], step: int) -> None:
    off = (stayed.double() - shrunken.double()).abs() / stayed.double().abs().clamp(min=1.0)
    assert off.numel() == 0 or float(off.max()) <= _EXACT, (
        f"check_leaving_is_free: after keep({list(places)}) {name} is off by {float(off.max()):.1e} at step {step} "
        f"against the undisturbed stack, allowed are {_EXACT:.0e}."
    )
