"""Random modules, members, optimisers, schedules, poisons and leave orders: promises 1, 2, 3 and 6 at once.

Forty cases with every run; five hundred by `pytest -m slow tests/stacking/test_any_module.py`, others of them by
`HYPOTHESIS_PROFILE=explore`.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from any_module import BLOCKS, IMAGE_BLOCKS, AnyModule, any_batches, any_loss
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stacking_recipes import flags_of, registered
from torch import Tensor, nn

from tenfold.optim import OPTIMIZERS, SCHEDULES
from tenfold.stacking import SerialFallbackWarning, per_member
from tenfold.testing import POISONS
from tenfold.testing.comparing import EXACT, compare_exactly, distance, same_bits
from tenfold.testing.leaving import _everything
from tenfold.testing.poisons import own_batches
from tenfold.testing.trained import Bench, Trained, bench, member_model, nudged_alone, predict_inputs, train_alone

STEPS = 6
BATCHES = any_batches()
UNHURRIED = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One case.

    Attributes:
        model: the arguments of `AnyModule`.
        num_members: at the start.
        recipe: the arguments of `registered`.
        own: whether each member has a batch of its own.
        poison: a name in POISONS or None, with the step and the member.
        leaves: before which step which places stay, in which order.
        form: of the stack.
    """

    model: dict[str, Any]
    num_members: int
    recipe: dict[str, Any]
    own: bool
    poison: tuple[str, int, int] | None
    leaves: dict[int, list[int]] = field(default_factory=dict)
    form: str = "auto"


@st.composite
def cases(draw: st.DrawFn) -> Drawn:
    images = draw(st.booleans())
    names = sorted(IMAGE_BLOCKS if images else BLOCKS)
    model = {
        "blocks": draw(st.lists(st.sampled_from(names), min_size=1, max_size=5)),
        "images": images,
        "embeds": draw(st.booleans()),
        "auxiliary": draw(st.booleans()),
    }
    num_members = draw(st.integers(1, 9))
    optimizer = draw(st.sampled_from(list(OPTIMIZERS)))
    flags = draw(st.lists(st.sampled_from(flags), unique=True)) if (flags := flags_of(optimizer)) else []
    recipe = {
        "optimizer": optimizer,
        "schedule": draw(st.sampled_from(list(SCHEDULES))),
        "flags": flags,
        "total": STEPS + 2,
        "warmup": draw(st.integers(0, 2)),
        "clip_norm": draw(st.sampled_from([None, 0.05, 1.0])),
    }
    poison = None
    if num_members > 1 and draw(st.booleans()):
        poison = (
            draw(st.sampled_from(list(POISONS))),
            draw(st.integers(0, 2)),
            draw(st.integers(0, num_members - 1)),
        )
    left, leaves = num_members, {}
    for step in sorted(draw(st.sets(st.integers(1, STEPS - 1), max_size=2))):
        order = draw(st.permutations(range(left)))
        left = draw(st.integers(1, left))
        leaves[step] = list(order)[:left]
    own = draw(st.booleans()) or (poison is not None and POISONS[poison[0]].where == "batch")
    form = draw(st.sampled_from(["auto", "auto", "auto", "serial"]))
    return Drawn(
        model=model, num_members=num_members, recipe=recipe, own=own, poison=poison, leaves=leaves, form=form
    )


def make_model(case: Drawn) -> nn.Module:
    return AnyModule(**case.model)


def scaled_loss(model: nn.Module, scale: Tensor, *batch: Any) -> Tensor:
    return any_loss(model, *batch) * scale


def train(case: Drawn, *, poisoned: bool) -> tuple[Bench, list[dict[int, Tensor]]]:
    """Trains the case's stack; the losses of each step by member."""
    members = list(range(case.num_members))
    recipe = registered(**case.recipe)
    work = bench(lambda: make_model(case), recipe, members, dtype=torch.float64, form=case.form)
    scale_M = torch.ones(case.num_members, dtype=torch.float64)
    value, losses = None, []
    for t in range(STEPS):
        if t in case.leaves:
            keep_and_compare(work, case.leaves[t])
            scale_M = scale_M[case.leaves[t]]
        name, step, victim = case.poison or ("", -1, -1)
        sick = victim in work.stack.members and poisoned
        place = work.stack.members.index(victim) if sick else 0
        if sick and t == step:
            POISONS[name].strike(work, scale_M, place)
        if sick and t >= step and POISONS[name].where == "batch":
            value = POISONS[name].value
        batch: Any = BATCHES[t % len(BATCHES)]
        if case.own:
            [batch] = own_batches([batch], len(work.stack), place, value if sick else None)
        loss_M = work.step(scaled_loss, per_member(scale_M), *batch)
        losses.append(dict(zip(work.stack.members, loss_M, strict=True)))
    return work, losses


