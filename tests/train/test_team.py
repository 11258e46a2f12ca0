"""Lanes that train side by side: the same records as in turn, whatever happens in one of them."""

import threading

import pytest
import torch
from torch import nn
from train_kit import (
    CPU,
    LOG_LOSS,
    Classify,
    RowBatches,
    finish,
    make_cohort,
    member_tensors,
    moons_data,
    records,
    specs_of,
    two_moons,
)

from tenfold.core.errors import OutOfMemoryError, RunError, StackError
from tenfold.core.task import MemberBatches
from tenfold.stacking import Stack, per_member
from tenfold.train import CohortData, KnownPlans, build_lane, compiling, plan_stacks, planner
from tenfold.train.known_costs import StepCosts
from tenfold.train.plan import PlannedStack
from tenfold.train.team import Team
from tenfold.train.threads import num_threads

X, Y = two_moons()


def quiet_net(drop_prob: float = 0.1) -> nn.Module:
    """As `small_net`, but no bias stands before batch norm: its gradient is rounding alone."""
    first = nn.Linear(2, 8, bias=False)
    return nn.Sequential(first, nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(drop_prob), nn.Linear(8, 2)).double()


CONFIGS = [{"lr": 0.01 * (1 + i), "drop_prob": 0.3, "batch_size": 16} for i in range(5)]


@pytest.fixture(autouse=True)
def two_threads():
    with num_threads(2):
        yield


def lane_of(configs, build=quiet_net, form="side-by-side"):
    specs = specs_of(configs, build)
    line = PlannedStack(places=(), form=form, reason="", label="", parameters=0)
    return build_lane(specs, Classify(), form=form, device=CPU, total_steps=20, direction="minimize", line=line)


def cohort_of(folder, form, *, configs=CONFIGS, build=quiet_net, data=None, rungs=((2, 3), (4, 1)), size=1):
    cohort = make_cohort(
        specs_of(configs, build),
        Classify(),
        data or moons_data(),
        LOG_LOSS,
        rungs,
        folder,
        steps_per_epoch=4,
        form=form,
    )
    if size > 1:
        cohort.lanes = [lane_of(configs[start : start + size]) for start in range(0, len(configs), size)]
        for number, lane in enumerate(cohort.lanes):
            lane.ids = [spec.id for spec in specs_of(configs)[number * size : (number + 1) * size]]
    return cohort


def assert_agree(one, other):
    """To the rounding of other numbers of threads."""
    mine, theirs = member_tensors(one), member_tensors(other)
    assert mine.keys() == theirs.keys()
    for member, tensors in mine.items():
        for name, tensor in tensors.items():
            torch.testing.assert_close(tensor, theirs[member][name], atol=1e-11, rtol=0)
    for record, expected in zip(records(one), records(other), strict=True):
        assert record.pop("valid") == pytest.approx(expected.pop("valid"), abs=1e-11)
        assert record.pop("train_loss") == pytest.approx(expected.pop("train_loss"), abs=1e-6)
        assert record == expected


class Meeting(nn.Module):
    """A network whose forward pass, in a lane's second step, waits until another lane is in its own."""

    barrier: threading.Barrier

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2).double()

    def forward(self, x):
        if threading.current_thread() is not threading.main_thread():
            Meeting.barrier.wait(timeout=20)
        return self.layer(x)


def test_two_lanes_are_in_their_steps_at_the_same_time():
    Meeting.barrier = threading.Barrier(2)
    lanes = [lane_of([config], Meeting) for config in ({"lr": 0.1}, {"lr": 0.2})]
    Team().train([(lane, [(X, Y)] * 3) for lane in lanes])
    assert [lane._step for lane in lanes] == [3, 3]


@pytest.mark.parametrize("size", [1, 3])
def test_side_by_side_the_records_and_weights_are_those_of_lanes_in_turn(tmp_path, size):
    configs = [*CONFIGS, {**CONFIGS[0], "lr": 0.5}]
    beside = finish(cohort_of(tmp_path / "beside", "side-by-side", configs=configs, size=size))
    with num_threads(1):
        in_turn = finish(cohort_of(tmp_path / "turn", "side-by-side", configs=configs, size=size))
    assert_agree(beside, in_turn)
    assert torch.get_num_threads() == 2


