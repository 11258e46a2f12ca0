"""When steps are compiled: measured for long plans alone, decided for each stretch by what it saves."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from train_kit import ACCURACY, CPU, LOG_LOSS, Classify, finish, make_cohort, moons_data, records, specs_of, two_moons

from tenfold.train import (
    Hooks,
    PlannedStack,
    build_lane,
    compile_where_it_pays,
    compiling,
    plan_stacks,
    with_compiled_steps,
)
from tenfold.train.known_costs import StepCosts, keep_costs, known_costs

X, Y = two_moons()
FORM = "stacked"
CONFIGS = [{"lr": 0.01, "batch_size": 16}, {"lr": 0.03, "batch_size": 16}]


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch, tmp_path):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


def line(step, compiled, compiling, places=(0, 1), form="stacked", again=0.0, before=()):
    return PlannedStack(
        places=places,
        form=form,
        reason="",
        label="net",
        parameters=1,
        step_seconds=step,
        compiled_seconds=compiled,
        compile_seconds=compiling,
        again_seconds=again,
        compiled_before=before,
    )


@pytest.mark.parametrize(
    ("planned", "member_steps", "pays"),
    [
        (line(0.002, 0.001, 10.0), 10_001, True),
        (line(0.002, 0.001, 10.0), 9_999, False),
        (line(0.001, 0.002, 0.0), 10**9, False),
        (line(0.002, 0.0, 0.0), 10**9, False),  # not measured
        (line(0.0002, 0.0001, 10.0, again=1.0, before=(2,)), 10_001, True),
        (line(0.0002, 0.0001, 10.0, again=1.0, before=(3,)), 10_001, False),
        (line(0.002, 0.001, 10.0, again=1.0, before=(3,)), 1_001, True),  # long steps: programs serve any number
        (line(0.002, 0.001, 10.0, again=1.0, before=()), 1_001, False),
    ],
)
def test_compiling_pays_when_it_saves_more_time_than_it_takes(planned, member_steps, pays):
    assert planned.pays_to_compile(member_steps, 2) is pays


def test_the_quickest_time_is_the_compiled_one_where_there_is_one():
    assert line(0.002, 0.001, 1.0).quickest_seconds == 0.001
    assert line(0.002, 0.0, 0.0).quickest_seconds == 0.002


def lanes_of(planned, count=1):
    return [
        build_lane(
            specs_of(CONFIGS),
            Classify(),
            form="stacked",
            device=CPU,
            total_steps=8,
            direction="maximize",
            line=planned,
        )
        for _ in range(count)
    ]


def is_compiled(lane):
    return [part.training.compiled for part in lane._parts]


@pytest.mark.parametrize(("steps", "compiled"), [(4999, False), (5001, True)])
def test_a_lane_is_compiled_for_a_stretch_that_is_long_enough(steps, compiled):
    (lane,) = lanes_of(line(0.002, 0.001, 10.0))
    compile_where_it_pays([lane], lambda lane: steps)
    assert is_compiled(lane) == [compiled]


def test_lanes_that_were_planned_alike_pay_for_compiling_together():
    lanes = lanes_of(line(0.002, 0.001, 10.0, form="serial"), count=3)
    compile_where_it_pays(lanes, lambda lane: 2000)
    assert [is_compiled(lane) for lane in lanes] == [[True]] * 3


def test_a_stretch_that_is_too_short_goes_back_to_steps_as_they_come():
    (lane,) = lanes_of(line(0.002, 0.001, 10.0))
    compile_where_it_pays([lane], lambda lane: 10**6)
    compile_where_it_pays([lane], lambda lane: 10)
    assert is_compiled(lane) == [False]


def test_insisting_compiles_whatever_it_costs():
    (lane,) = lanes_of(line(0.0, 0.0, 0.0, form="compiled"))
    compile_where_it_pays([lane], lambda lane: 1)
    assert is_compiled(lane) == [True]


def example(batch_size):
    return X[:batch_size], Y[:batch_size]


def measured(specs, plan, training_s, programs):
    return with_compiled_steps(plan, specs, Classify(), example, device=CPU, training_s=training_s, programs=programs)


def test_a_short_training_is_not_measured():
    specs = specs_of(CONFIGS)
    plan = plan_stacks(specs, Classify(), example, device=CPU, form="stacked")
    assert measured(specs, plan, 20.0, {}) == plan


def test_a_long_training_is_measured_and_its_program_is_kept():
    specs, programs = specs_of(CONFIGS), {}
    plan = plan_stacks(specs, Classify(), example, device=CPU, form="stacked")
    (planned,) = measured(specs, plan, 3600.0, programs)
    (known,) = measured(specs, plan, 1.0, {})  # what has been measured on this machine is not measured again
    assert known == planned
    assert planned.compiled_seconds > 0
    assert planned.compile_seconds > planned.compiled_seconds
    assert "ms compiled, which takes" in planned.reason
    assert PlannedStack.from_json(planned.to_json()) == planned
    (compiled,) = programs.values()
    assert len(compiled) == 1
    assert planned.again_seconds > 0
    assert planned.compiled_before == (2,)
    lane = build_lane(
        specs, Classify(), form="stacked", device=CPU, total_steps=8, direction="maximize", programs=programs
    )
    lane.compile()
    for _ in range(2):
        lane.train_step(example(16))
    assert lane.fallback is None
    assert len(compiled) == 1


class Counting(nn.Module):
    """Forward sets an attribute, which no compiled program would."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(2, 2).double(), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x)


