"""Dynamic loss scaling for float16, each member by its own scale."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tenfold.optim.host_numbers import COUNT_FROM_1, POSITIVE, WITHIN_UNIT, Range, on_device, read_numbers
from tenfold.optim.optimizer import StackedOptimizer
from tenfold.optim.resting import resting
from tenfold.stacking import Stack
from tenfold.stacking.layout import per_member_shape, take_members

_ABOVE_1 = Range("> 1 and finite", lambda value: (value > 1) & (value < float("inf")))


class LossScaler:
    """Multiplies losses so that small gradients do not vanish in float16, and divides the gradients again.

    A member whose gradient holds an infinity or a NaN sits the step out: its parameters and its part of the
    optimiser's state stay bit for bit, and its scale alone falls. bfloat16 needs none of this.

    Args:
        stack: the members; the scaler follows `keep`.
        init_scale: the first scale, > 0, or one a member.
        growth_factor: what a scale is multiplied with after `growth_interval` steps in a row, > 1, or one a member.
        backoff_factor: what a scale is multiplied with after a step that was sat out, in (0, 1), or one a member.
        growth_interval: a whole number >= 1, or one a member.

    Attributes:
        scale_M: each member's scale, float32, shape (M,).

    Raises:
        ValueError: an option out of its range, or not one number a member.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(2)])
        >>> optimizer, scaler = tenfold.optim.SGD(stack.parameters(), lr=0.1), LossScaler(stack)
        >>> loss_M = stack.each(lambda model, x: model(x).square().mean(), torch.ones(8, 4))
        >>> stack.backward(scaler.scale(loss_M))
        >>> scaler.unscale_(optimizer)  # only where something comes between, such as clipping
        >>> scaler.step(optimizer); scaler.update()
        >>> scaler.scale_M.tolist()
        [65536.0, 65536.0]

    References:
        Micikevicius et al.: Mixed precision training, ICLR 2018, section 3.2; values as torch.amp.GradScaler's.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        init_scale: Any = 2.0**16,
        growth_factor: Any = 2.0,
        backoff_factor: Any = 0.5,
        growth_interval: Any = 2000,
    ) -> None:
        given = {
            "init_scale": (init_scale, POSITIVE),
            "growth_factor": (growth_factor, _ABOVE_1),
            "backoff_factor": (backoff_factor, WITHIN_UNIT),
            "growth_interval": (growth_interval, COUNT_FROM_1),
        }
        numbers = {
            name: on_device(read_numbers("LossScaler", name, value, len(stack), allowed), stack.device)
            for name, (value, allowed) in given.items()
        }
        self.stack = stack
        self.scale_M = torch.ones(len(stack), device=stack.device).mul_(numbers.pop("init_scale"))
        self._numbers = numbers
        self._streak_M = torch.zeros(len(stack), dtype=torch.int64, device=stack.device)
        self._sick_M: dict[StackedOptimizer, Tensor] = {}
        self._stepped: set[StackedOptimizer] = set()
        stack.follow(self)

    def scale(self, loss_M: Tensor) -> Tensor:
        """Each member's loss times its scale; give it to `stack.backward`.

        Args:
            loss_M: float, shape (M,).

        Returns:
            Float, shape (M,).
        """
        return loss_M * self.scale_M

    @torch.no_grad()
    def unscale_(self, optimizer: StackedOptimizer) -> None:
        """Divides the gradients of an optimiser's parameters by each member's scale, and notes who has no step.

        `step` does it itself where it was not called.

        Raises:
            RuntimeError: called twice since the last `update`.
            ValueError: a gradient is float16, which cannot hold the quotient; or there is none.
        """
        if optimizer in self._sick_M:
            raise RuntimeError("LossScaler.unscale_: the gradients are unscaled already. Call update() after step().")
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not gradients:
            raise ValueError("LossScaler.unscale_: no parameter has a gradient. Call it after backward().")
        if any(gradient.dtype == torch.float16 for gradient in gradients):
            raise ValueError(
                "LossScaler.unscale_: gradients must not be float16, where small ones vanish. "
                "Keep the parameters in float32 and use torch.autocast inside each()."
            )
        inverse_M = self.scale_M.double().reciprocal().float()
        sick_M = torch.zeros(len(self.stack), dtype=torch.bool, device=self.stack.device)
        for gradient in gradients:
            sick_M |= ~gradient.isfinite().reshape(len(gradient), -1).all(dim=1)
            gradient.mul_(per_member_shape(inverse_M, gradient))
        self._sick_M[optimizer] = sick_M

    def step(self, optimizer: StackedOptimizer) -> None:
        """Lets the members step whose gradients are finite.

        Raises:
            RuntimeError: called twice since the last `update`.
            ValueError: as `unscale_`.
        """
        if optimizer in self._stepped:
            raise RuntimeError("LossScaler.step: this optimiser has stepped already. Call update() after it.")
        if optimizer not in self._sick_M:
            self.unscale_(optimizer)
        places = self._sick_M[optimizer].nonzero().flatten()
        if len(places) < len(self.stack):
            with resting(self.stack, [optimizer], places):
                optimizer.step()
        self._stepped.add(optimizer)

    def update(self) -> None:
        """Lowers the scales of members that sat out with any optimiser, and raises them after long enough.

        Raises:
            RuntimeError: no optimiser has stepped since the last `update`.
        """
        if not self._sick_M:
            raise RuntimeError("LossScaler.update: nothing was unscaled since the last update(). Call step() first.")
        sick_M = torch.stack(list(self._sick_M.values())).any(dim=0)
        streak_M = torch.where(sick_M, 0, self._streak_M + 1)
        grows_M = streak_M >= self._numbers["growth_interval"]
        lower_M, higher_M = (self._times(name) for name in ("backoff_factor", "growth_factor"))
        grown_M = torch.where(grows_M & higher_M.isfinite(), higher_M, self.scale_M)
        self.scale_M = torch.where(sick_M, lower_M, grown_M)
        self._streak_M = torch.where(grows_M, 0, streak_M)
        self._sick_M, self._stepped = {}, set()

    def _times(self, factor: str) -> Tensor:
        """The scales times a factor, rounded once."""
        return (self.scale_M.double() * self._numbers[factor]).float()

    def keep(self, indices: Tensor) -> None:
        """Keeps the scales of the members at these places; the stack calls it."""
        self.scale_M, self._streak_M = take_members(self.scale_M, indices), take_members(self._streak_M, indices)
        self._numbers = {name: _taken(value, indices) for name, value in self._numbers.items()}
        self._sick_M = {optimizer: take_members(sick_M, indices) for optimizer, sick_M in self._sick_M.items()}

    def state_dict(self) -> dict[str, Any]:
        """The scales, how long each member has stepped in a row, and the options."""
        return {"scale_M": self.scale_M, "streak_M": self._streak_M, "numbers": dict(self._numbers)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` gave for as many members.

        Raises:
            ValueError: the state is of another number of members.
        """
        if len(state["scale_M"]) != len(self.stack):
            raise ValueError(
                f"LossScaler.load_state_dict: state must be of {len(self.stack)} members, got "
                f"{len(state['scale_M'])}. Build the stack of as many models, or keep() as many members first."
            )
        device = self.stack.device
        self.scale_M, self._streak_M = state["scale_M"].to(device), state["streak_M"].to(device)
        self._numbers = {
            name: value.to(device) if isinstance(value, Tensor) else value for name, value in state["numbers"].items()
        }


def _taken(value: float | Tensor, indices: Tensor) -> float | Tensor:
    return take_members(value, indices) if isinstance(value, Tensor) else value
