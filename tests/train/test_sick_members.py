"""Members whose loss or gradient is no longer finite: frozen at once, named with the cause, and nobody's burden."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from train_kit import (
    CPU,
    LOG_LOSS,
    Classify,
    finish,
    make_cohort,
    member_tensors,
    moons_data,
    records,
    small_net,
    specs_of,
    two_moons,
)

from tenfold.core.errors import RunError
from tenfold.core.task import Objective
from tenfold.stacking import per_member
from tenfold.train import build_lane
from tenfold.train.health import LossWatch

X, Y = two_moons()
M, SICK = 3, 1
CONFIGS = [{"lr": lr, "schedule": "constant", "optimizer": "sgd"} for lr in (1e-2, 3e-2, 1e-1)]
INF, NAN = math.inf, math.nan


def lane_of(configs=CONFIGS, task=None, form="stacked", **options):
    task, options = task or Classify(), {"device": CPU, **options}
    specs = specs_of(configs, small_net, task=task)
    return build_lane(specs, task, form=form, total_steps=20, direction="minimize", **options)


def batch_with(poison=None, place=SICK):
    """A batch a member; one number of one member's inputs is poison."""
    x_MBD = X.expand(M, *X.shape).clone()
    if poison is not None:
        x_MBD[place, 3, 0] = poison
    return per_member(x_MBD), per_member(Y.expand(M, *Y.shape).clone())


def tensors_of(lane, place):
    return {name: tensor[place].clone() for name, tensor in lane.tensors()}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def train(lane, poisons):
    for poison in poisons:
        lane.train_step(batch_with(poison))


@pytest.mark.parametrize("form", ["stacked", "serial"])
@pytest.mark.parametrize("config", [{}, {"clip_norm": 1.0}, {"ema_decay": 0.9}, {"optimizer": "adamw"}])
@pytest.mark.parametrize("poison", [NAN, INF])
def test_who_falls_sick_keeps_its_last_finite_weights_and_nobody_else_notices(form, config, poison):
    configs = [{**own, **config} for own in CONFIGS]
    lane, undisturbed = lane_of(configs, form=form), lane_of(configs, form=form)
    train(lane, [None, None])
    before = tensors_of(lane, SICK)
    train(lane, [poison, None, None, poison, None])
    train(undisturbed, [None] * 7)
    assert_same_bits(tensors_of(lane, SICK), before)
    for place in (0, 2):
        assert_same_bits(tensors_of(lane, place), tensors_of(undisturbed, place))
    assert lane.is_sick_M.tolist() == [False, True, False]
    (illness,) = lane.illnesses
    assert (illness.member.trial, illness.step) == (SICK, 3)
    assert illness.cause.endswith("its batch holds numbers that are not finite")


def test_averages_of_the_sick_stay_what_they_were():
    lane = lane_of([{**own, "ema_decay": 0.9} for own in CONFIGS])
    train(lane, [None, None])
    before = lane.present_model(SICK).state_dict()
    train(lane, [NAN, None, None])
    assert_same_bits(lane.present_model(SICK).state_dict(), before)


def test_a_compiled_step_leaves_the_sick_where_they_are_and_nobody_else_notices():
    programs = {}
    lane, undisturbed = lane_of(programs=programs), lane_of(programs=programs)  # compiled once
    for one in (lane, undisturbed):
        one.compile()
        train(one, [None, None])
        assert one.fallback is None
    before = tensors_of(lane, SICK)
    train(lane, [NAN, None, INF, None])
    train(undisturbed, [None] * 4)
    assert_same_bits(tensors_of(lane, SICK), before)
    for place in (0, 2):
        assert_same_bits(tensors_of(lane, place), tensors_of(undisturbed, place))
    assert [illness.step for illness in lane.illnesses] == [3]


# -- causes --------------------------------------------------------------------------------------------------


class OwnLoss(Classify):
    """Cross-entropy plus a term that is up to the test."""

    def __init__(self, term):
        self.term = term

    def objectives(self):
        def loss(model, batch, member):
            return F.cross_entropy(model(batch[0]), batch[1]) + self.term(model)

        return [Objective(name="own", loss=loss)]


def causes(lane, steps):
    for _ in range(steps):
        lane.train_step((X, Y))
    lane.end_epoch()
    return [(illness.member.trial, illness.step, illness.cause) for illness in lane.illnesses]