def test_side_by_side_the_records_are_those_of_the_serial_form(tmp_path):
    beside = finish(cohort_of(tmp_path / "beside", "side-by-side"))
    assert_agree(beside, finish(cohort_of(tmp_path / "serial", "serial")))


def test_lanes_with_batches_of_their_own_train_side_by_side(tmp_path):
    """As folds do: each lane has its own rows, and some have fewer steps."""

    def data():
        def own(batch_size, ids):
            rows = 64 - 16 * (ids[0].trial % 2)
            return RowBatches(rows, batch_size, lambda picked: (X[:64][picked], Y[:64][picked]))

        return CohortData(training=None, validation=lambda members: [(X[64:], Y[64:])], own=own)

    beside = cohort_of(tmp_path / "beside", "side-by-side", data=data())
    assert [len(feeds) for feeds in beside.team.together(list(beside._feeds()))] == [5]
    in_turn = cohort_of(tmp_path / "serial", "serial", data=data())
    assert [len(feeds) for feeds in in_turn.team.together(list(in_turn._feeds()))] == [1] * 5
    assert_agree(finish(beside), finish(in_turn))


def test_a_member_that_falls_sick_disturbs_nobody_beside_it(tmp_path):
    wild = [*CONFIGS[:2], {**CONFIGS[2], "lr": 1e300}]
    beside = finish(cohort_of(tmp_path / "wild", "side-by-side", configs=wild, rungs=((2, 3),)))
    calm = finish(cohort_of(tmp_path / "calm", "side-by-side", configs=wild[:2], rungs=((2, 2),)))  # as many threads
    assert [record["trial"] for record in records(beside, "sick")] == [2]
    for record, expected in zip([own for own in records(beside) if own["trial"] < 2], records(calm), strict=True):
        assert record["valid"] == pytest.approx(expected["valid"], abs=1e-11)


def exit_in_the_third_epoch(epoch):
    if epoch == 2:
        raise SystemExit


def test_resumed_side_by_side_it_ends_as_if_it_had_never_stopped(tmp_path):
    whole = finish(cohort_of(tmp_path / "whole", "side-by-side"))
    killed = cohort_of(tmp_path / "killed", "side-by-side")
    killed.hooks.on_step = lambda progress: exit_in_the_third_epoch(progress.epoch)
    with pytest.raises(SystemExit):
        finish(killed)
    state = killed.checkpointer.load()
    assert state["epoch"] == 2
    resumed = make_cohort(
        specs_of(CONFIGS, quiet_net), Classify(), moons_data(), LOG_LOSS, ((2, 3), (4, 1)), tmp_path / "killed",
        steps_per_epoch=4, form="side-by-side", keep_bytes=state["log_bytes"],
    )  # fmt: skip
    resumed.load_state_dict(state)
    assert_agree(whole, finish(resumed))


# -- generators that the whole process shares ---------------------------------------------------------------


class Draws(nn.Module):
    """Noise from PyTorch's own generator; `after` calls it has none."""

    def __init__(self, after: int = 0) -> None:
        super().__init__()
        self.layer, self.after = nn.Linear(2, 2).double(), after
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.calls += 1
            if self.calls > self.after:
                x = x + 0.01 * torch.poisson(torch.ones_like(x))
        return self.layer(x)


def test_who_draws_from_the_generator_of_the_process_trains_in_turn(tmp_path):
    configs = [{"lr": lr, "batch_size": 16} for lr in (0.01, 0.1, 1.0)]
    state = torch.default_generator.get_state()
    beside = finish(cohort_of(tmp_path / "beside", "side-by-side", configs=configs, build=Draws))
    assert torch.equal(torch.default_generator.get_state(), state)
    assert all(lane.stack.draws_in_turn for lane in beside.lanes)
    assert_agree(beside, finish(cohort_of(tmp_path / "serial", "serial", configs=configs, build=Draws)))


