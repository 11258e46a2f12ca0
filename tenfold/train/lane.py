"""A lane: one stack in training, with its optimisers, schedules, task values and best weights so far."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.core.records import MemberId
from tenfold.core.task import Batch, BatchProvider, Direction, MemberView, Objective, Task
from tenfold.optim import TrainingStep
from tenfold.stacking import Stack, member_streams, per_member
from tenfold.stacking.layout import take_members
from tenfold.train.plan import PlannedStack
from tenfold.train.recipe import Recipe, make_optimizer, make_schedule

ProgramShelf = dict[Hashable, dict[Any, Any]]
"""Compiled steps by objective and by what members share; of one task."""


class Lane:
    """Members of one structure and one program on their way through training.

    Args:
        ids: who the members are, in the stack's order.
        stack: their models.
        task: what they learn.
        recipes: how, one a member; all of one program.
        task_values: the task's hyper-parameters of each member.
        total_steps: steps to the end of the full budget, for the schedules.
        direction: of the metric that decides which weights are the best.
        programs: compiled steps that lanes of one task share; see `compile`.
        line: the line of the plan that this lane is.
    """

    def __init__(
        self,
        ids: Sequence[MemberId],
        stack: Stack,
        task: Task,
        recipes: Sequence[Recipe],
        task_values: Sequence[Mapping[str, float]],
        *,
        total_steps: int,
        direction: Direction,
        programs: ProgramShelf | None = None,
        line: PlannedStack | None = None,
    ) -> None:
        self.ids = list(ids)
        self.stack = stack
        self.task = task
        self.recipe = recipes[0]
        self.direction = direction
        device = stack.device
        self._values = {
            name: torch.tensor([values[name] for values in task_values], device=device) for name in task_values[0]
        }
        self.line = line
        self.programs = {} if programs is None else programs
        self._parts = [_ObjectivePart(objective, self, recipes, total_steps) for objective in task.objectives()]
        self._loss_sum_M = torch.zeros(len(ids), device=device)
        self._loss_steps = 0
        worst = float("-inf") if direction == "maximize" else float("inf")
        self.best_score_M = torch.full((len(ids),), worst, dtype=torch.float64, device=device)
        self.best_epoch_M = torch.zeros(len(ids), dtype=torch.int64, device=device)
        self._best: dict[str, Tensor] = {}
        self.provider: BatchProvider | None = task.provider(stack)
        stack.follow(self)

    def __len__(self) -> int:
        return len(self.ids)

    def train_step(self, batch: Batch) -> None:
        """One step of every objective on one batch, for all members."""
        for part in self._parts:
            loss_M = part.step(batch)
            self._loss_sum_M += loss_M.to(self._loss_sum_M.dtype)
        self._loss_steps += 1

    def losses(self, objective: Objective, batch: Batch) -> Tensor:
        """Each member's loss, shape (M,), with its graph."""
        loss_M: Tensor = self.stack.each(_plain_loss(objective), per_member(self._values), *batch)
        return loss_M

    def compile(self, compiled: bool = True) -> None:
        """Compiles the steps from the next one on, or lets them run as they come."""
        for part in self._parts:
            part.training.compiled = compiled and part.training.fallback is None

    @property
    def fallback(self) -> str | None:
        """Why steps that were to be compiled are not, in one sentence; None otherwise."""
        return next((part.training.fallback for part in self._parts if part.training.fallback), None)

    def end_epoch(self) -> Tensor:
        """Each member's mean training loss since the last call, float, shape (M,)."""
        mean_M = self._loss_sum_M / max(self._loss_steps, 1)
        self._loss_sum_M, self._loss_steps = torch.zeros_like(self._loss_sum_M), 0
        return mean_M

    def lr(self) -> list[float]:
        """The learning rates of the first objective's first group, a number a member."""
        rate = self._parts[0].optimizer.param_groups[0]["lr"]
        return rate.tolist() if isinstance(rate, Tensor) else [float(rate)] * len(self)

    def predict(self, batches: Iterable[Batch]) -> tuple[list[Any], list[Batch]]:
        """What every member says of every batch, and the batches."""
        seen = list(batches)
        self.stack.eval()
        try:
            with torch.no_grad():
                outputs = [self.stack.each(lambda model, *b: self.task.predict(model, b), *batch) for batch in seen]
        finally:
            self.stack.train()
        return outputs, seen

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """Every metric of the task for every member, float64, shape (M,)."""
        outputs, seen = self.predict(batches)
        with torch.no_grad():
            return self.task.evaluate(outputs, seen)

    def note_scores(self, score_M: Tensor, epoch: int) -> None:
        """Remembers the weights of the members that are better than they ever were; NaN is never better."""
        better_M = score_M > self.best_score_M if self.direction == "maximize" else score_M < self.best_score_M
        self.best_score_M = torch.where(better_M, score_M, self.best_score_M)
        self.best_epoch_M = torch.where(better_M, torch.tensor(epoch, device=score_M.device), self.best_epoch_M)
        places = better_M.nonzero()[:, 0]
        for name, tensor in self.tensors():
            if name not in self._best:
                self._best[name] = tensor.clone()
            else:
                self._best[name].index_copy_(0, places, tensor.index_select(0, places))

    def tensors(self) -> list[tuple[str, Tensor]]:
        """All stacked parameters and buffers by name."""
        parameters = [(name, parameter.detach()) for name, parameter in self.stack.named_parameters()]
        return parameters + list(self.stack.named_buffers())

    def best_model(self, place: int) -> nn.Module:
        """A member with its best weights (its present ones when it never had a score), as a plain module."""
        model = self.stack.unstack()[place]
        if self.best_epoch_M[place] > 0:
            with torch.no_grad():
                for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                    tensor.copy_(self._best[name][place])
        return model.eval()

    def keep(self, indices: Tensor) -> None:
        """Follows the stack when members leave; call `stack.keep`, not this."""
        self.ids = [self.ids[place] for place in indices.tolist()]
        self._values = {name: take_members(value, indices) for name, value in self._values.items()}
        self._best = {name: take_members(tensor, indices) for name, tensor in self._best.items()}
        for name in ("_loss_sum_M", "best_score_M", "best_epoch_M"):
            setattr(self, name, take_members(getattr(self, name), indices))
        if self.provider is not None:
            self.provider.keep(indices)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes in training, as it is between two epochs."""
        return {
            "stack": self.stack.state_dict(),
            "parts": [part.state_dict() for part in self._parts],
            "best": dict(self._best),
            "best_score": self.best_score_M,
            "best_epoch": self.best_epoch_M,
            "provider": self.provider.state_dict() if self.provider is not None else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` gave for the same members."""
        self.stack.load_state_dict(state["stack"])
        for part, saved in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(saved)
        self._best = {name: tensor.clone() for name, tensor in state["best"].items()}
        self.best_score_M = state["best_score"].clone()
        self.best_epoch_M = state["best_epoch"].clone()
        if self.provider is not None:
            self.provider.load_state_dict(state["provider"])


