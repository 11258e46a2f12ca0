"""Early stopping, each member by its own scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.optim.host_numbers import (
    AT_LEAST_0,
    COUNT_FROM_1,
    check_choice,
    from_saved,
    keep_numbers,
    read_numbers,
    read_scores,
    to_saved,
)


class EarlyStopping:
    """Says which members have not improved for `patience` scores in a row.

    It is bookkeeping only: what happens to a member that stops is up to the caller, who may let it leave the stack
    (`stack.keep`). With `stack.follow(stopping)` it loses its members together with the stack.

    Args:
        num_members: M.
        patience: so many scores in a row without improvement stop a member, a whole number >= 1, or one a member.
        min_delta: an improvement is better than the best score by more than this, >= 0, or one a member.
        direction: "minimize" when smaller scores are better, "maximize" when larger ones are.

    A NaN is no improvement. A member that has stopped stays stopped, and its scores no longer count.

    Attributes:
        best: each member's best score so far, NaN before the first, float64, shape (M,).
        stopped: who has stopped, bool, shape (M,).

    Raises:
        ValueError: an option out of its range, or not one number a member.

    Example:
        >>> stopping = EarlyStopping(2, patience=1)
        >>> stopping.update([0.5, 0.7]).tolist()
        [False, False]
        >>> stopping.update([0.4, 0.8]).tolist()
        [False, True]

    References:
        Prechelt: Early stopping, but when?, in Neural networks: tricks of the trade, 1998, criterion UP.
    """

    def __init__(self, num_members: int, *, patience: Any, min_delta: Any = 0.0, direction: str = "minimize") -> None:
        check_choice("EarlyStopping", "direction", direction, ("minimize", "maximize"))
        self.direction = direction
        self._patience = read_numbers("EarlyStopping", "patience", patience, num_members, COUNT_FROM_1)
        self._min_delta = read_numbers("EarlyStopping", "min_delta", min_delta, num_members, AT_LEAST_0)
        self._best_M = np.full(num_members, np.nan)
        self._bad_M = np.zeros(num_members)

    @property
    def best(self) -> Tensor:
        """Each member's best score so far."""
        return torch.from_numpy(self._best_M.copy())

    @property
    def stopped(self) -> Tensor:
        """Who has stopped."""
        return torch.from_numpy(self._bad_M >= self._patience)

    def update(self, score_M: Any) -> Tensor:
        """Takes the members' scores down.

        Args:
            score_M: float, shape (M,).

        Returns:
            Who has stopped, bool, shape (M,), on the host.

        Raises:
            ValueError: not one score a member.
        """
        score_M = read_scores("EarlyStopping.update", score_M, len(self._best_M))
        running_M = self._bad_M < self._patience
        with np.errstate(invalid="ignore"):  # infinity less infinity is no gain
            gain_M = self._best_M - score_M if self.direction == "minimize" else score_M - self._best_M
        first_M = np.isnan(self._best_M) & ~np.isnan(score_M)
        better_M = running_M & (first_M | (gain_M > self._min_delta))
        self._best_M = np.where(better_M, score_M, self._best_M)
        self._bad_M = np.where(better_M, 0.0, self._bad_M + running_M)
        return self.stopped

    def keep(self, indices: Tensor) -> None:
        """Keeps the members at these places, in this order."""
        for name in ("_patience", "_min_delta", "_best_M", "_bad_M"):
            setattr(self, name, keep_numbers(getattr(self, name), indices))

    def state_dict(self) -> dict[str, Any]:
        """The options, the best scores and how long each member has not improved."""
        return {name: to_saved(getattr(self, f"_{name}")) for name in ("patience", "min_delta", "best_M", "bad_M")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` gave for as many members.

        Raises:
            ValueError: the state is of another number of members.
        """
        if len(state["best_M"]) != len(self._best_M):
            raise ValueError(
                f"EarlyStopping.load_state_dict: state must be of {len(self._best_M)} members, got "
                f"{len(state['best_M'])}. keep() as many members first."
            )
        for name, value in state.items():
            setattr(self, f"_{name}", from_saved(value))
