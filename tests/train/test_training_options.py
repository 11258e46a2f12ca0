"""Averages, early stopping, accumulation and mixed precision, each against a loop in plain PyTorch."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
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
from tenfold.stacking import per_member
from tenfold.train import build_lane

X, Y = two_moons()
STEADY = {"schedule": "constant", "warmup_fraction": 0.0, "optimizer": "sgd", "drop_prob": 0.0}
FORMS = ["stacked", "serial"]


def lane_of(configs, build=small_net, *, form="stacked", direction="minimize"):
    task = Classify()
    specs = specs_of(configs, build, task=task)
    return build_lane(specs, task, form=form, device=CPU, total_steps=20, direction=direction)


def plain_start(config, build=small_net, trial=0):
    model = specs_of([config] * (trial + 1), build)[trial].make_model().train()
    return model, torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=0.9, weight_decay=1e-2)


def assert_same(got, expected, atol=1e-9):
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, atol=atol, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


# -- averages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_averages_are_those_of_torch_and_are_what_is_scored_and_kept(form):
    configs = [{**STEADY, "lr": 0.05, "ema_decay": 0.8}, {**STEADY, "lr": 0.1, "ema_decay": 0.0}]
    lane = lane_of(configs, form=form)
    expected = []
    for trial, config in enumerate(configs):
        model, optimizer = plain_start(config, trial=trial)
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config["ema_decay"]))
        for _ in range(6):
            optimizer.zero_grad()
            F.cross_entropy(model(X), Y).backward()
            optimizer.step()
            averaged.update_parameters(model)
        averaged.module.load_state_dict({**averaged.module.state_dict(), **dict(model.named_buffers())})
        expected.append((model, averaged.module.eval()))
    for _ in range(6):
        lane.train_step((X, Y))
    scores = lane.evaluate([(X, Y)])["log_loss"]
    lane.note_scores(scores, 1)
    for place, (model, average) in enumerate(expected):
        with torch.no_grad():
            assert scores[place].item() == pytest.approx(F.cross_entropy(average(X), Y).item(), abs=1e-9)
        assert_same(lane.stack.unstack()[place].state_dict(), model.state_dict())  # training itself has none
        assert_same(lane.best_model(place).state_dict(), average.state_dict())
        assert_same(lane.present_model(place).state_dict(), average.state_dict())


def test_without_a_decay_there_is_no_average():
    assert lane_of([{**STEADY, "lr": 0.1}]).averages is None


# -- early stopping ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_member_without_improvement_stops_moving_and_the_others_do_not_notice(direction):
    configs = [{**STEADY, "lr": 0.05, "patience": patience, "ema_decay": 0.5} for patience in (0, 2, 1)]
    lane, undisturbed = lane_of(configs, direction=direction), lane_of([{**c, "patience": 0} for c in configs])
    sign = 1.0 if direction == "minimize" else -1.0
    table = [(1.0, 1.0, 1.0), (0.5, 1.1, 0.9), (0.9, 1.2, 0.9), (0.9, 0.1, 0.1)]
    stopped, held = [], None
    for epoch, scores in enumerate(table, start=1):
        for one in (lane, undisturbed):
            one.train_step((X, Y))
        lane.note_scores(sign * torch.tensor(scores, dtype=torch.float64), epoch)
        stopped.append(lane.is_stopped_M.tolist())
        if epoch == 3:
            held = [lane.stack.unstack()[place].state_dict() for place in (1, 2)]
            held += [lane.present_model(place).state_dict() for place in (1, 2)]
    assert stopped == [[False] * 3, [False] * 3, [False, True, True], [False, True, True]]
    now = [lane.stack.unstack()[place].state_dict() for place in (1, 2)]
    now += [lane.present_model(place).state_dict() for place in (1, 2)]
    for one, other in zip(held, now, strict=True):
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    mine, theirs = lane.stack.unstack()[0].state_dict(), undisturbed.stack.unstack()[0].state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


STEPS = 4
PATIENT = [
    {"lr": 1e-2, "batch_size": 16},
    {"lr": 0.5, "batch_size": 16, "patience": 1, "ema_decay": 0.5},
    {"lr": 2.0, "batch_size": 16, "patience": 1, "hidden": 4},
    {"lr": 3e-2, "batch_size": 16},
]


def cohort_of(folder, rungs=((4, 3), (8, 2)), configs=PATIENT, scores=None, **options):
    cohort = make_cohort(
        specs_of(configs), Classify(), moons_data(), LOG_LOSS, rungs, folder, steps_per_epoch=STEPS, **options
    )
    for lane in cohort.lanes if scores else []:

        def evaluate(batches, lane=lane):
            row = scores[min(cohort.epoch, len(scores)) - 1]
            return {"log_loss": torch.tensor([row[member.trial] for member in lane.ids], dtype=torch.float64)}

        lane.evaluate = evaluate
    return cohort


# trial 1 is best after epoch 2 and stops at 3, trial 2 stops at 2 with its score of epoch 1
SCORES = [(0.9, 0.3, 0.5, 0.8), (0.8, 0.1, 0.6, 0.7), (0.7, 0.2, 0.6, 0.6), (0.6, 0.0, 0.0, 0.5), (0.4, 0, 0, 0.4)]


def test_a_trial_that_stopped_leaves_its_stack_and_stays_in_the_race_with_its_best_weights(tmp_path):
    cohort = cohort_of(tmp_path, scores=SCORES)
    seen = {}

    def on_step(progress):
        seen.setdefault(progress.epoch, sorted(member.trial for lane in cohort.lanes for member in lane.ids))
        if (progress.epoch, progress.step) == (2, 1):
            lane = next(lane for lane in cohort.lanes if any(member.trial == 1 for member in lane.ids))
            place = [member.trial for member in lane.ids].index(1)
            seen["best of 1"] = lane.best_model(place).state_dict()

    cohort.hooks.on_step = on_step
    finish(cohort)
    assert [seen[epoch] for epoch in range(8)] == [[0, 1, 2, 3]] * 2 + [[0, 1, 3]] + [[0, 3]] + [[3]] * 4
    stopped = [(r["trial"], r["epoch"], r["best_epoch"]) for r in records(cohort, "stopped")]
    assert stopped == [(2, 2, 1), (1, 3, 2)]
    first, last = records(cohort, "rung")
    assert (first["kept"], first["left"]) == ([1, 2, 3], [0])
    assert first["scores"] == {"0": 0.6, "1": 0.1, "2": 0.5, "3": 0.5}
    assert (last["kept"], last["left"]) == ([1, 3], [2])
    assert [(own.id.trial, own.score, own.epoch) for own in cohort.parked] == [(1, 0.1, 2)]
    best = cohort.parked[0].model
    assert not best.training
    assert all(torch.equal(tensor, seen["best of 1"][name]) for name, tensor in best.state_dict().items())
    assert cohort.best_score() == 0.1
    assert cohort.epochs_trained == 4 + 3 + 2 + 8


def test_when_all_have_stopped_the_run_is_over(tmp_path):
    cohort = finish(cohort_of(tmp_path, configs=PATIENT[1:3], scores=[(None, *row) for row in SCORES] and [
        {0: 0.3, 1: 0.5}, {0: 0.4, 1: 0.6}, {0: 0.1, 1: 0.1}
    ]))  # fmt: skip
    assert cohort.epoch == 2
    assert cohort.lanes == []
    (rung,) = records(cohort, "rung")
    assert (rung["rung"], rung["epoch"], rung["kept"]) == (1, 2, [0, 1])
    state = cohort.checkpointer.load()
    again = cohort_of(tmp_path, configs=PATIENT[1:3], keep_bytes=state["log_bytes"])
    again.load_state_dict(state)
    finish(again)
    assert (again.epoch, len(again.parked)) == (2, 2)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("epoch", [2, 3, 5])
def test_resumed_the_stopped_are_still_where_they_were(tmp_path, epoch):
    whole = finish(cohort_of(tmp_path / "whole", scores=SCORES))

    def die(progress):
        if (progress.epoch, progress.step) == (epoch, 2):
            raise Killed

    killed = cohort_of(tmp_path / "killed", scores=SCORES)
    killed.hooks.on_step = die
    with pytest.raises(Killed):
        finish(killed)
    state = killed.checkpointer.load()
    again = cohort_of(tmp_path / "killed", scores=SCORES, keep_bytes=state["log_bytes"])
    again.load_state_dict(state)
    finish(again)
    assert again.log.path.read_bytes() == whole.log.path.read_bytes()
    for member, tensors in member_tensors(again).items():
        assert all(torch.equal(tensor, member_tensors(whole)[member][name]) for name, tensor in tensors.items())
    for one, other in zip(again.parked, whole.parked, strict=True):
        assert (one.id, one.score, one.epoch) == (other.id, other.score, other.epoch)
        theirs = other.model.state_dict()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in one.model.state_dict().items())


# -- accumulation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_pieces_add_up_to_the_batch_s(form):
    config = {**STEADY, "lr": 0.1, "accumulate": 5}  # 96 samples: pieces of 20, 20, 20, 20 and 16

    def no_norm(drop_prob=0.0):
        return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).double()

    model, optimizer = plain_start(config, no_norm)
    lane = lane_of([config, {**config, "lr": 0.2}], no_norm, form=form)
    losses = []
    for _ in range(5):
        lane.train_step((X, Y))
        loss = F.cross_entropy(model(X), Y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert_same(lane.stack.unstack()[0].state_dict(), model.state_dict())
    assert lane.end_epoch()[0].item() == pytest.approx(sum(losses) / 5, rel=1e-6)


def test_batch_statistics_are_those_of_a_piece_and_own_batches_are_cut_alike():
    config = {**STEADY, "lr": 0.1, "accumulate": 2}
    model, optimizer = plain_start(config)
    lane = lane_of([config, config])
    own = per_member(X.expand(2, *X.shape)), per_member(Y.expand(2, *Y.shape))
    for _ in range(4):
        lane.train_step(own)
        optimizer.zero_grad()
        for x, y in zip(X.chunk(2), Y.chunk(2), strict=True):
            (F.cross_entropy(model(x), y) / 2).backward()
        optimizer.step()
    assert_same(lane.stack.unstack()[0].state_dict(), model.state_dict())


def test_what_is_no_row_a_sample_cannot_be_cut():
    lane = lane_of([{**STEADY, "lr": 0.1, "accumulate": 2}])
    with pytest.raises(
        ValueError, match=r"accumulate: batches must be tensors with a row a sample, got \[10, 96\] rows"
    ):
        lane.train_step((X, Y[:10]))


# -- precision -----------------------------------------------------------------------------------------------


def float_net(drop_prob=0.0):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
@pytest.mark.parametrize("form", FORMS)
def test_mixed_precision_takes_the_steps_of_torch_amp(form, precision, dtype):
    x = X.float()
    config = {**STEADY, "lr": 0.1, "precision": precision}
    model, optimizer = plain_start(config, float_net)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=precision == "fp16")
    lane = lane_of([config, {**config, "lr": 0.01}], float_net, form=form)
    if precision == "fp16":
        lane._parts[0].scaler.scale_M.fill_(
            2.0**10
        )  # at the first scale whether a gradient overflows hangs by a hair
    for _ in range(5):
        lane.train_step((x, Y))
        with torch.autocast("cpu", dtype):
            loss = F.cross_entropy(model(x), Y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    got, expected = lane.stack.unstack()[0].state_dict(), model.state_dict()
    plain = float_net().state_dict()
    for name, tensor in expected.items():
        moved = (tensor - plain[name]).abs().max()
        assert got[name].dtype == torch.float32
        assert (got[name] - tensor).abs().max() < 0.05 * moved + 1e-6, name
    assert lane.is_sick_M.tolist() == [False, False]


def test_members_are_scored_in_their_own_precision():
    lane = lane_of([{**STEADY, "lr": 0.1, "precision": "bf16"}], float_net)
    lane.train_step((X.float(), Y))
    (outputs,), _ = lane.predict([(X.float(), Y)])
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs[0], copy.deepcopy(lane.stack.unstack()[0])(X.float()), atol=1e-6, rtol=0)


def test_a_member_whose_float16_gradient_overflows_sits_the_step_out_and_lowers_its_scale_alone():
    lane = lane_of([{**STEADY, "lr": 0.1, "precision": "fp16"}] * 2, float_net)
    before = [model.state_dict() for model in lane.stack.unstack()]
    x_MBD = torch.stack([0.01 * X.float(), 400 * X.float()])
    y_MB = torch.stack([Y, 1 - Y])
    scales = []
    for x, y in zip(x_MBD, y_MB, strict=True):
        model, optimizer = plain_start({"lr": 0.1}, float_net)
        scaler = torch.amp.GradScaler("cpu")
        with torch.autocast("cpu", torch.float16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss / 4).backward()  # a quarter, so that the first one fits
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    lane._parts[0].scaler.scale_M /= 4
    lane.train_step((per_member(x_MBD), per_member(y_MB)))
    assert (4 * lane._parts[0].scaler.scale_M).tolist() == scales == [2.0**16, 2.0**15]
    after = [model.state_dict() for model in lane.stack.unstack()]
    assert not torch.equal(after[0]["0.weight"], before[0]["0.weight"])
    assert torch.equal(after[1]["0.weight"], before[1]["0.weight"])
    assert lane.is_sick_M.tolist() == [False, False]


# -- saving --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"ema_decay": 0.8, "patience": 2},
        {"schedule": "plateau", "plateau_patience": 0},
        {"accumulate": 2, "clip_value": 0.1, "lr_groups": {"0.*": 0.1}, "decay_biases": False},
        {"optimizer": "asgd", "l1": 1e-3},
        {"optimizer": "radam", "freeze": ["0.*"]},
    ],
)
def test_a_saved_lane_goes_on_as_if_it_had_never_stopped(config):
    configs = [{"lr": lr, "drop_prob": 0.1, **config} for lr in (0.05, 0.1, 0.2)]
    undisturbed, first, second = (lane_of(configs) for _ in range(3))
    for lane in (undisturbed, first):
        for epoch, scores in enumerate([(1.0, 1.0, 1.0), (0.9, 1.2, 1.1), (0.8, 1.3, 0.9)], start=1):
            lane.train_step((X, Y))
            lane.end_epoch()
            lane.note_scores(torch.tensor(scores, dtype=torch.float64), epoch)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for lane in (undisturbed, second):
        lane.stack.keep([2, 1])
        for _ in range(3):
            lane.train_step((X, Y))
    for place in range(2):
        one, other = undisturbed.present_model(place).state_dict(), second.present_model(place).state_dict()
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert undisturbed.lr() == second.lr()
    assert undisturbed.is_stopped_M.tolist() == second.is_stopped_M.tolist()


def test_a_saved_scaler_goes_on_too():
    configs = [{**STEADY, "lr": 0.1, "precision": "fp16"}] * 2
    first, second = lane_of(configs, float_net), lane_of(configs, float_net)
    first._parts[0].scaler.scale_M[1] = 8.0
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second._parts[0].scaler.scale_M.tolist() == [2.0**16, 8.0]
    assert math.isfinite(second._parts[0].scaler.scale_M.sum())


def test_a_cohort_whose_members_have_all_diverged_says_so_even_with_patience(tmp_path):
    configs = [{"lr": 1e300, "batch_size": 16, "patience": 1}] * 2
    with pytest.raises(RunError, match="all have diverged"):
        finish(cohort_of(tmp_path, configs=configs))
