"""A lane: one stack in training, with its optimisers, schedules, task values and best weights so far."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tenfold.core.errors import OutOfMemoryError, is_out_of_memory
from tenfold.core.records import MemberId
from tenfold.core.task import Batch, BatchProvider, Direction, MemberBatches, Objective, Task
from tenfold.optim import Plateau
from tenfold.stacking import Replay, Stack, per_member
from tenfold.stacking.layout import take_members
from tenfold.train.batch_parts import Part, of_member, parts_of, resting_places
from tenfold.train.frozen import FrozenMembers
from tenfold.train.health import Illness, LossWatch, Table, likely_cause
from tenfold.train.objective_step import ObjectiveStep, plain_loss
from tenfold.train.optimizing import freeze_parameters, make_average, make_stopping
from tenfold.train.plan import PlannedStack
from tenfold.train.recipe import Recipe

_SUMMED_AT_ONCE = 64  # steps' losses: a sum at each takes two microseconds

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
        total_steps: steps to the end of the full budget, for the schedules; one number, or one a member.
        direction: of the metric that decides which weights are the best.
        programs: compiled steps that lanes of one task share; see `compile`.
        line: the line of the plan that this lane is.
        step: of a ladder, the step that its trials train on.
        begins_at: epochs that its trials had trained before, in other lanes.

    Attributes:
        averages: the members' averaged weights, which are scored and kept; None where no member has any.
        is_sick_M: who is sick, bool, shape (M,), on the CPU; they are frozen.
        is_stopped_M: whose patience is at an end, likewise.
        illnesses: members that fell sick since they were last asked for.
        num_pieces: into how many the members are cut for a step: 1, or more after memory ran out.
        splits: what that number became since it was last asked for.
        wait_for_room: asked when even a single member's step does not fit: waits until no other lane takes a step,
            and says whether any did; None where lanes take their steps in turn.
        epoch: epochs it has trained; its batches follow them.
    """

    def __init__(
        self,
        ids: Sequence[MemberId],
        stack: Stack,
        task: Task,
        recipes: Sequence[Recipe],
        task_values: Sequence[Mapping[str, float]],
        *,
        total_steps: int | Sequence[int],
        direction: Direction,
        programs: ProgramShelf | None = None,
        line: PlannedStack | None = None,
        step: int = 0,
        begins_at: int = 0,
    ) -> None:
        self.ids = list(ids)
        self.stack = stack
        self.task = task
        self.recipe, self._recipes = recipes[0], list(recipes)
        self.direction = direction
        device = stack.device
        self._values = {
            name: torch.tensor([values[name] for values in task_values], device=device) for name in task_values[0]
        }
        self.line = line
        self.programs = {} if programs is None else programs
        freeze_parameters(stack, self.recipe.freeze)
        steps = [total_steps] * len(ids) if isinstance(total_steps, int) else list(total_steps)
        self._parts = [
            ObjectiveStep(
                objective,
                stack,
                recipes,
                steps,
                direction,
                self.programs.setdefault((objective.name, self.recipe.program), {}),
            )
            for objective in task.objectives()
        ]
        self.averages = make_average(stack, recipes)
        self._stopping = make_stopping(stack, recipes, direction)
        self._frozen = FrozenMembers(len(ids))
        self._predict = _predictions(task)
        self._said = Replay(stack, self._predict, is_exact=True)
        self._watches = [LossWatch(device) for _ in self._parts]
        self.illnesses: list[Illness] = []
        self.num_pieces = 1
        self.splits: list[int] = []
        self.wait_for_room: Callable[[], bool] | None = None
        self.epoch, self.step, self.begins_at = 0, step, begins_at
        self.is_sick_M = torch.zeros(len(ids), dtype=torch.bool)
        self.is_stopped_M = torch.zeros(len(ids), dtype=torch.bool)
        self._loss_sum_M = torch.zeros(len(ids), device=device)
        self._losses: list[Tensor] = []
        self._loss_steps: int | Tensor = 0
        self._step = 0
        worst = float("-inf") if direction == "maximize" else float("inf")
        self.best_score_M = torch.full((len(ids),), worst, dtype=torch.float64, device=device)
        self.best_epoch_M = torch.zeros(len(ids), dtype=torch.int64, device=device)
        self._best: dict[str, Tensor] = {}
        self.provider: BatchProvider | None = task.provider(stack)
        stack.follow(self)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_beside(self) -> bool:
        """Whether it trains side by side with others of its kind."""
        return self.line is not None and self.line.form == "side-by-side" and self.stack.device.type == "cpu"

    @property
    def age(self) -> int:
        """Epochs that its trials have trained."""
        return self.begins_at + self.epoch

    # -- steps ---------------------------------------------------------------------------------------------

    def train_step(self, batch: Batch | MemberBatches) -> None:
        """One step of every objective on one batch, for all members, or for those who have one.

        A member whose loss or gradient is not finite falls sick: the step is not applied to it, and it stays where
        it is from then on. (On a GPU losses are looked at only now and then, not to wait for them; its weights may
        then be lost, and the best so far take their place.) When memory runs out, the step is taken again with the
        members cut in halves, and so are all later ones; beside other lanes, when these have taken theirs.

        Raises:
            OutOfMemoryError: not even a single member's step fits; or memory ran out when weights had begun to move.
        """
        self._step += 1
        if isinstance(batch, MemberBatches) and not batch.parts:
            return
        self._hold_frozen()
        parts: list[Part] = []
        for part, watch in zip(self._parts, self._watches, strict=True):
            loss_M, parts = self._with_room(part, batch)
            self._put_frozen_back()
            self._note(loss_M, part, watch, parts)
        rests = resting_places(parts, len(self))
        if self.averages is not None:
            self.averages.update(rests=rests)
            self._put_frozen_back()
        present: int | Tensor = 1
        if rests:
            places = torch.tensor(rests, device=self.stack.device)
            present = torch.ones_like(self._loss_sum_M).index_fill_(0, places, 0.0)
        self._loss_steps = self._loss_steps + present

    def _with_room(self, part: ObjectiveStep, batch: Batch | MemberBatches) -> tuple[Tensor, list[Part]]:
        """A step; where memory runs out before weights move, it is undone and taken again in smaller pieces."""
        while True:
            counts, moved = self.stack.call_counts(), part.optimizer.num_steps
            parts = parts_of(batch, len(self), self.num_pieces)
            try:
                return part.take(parts, self._values), parts
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).split("\n")[0]
            if part.optimizer.num_steps > moved:
                raise OutOfMemoryError(
                    f"train: memory ran out while the weights of {len(self)} members were moving ({reason}). Train "
                    "fewer members, or resume when more memory is free."
                )
            part.undo()
            self.stack.set_call_counts(counts)
            self._halve(reason)

    def _halve(self, reason: str) -> None:
        if self.num_pieces >= len(self):
            if self.wait_for_room is not None and self.wait_for_room():
                return
            raise OutOfMemoryError(
                f"train: a step of a single member does not fit into memory ({reason}). Choose a smaller network or "
                "batch size, or cut batches into pieces (accumulate=2)."
            )
        if self.stack.device.type == "cuda":
            torch.cuda.empty_cache()  # blocks of the old sizes are of no use
        self.num_pieces = min(2 * self.num_pieces, len(self))
        self.splits.append(self.num_pieces)

    def losses(self, objective: Objective, batch: Batch) -> Tensor:
        """Each member's loss, shape (M,), with its graph."""
        loss_M: Tensor = self.stack.each(
            plain_loss(objective, self.stack.device, self.recipe.precision), per_member(self._values), *batch
        )
        return loss_M

    def compile(self, compiled: bool = True, *, block_members: int | None = None) -> None:
        """Compiles the steps from the next one on, or lets them run as they come.

        Args:
            compiled: whether.
            block_members: how many members a program takes at once (`block_members_of`).
        """
        for part in self._parts:
            part.training.block_members = block_members
            part.training.compiled = compiled and part.can_be_compiled and part.training.fallback is None

    def replay(self, replayed: bool = True) -> None:
        """Lets the operators of steps that come back be recorded and run anew, where objectives allow it.

        Not of lanes side by side: one thread would record what others run.
        """
        for part in self._parts:
            part.gradients.is_on = replayed and part.objective.repeats and not self.is_beside
        self._said.is_on = replayed and all(part.objective.repeats for part in self._parts) and not self.is_beside

    @property
    def is_compiled(self) -> bool:
        """Whether its steps are compiled, but for those that cannot be."""
        return any(part.training.compiled for part in self._parts)

    @property
    def fallback(self) -> str | None:
        """Why steps that were to be compiled are not, in one sentence; None otherwise."""
        return next((part.training.fallback for part in self._parts if part.training.fallback), None)

    # -- who is sick ---------------------------------------------------------------------------------------

    def _note(self, loss_M: Tensor, part: ObjectiveStep, watch: LossWatch, parts: Sequence[Part]) -> None:
        """Takes the losses of a step down, and freezes who has fallen sick."""
        self._losses.append(loss_M)
        if len(self._losses) == _SUMMED_AT_ONCE:
            self._sum_losses()
        if parts[0][0] is not None and watch.last_M is not None:  # who rests has the loss that it had
            rests = torch.tensor(resting_places(parts, len(self)), dtype=torch.int64, device=loss_M.device)
            loss_M = loss_M.index_copy(0, rests, watch.last_M.index_select(0, rests))
        table = watch.note(loss_M, self._step, is_bad=bool(part.broken), is_well=part.is_well)
        if table is not None:
            self._freeze_the_sick(table, part, parts)

    def _sum_losses(self) -> None:
        if self._losses:
            self._loss_sum_M += torch.stack(self._losses).to(self._loss_sum_M.dtype).sum(0)
            self._losses = []

    def _freeze_the_sick(self, table: Table, part: ObjectiveStep, parts: Sequence[Part]) -> None:
        found = {
            place: table.first_bad(place) or (table.last(place) if place in part.broken else None)
            for place in range(len(self))
            if not self._frozen.is_frozen_M[place]
        }
        sick = [(place, facts) for place, facts in found.items() if facts is not None]
        if not sick:
            return
        for place, (step, loss, before) in sick:
            cause = self._cause(place, loss, before, part, parts)
            self.illnesses.append(Illness(member=self.ids[place], step=step, cause=cause))
            self.is_sick_M[place] = True
        self._rescue([place for place, _ in sick])
        self._frozen.freeze([place for place, _ in sick])
        self._hold_frozen()

    def _cause(
        self, place: int, loss: float, before: float | None, part: ObjectiveStep, parts: Sequence[Part]
    ) -> str:
        weights = [parameter.detach()[place] for parameter in part.trained]
        cause = likely_cause(
            loss=loss,
            before=before,
            lr=self._recipes[place].lr,
            optimizer=self.recipe.optimizer,
            weights=weights,
            batch=_own_batch(parts, place),
        )
        return cause if len(self._parts) == 1 else f"objective {part.objective.name!r}: {cause}"

    def _rescue(self, places: Sequence[int]) -> None:
        """Members whose weights are no longer finite get the best so far, where there are any."""
        tensors = self.tensors()
        lost = [place for place in places if not all(bool(tensor[place].isfinite().all()) for _, tensor in tensors)]
        if lost and self._best:
            indices = torch.tensor(lost, device=self.stack.device)
            for name, tensor in tensors:
                tensor.index_copy_(0, indices, self._best[name].index_select(0, indices))

    def _hold_frozen(self) -> None:
        if self._frozen:
            self._frozen.hold(self._moving())

    def _put_frozen_back(self) -> None:
        if self._frozen:
            self._frozen.put_back(self._moving())

    def _moving(self) -> list[Tensor]:
        """All that a step may change in a member that is scored."""
        averaged = [] if self.averages is None else self.averages.tensors()
        return [*(tensor for _, tensor in self.tensors()), *averaged]

    # -- scores --------------------------------------------------------------------------------------------

    def end_epoch(self) -> Tensor:
        """Each member's mean training loss since the last call, float, shape (M,)."""
        for part, watch in zip(self._parts, self._watches, strict=True):
            table = watch.look()
            if table is not None:
                self._hold_frozen()
                self._freeze_the_sick(table, part, [])
        self._sum_losses()
        steps = self._loss_steps
        mean_M = self._loss_sum_M / (steps.clamp(min=1) if isinstance(steps, Tensor) else max(steps, 1))
        self._loss_sum_M, self._loss_steps, self._step = torch.zeros_like(self._loss_sum_M), 0, 0
        return mean_M

    def lr(self) -> list[float]:
        """The learning rates of the first objective's first group, a number a member."""
        rate = self._parts[0].optimizer.param_groups[0]["lr"]
        return rate.tolist() if isinstance(rate, Tensor) else [float(rate)] * len(self)

    @contextmanager
    def _as_scored(self) -> Iterator[None]:
        """Within the block the stack has the weights that are scored: the averages, where there are any."""
        if self.averages is None:
            yield
        else:
            with self.averages.applied():
                yield

    def predict(self, batches: Iterable[Batch], places: Tensor | None = None) -> tuple[list[Any], list[Batch]]:
        """What every member says of every batch, and the batches.

        Args:
            batches: for all members, or for those at the places.
            places: only these members are asked, int64, shape (K,).
        """
        seen = list(batches)
        self.stack.eval()
        try:
            with torch.no_grad(), self._as_scored():
                outputs = [self._outputs(batch, places) for batch in seen]
        finally:
            self.stack.train()
        return outputs, seen

    def _outputs(self, batch: Batch, places: Tensor | None) -> Any:
        """What every member says of a batch; in smaller pieces where memory runs out."""
        asked = batch if places is None else MemberBatches(parts=[(places.tolist(), batch)])
        while True:
            try:
                parts = parts_of(asked, len(self), self.num_pieces)
                if len(parts) == 1 and parts[0][0] is None:
                    return self._said(*parts[0][1])
                pieces = [self.stack.each(self._predict, *own, places=some) for some, own in parts]
                return pytree.tree_map(lambda *leaves: torch.cat(leaves), *pieces)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).split("\n")[0]
            self._halve(reason)

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """Every metric of the task for every member, float64, shape (M,)."""
        outputs, seen = self.predict(batches)
        with torch.no_grad():
            return self.task.evaluate(outputs, seen)

    def note_scores(self, score_M: Tensor, epoch: int) -> None:
        """Remembers the weights of the members that are better than they ever were; NaN is never better.

        Schedules that read scores get them, and members whose patience is at an end stop: they stay where they are.
        """
        score_M = torch.where(self.is_sick_M.to(score_M.device), torch.nan, score_M)
        better_M = score_M > self.best_score_M if self.direction == "maximize" else score_M < self.best_score_M
        self.best_score_M = torch.where(better_M, score_M, self.best_score_M)
        self.best_epoch_M = torch.where(better_M, torch.tensor(epoch, device=score_M.device), self.best_epoch_M)
        places = better_M.nonzero()[:, 0]
        with self._as_scored():
            for name, tensor in self.tensors():
                if name not in self._best:
                    self._best[name] = tensor.clone()
                else:
                    self._best[name].index_copy_(0, places, tensor.index_select(0, places))
        for part in self._parts:
            if isinstance(part.schedule, Plateau):
                part.schedule.step(score_M)
        if self._stopping is not None:
            self.is_stopped_M = self._stopping.update(score_M) & ~self.is_sick_M
            self._frozen.freeze(self.is_stopped_M.nonzero()[:, 0].tolist())

    def tensors(self) -> list[tuple[str, Tensor]]:
        """All stacked parameters and buffers by name."""
        parameters = [(name, parameter.detach()) for name, parameter in self.stack.named_parameters()]
        return parameters + list(self.stack.named_buffers())

    def best_model(self, place: int) -> nn.Module:
        """A member with its best weights (its present ones when it never had a score), as a plain module."""
        if self.best_epoch_M[place] == 0:
            return self.present_model(place)
        (model,) = self.stack.unstack([place])
        with torch.no_grad():
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                tensor.copy_(self._best[name][place])
        return model.eval()

    def present_model(self, place: int) -> nn.Module:
        """A member as it is now, averaged if it has an average, as a plain module."""
        with self._as_scored():
            return self.stack.unstack([place])[0].eval()

    def go_on_from(self, others: Sequence[Lane]) -> None:
        """Takes over the weights and buffers that its members have in other lanes, bit for bit, as they are now.

        What members draw while they train goes on where the furthest of these lanes is; optimisers, averages and
        schedules begin anew.
        """
        places = {member: (lane, place) for lane in others for place, member in enumerate(lane.ids)}
        sources = [places[member] for member in self.ids]
        with torch.no_grad():
            theirs = {id(lane): dict(lane.tensors()) for lane, _ in sources}
            for name, tensor in self.tensors():
                for own, (lane, place) in enumerate(sources):
                    tensor[own].copy_(theirs[id(lane)][name][place])
        furthest = max(
            (lane for lane, _ in sources), key=lambda lane: sum(lane.stack.call_counts()["calls"].values())
        )
        self.stack.set_call_counts({**furthest.stack.call_counts(), "missed": {}})

    # -- leaving and saving --------------------------------------------------------------------------------

    def keep(self, indices: Tensor) -> None:
        """Follows the stack when members leave; call `stack.keep`, not this."""
        self._sum_losses()
        places = indices.tolist()
        self.ids, self._recipes = [self.ids[p] for p in places], [self._recipes[p] for p in places]
        self._values = {name: take_members(value, indices) for name, value in self._values.items()}
        self._best = {name: take_members(tensor, indices) for name, tensor in self._best.items()}
        for name in ("_loss_sum_M", "best_score_M", "best_epoch_M"):
            setattr(self, name, take_members(getattr(self, name), indices))
        if isinstance(self._loss_steps, Tensor):
            self._loss_steps = take_members(self._loss_steps, indices)
        on_host = indices.cpu()
        self.is_sick_M, self.is_stopped_M = self.is_sick_M[on_host], self.is_stopped_M[on_host]
        self._frozen.keep(on_host)
        for watch in self._watches:
            watch.keep(indices)
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
            "averages": None if self.averages is None else self.averages.state_dict(),
            "stopping": None if self._stopping is None else self._stopping.state_dict(),
            "sick": self.is_sick_M,
            "stopped": self.is_stopped_M,
            "last_losses": [watch.last_M for watch in self._watches],
            "pieces": self.num_pieces,
            "epoch": self.epoch,
            "step": self.step,
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
        if self.averages is not None:
            self.averages.load_state_dict(state["averages"])
        if self._stopping is not None:
            self._stopping.load_state_dict(state["stopping"])
        self.is_sick_M, self.is_stopped_M = state["sick"].cpu().clone(), state["stopped"].cpu().clone()
        self._frozen.load(self.is_sick_M | self.is_stopped_M)
        for watch, last_M in zip(self._watches, state["last_losses"], strict=True):
            watch.last_M = last_M
        self.num_pieces, self.epoch = state["pieces"], state["epoch"]
        if self.provider is not None:
            self.provider.load_state_dict(state["provider"])


def _predictions(task: Task) -> Callable[..., Any]:
    """What the stack maps: of a lane's own method the stack would hold the lane."""

    def predict(model: nn.Module, *batch: Any) -> Any:
        return task.predict(model, batch)

    return predict


def _own_batch(parts: Sequence[Part], place: int) -> Batch:
    """What a member saw; nothing where that is no longer known."""
    for places, batch in parts:
        if places is None:
            return of_member(batch, place)
        if place in places.tolist():
            return of_member(batch, places.tolist().index(place))
    return ()