class _ObjectivePart:
    """One objective of a lane: the parameters it trains and their optimiser and schedule."""

    def __init__(self, objective: Objective, lane: Lane, recipes: Sequence[Recipe], total_steps: int) -> None:
        self.objective, self.lane = objective, lane
        self.parameters = [
            parameter
            for name, parameter in lane.stack.named_parameters()
            if parameter.requires_grad and objective.trains(name)
        ]
        if not self.parameters:
            raise ValueError(
                f"objective {objective.name!r}: parameters {objective.parameters} match no trainable parameter of "
                f"the model. Its parameters are {', '.join(name for name, _ in lane.stack.named_parameters())}."
            )
        self.optimizer = make_optimizer(lane.stack, self.parameters, recipes)
        self.schedule = make_schedule(self.optimizer, recipes[0], total_steps)
        self.training = TrainingStep(
            lane.stack,
            _plain_loss(objective),
            self.optimizer,
            max_norm=_max_norm(recipes, lane.stack.device),
            programs=lane.programs.setdefault((objective.name, recipes[0].program), {}),
        )
        self.follows = _slow_pairs(objective, lane.stack)

    def step(self, batch: Batch) -> Tensor:
        loss_M = self.training(per_member(self.lane._values), *batch)
        self.schedule.step()
        if self.follows and self.objective.slow_copy is not None:
            with torch.no_grad():
                for copy, source in self.follows:
                    copy.lerp_(source, self.objective.slow_copy.rate)
        return loss_M

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def _plain_loss(objective: Objective) -> Callable[..., Tensor]:
    """The objective's loss as a function of a plain model, the task's values of a member, and the batch."""

    @functools.wraps(objective.loss)  # the stack decides for each function how it runs
    def loss(model: nn.Module, values: Mapping[str, Tensor], *batch: Any) -> Tensor:
        return objective.loss(model, batch, MemberView(streams=member_streams(), values=values))

    return loss


def _max_norm(recipes: Sequence[Recipe], device: torch.device) -> Tensor | None:
    """The members' bounds for clipping, shape (M,); 0 in a recipe switches it off for all of one program."""
    bounds = [recipe.clip_norm for recipe in recipes]
    return torch.tensor(bounds, dtype=torch.float64, device=device) if bounds[0] > 0 else None


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
