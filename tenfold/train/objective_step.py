"""The step of one objective for all members of a lane: losses, gradients, clipping, update, schedule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.core.task import Direction, MemberView, Objective
from tenfold.optim import LossScaler, TrainingStep, clip_grad_norm_, clip_grad_value_, resting
from tenfold.stacking import GradientReplay, Stack, member_streams, part_losses, per_member
from tenfold.stacking.kernels import are_below, looking_pays
from tenfold.stacking.layout import take_members
from tenfold.train.batch_parts import Part, micro_batches, resting_places
from tenfold.train.optimizing import clip_bounds, make_optimizer, make_schedule
from tenfold.train.recipe import Recipe

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_WILD = 1e15  # of a loss or a gradient: from here one step may lead beyond what float32 holds


class ObjectiveStep:
    """One objective of a lane: the parameters it trains, their optimiser and schedule, and how a step is taken.

    Args:
        objective: whose step it is.
        stack: the members.
        recipes: how they train, one a member.
        total_steps: of each member, for the schedule.
        direction: of the metric that decides.
        programs: compiled steps that are shared.

    Attributes:
        broken: places of the members whose last step would have left weights that are not finite; it was not applied.
        is_well: whether it is known of all members' losses and gradients in the last step that they are finite.

    Raises:
        ValueError: the objective trains no parameter that is there and not frozen, or its slow copy mirrors none.
    """

    def __init__(
        self,
        objective: Objective,
        stack: Stack,
        recipes: Sequence[Recipe],
        total_steps: Sequence[int],
        direction: Direction,
        programs: dict[Any, Any],
    ) -> None:
        self.objective, self.stack = objective, stack
        self.recipe = recipes[0]
        self.trained = _trained(objective, stack)
        self.loss = plain_loss(objective, stack.device, self.recipe.precision)
        self.optimizer = make_optimizer(stack, self.trained, recipes)
        self.schedule = make_schedule(self.optimizer, recipes, total_steps, direction)
        self.scaler = LossScaler(stack) if self.recipe.precision == "fp16" else None
        self.clip_value = clip_bounds(recipes, "clip_value", stack.device)
        self.training = TrainingStep(
            stack,
            self.loss,
            self.optimizer,
            max_norm=clip_bounds(recipes, "clip_norm", stack.device),
            programs=programs,
        )
        self.gradients = GradientReplay(stack, self.loss, self.trained)
        self.follows = _slow_pairs(objective, stack)
        self.broken: list[int] = []
        self.is_well = False
        self._unhealthy: list[int] = []
        self._images: list[Tensor] = []
        self._has_image = False
        stack.follow(self)

    @property
    def can_be_compiled(self) -> bool:
        """Whether a compiled step would do all that this one does."""
        return self.recipe.accumulate == 1 and self.scaler is None and self.clip_value is None

    def take(self, parts: Sequence[Part], values: Mapping[str, Tensor]) -> Tensor:
        """Takes the step.

        Args:
            parts: who takes which batch, at least one part; members in no part rest.
            values: the task's values, each of shape (M,).

        Returns:
            Each member's loss before it, shape (M,), without a graph; 0 for those that rest.
        """
        self.broken, self.is_well, self._has_image = [], False, False
        rests = resting_places(parts, len(self.stack))
        places, batch = parts[0]
        if places is None:  # `_whole` is handed over at each call: kept by `training`, it would hold what holds it
            loss_M = self.training(per_member(values), *batch, as_it_comes=self._whole)
        else:
            loss_M = self._in_parts(parts, values, rests)
        self.schedule.step()
        if rests:
            self.schedule.rest(rests)
        self._follow(rests)
        return loss_M

    def _whole(self, values: Any, *batch: Any) -> Tensor:
        return self._in_parts([(None, batch)], values.value, [])

    def _in_parts(self, parts: Sequence[Part], values: Mapping[str, Tensor], rests: list[int]) -> Tensor:
        """Losses and gradients part by part, each of whose graphs is gone before the next; then one update."""
        self._take_image()
        self.optimizer.zero_grad()
        if self.recipe.accumulate == 1 and self.scaler is None:
            loss_M = self.gradients.in_parts(parts, values)
        else:
            loss_M = self._in_pieces(parts, values)
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        wary = self._wary(loss_M)
        with resting(self.stack, [self.optimizer], rests) if rests else nullcontext():
            self._update(wary, rests)
        return loss_M

    def _in_pieces(self, parts: Sequence[Part], values: Mapping[str, Tensor]) -> Tensor:
        """Losses and gradients of batches that are cut into pieces, or of losses that are scaled."""
        found = []
        for places, batch in parts:
            for share, piece in micro_batches(batch, self.recipe.accumulate):
                loss_M = part_losses(self.stack, self.loss, (places, piece), values) * share
                self.stack.backward(loss_M if self.scaler is None else self.scaler.scale(loss_M), inputs=self.trained)
                found.append(loss_M.detach())
        return torch.stack(found).sum(0)

    def _update(self, wary: Tensor | None, rests: list[int]) -> None:
        """Moves the members; those who would not be finite keep their weights and the buffers of before the step.

        Args:
            wary: places of the members to be watched for that, int64, shape (K,); None for nobody.
            rests: places of the members for whom there is no step.
        """
        if self.clip_value is not None:
            clip_grad_value_(self.trained, self.clip_value)
        if self.training.max_norm is not None:
            clip_grad_norm_(self.trained, self.training.max_norm)
        before = [] if wary is None else [parameter.detach().index_select(0, wary) for parameter in self.trained]
        if self.scaler is None:
            self.optimizer.step()
        else:
            self._step_scaled(self.scaler, rests)
        if wary is not None:
            self._take_back(wary, before)

    def _step_scaled(self, scaler: LossScaler, rests: list[int]) -> None:
        """The optimiser's step by the scaler's leave; the scales of those who rest stay."""
        before = scaler.state_dict()
        scaler.step(self.optimizer)
        scaler.update()
        places = torch.tensor(rests, dtype=torch.int64, device=self.stack.device)
        for name, now in scaler.state_dict().items():
            if isinstance(now, Tensor):
                now.index_copy_(0, places, before[name].index_select(0, places))

    @torch.no_grad()
    def _take_back(self, wary: Tensor, before: Sequence[Tensor]) -> None:
        """Gives the members that are sick, or would be by the step, what they were before it."""
        is_lost = torch.zeros(len(wary), dtype=torch.bool)
        for parameter in self.trained:
            is_lost |= ~_are_finite(parameter.index_select(0, wary))
        self.broken = wary[is_lost].tolist()
        places = torch.tensor(sorted({*self.broken, *self._unhealthy}), dtype=torch.int64)
        rows = torch.searchsorted(wary, places)
        for parameter, old in zip(self.trained, before, strict=True):
            parameter.index_copy_(0, places, old.index_select(0, rows))
        for buffer, image in zip(self._buffers(), self._images, strict=False):
            buffer.index_copy_(0, places, image.index_select(0, places))

    def _wary(self, loss_M: Tensor) -> Tensor | None:
        """The members whose loss or gradient is not finite, or so large that their weights may soon not be.

        They are looked for on the CPU alone: other devices would have to be waited for. A look at all members at once
        takes a few hundredths of a step.
        """
        self._unhealthy = []
        if loss_M.device.type != "cpu":
            return None
        gradients: list[Tensor] = []
        if self.scaler is None:  # which looks at gradients itself
            gradients = [parameter.grad for parameter in self.trained if parameter.grad is not None]
        if _are_calm([loss_M, *gradients]):
            self.is_well = True
            return None
        is_calm_M = loss_M.abs() < _WILD
        for gradient in gradients:
            is_calm_M &= (gradient.abs() < _WILD).reshape(len(gradient), -1).all(dim=1)
        self._unhealthy = (~loss_M.isfinite()).nonzero()[:, 0].tolist()
        return (~is_calm_M).nonzero()[:, 0]

    def _follow(self, rests: list[int]) -> None:
        if self.objective.slow_copy is None:
            return
        places = torch.tensor(rests, dtype=torch.int64, device=self.stack.device)
        with torch.no_grad():
            for copy, source in self.follows:
                old = copy.index_select(0, places)
                copy.lerp_(source, self.objective.slow_copy.rate)
                copy.index_copy_(0, places, old)

    # -- as it was -----------------------------------------------------------------------------------------

    def _buffers(self) -> list[Tensor]:
        return [buffer for _, buffer in self.stack.named_buffers()]

    def _take_image(self) -> None:
        """Takes down the buffers, which the forward pass changes before it is known whether the step is taken."""
        buffers, self._has_image = self._buffers(), True
        if not buffers:
            return
        alike = len(buffers) == len(self._images) and all(
            image.shape == buffer.shape for image, buffer in zip(self._images, buffers, strict=True)
        )
        if not alike:
            self._images = [torch.empty_like(buffer) for buffer in buffers]
        torch._foreach_copy_(self._images, buffers)

    def undo(self) -> None:
        """Goes back to before a step that failed before its update."""
        self.optimizer.zero_grad()
        with torch.no_grad():
            for buffer, image in zip(self._buffers() if self._has_image else [], self._images, strict=False):
                buffer.copy_(image)

    def keep(self, indices: Tensor) -> None:
        """Follows the stack when members leave; the stack calls it."""
        self.clip_value = None if self.clip_value is None else take_members(self.clip_value, indices)

    def state_dict(self) -> dict[str, Any]:
        """What changes in training."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])


