"""Promise 6, plain in, plain out: what comes out of a stack is the user's own model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from tenfold.testing.comparing import EXACT, distance
from tenfold.testing.recipe import Recipe
from tenfold.testing.trained import Batches, Loss, MakeModel, bench, cast_batches, member_model, predict_inputs


def check_plain_out(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    *,
    optimizer: Recipe | None = None,
    num_members: int = 3,
    num_steps: int = 3,
    device: torch.device | str = "cpu",
    predict: Callable[..., Any] = predict_inputs,
) -> None:
    """Trains in float64, unstacks, and asks each model whether it is plain.

    It is of the user's class; its `state_dict` loads into a new model with `strict=True`; both predict what the
    stack predicts for the member to 1e-9; and it shares no memory with the stack.

    Args:
        make_model: makes one model.
        batches: tuples of what `loss` takes besides the model.
        loss: `(model, *batch) -> loss`.
        optimizer: what trains; AdamW with a learning rate a member by default.
        num_members: members, at least 1.
        num_steps: training steps before.
        device: where it trains.
        predict: `(model, *batch) -> tensors`; by default the model of all of the batch but its last part.

    Raises:
        AssertionError: a model is not plain; the sentence says in what.

    Example:
        >>> batch = (torch.arange(8.0).view(4, 2), torch.ones(4, 1))
        >>> check_plain_out(lambda: nn.Linear(2, 1), [batch], lambda model, x, y: (model(x) - y).abs().mean())
    """
    batches = cast_batches(batches, torch.float64, device)
    members = list(range(num_members))
    work = bench(make_model, optimizer or Recipe(), members, dtype=torch.float64, device=device)
    for t in range(num_steps):
        work.step(loss, *batches[t % len(batches)])
    work.stack.eval()
    with torch.no_grad():
        expected = pytree.tree_leaves(work.stack.each(predict, *batches[0]))
        for i, model in enumerate(work.stack.unstack()):
            fresh = member_model(make_model, i, torch.float64, device).eval()
            _check_class(model, fresh, i)
            fresh.load_state_dict(model.state_dict(), strict=True)
            for which, plain in (("the unstacked model", model), ("a new model with its state_dict", fresh)):
                _check_predictions(pytree.tree_leaves(predict(plain, *batches[0])), expected, i, which)
            _check_own_memory(work.tensors, model, i)


def _check_class(model: nn.Module, fresh: nn.Module, member: int) -> None:
    assert type(model).__qualname__ == type(fresh).__qualname__, (
        f"check_plain_out: member {member} came out as {type(model).__qualname__}, "
        f"expected {type(fresh).__qualname__}."
    )
    flags, own = ({name: p.requires_grad for name, p in m.named_parameters()} for m in (model, fresh))
    assert flags == own, f"check_plain_out: member {member} came out with other parameters frozen than it went in."


def _check_predictions(got: list[Any], expected: list[Any], member: int, which: str) -> None:
    assert len(got) == len(expected), f"check_plain_out: {which} gives {len(got)} tensors, expected {len(expected)}."
    for one, two in zip(got, expected, strict=True):
        near = one.shape == two[member].shape and distance(one, two[member]) <= EXACT
        assert near, f"check_plain_out: {which} of member {member} does not predict what the stack predicts."


def _check_own_memory(tensors: Callable[[], dict[str, Any]], model: nn.Module, member: int) -> None:
    before = tensors()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.zero_()
    for name, tensor in tensors().items():
        assert torch.equal(tensor, before[name]), (
            f"check_plain_out: changing the unstacked member {member} changes {name} in the stack."
        )
