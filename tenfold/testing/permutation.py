"""Promise 1 in another order: permuting the members permutes the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.stacking import Form, member_streams
from tenfold.testing.comparing import compare_exactly, same_bits
from tenfold.testing.recipe import Recipe
from tenfold.testing.trained import (
    Batches,
    Bench,
    Loss,
    MakeModel,
    bench,
    cast_batches,
    predict_inputs,
    train_together,
)


def check_permutation(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    *,
    optimizer: Recipe | None = None,
    order: Sequence[int] = (2, 0, 3, 1),
    num_steps: int = 5,
    exact: bool = False,
    device: torch.device | str = "cpu",
    form: Form = "auto",
    predict: Callable[..., Any] = predict_inputs,
) -> None:
    """Trains the same members in float64 in two orders, and compares each with itself.

    What a member starts from and every number that it draws are the same bit for bit. Losses, parameters, buffers
    and predictions agree to 1e-9; bits are not promised there, because the last few elements of a vector go through
    other instructions than the rest (see `exact`).

    Args:
        make_model: makes one model.
        batches: tuples of what `loss` takes besides the model.
        loss: `(model, *batch) -> loss`.
        optimizer: what trains; AdamW with a learning rate a member by default.
        order: a permutation of the members 0, 1, 2, ...
        num_steps: training steps.
        exact: asks for the same bits in all that training leaves too; for models of products and additions.
        device: where it trains.
        form: of the stack.
        predict: `(model, *batch) -> tensors`; by default the model of all of the batch but its last part.

    Raises:
        AssertionError: a member came out otherwise in another place; the sentence says in what.

    Example:
        >>> batch = (torch.arange(8.0).view(4, 2), torch.ones(4, 1))
        >>> check_permutation(
        ...     lambda: nn.Linear(2, 1), [batch], lambda model, x, y: (model(x) - y).abs().mean(), exact=True
        ... )
    """
    recipe, members = optimizer or Recipe(), sorted(order)
    batches = cast_batches(batches, torch.float64, device)
    build: dict[str, Any] = {"dtype": torch.float64, "device": device, "form": form}
    plain, permuted = (bench(make_model, recipe, list(places), **build) for places in (members, order))
    _compare_bits(_start(plain), _start(permuted), order)
    job: dict[str, Any] = {**build, "num_steps": num_steps, "predict": predict}
    one = train_together(make_model, batches, loss, recipe, members, **job).of_places(order)
    two = train_together(make_model, batches, loss, recipe, list(order), **job)
    compare_exactly("check_permutation", two, one, "the first order")
    if exact:
        left = {"the losses": one.losses, **one.tensors}
        right = {"the losses": two.losses, **two.tensors}
        for name, tensor in left.items():
            assert same_bits(tensor, right[name]), (
                f"check_permutation: {name} has other bits when the members stand in the order {list(order)}."
            )


def _start(work: Bench) -> dict[str, Tensor]:
    def draws(model: nn.Module) -> Tensor:
        return member_streams().uniform((64,), torch.float64)

    with torch.no_grad():
        return {**work.tensors(), "what the members draw": work.stack.each(draws)}


def _compare_bits(plain: dict[str, Tensor], permuted: dict[str, Tensor], order: Sequence[int]) -> None:
    for name, tensor in plain.items():
        assert same_bits(tensor[list(order)], permuted[name]), (
            f"check_permutation: {name} is not the member's own when the members stand in the order {list(order)}."
        )