def test_who_begins_to_draw_later_is_refused():
    lanes = [lane_of([{"lr": lr, "after": 1}], Draws) for lr in (0.1, 0.2)]
    state = torch.default_generator.get_state()
    with pytest.raises(RunError, match=r"draws from PyTorch's own generator, which .* Use form='serial'"):
        Team().train([(lane, [(X, Y)] * 4) for lane in lanes])
    assert torch.equal(torch.default_generator.get_state(), state)


# -- what goes wrong in a thread ----------------------------------------------------------------------------


class Breaks(nn.Module):
    def __init__(self, at: int = 0) -> None:
        super().__init__()
        self.layer, self.at = nn.Linear(2, 2).double(), at
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        if self.calls == self.at:
            raise KeyError("no such thing")
        return self.layer(x)


def test_an_error_in_one_lane_comes_out_when_all_have_stopped():
    lanes = [lane_of([{"lr": 0.1, "at": at}], Breaks) for at in (3, 0)]
    team = Team()
    with pytest.raises(KeyError, match="no such thing"):
        team.train([(lane, [(X, Y)] * 500) for lane in lanes])
    steps = lanes[1]._step
    assert steps < 500
    team.train([(lane, [(X, Y)]) for lane in lanes])
    assert [lane._step for lane in lanes] == [4, steps + 1]


