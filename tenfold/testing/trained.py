"""Trains the same members stacked and alone, and keeps what came out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tenfold.core.seeds import derive_seed, torch_seed
from tenfold.optim import LossScaler, Schedule, StackedOptimizer, clip_grad_norm_
from tenfold.stacking import Form, Stack, stack
from tenfold.stacking.forms import as_member
from tenfold.testing.recipe import Recipe

MakeModel = Callable[[], nn.Module]
Loss = Callable[..., Tensor]
Batches = Sequence[tuple[Any, ...]]
_GROWTH_INTERVAL = 3  # steps until a scale doubles: soon enough to be seen


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training left.

    Attributes:
        losses: float, shape (num_steps, M).
        tensors: parameters and buffers by name, shape (M, ...).
        predictions: for the first batch in evaluation mode, the member axis in front.
    """

    losses: Tensor
    tensors: Mapping[str, Tensor]
    predictions: list[Tensor]

    def of_places(self, places: Sequence[int]) -> Trained:
        """What is left of the members at these places, in this order."""
        chosen = list(places)
        return Trained(
            losses=self.losses[:, chosen],
            tensors={name: tensor[chosen] for name, tensor in self.tensors.items()},
            predictions=[leaf[chosen] for leaf in self.predictions],
        )


@dataclass
class Bench:
    """A stack with its optimiser and schedule, ready for steps."""

    stack: Stack
    optimizer: StackedOptimizer
    schedule: Schedule | None
    recipe: Recipe
    scaler: LossScaler | None
    held: Tensor | None = None

    def step(self, loss: Loss, *batch: Any) -> Tensor:
        """One training step; returns the losses, shape (M,)."""
        self.held = loss_M = self.stack.each(loss, *batch)  # users hold the last loss while they call keep
        self.optimizer.zero_grad()
        self.stack.backward(loss_M if self.scaler is None else self.scaler.scale(loss_M))
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if self.recipe.clip_norm is not None:
            clip_grad_norm_(self.stack.parameters(), self.recipe.clip_norm)
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step(*([loss_M.detach()] if self.recipe.reads_scores else []))
        return loss_M.detach()

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all parameters and buffers."""
        named = (*self.stack.named_parameters(), *self.stack.named_buffers())
        return {name: tensor.detach().clone() for name, tensor in named}

    def predictions(self, predict: Callable[..., Any], *batch: Any) -> list[Tensor]:
        """The leaves of what the members predict in evaluation mode; the stack is in training mode again."""
        self.stack.eval()
        with torch.no_grad():
            leaves = pytree.tree_leaves(self.stack.each(predict, *batch))
        self.stack.train()
        return leaves


def predict_inputs(model: nn.Module, *batch: Any) -> Any:
    """The default prediction: all of a batch but its last part, the target."""
    return model(*batch[:-1])


def member_model(
    make_model: MakeModel, member: int, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> nn.Module:
    """The model of one member, made under its own stream."""
    with torch_seed(derive_seed(member, "init")):
        return make_model().to(dtype=dtype).to(device)


def cast_batches(batches: Batches, dtype: torch.dtype, device: torch.device | str = "cpu") -> list[tuple[Any, ...]]:
    """The batches on one device, with every float tensor in one dtype."""

    def cast(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.to(device, dtype if leaf.is_floating_point() else leaf.dtype)

    return [pytree.tree_map(cast, tuple(batch)) for batch in batches]


def nudge(batches: Batches, direction: float) -> list[tuple[Any, ...]]:
    """The batches with every float moved by one unit in the last place, up or down."""

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            return leaf
        return torch.nextafter(leaf, torch.full_like(leaf, direction))

    return [pytree.tree_map(moved, tuple(batch)) for batch in batches]


def bench(
    make_model: MakeModel,
    recipe: Recipe,
    members: list[int],
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    form: Form = "auto",
) -> Bench:
    """The given members in one stack, with what trains them."""
    stacked = stack([member_model(make_model, i, dtype, device) for i in members], seeds=members, form=form)
    optimizer = recipe.stacked(stacked.parameters(), **recipe.options_for(members))
    schedule = recipe.schedule(optimizer) if recipe.schedule is not None else None
    scaler = None
    if recipe.loss_scale is not None:
        scaler = LossScaler(stacked, init_scale=recipe.loss_scale, growth_interval=_GROWTH_INTERVAL)
    return Bench(stacked, optimizer, schedule, recipe, scaler)


def train_together(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    recipe: Recipe,
    members: list[int],
    *,
    num_steps: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    form: Form = "auto",
    predict: Callable[..., Any] = predict_inputs,
) -> Trained:
    """Trains the members as a stack."""
    work = bench(make_model, recipe, members, dtype=dtype, device=device, form=form)
    losses = [work.step(loss, *batches[t % len(batches)]) for t in range(num_steps)]
    tensors = work.tensors()
    predictions = work.predictions(predict, *batches[0])
    return Trained(losses=torch.stack(losses), tensors=tensors, predictions=predictions)


def train_alone(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    recipe: Recipe,
    members: list[int],
    *,
    num_steps: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    predict: Callable[..., Any] = predict_inputs,
) -> Trained:
    """Trains the members one by one in a plain PyTorch loop, without a stack; the draws are the members' own."""
    runs = [_train_one(make_model, batches, loss, recipe, i, num_steps, dtype, device, predict) for i in members]
    return Trained(
        losses=torch.stack([run.losses for run in runs], dim=1),
        tensors={name: torch.stack([run.tensors[name] for run in runs]) for name in runs[0].tensors},
        predictions=[torch.stack(leaves) for leaves in zip(*(run.predictions for run in runs), strict=True)],
    )


def nudged_alone(
    make_model: MakeModel, batches: Batches, loss: Loss, recipe: Recipe, members: list[int], **job: Any
) -> Callable[[], list[Trained]]:
    """What `train_alone` makes of inputs one unit in the last place away, up and down; trained when first asked."""
    return functools.cache(
        lambda: [
            train_alone(make_model, nudge(batches, direction), loss, recipe, members, **job)
            for direction in (torch.inf, -torch.inf)
        ]
    )


def _train_one(
    make_model: MakeModel,
    batches: Batches,
    loss: Loss,
    recipe: Recipe,
    member: int,
    num_steps: int,
    dtype: torch.dtype,
    device: torch.device | str,
    predict: Callable[..., Any],
) -> Trained:
    model = member_model(make_model, member, dtype, device)
    optimizer = recipe.plain(model.parameters(), **recipe.options_of(member))
    schedule = recipe.plain_schedule(optimizer) if recipe.plain_schedule is not None else None
    scaler = torch.amp.GradScaler(
        torch.device(device).type,
        init_scale=recipe.loss_scale or 1.0,
        growth_interval=_GROWTH_INTERVAL,
        enabled=recipe.loss_scale is not None,
    )
    key = torch.tensor(derive_seed(member, "noise"), device=device)
    losses = []
    for t in range(num_steps):
        with as_member(key, 2 * (t + 1)):
            value = loss(model, *batches[t % len(batches)])
        optimizer.zero_grad()
        scaler.scale(value).backward()
        scaler.unscale_(optimizer)
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        if schedule is not None:
            schedule.step(*([value.detach()] if recipe.reads_scores else []))
        losses.append(value.detach())
    named = (*model.named_parameters(), *model.named_buffers())
    tensors = {name: tensor.detach().clone() for name, tensor in named}
    with torch.no_grad(), as_member(key, 3):
        predictions = pytree.tree_leaves(predict(model.eval(), *batches[0]))
    return Trained(losses=torch.stack(losses), tensors=tensors, predictions=predictions)