def plain_loss(objective: Objective, device: torch.device, precision: str = "float32") -> Callable[..., Tensor]:
    """The objective's loss as a function of a plain model, the task's values of a member, and the batch."""

    @functools.wraps(objective.loss)  # the stack decides for each function how it runs
    def loss(model: nn.Module, values: Mapping[str, Tensor], *batch: Any) -> Tensor:
        with torch.autocast(device.type, _AUTOCAST[precision]) if precision in _AUTOCAST else nullcontext():
            return objective.loss(model, batch, MemberView(streams=member_streams(), values=values))

    return loss


def _are_calm(tensors: list[Tensor]) -> bool:
    """Whether all their numbers are known to be finite and far from wild."""
    if looking_pays(tensors):
        return are_below(tensors, _WILD)
    return bool(torch.stack(torch._foreach_norm(tensors)).sum().item() < _WILD)


def _are_finite(tensor: Tensor) -> Tensor:
    """Which rows hold finite numbers alone, bool."""
    return tensor.isfinite().reshape(len(tensor), -1).all(dim=1)


def _trained(objective: Objective, stack: Stack) -> list[Tensor]:
    trained: list[Tensor] = [
        parameter
        for name, parameter in stack.named_parameters()
        if parameter.requires_grad and objective.trains(name)
    ]
    if not trained:
        raise ValueError(
            f"objective {objective.name!r}: parameters {objective.parameters} match no trainable parameter of "
            f"the model. Its parameters are {', '.join(name for name, _ in stack.named_parameters())}."
        )
    return trained


def _slow_pairs(objective: Objective, stack: Stack) -> list[tuple[Tensor, Tensor]]:
    """Pairs of (follower, source) tensors of the objective's slow copy."""
    slow = objective.slow_copy
    if slow is None:
        return []
    tensors = dict(stack.named_parameters())
    copies = [name for name in tensors if name.startswith(slow.copy)]
    missing = [name for name in copies if slow.source + name[len(slow.copy) :] not in tensors]
    if missing or not copies:
        raise ValueError(
            f"objective {objective.name!r}: slow copy {slow.copy!r} must mirror {slow.source!r}, but "
            f"{missing[0] if missing else 'no parameter'} has no counterpart. Give both parts the same layers."
        )
    return [(tensors[name], tensors[slow.source + name[len(slow.copy) :]]) for name in copies]
