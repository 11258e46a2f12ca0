"""How much is trained: defaults by the amount of data, and plans that fit a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.records import MemberId
from tenfold.core.specs import InputSpec
from tenfold.study.budget import (
    default_batch_size,
    default_epochs,
    default_trials,
    fit_to_time,
    halving_rungs,
    member_epochs,
)
from tenfold.train import MemberSpec, PlannedStack, split_config

TABLE = InputSpec(kind="table", shape=(4,))
PHOTO = InputSpec(kind="image", shape=(3, 224, 224))


def specs_of(count: int) -> list[MemberSpec]:
    config = split_config({"batch_size": 32}, {})
    return [MemberSpec(id=MemberId(trial=i), label="mlp", config=config, build=lambda: None) for i in range(count)]


def plan_of(count: int, step_seconds: float) -> list[PlannedStack]:
    line = {"form": "stacked", "reason": "", "label": "mlp", "parameters": 1, "step_seconds": step_seconds}
    return [PlannedStack(places=tuple(range(count)), **line)]


@pytest.mark.parametrize(
    ("rows", "spec", "batch_size", "epochs"),
    [(1, TABLE, 32, 100), (4_999, TABLE, 32, 26), (60_000, TABLE, 128, 9), (10**7, TABLE, 256, 5),
     (244, PHOTO, 32, 20)],
)  # fmt: skip
def test_defaults_follow_the_amount_of_data(rows, spec, batch_size, epochs):
    assert default_batch_size(rows) == batch_size
    assert default_epochs(rows, batch_size, spec) == epochs


def test_photos_get_fewer_trials():
    assert default_trials(PHOTO) < default_trials(TABLE)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 5), st.integers(1, 70))
def test_member_epochs_are_what_the_rungs_let_train(trials, epochs, factor, fewest):
    rungs = halving_rungs(trials, epochs, factor, fewest=fewest)
    assert all(rung.keep >= min(fewest, trials) for rung in rungs)
    alive, reference = trials, 0
    by_epoch = {rung.resource: rung.keep for rung in rungs}
    for epoch in range(1, epochs + 1):  # one epoch after another, as the cohort does it
        reference += alive
        alive = min(alive, by_epoch.get(epoch, alive))
    assert member_epochs(rungs, trials) == reference
    assert rungs[-1].resource == epochs


@given(
    st.integers(1, 40), st.floats(1e-5, 1.0), st.integers(1, 500), st.floats(0.1, 5000), st.integers(1, 200),
    st.integers(2, 4),
)  # fmt: skip
def test_a_plan_never_costs_more_than_the_time_unless_it_is_the_smallest(
    trials, step_seconds, steps, seconds, most_epochs, factor
):
    kept, epochs = fit_to_time(
        plan_of(trials, step_seconds),
        specs_of(trials),
        lambda batch_size: steps,
        seconds=seconds,
        epochs=None,
        most_epochs=most_epochs,
        reduction_factor=factor,
    )
    cost_s = member_epochs(halving_rungs(kept, epochs, factor), kept) * steps * step_seconds
    assert 1 <= kept <= trials
    assert 1 <= epochs <= most_epochs
    assert cost_s <= seconds or (kept <= 3 and epochs == 1)


@given(st.integers(1, 40), st.floats(0.01, 5000), st.integers(1, 50))
def test_epochs_that_the_user_insists_on_are_kept(trials, seconds, epochs):
    kept, planned = fit_to_time(
        plan_of(trials, 0.001),
        specs_of(trials),
        lambda batch_size: 100,
        seconds=seconds,
        epochs=epochs,
        most_epochs=400,
        reduction_factor=3,
    )
    assert planned == epochs
    assert kept <= trials


def test_time_that_is_over_already_leaves_the_smallest_plan():
    kept, epochs = fit_to_time(
        plan_of(24, 0.001), specs_of(24), lambda size: 100, seconds=-5.0, epochs=None, most_epochs=99,
        reduction_factor=3,
    )  # fmt: skip
    assert (kept, epochs) == (3, 1)