def test_a_rate_that_is_too_high_is_named_with_what_was_seen():
    lane = lane_of([CONFIGS[0], {**CONFIGS[1], "lr": 1e200}, CONFIGS[2]])
    ((trial, step, cause),) = causes(lane, 8)
    assert trial == 1
    assert 2 <= step <= 4
    what = r"(the loss is (infinite|not a number)|its update is not finite, although the loss is [\d.e+]+)"
    why = r"the learning rate 1e\+200 is too high for sgd \([\d.e+]+ was the loss of the step before, its largest "
    assert re.match(f"{what}: {why}", cause), cause
    assert all(tensor.isfinite().all() for tensor in tensors_of(lane, 1).values())


def test_an_update_that_is_not_finite_is_not_applied_although_the_loss_is():
    def at_zero(model):
        bias = model[4].bias  # the root of zero: its value is 0, its slope is infinite times 0
        return (bias * 0).square().sum().sqrt()

    lane = lane_of([CONFIGS[0]], OwnLoss(at_zero))
    before = tensors_of(lane, 0)
    ((_, step, cause),) = causes(lane, 3)
    assert step == 1
    assert re.match(r"its update is not finite, although the loss is 0\.\d+ from its first step: .*division", cause)
    assert_same_bits(tensors_of(lane, 0), before)


def test_a_loss_that_was_never_finite_says_so():
    ((_, step, cause),) = causes(lane_of([CONFIGS[0]], OwnLoss(lambda model: model[4].bias.sum() / 0.0)), 2)
    assert step == 1
    assert cause.startswith("the loss is infinite from its first step: inputs too large, or a division by zero")


def test_initial_weights_that_are_not_finite_say_so():
    lane = lane_of()
    with torch.no_grad():
        lane.stack.parameters()[0][SICK, 0, 0] = NAN
    ((trial, _, cause),) = causes(lane, 1)
    assert (trial, cause) == (
        SICK,
        "the loss is not a number from its first step: its initial weights are not finite",
    )


def test_a_loss_that_breaks_without_growing_points_at_the_formula():
    calls = []

    def later(model):
        calls.append(1)
        return model[4].bias.sum() * (0.0 if len(calls) < 3 else NAN)

    ((_, step, cause),) = causes(lane_of([CONFIGS[0]], OwnLoss(later), form="serial"), 4)
    assert step == 3
    assert re.match(
        r"the loss is not a number: a division by zero, or a root or a logarithm of it, in the network or its loss "
        r"\(0\.\d+ was the loss of the step before, its largest weight is [\d.]+, its learning rate 0\.01\)",
        cause,
    ), cause


def test_one_of_two_objectives_is_named():
    class Two(Classify):
        def objectives(self):
            (first,) = super().objectives()
            return [first, Objective(name="odd", loss=lambda model, batch, member: model[4].bias.sum() / 0.0)]

    ((_, _, cause),) = causes(lane_of([CONFIGS[0]], Two()), 2)
    assert cause.startswith("objective 'odd': the loss is infinite from its first step")


def test_on_other_devices_losses_are_looked_at_together_and_the_first_bad_step_is_found():
    watch = LossWatch(torch.device("meta"))  # any device that is not the CPU
    for step in range(1, 50):
        assert watch.note(torch.tensor([0.5, NAN if step >= 7 else float(step)]), step) is None
    table = watch.note(torch.tensor([0.5, NAN]), 50)
    assert table.first_bad(0) is None
    step, loss, before = table.first_bad(1)
    assert (step, math.isnan(loss), before) == (7, True, 6.0)
    assert watch.note(torch.tensor([0.5, 0.5]), 51) is None
    assert watch.look() is None


def test_weights_that_were_lost_are_replaced_by_the_best_so_far():
    """As on a GPU, where a loss is looked at after its step was taken."""
    lane = lane_of()
    train(lane, [None])
    lane.end_epoch()
    lane.note_scores(torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64), 1)
    best = tensors_of(lane, SICK)
    with torch.no_grad():
        lane.stack.parameters()[0][SICK] = NAN
    ((_, _, cause),) = causes(lane, 1)
    assert re.match(
        r"the loss is not a number: its weights are no longer finite, after a gradient that was not "
        r"\(0\.\d+ was the loss of the step before\)",
        cause,
    ), cause
    assert_same_bits(tensors_of(lane, SICK), best)