def test_what_cannot_be_compiled_stays_as_it_was_planned():
    specs = specs_of([{}, {}], Counting)
    plan = plan_stacks(specs, Classify(), example, device=CPU, form="stacked")
    assert measured(specs, plan, 3600.0, {}) == plan


def epochs_of(folder, form):
    specs = specs_of([*CONFIGS, {"lr": 0.1, "batch_size": 16}])
    cohort = make_cohort(
        specs, Classify(), moons_data(), ACCURACY, [(2, 2), (4, 1)], folder, steps_per_epoch=4, form=form
    )
    return records(finish(cohort)), cohort


def test_a_compiled_cohort_trains_as_one_that_runs_as_it_comes(tmp_path):
    (one, cohort), (two, compiled) = (epochs_of(tmp_path / form, form) for form in ("stacked", "compiled"))
    assert any(part.training._programs for lane in compiled.lanes for part in lane._parts)
    assert len(one) == len(two) == 3 * 2 + 2 * 2
    for a, b in zip(one, two, strict=True):
        assert (a["trial"], a["epoch"]) == (b["trial"], b["epoch"])
        assert b["train_loss"] == pytest.approx(a["train_loss"], abs=1e-9)
        assert b["valid"] == pytest.approx(a["valid"], abs=1e-9)
    for name, tensor in cohort.lanes[0].tensors():
        if name in ("0.bias", "1.running_mean"):
            continue  # before batch norm a bias's gradient is rounding noise, which AdamW blows up; the mean follows
        torch.testing.assert_close(dict(compiled.lanes[0].tensors())[name], tensor, rtol=0, atol=1e-9)


def test_serial_members_are_tried_as_one_program_only_where_they_fit(monkeypatch):
    specs = specs_of(CONFIGS)
    plan = plan_stacks(specs, Classify(), example, device=CPU, form="serial")
    monkeypatch.setattr(compiling, "available_memory_bytes", lambda device: 0)
    monkeypatch.setattr(compiling, "_probe", lambda specs, *rest: pytest.fail("tried") if len(specs) > 1 else None)
    assert measured(specs, plan, 3600.0, {}) == plan
    monkeypatch.undo()
    tried = []
    monkeypatch.setattr(compiling, "_probe", lambda specs, *rest: tried.append(len(specs)))
    measured(specs, plan, 3600.0, {})
    assert tried == [1, 2]


def test_the_second_epoch_as_chosen_corrects_the_costs_that_are_kept(tmp_path):
    """The first may have compiled; ten steps of a small network take far less than a thousand seconds."""
    keep_costs("wrong", 2, StepCosts(1e3, 5e2, 1.0, 1.0, (2,)))
    specs = specs_of([{"lr": 0.1, "batch_size": 4}] * 2)
    epochs = []
    cohort = make_cohort(
        specs, Classify(), moons_data(), LOG_LOSS, [(3, 2)], tmp_path, steps_per_epoch=16,
        hooks=Hooks(seconds=lambda: epochs.append(known_costs("wrong", 2).step) or 0.0),
    )  # fmt: skip
    for lane in cohort.lanes:
        lane.line = replace(lane.line, costs_key="wrong")
    finish(cohort)
    kept = known_costs("wrong", 2)
    assert epochs == [1e3, kept.step, kept.step]
    assert kept.step < 1e2
    assert kept.compiled == 5e2
