"""Memory that runs out in the middle of training: the step is undone and taken again in halves of the members."""

import pytest
import torch
from train_kit import (
    CPU,
    LOG_LOSS,
    Classify,
    finish,
    make_cohort,
    moons_data,
    records,
    small_net,
    specs_of,
    two_moons,
)

from tenfold.core.errors import OutOfMemoryError
from tenfold.core.task import MemberBatches
from tenfold.optim.adam_family import FusedAdam
from tenfold.stacking import Stack, per_member
from tenfold.train import build_lane

X, Y = two_moons()
M, STEPS = 7, 6
ERRORS = [
    MemoryError("no room"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried ..."),
]
CONFIGS = [{"lr": 0.01 * (1 + i), "drop_prob": 0.3, "ema_decay": 0.5, "batch_size": 16} for i in range(M)]
OWN = per_member(X.expand(M, *X.shape) + torch.arange(M)[:, None, None]), per_member(Y.expand(M, *Y.shape))
PARTS = MemberBatches(parts=[([6, 0, 1, 2, 3], (X[:20], Y[:20])), ([5], (X[20:], Y[20:]))])
BATCHES = {"shared": (X, Y), "own": OWN, "in parts": PARTS}


def lane_of(count=M, form="stacked"):
    task = Classify()
    specs = specs_of(CONFIGS[:count], small_net, task=task)
    return build_lane(specs, task, form=form, device=CPU, total_steps=20, direction="minimize")


def members_at_once(stack, places):
    return len(stack) if places is None else len(places)


@pytest.fixture
def room_for(monkeypatch):
    """From now on, so many members fit at once; more raise the error, after they have left their traces."""

    def set_room(most, error, where="each"):
        each, backward, seen = Stack.each, Stack.backward, []

        def small_each(self, function, *batch, places=None):
            output = each(self, function, *batch, places=places)
            seen[:] = [members_at_once(self, places)]
            if where == "each" and seen[0] > most:
                raise error
            return output

        def small_backward(self, loss_M, inputs=None):
            backward(self, loss_M, inputs=inputs)
            if where == "backward" and seen[0] > most:
                raise error

        monkeypatch.setattr(Stack, "each", small_each)
        monkeypatch.setattr(Stack, "backward", small_backward)

    return set_room


def assert_agree(lane, other):
    for (name, one), (_, two) in zip(lane.tensors(), other.tensors(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-10, rtol=0, msg=lambda m, n=name: f"{n}: {m}")
    for place in range(len(lane)):
        one, two = lane.present_model(place).state_dict(), other.present_model(place).state_dict()
        for name in one:
            torch.testing.assert_close(one[name], two[name], atol=1e-10, rtol=0)


@pytest.mark.parametrize("error", ERRORS, ids=["Python", "CUDA", "CPU"])
@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize(("form", "where"), [("stacked", "each"), ("stacked", "backward"), ("serial", "each")])
def test_the_step_is_taken_again_in_halves_and_the_run_goes_on_as_if_nothing_had_been(
    room_for, error, kind, form, where
):
    lane, undisturbed = lane_of(form=form), lane_of(form=form)
    for step in range(STEPS):
        undisturbed.train_step(BATCHES[kind])
        if step < 2:
            lane.train_step(BATCHES[kind])
    room_for(3, error, where)
    for _ in range(2, STEPS):
        lane.train_step(BATCHES[kind])
    assert lane.num_pieces == 4
    assert lane.splits == [2, 4]
    assert_agree(lane, undisturbed)


def test_the_first_step_may_fail_too_and_in_any_form(room_for):
    undisturbed = lane_of(form="auto")
    undisturbed.train_step((X, Y))
    room_for(4, ERRORS[2])
    lane = lane_of(form="auto")
    lane.train_step((X, Y))
    assert lane.num_pieces == 2
    assert lane.stack.form == "stacked"
    assert_agree(lane, undisturbed)


def test_prediction_is_cut_alike(room_for):
    lane = lane_of()
    lane.train_step((X, Y))
    (expected,), _ = lane.predict([(X, Y)])
    room_for(2, ERRORS[0])
    (outputs,), _ = lane.predict([(X, Y)])
    torch.testing.assert_close(outputs, expected, atol=1e-12, rtol=0)
    assert lane.num_pieces == 4


def test_a_single_member_that_does_not_fit_is_refused_with_what_to_change(room_for):
    lane = lane_of(2)
    room_for(0, ERRORS[1])
    with pytest.raises(
        OutOfMemoryError,
        match=r"train: a step of a single member does not fit into memory \(CUDA out of memory\. .*\)\. Choose a "
        r"smaller network or batch size, or cut batches into pieces \(accumulate=2\)",
    ):
        lane.train_step((X, Y))
    with pytest.raises(OutOfMemoryError, match="a step of a single member does not fit"):
        lane.predict([(X, Y)])


def test_memory_that_runs_out_while_weights_move_is_no_state_to_go_on_from(monkeypatch):
    lane = lane_of()
    lane.train_step((X, Y))
    move = FusedAdam.move

    def move_and_fail(self, moves, group):
        move(self, moves, group)
        raise MemoryError("no room")

    monkeypatch.setattr(FusedAdam, "move", move_and_fail)
    with pytest.raises(
        OutOfMemoryError,
        match=r"train: memory ran out while the weights of 7 members were moving \(no room\)\. Train fewer members",
    ):
        lane.train_step((X, Y))


def test_other_errors_are_the_caller_s_own(monkeypatch):
    lane = lane_of()

    def each(*_, **__):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Stack, "each", each)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        lane.train_step((X, Y))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        lane.predict([(X, Y)])
    assert lane.num_pieces == 1


def cohort_of(folder, **options):
    return make_cohort(
        specs_of(CONFIGS[:4]),
        Classify(),
        moons_data(),
        LOG_LOSS,
        [(2, 3), (3, 2)],
        folder,
        steps_per_epoch=4,
        **options,
    )


def test_it_is_recorded_and_a_resumed_run_does_not_try_again(tmp_path, room_for):
    calm = finish(cohort_of(tmp_path / "calm"))
    cohort = cohort_of(tmp_path / "tight")
    room_for(2, ERRORS[0])
    finish(cohort)
    (split,) = records(cohort, "split")
    assert split == {"kind": "split", "trials": [0, 1, 2, 3], "epoch": 1, "pieces": 2}
    for one, other in zip(records(cohort), records(calm), strict=True):
        assert one["valid"]["log_loss"] == pytest.approx(other["valid"]["log_loss"], abs=1e-9)
    again = cohort_of(tmp_path / "again")
    again.load_state_dict(cohort.checkpointer.load())
    again.log.close()
    assert [lane.num_pieces for lane in again.lanes] == [2]