def keep_and_compare(work: Bench, places: list[int]) -> None:
    """Promise 3: all that belongs to members is carried over bit for bit."""
    before = copy.deepcopy(_everything(work))
    work.stack.keep(places)
    after = _everything(work)
    assert set(before) <= set(after)
    for name, old in before.items():
        same = same_bits(old[places], after[name]) if isinstance(old, Tensor) else old == after[name]
        assert same, f"keep({places}) did not carry {name}"


def check_alone(case: Drawn, work: Bench, losses: list[dict[int, Tensor]]) -> None:
    """Promise 1: whoever arrives in good health is as if alone."""
    healthy = [m for m in work.stack.members if case.poison is None or m != case.poison[2]]
    if not healthy:
        return
    places = [work.stack.members.index(m) for m in healthy]
    arrived = Trained(
        losses=torch.stack([torch.stack([loss_M[m] for m in healthy]) for loss_M in losses]),
        tensors={name: tensor[places] for name, tensor in work.tensors().items()},
        predictions=[leaf[places] for leaf in work.predictions(predict_inputs, *BATCHES[0])],
    )
    job: dict[str, Any] = {"num_steps": STEPS, "dtype": torch.float64}
    plain = (lambda: make_model(case), BATCHES, any_loss, registered(**case.recipe), healthy)
    compare_exactly("promise 1", arrived, train_alone(*plain, **job), "training alone", nudged_alone(*plain, **job))


def check_strangers(case: Drawn, work: Bench, losses: list[dict[int, Tensor]]) -> None:
    """Promise 2: without the poison the others have the same bits."""
    assert case.poison is not None
    clean, clean_losses = train(case, poisoned=False)
    tensors = clean.tensors()
    for place, member in enumerate(work.stack.members):
        if member != case.poison[2]:
            for name, tensor in work.tensors().items():
                assert same_bits(tensor[place], tensors[name][place]), f"{case.poison} changed {name} of {member}"
    for loss_M, clean_M in zip(losses, clean_losses, strict=True):
        for member in loss_M:
            if member != case.poison[2]:
                assert same_bits(loss_M[member], clean_M[member]), f"{case.poison} changed the loss of {member}"


def check_plain(case: Drawn, work: Bench) -> None:
    """Promise 6: what comes out loads into the user's class and predicts what the stack predicts."""
    counters = {
        name: vars(module)["calls"] for name, module in work.stack.unstack()[0].named_modules() if _counts(module)
    }
    predictions = work.predictions(predict_inputs, *BATCHES[0])
    for place, model in enumerate(work.stack.unstack()):
        fresh = member_model(lambda: make_model(case), 0, torch.float64)
        fresh.load_state_dict(model.state_dict(), strict=True)
        for name, count in counters.items():
            fresh.get_submodule(name).calls = count
        with torch.no_grad():
            out = fresh.eval()(BATCHES[0][0])["classes"]
        assert distance(predictions[0][place], out) <= EXACT


def _counts(module: nn.Module) -> bool:
    return "calls" in vars(module)


def check_promises(case: Drawn) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SerialFallbackWarning)
        work, losses = train(case, poisoned=True)
        check_alone(case, work, losses)
        if case.poison is not None:
            check_strangers(case, work, losses)
        check_plain(case, work)


@settings(UNHURRIED, max_examples=40)
@given(cases())
def test_any_module_keeps_all_promises_at_once(case: Drawn) -> None:
    check_promises(case)


@pytest.mark.slow
@settings(UNHURRIED, max_examples=500)
@given(cases())
def test_five_hundred_modules_keep_all_promises_at_once(case: Drawn) -> None:
    check_promises(case)
