"""The losses that a task knows by name, and a user's own in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenfold.core.errors import InputError, did_you_mean
from tenfold.nn import Loss


@dataclass(frozen=True, kw_only=True)
class TaskLoss:
    """A loss as a task uses it.

    Attributes:
        function: `(outputs, targets, **options) -> loss`, the mean over the batch.
        values: options that are values a member, which a search may draw, with their defaults.
        takes_weights: whether classes or labels may weigh differently in it.
        is_own: whether it is the user's.
    """

    function: Loss
    values: Mapping[str, float] = field(default_factory=dict)
    takes_weights: bool = True
    is_own: bool = False


def choose_loss(noun: str, loss: str | Loss, known: Mapping[str, TaskLoss]) -> tuple[str, TaskLoss]:
    """The name of a task's loss, and the loss.

    Args:
        noun: what it is a loss of, for messages.
        loss: a name in `known`, or a function `(outputs, targets) -> loss` of one's own, 0-dimensional.
        known: the task's losses.

    Raises:
        InputError: there is no loss of this name.

    Example:
        >>> choose_loss("regression", "l2", {"l1": TaskLoss(function=abs)})
        Traceback (most recent call last):
            ...
        tenfold.core.errors.InputError: unknown regression loss 'l2'. Choose from 'l1'.
    """
    if callable(loss):
        return getattr(loss, "__name__", type(loss).__name__), TaskLoss(
            function=loss, takes_weights=False, is_own=True
        )
    if loss not in known:
        raise InputError(f"unknown {noun} loss {loss!r}.{did_you_mean(loss, known)}")
    return loss, known[loss]
