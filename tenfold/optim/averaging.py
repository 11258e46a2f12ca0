"""Averages of the weights along training: exponential (EMA) or equal (SWA), each member's by its own decay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.optim.host_numbers import UNIT, choose, from_saved, keep_numbers, on_device, read_numbers, to_saved
from tenfold.stacking import Stack
from tenfold.stacking.layout import per_member_shape, take_members


class WeightAverage:
    """Averages of a stack's parameters, a copy of the stack's size beside it.

    Args:
        stack: whose parameters are averaged; the average follows `keep`.
        decay: how slowly the exponential average forgets, in [0, 1], or one a member; None averages all values
            since the first with equal weight.
        warmup: whether the decay of the update after n of them is at most (1 + n) / (10 + n), so that the first
            weights are soon forgotten.
        use_buffers: whether buffers of floating point are averaged as the parameters are; otherwise they are copied
            at each update, as counters always are.

    Attributes:
        num_averaged: how often `update` was called; float64, shape (M,), once members have rested. The first
            call copies the parameters.

    Raises:
        ValueError: a decay out of its range, or not one number a member; a warm-up without a decay.

    Example:
        >>> import tenfold
        >>> from torch import nn
        >>> stack = tenfold.stack([nn.Linear(4, 1) for _ in range(2)])
        >>> averaged = WeightAverage(stack, decay=[0.99, 0.999])
        >>> averaged.update()  # after each optimizer.step()
        >>> with averaged.applied():
        ...     outputs = stack.each(lambda model, x: model(x), torch.ones(3, 4))
        ...     models = stack.unstack()

    References:
        Polyak, Juditsky: Acceleration of stochastic approximation by averaging, SIAM J. Control Optim. 1992;
        Izmailov et al.: Averaging weights leads to wider optima and better generalization, UAI 2018. Values as
        torch.optim.swa_utils.AveragedModel's; the warm-up is that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, stack: Stack, *, decay: Any = None, warmup: bool = False, use_buffers: bool = False) -> None:
        if warmup and decay is None:
            raise ValueError("WeightAverage: warmup must be False without a decay, got True. Give a decay.")
        self.stack, self.warmup, self.use_buffers = stack, warmup, use_buffers
        self._decay = None if decay is None else read_numbers("WeightAverage", "decay", decay, len(stack), UNIT)
        self.num_averaged: Any = 0
        self._parameters = {name: tensor.detach().clone() for name, tensor in stack.named_parameters()}
        self._buffers = {name: tensor.detach().clone() for name, tensor in stack.named_buffers()}
        self._is_applied = False
        stack.follow(self)

    @torch.no_grad()
    def update(self, *, rests: Any = ()) -> None:
        """Takes the stack's present parameters into the averages.

        Args:
            rests: places of members whose averages stay as they are, int64, shape (K,); a list will do.

        Raises:
            RuntimeError: called inside `applied`.
        """
        self._refuse_inside("update")
        counted: Any = 1
        if len(rests) > 0:
            counted = np.ones(len(self.stack))
            counted[torch.as_tensor(rests).cpu().numpy()] = 0.0
        weight = on_device(self._weight() * counted, self.stack.device)
        copy = on_device(counted, self.stack.device)
        for name, parameter in self.stack.named_parameters():
            _blend(self._parameters[name], parameter, weight)
        for name, buffer in self.stack.named_buffers():
            averages = self.use_buffers and buffer.is_floating_point()
            _blend(self._buffers[name], buffer, weight if averages else copy)
        self.num_averaged = self.num_averaged + counted

    def _weight(self) -> Any:
        """What the new values count beside the average, one number or one a member."""
        count = self.num_averaged
        if self._decay is None:
            return 1.0 / (count + 1)
        most = (1 + count) / (10 + count) if self.warmup else 1.0
        return choose(count == 0, 1.0, 1.0 - np.minimum(self._decay, most))

    def tensors(self) -> list[Tensor]:
        """The averages themselves, of parameters and then of buffers, each of shape (M, ...)."""
        return [*self._parameters.values(), *self._buffers.values()]

    @contextmanager
    def applied(self) -> Iterator[Stack]:
        """Puts the averages into the stack, and takes them out again at the end, whatever happens.

        Inside, the stack is the averaged one: it can be evaluated and unstacked, and a pass in training mode
        renews the averages' own batch statistics. Optimisers must not step.

        Raises:
            RuntimeError: inside another `applied` of the same averages.
        """
        self._refuse_inside("applied")
        self._exchange()
        try:
            yield self.stack
        finally:
            self._exchange()

    def _exchange(self) -> None:
        """Changes places without a copy: what the stack has becomes what is held here."""
        self._is_applied = not self._is_applied
        pairs = ((self.stack.named_parameters(), self._parameters), (self.stack.named_buffers(), self._buffers))
        for named, held in pairs:
            for name, tensor in named:
                tensor.data, held[name] = held[name], tensor.data

    def _refuse_inside(self, what: str) -> None:
        if self._is_applied:
            raise RuntimeError(f"WeightAverage.{what}: the averages are in the stack. Leave `with applied()` first.")

    def keep(self, indices: Tensor) -> None:
        """Keeps the averages of the members at these places; the stack calls it."""
        self._decay = keep_numbers(self._decay, indices)
        self.num_averaged = keep_numbers(self.num_averaged, indices)
        for held in (self._parameters, self._buffers):
            for name, tensor in held.items():
                held[name] = take_members(tensor, indices)

    def state_dict(self) -> dict[str, Any]:
        """The averages, how many values are in them, and the decay.

        Raises:
            RuntimeError: called inside `applied`.
        """
        self._refuse_inside("state_dict")
        return {
            "num_averaged": to_saved(self.num_averaged),
            "decay": to_saved(self._decay),
            "parameters": dict(self._parameters),
            "buffers": dict(self._buffers),
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` gave for a stack of the same structure and number of members.

        Raises:
            RuntimeError: called inside `applied`.
            ValueError: the state is of other parameters or another number of members.
        """
        self._refuse_inside("load_state_dict")
        for held, saved in ((self._parameters, state["parameters"]), (self._buffers, state["buffers"])):
            shapes = {name: tuple(tensor.shape) for name, tensor in held.items()}
            others = {name: tuple(tensor.shape) for name, tensor in saved.items()}
            if shapes != others:
                raise ValueError(
                    f"WeightAverage.load_state_dict: state must have the shapes {shapes}, got {others}. "
                    "Build it on a stack of the same structure and number of members."
                )
        for held, saved in ((self._parameters, state["parameters"]), (self._buffers, state["buffers"])):
            for name, tensor in held.items():
                tensor.copy_(saved[name])
        self.num_averaged, self._decay = from_saved(state["num_averaged"]), from_saved(state["decay"])


def _blend(average: Tensor, value: Tensor, weight: float | Tensor) -> None:
    """`average` += weight * (value - average), in place; weight 1 copies. Counters are copied where it is 1."""
    if not isinstance(weight, Tensor) and weight == 1.0:
        average.copy_(value)
    elif isinstance(weight, Tensor) and not average.is_floating_point():
        average.copy_(torch.where(per_member_shape(weight, average) == 1.0, value, average))
    else:
        share = per_member_shape(weight, average).to(average.dtype) if isinstance(weight, Tensor) else weight
        average.lerp_(value, share)
