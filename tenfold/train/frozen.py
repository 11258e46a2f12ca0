"""Members that stay where they are while the others train: those that have stopped, and those that are sick."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class FrozenMembers:
    """Holds what frozen members are, and puts it back after each step.

    It costs a copy of the frozen members' tensors a step, and nothing while there are none. Steps are those of the
    whole stack, so that no bit of the others depends on who is frozen.

    Args:
        num_members: M.
    """

    def __init__(self, num_members: int) -> None:
        self.is_frozen_M = torch.zeros(num_members, dtype=torch.bool)
        self._is_anybody = False
        self._held: list[Tensor] | None = None

    def __bool__(self) -> bool:
        """Whether anybody is frozen."""
        return self._is_anybody

    def freeze(self, places: Sequence[int]) -> None:
        """Freezes the members at these places as they are now."""
        self.is_frozen_M[list(places)] = True
        self._forget()

    def hold(self, tensors: Sequence[Tensor]) -> None:
        """Takes down what the frozen members are, if that is not known; called before a step.

        Args:
            tensors: the stacked tensors to be held, always in the same order.
        """
        if self._held is None and self:
            self._held = [tensor.detach()[self._indices(tensor)] for tensor in tensors]

    @torch.no_grad()
    def put_back(self, tensors: Sequence[Tensor]) -> None:
        """Makes the frozen members what they were when they were held; called after a step."""
        if self._held is not None:
            for tensor, held in zip(tensors, self._held, strict=True):
                tensor.index_copy_(0, self._indices(tensor), held)

    def keep(self, indices: Tensor) -> None:
        """Keeps the members at these places, in this order."""
        self.is_frozen_M = self.is_frozen_M[indices.cpu()]
        self._forget()

    def load(self, is_frozen_M: Tensor) -> None:
        """Freezes those that the mask names, bool, shape (M,), as they are now."""
        self.is_frozen_M = is_frozen_M.cpu().clone()
        self._forget()

    def _forget(self) -> None:
        self._is_anybody, self._held = bool(self.is_frozen_M.any()), None

    def _indices(self, like: Tensor) -> Tensor:
        return self.is_frozen_M.nonzero()[:, 0].to(like.device)
