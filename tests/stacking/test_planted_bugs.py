"""Each contract is shown a stack with a bug planted in it, and must say so: a contract that never fails is none.

`BUGS` is the list: what is planted, which contract catches it, and in which words.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from stacking_nets import CASES, Case
from stacking_recipes import recipe

import tenfold.testing
import tenfold.testing.trained as trained
from tenfold.optim import LossScaler, Schedule, StackedOptimizer
from tenfold.stacking import Stack, stack
from tenfold.stacking.layout import take_members
from tenfold.testing import (
    check_alone_or_together,
    check_leaving_is_free,
    check_leaving_on_the_way,
    check_permutation,
    check_plain_out,
    check_saving,
    check_strangers,
)

STACK_MODULE = sys.modules[Stack.__module__]
MLP = next(case for case in CASES if case.name == "mlp with batch norm and dropout")
LINEAR = next(case for case in CASES if case.name == "linear")
Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, kw_only=True)
class Bug:
    """A mistake that a stack could have.

    Attributes:
        name: the mistake.
        plant: puts it into the code while a test runs.
        contract: the check that finds it.
        words: what the check says, a regular expression.
        case: the network it is shown on.
        options: of the check.
    """

    name: str
    plant: Plant
    contract: Callable[..., None]
    words: str
    case: Case = MLP
    options: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        self.contract(**self.case.job, **{"optimizer": recipe("momentum"), "num_steps": 3} | self.options)


def instead(owner: Any, name: str, make: Callable[[Any], Any]) -> Plant:
    """A plant that puts `make(original)` in the original's place."""
    return lambda monkeypatch: monkeypatch.setattr(owner, name, make(getattr(owner, name)))


def and_then(owner: Any, name: str, after: Callable[..., Any]) -> Plant:
    """A plant that does the right thing, and then `after(self)`."""

    def make(original: Any) -> Any:
        def spoilt(self: Any, *args: Any, **options: Any) -> Any:
            result = original(self, *args, **options)
            after(self)
            return result

        return spoilt

    return instead(owner, name, make)


def clip_over_all(original: Any) -> Any:
    return torch.nn.utils.clip_grad_norm_


def share_the_scale(update: Any) -> Any:
    """One overflow lowers the scale of all."""

    def spoilt(self: LossScaler) -> None:
        update(self)
        self.scale_M = self.scale_M.amin().expand(len(self.stack)).clone()

    return spoilt


def skip_for_all(self: LossScaler) -> None:
    """One overflow skips the step of all."""
    self._sick_M = {optimizer: sick_M.any().expand_as(sick_M).clone() for optimizer, sick_M in self._sick_M.items()}


def leave_the_scales(self: LossScaler, indices: torch.Tensor) -> None:
    self.scale_M = self.scale_M[: len(indices)]


def another_members_decay(step: Any) -> Any:
    def spoilt(self: StackedOptimizer) -> None:
        own = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            group["weight_decay"] = group["weight_decay"].roll(1)
        step(self)
        for group, values in zip(self.param_groups, own, strict=True):
            group["weight_decay"] = values

    return spoilt


def one_key_for_all(self: Stack) -> None:
    self._keys_M = self._keys_M[:1].repeat(len(self))


def forget_the_calls(self: Stack) -> None:
    self._calls = dict.fromkeys(self._calls, 0)


def share_float_buffers(self: Stack) -> None:
    for name, buffer in list(self._buffers.items()):
        if buffer.is_floating_point():
            self._buffers[name] = buffer.mean(0, keepdim=True).expand_as(buffer).clone()


def count_members(self: Stack) -> None:
    for buffer in self._buffers.values():
        if not buffer.is_floating_point() and self._call.model.training:
            buffer += len(self) - 1


def share_the_first_buffers(run: Any) -> Any:
    """The members run one after another over one and the same buffer."""

    def spoilt(members: Any, *rest: Any) -> Any:
        shared = {name: buffer[:1].expand_as(buffer) for name, buffer in members.buffers.items()}
        return run(members._replace(buffers=shared), *rest)

    return spoilt


def keep_sorted(keep: Any) -> Any:
    return lambda self, indices: keep(self, sorted(indices))


def keep_moments_sorted(keep: Any) -> Any:
    return lambda self, indices: keep(self, indices.sort().values)


def count_steps_anew(self: StackedOptimizer) -> None:
    for state in self.state.values():
        state["steps"] = 0


def keep_the_first_rates(self: Schedule, indices: torch.Tensor) -> None:
    self.base_lrs = [lr[: len(indices)] for lr in self.base_lrs]