def test_a_resumed_lane_remembers_the_losses_before():
    first, second = lane_of(), lane_of()
    train(first, [None, None])
    first.end_epoch()
    second.load_state_dict(first.state_dict())
    told = []
    for lane in (first, second):
        with torch.no_grad():
            lane.stack.parameters()[0][SICK] = NAN
        told.append(causes(lane, 1))
    assert told[0] == told[1]
    assert "was the loss of the step before" in told[0][0][2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_sick_are_found_by_the_end_of_the_epoch_and_nobody_else_notices():
    def trained(poison):
        lane = lane_of(device=torch.device("cuda"))
        for step in range(4):
            x, y = batch_with(poison if step == 1 else None)
            lane.train_step((per_member(x.value.cuda()), per_member(y.value.cuda())))
        lane.end_epoch()
        return lane

    lane, undisturbed = trained(NAN), trained(None)
    assert lane.is_sick_M.tolist() == [False, True, False]
    assert [illness.step for illness in lane.illnesses] == [2]
    for place in (0, 2):
        assert_same_bits(tensors_of(lane, place), tensors_of(undisturbed, place))


# -- in a cohort ---------------------------------------------------------------------------------------------

STEPS = 4
WILD = [{"lr": 1e-2, "batch_size": 16}, {"lr": 1e300, "batch_size": 16}, {"lr": 1e-1, "batch_size": 16}]


def cohort_of(folder, configs=WILD, rungs=((2, 3), (4, 3)), **options):
    return make_cohort(
        specs_of(configs), Classify(), moons_data(), LOG_LOSS, rungs, folder, steps_per_epoch=STEPS, **options
    )


def test_a_sick_member_is_recorded_leaves_at_the_next_rung_and_the_run_goes_on(tmp_path):
    cohort = finish(cohort_of(tmp_path))
    (sick,) = records(cohort, "sick")
    assert (sick["trial"], sick["epoch"], sick["step"]) == (1, 1, 2)
    assert "the learning rate 1e+300 is too high for adamw" in sick["cause"]
    first, last = records(cohort, "rung")
    assert (first["kept"], first["left"]) == ([0, 2], [1])  # although three might have stayed
    assert first["scores"]["1"] is None
    assert last["kept"] == [0, 2]
    assert [record["epoch"] for record in records(cohort) if record["trial"] == 1] == [1, 2]


def test_a_sick_seed_makes_its_trial_the_worst(tmp_path):
    class OnlyOneSeed(Classify):
        def objectives(self):
            def loss(model, batch, member):
                spoiled = torch.where(model[0].weight.sum() == target, NAN, 0.0)
                return F.cross_entropy(model(batch[0]), batch[1]) + spoiled

            return [Objective(name="ce", loss=loss)]

    specs = specs_of([{"lr": 1e-2, "batch_size": 16}] * 2, seeds=(0, 1))
    target = specs[2].make_model()[0].weight.sum()
    cohort = make_cohort(
        specs, OnlyOneSeed(), moons_data(), LOG_LOSS, [(1, 1), (2, 1)], tmp_path, steps_per_epoch=STEPS
    )
    finish(cohort)
    assert [(r["trial"], r["seed"]) for r in records(cohort, "sick")] == [(1, 0)]
    assert records(cohort, "rung")[0]["kept"] == [0]


def test_when_all_are_sick_one_sentence_says_why_and_what_to_change(tmp_path):
    cohort = cohort_of(tmp_path, [{"lr": 1e300, "batch_size": 16}] * 2)
    with pytest.raises(
        RunError,
        match=r"no member has a finite log_loss after epoch 1: all have diverged \(trial 1, step 2: its update .*: "
        r"the learning rate 1e\+300 is too high for adamw .*\)\. Lower the learning rates .*clip_norm=1\.0",
    ):
        finish(cohort)
    assert len(records(cohort, "sick")) == 2


class Killed(BaseException):
    pass


@pytest.mark.parametrize("epoch", [1, 2])
def test_resumed_the_sick_are_still_sick(tmp_path, epoch):
    whole = finish(cohort_of(tmp_path / "whole", rungs=((3, 3), (4, 3))))
    killed = cohort_of(tmp_path / "killed", rungs=((3, 3), (4, 3)))

    def die(progress):
        if (progress.epoch, progress.step) == (epoch, 2):
            raise Killed

    killed.hooks.on_step = die
    with pytest.raises(Killed):
        finish(killed)
    state = killed.checkpointer.load()
    again = cohort_of(tmp_path / "killed", rungs=((3, 3), (4, 3)), keep_bytes=state["log_bytes"])
    again.load_state_dict(state)
    finish(again)
    assert again.log.path.read_bytes() == whole.log.path.read_bytes()
    for member, tensors in member_tensors(again).items():
        assert_same_bits(tensors, member_tensors(whole)[member])