def test_where_two_steps_do_not_fit_they_are_taken_one_at_a_time(monkeypatch):
    """The second lane in a step runs out of memory as long as the first is in its own."""
    each, inside, most, lock = Stack.each, [0], [0], threading.Lock()
    both = threading.Barrier(2)

    def small_each(self, function, *batch, places=None):
        with lock:
            inside[0] += 1
            crowded = inside[0]
            most[0] = max(most[0], crowded)
        try:
            output = each(self, function, *batch, places=places)
            if not both.broken and threading.current_thread() is not threading.main_thread():
                both.wait(timeout=20)  # both are in their first steps
            if crowded > 1:
                both.abort()
                raise MemoryError("no room")
            return output
        except threading.BrokenBarrierError:
            return output
        finally:
            with lock:
                inside[0] -= 1

    expected = [lane_of([config], form="serial") for config in CONFIGS[:2]]
    for lane in expected:
        for _ in range(4):
            lane.train_step((X, Y))
    lanes = [lane_of([config]) for config in CONFIGS[:2]]
    monkeypatch.setattr(Stack, "each", small_each)
    team = Team()
    team.train([(lane, [(X, Y)] * 4) for lane in lanes])
    assert most[0] == 2
    assert team.width == 1
    for lane, alone in zip(lanes, expected, strict=True):
        for (name, one), (_, other) in zip(lane.tensors(), alone.tensors(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-11, rtol=0, msg=name)


def test_a_step_that_does_not_fit_alone_either_is_an_error(monkeypatch):
    lanes = [lane_of([config]) for config in CONFIGS[:2]]
    team = Team()
    team.train([(lane, [(X, Y)]) for lane in lanes])

    def no_room(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr(Stack, "each", no_room)
    with pytest.raises(OutOfMemoryError, match="a step of a single member does not fit into memory"):
        team.train([(lane, [(X, Y)] * 2) for lane in lanes])


# -- the plan ------------------------------------------------------------------------------------------------


def plan(form="auto", count=4, build=quiet_net):
    specs = specs_of([{"lr": 0.1}] * count, build)
    return plan_stacks(specs, Classify(), lambda size: (X[:size], Y[:size]), device=CPU, form=form)


def seconds(monkeypatch, *, alone, stacked, beside):
    """Seconds of a member's step in each form; `beside` by members a lane."""
    monkeypatch.setattr(planner, "_probe_alone", lambda *_: (alone, 1000))
    monkeypatch.setattr(planner, "_probe_stacked", lambda *_: (stacked, None))
    monkeypatch.setattr(planner, "_time_beside", lambda specs, size, *_: beside[size])


@pytest.mark.parametrize(
    ("beside", "form", "places"),
    [
        ({1: 0.01, 2: 0.03}, "side-by-side", [(0,), (1,), (2,), (3,)]),
        ({1: 0.03, 2: 0.01}, "side-by-side", [(0, 1), (2, 3)]),
        ({1: 0.019, 2: 0.03}, "stacked", [(0, 1, 2, 3)]),
        ({1: float("inf"), 2: float("inf")}, "stacked", [(0, 1, 2, 3)]),
    ],
)
def test_the_planner_takes_side_by_side_where_it_is_clearly_quicker(monkeypatch, beside, form, places):
    seconds(monkeypatch, alone=0.03, stacked=0.02, beside=beside)
    lines = plan()
    assert {line.form for line in lines} == {form}
    assert [line.places for line in lines] == places


def test_the_plan_says_what_was_measured(monkeypatch):
    seconds(monkeypatch, alone=0.03, stacked=0.02, beside={1: 0.01, 2: 0.03})
    assert plan()[0].reason == (
        "20.00 ms a member-step as one program, 10.00 ms side by side on 2 threads, 30.00 ms one by one"
    )


def test_with_one_thread_nobody_trains_side_by_side(monkeypatch):
    seconds(monkeypatch, alone=0.03, stacked=0.02, beside={})
    with num_threads(1):
        assert plan()[0].form == "stacked"
        with pytest.raises(StackError, match=r"form 'side-by-side' was asked for\. .* with two threads at least"):
            plan("side-by-side")


def test_side_by_side_can_be_insisted_on():
    lines = plan("side-by-side", build=quiet_net)
    assert {line.form for line in lines} == {"side-by-side"}
    assert lines[0].reason.startswith("asked for; ")
    assert lines[0].step_seconds > 0


def test_who_draws_from_the_generator_of_the_process_cannot_be_planned_side_by_side():
    with pytest.raises(StackError, match="none of them may draw from PyTorch's"):
        plan("side-by-side", build=Draws)


def test_no_memory_for_two_steps_means_one_after_another(monkeypatch):
    seconds(monkeypatch, alone=0.03, stacked=0.04, beside={1: 0.01, 2: 0.01})
    monkeypatch.setattr(planner, "_members_that_fit", lambda *_: 1)
    assert {line.form for line in plan()} == {"serial"}


def test_the_lane_of_a_member_with_batches_in_parts_steps_like_the_others():
    lane = lane_of(CONFIGS[:1])
    Team().train([(lane, [MemberBatches(parts=[([0], (X, Y))]), (per_member(X[None]), per_member(Y[None]))])])
    assert lane._step == 2


def test_later_members_are_cut_so_that_each_thread_has_some(monkeypatch):
    seconds(monkeypatch, alone=0.03, stacked=0.02, beside={1: 0.03, 3: 0.01})
    known = KnownPlans(task=Classify(), example=lambda size: (X[:size], Y[:size]), device=CPU, threads=2)
    first = known.plan(specs_of([{"lr": 0.1}] * 6, quiet_net), training_s=lambda plan: 0.0)
    assert [line.places for line in first] == [(0, 1, 2), (3, 4, 5)]
    later = known.plan(specs_of([{"lr": 0.1}] * 3, quiet_net), training_s=lambda plan: 0.0)
    assert [line.places for line in later] == [(0, 1), (2,)]


def test_steps_side_by_side_are_compiled_only_as_one_program(monkeypatch, tmp_path):
    """A compiled program holds Python's lock."""
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    probed = []

    def probe(specs, task, batch, form, *_):
        probed.append((form, len(specs)))
        return StepCosts(0.02, 0.001, 1.0, 1.0, (len(specs),))

    monkeypatch.setattr(compiling, "_probe", probe)
    line = {"form": "side-by-side", "reason": "", "label": "", "parameters": 1, "step_seconds": 0.01}
    lines = [PlannedStack(places=(place,), **line) for place in range(4)]
    planned = compiling.with_compiled_steps(
        lines, specs_of(CONFIGS[:4], quiet_net), Classify(), lambda size: (X[:size], Y[:size]), device=CPU,
        training_s=1000.0, programs={},
    )  # fmt: skip
    assert probed == [("stacked", 4)]
    assert [(line.form, line.places) for line in planned] == [("stacked", (0, 1, 2, 3))]