def take_a_view(tensor: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    places = indices.tolist()
    return tensor[places[0] : places[0] + 1] if len(places) == 1 else take_members(tensor, indices)


def see_the_neighbours(each: Any) -> Any:
    def spoilt(self: Stack, function: Any, *batch: Any) -> Any:
        values = each(self, function, *batch)
        return values + 1e-3 * values.mean() if self.form == "stacked" and values.dim() == 1 else values

    return spoilt


def unstacked(change: Callable[[Stack, list[Any]], Any]) -> Plant:
    def make(unstack: Any) -> Any:
        def spoilt(self: Stack) -> Any:
            models = unstack(self)
            return change(self, models) or models

        return spoilt

    return instead(Stack, "unstack", make)


def hand_out_views(self: Stack, models: list[Any]) -> None:
    for i, model in enumerate(models):
        for name, parameter in model.named_parameters():
            parameter.data = self._parameters[name].data[i]


def hand_out_empty_buffers(self: Stack, models: list[Any]) -> None:
    for model in models:
        for buffer in model.buffers():
            buffer.zero_()


def seeds_by_place(original: Any) -> Any:
    return lambda models, seeds, form: stack(models, seeds=range(len(models)), form=form)


CLIPPED = {"optimizer": recipe("momentum", clip_norm=0.1)}
SCALED = {"optimizer": recipe("momentum", loss_scale=1024.0)}
DECAYED = {"optimizer": recipe("weight decay")}
ADAM = {"optimizer": recipe("adamw")}
ON_THE_WAY = {"num_members": 6, "rungs": [(1, 4), (2, 2)]}

BUGS = [
    Bug(
        name="the gradient is averaged over the members",
        plant=instead(Stack, "backward", lambda _: lambda self, loss_M, inputs=None: loss_M.mean().backward()),
        contract=check_alone_or_together,
        words="is off by .* against a plain PyTorch loop",
    ),
    Bug(
        name="clipping over all members, seen by a sick one",
        plant=instead(trained, "clip_grad_norm_", clip_over_all),
        contract=check_strangers,
        words="NaN parameters in member 1 changed .* of member 0",
        options=CLIPPED,
    ),
    Bug(
        name="clipping over all members, seen by training alone",
        plant=instead(trained, "clip_grad_norm_", clip_over_all),
        contract=check_alone_or_together,
        words="is off by",
        options=CLIPPED,
    ),
    Bug(
        name="a scaler that skips the step of all for one overflow",
        plant=and_then(LossScaler, "unscale_", skip_for_all),
        contract=check_strangers,
        words="in member 1 changed .* of member 0",
        case=LINEAR,
        options=SCALED,
    ),
    Bug(
        name="a scale shared by the members",
        plant=instead(LossScaler, "update", share_the_scale),
        contract=check_strangers,
        words="in member 1 changed the loss scales of member 0",
        case=LINEAR,
        options=SCALED,
    ),
    Bug(
        name="scales that do not follow keep",
        plant=instead(LossScaler, "keep", lambda _: leave_the_scales),
        contract=check_leaving_is_free,
        words="did not carry the scaler's",
        case=LINEAR,
        options=SCALED | {"kept": [[2, 0]]},
    ),
    Bug(
        name="the loss sees the neighbours",
        plant=instead(Stack, "each", see_the_neighbours),
        contract=check_strangers,
        words="NaN parameters in member 1 changed the losses of member 0",
        case=LINEAR,
    ),
    Bug(
        name="the loss sees the neighbours, in float32",
        plant=instead(Stack, "each", see_the_neighbours),
        contract=check_alone_or_together,
        words="the losses is off by",
        case=LINEAR,
        options={"dtype": torch.float32},
    ),
    Bug(
        name="weight decay with another member's value",
        plant=instead(StackedOptimizer, "step", another_members_decay),
        contract=check_alone_or_together,
        words="is off by",
        case=LINEAR,
        options=DECAYED,
    ),
    Bug(
        name="draws keyed by the place in the stack, seen by a stack of one",
        plant=instead(trained, "stack", seeds_by_place),
        contract=check_alone_or_together,
        words="is off by .* in a stack of one",
    ),
    Bug(
        name="draws keyed by the place in the stack, seen in another order",
        plant=instead(trained, "stack", seeds_by_place),
        contract=check_permutation,
        words="what the members draw is not the member's own when the members stand in the order",
    ),
    Bug(
        name="one dropout mask for all members",
        plant=and_then(Stack, "__init__", one_key_for_all),
        contract=check_alone_or_together,
        words="the losses is off by",
    ),
    Bug(
        name="the statistics of batch norm shared by the members",
        plant=and_then(Stack, "each", share_float_buffers),
        contract=check_alone_or_together,
        words="running_mean is off by",
    ),
    Bug(
        name="the statistics of batch norm shared, seen by a sick one",
        plant=and_then(Stack, "each", share_float_buffers),
        contract=check_strangers,
        words="in member 1 changed 1.running_mean of member 0",
    ),
    Bug(
        name="a counter of batch norm that counts members",
        plant=and_then(Stack, "each", count_members),
        contract=check_alone_or_together,
        words="num_batches_tracked is off by",
    ),
    Bug(
        name="a buffer leaks from one member to the next in the serial form",
        plant=instead(STACK_MODULE, "run_serial", share_the_first_buffers),
        contract=check_alone_or_together,
        words="is off by .* in the serial form",
    ),
    Bug(
        name="keep sorts",
        plant=instead(Stack, "keep", keep_sorted),
        contract=check_leaving_is_free,
        words=r"keep\(\[2, 0\]\) did not carry",
        case=LINEAR,
    ),
    Bug(
        name="keep sorts, seen on the way",
        plant=instead(Stack, "keep", keep_sorted),
        contract=check_leaving_on_the_way,
        words="is off by",
        case=LINEAR,
        options=ON_THE_WAY,
    ),
    Bug(
        name="momentum lost at keep",
        plant=and_then(StackedOptimizer, "keep", lambda self: self.state.clear()),
        contract=check_leaving_is_free,
        words=r"keep\(\[2, 0\]\) lost the optimiser's",
    ),
    Bug(
        name="momentum lost at keep, seen on the way",
        plant=and_then(StackedOptimizer, "keep", lambda self: self.state.clear()),
        contract=check_leaving_on_the_way,
        words="is off by",
        options=ON_THE_WAY,
    ),
    Bug(
        name="momentum of the wrong members",
        plant=instead(StackedOptimizer, "keep", keep_moments_sorted),
        contract=check_leaving_is_free,
        words="did not carry .* over bit for bit",
    ),
    Bug(
        name="steps counted anew after keep",
        plant=and_then(StackedOptimizer, "keep", count_steps_anew),
        contract=check_leaving_is_free,
        words="did not carry the optimiser's steps of parameter 0 over bit for bit",
        options=ADAM,
    ),
    Bug(
        name="a schedule that does not follow keep",
        plant=lambda monkeypatch: monkeypatch.setattr(Schedule, "keep", keep_the_first_rates),
        contract=check_leaving_is_free,
        words="did not carry the schedule's base_lrs.0 over bit for bit",
        options={"optimizer": recipe("momentum", "cosine")},
    ),
    Bug(
        name="streams that start anew after keep",
        plant=and_then(Stack, "keep", forget_the_calls),
        contract=check_leaving_is_free,
        words="did not carry the calls over bit for bit",
    ),
    Bug(
        name="members that left but stay in memory",
        plant=lambda monkeypatch: monkeypatch.setattr(STACK_MODULE, "take_members", take_a_view),
        contract=check_leaving_is_free,
        words="those who left are still in memory",
        options={"kept": [[1]]},
    ),
    Bug(
        name="moments that are not loaded",
        plant=and_then(StackedOptimizer, "load_state_dict", lambda self: self.state.clear()),
        contract=check_saving,
        words="differ",
    ),
    Bug(
        name="streams that start anew after loading",
        plant=and_then(Stack, "load_state_dict", forget_the_calls),
        contract=check_saving,
        words="the losses differ 1 steps after loading",
    ),
    Bug(
        name="unstacked models that are views of the stack",
        plant=unstacked(hand_out_views),
        contract=check_plain_out,
        words="changing the unstacked member 0 changes .* in the stack",
        case=LINEAR,
    ),
    Bug(
        name="unstacked models in the wrong order",
        plant=unstacked(lambda self, models: models[::-1]),
        contract=check_plain_out,
        words="the unstacked model of member 0 does not predict what the stack predicts",
    ),
    Bug(
        name="unstacked models without their buffers",
        plant=unstacked(hand_out_empty_buffers),
        contract=check_plain_out,
        words="does not predict what the stack predicts",
    ),
]
over_bugs = pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])


@over_bugs
def test_a_planted_bug_is_caught_and_without_it_all_is_well(bug: Bug, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as planted:
        bug.plant(planted)
        with pytest.raises(AssertionError, match=f"{bug.contract.__name__}: .*{bug.words}"):
            bug.check()
    bug.check()


def test_at_least_ten_different_bugs_are_planted_and_every_contract_has_one():
    assert len({bug.name.split(", seen")[0] for bug in BUGS}) >= 10
    contracts = {name for name in tenfold.testing.__all__ if name.startswith("check_")}
    contracts -= {"check_sampler"}  # is of no stack; its bugs are planted in tests/tuning
    assert {bug.contract.__name__ for bug in BUGS} == contracts
