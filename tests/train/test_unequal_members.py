"""Members with batches of their own of unequal number and size, against plain loops that know one member each."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from train_kit import CPU, LOG_LOSS, Classify, finish, make_cohort, moons_data, records, specs_of, two_moons

from tenfold.core.seeds import derive_seed, generator
from tenfold.core.task import Batch, BatchProvider, MemberBatches, Objective, SlowCopy
from tenfold.optim import OPTIMIZERS
from tenfold.stacking import per_member
from tenfold.stacking.forms import as_member
from tenfold.train import build_lane

X, Y = two_moons()
SIZES = {0: 22, 1: 17, 2: 22, 3: 6}  # samples of each trial; in batches of 5: 5 steps (the last of 2), 4, 5, 2 (of 1)
BATCH, EPOCHS = 5, 3
BASE = {"lr": 0.02, "warmup_fraction": 0.1, "batch_size": BATCH, "weight_decay": 0.05}
FORMS = ["stacked", "serial"]


def net(drop_prob: float = 0.3) -> nn.Module:
    """With batch statistics and noise; no bias stands before the norm, for its true gradient would be zero."""
    return nn.Sequential(
        nn.Linear(2, 8, bias=False), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(drop_prob), nn.Linear(8, 2)
    ).double()


def rows_of(trial: int, epoch: int) -> list[Tensor]:
    """The batches of one member in one epoch, as row numbers; a last one of a single sample is left out."""
    order = torch.from_numpy(generator(trial, "order", epoch).permutation(SIZES[trial])) + 7 * trial
    return [rows for rows in order.split(BATCH) if len(rows) > 1]


def steps_of(trial: int) -> int:
    return len(rows_of(trial, 0))


class OwnBatches(BatchProvider):
    """Each member its own rows; as one batch where all have as many, in parts where they do not."""

    def __init__(self, trials: Sequence[int]) -> None:
        self.trials = list(trials)

    @property
    def steps_per_epoch(self) -> int:  # type: ignore[override]
        return max(steps_of(trial) for trial in self.trials)

    def epoch(self, epoch: int, stack: Any) -> Iterator[Batch | MemberBatches]:
        rows = [rows_of(trial, epoch) for trial in self.trials]
        for step in range(self.steps_per_epoch):
            by_size: dict[int, list[int]] = {}
            for place, own in enumerate(rows):
                if step < len(own):
                    by_size.setdefault(len(own[step]), []).append(place)
            parts = [(places, own_batch([rows[place][step] for place in places])) for places in by_size.values()]
            whole = len(parts) == 1 and len(parts[0][0]) == len(rows)
            yield parts[0][1] if whole else MemberBatches(parts=parts)

    def keep(self, indices: Tensor) -> None:
        self.trials = [self.trials[place] for place in indices.tolist()]


def own_batch(rows: Sequence[Tensor]) -> Batch:
    return per_member(torch.stack([X[own] for own in rows])), per_member(torch.stack([Y[own] for own in rows]))


class OwnFolds(Classify):
    """Classification in which every member has rows of its own."""

    def __init__(self, trials: Sequence[int]) -> None:
        self.trials = trials

    def provider(self, stack: Any) -> BatchProvider:
        return OwnBatches(self.trials)


def lane_of(trials, config, form, task=None):
    specs = [specs_of([{**BASE, **config, "lr": 0.02 * (1 + t)} for t in SIZES], net)[trial] for trial in trials]
    total = [EPOCHS * steps_of(trial) for trial in trials]
    task = task or OwnFolds(trials)
    return build_lane(specs, task, form=form, device=CPU, total_steps=total, direction="minimize")


def train(lane, epochs):
    for epoch in epochs:
        for batch in lane.provider.epoch(epoch, lane.stack):
            lane.train_step(batch)


def plainly_alone(trial, config, epochs=EPOCHS):
    """One member in plain PyTorch; its dropout draws what the member's stream gives for its own calls."""
    config = {**BASE, **config, "lr": 0.02 * (1 + trial)}
    spec = specs_of([config] * len(SIZES), net)[trial]
    model = spec.make_model().train()
    plain = OPTIMIZERS[config.get("optimizer", "adamw")].plain
    options = {"momentum": 0.9} if plain is torch.optim.SGD else {}
    optimizer = plain(model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"], **options)
    total = EPOCHS * steps_of(trial)
    warmup = int(0.1 * total)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total - warmup)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.get("ema_decay", 0.0)))
    key, calls, losses = torch.tensor(derive_seed(spec.noise_seed, "noise")), 0, []
    for epoch in range(epochs):
        for rows in rows_of(trial, epoch):
            rise = (calls + 1) / (warmup + 1)
            if rise < 1:
                optimizer.param_groups[0]["lr"] = config["lr"] * rise
            elif calls == warmup:
                optimizer.param_groups[0]["lr"] = config["lr"]
            calls += 1
            with as_member(key, 2 * calls):
                loss = F.cross_entropy(model(X[rows]), Y[rows])
            optimizer.zero_grad()
            loss.backward()
            if config.get("clip_norm"):
                nn.utils.clip_grad_norm_(model.parameters(), config["clip_norm"])
            optimizer.step()
            if calls > warmup:
                cosine.step()
            averaged.update_parameters(model)
            losses.append(loss.item())
    averaged.module.load_state_dict({**averaged.module.state_dict(), **dict(model.named_buffers())})
    return model.state_dict(), averaged.module.state_dict(), losses[-steps_of(trial) :]


def assert_same(got, expected):
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, atol=1e-9, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "config", [{}, {"optimizer": "sgd", "clip_norm": 0.5}, {"optimizer": "nadam"}, {"ema_decay": 0.7}]
)
def test_each_member_is_what_it_is_alone_with_its_own_batches(form, config):
    lane = lane_of(SIZES, config, form)
    train(lane, range(EPOCHS - 1))
    lane.end_epoch()
    train(lane, [EPOCHS - 1])
    loss_M = lane.end_epoch().tolist()
    for place, trial in enumerate(SIZES):
        weights, averages, losses = plainly_alone(trial, config)
        assert_same(lane.stack.unstack()[place].state_dict(), weights)
        assert loss_M[place] == pytest.approx(sum(losses) / len(losses), rel=1e-6)
        if "ema_decay" in config:
            assert_same(lane.present_model(place).state_dict(), averages)


@pytest.mark.parametrize("form", FORMS)
def test_members_that_leave_in_the_middle_take_their_own_ages_along(form):
    lane = lane_of(SIZES, {"ema_decay": 0.7}, form)
    train(lane, [0])
    lane.stack.keep([3, 1])
    train(lane, range(1, EPOCHS))
    for place, trial in enumerate([3, 1]):
        weights, averages, _ = plainly_alone(trial, {"ema_decay": 0.7})
        assert_same(lane.stack.unstack()[place].state_dict(), weights)
        assert_same(lane.present_model(place).state_dict(), averages)


@pytest.mark.parametrize("form", FORMS)
def test_a_saved_lane_knows_what_each_member_has_missed(form):
    first, second = lane_of(SIZES, {"ema_decay": 0.7}, form), lane_of(SIZES, {"ema_decay": 0.7}, form)
    train(first, [0, 1])
    first.end_epoch()
    second.load_state_dict(first.state_dict())
    train(first, [2])
    train(second, [2])
    for (name, one), (_, other) in zip(first.tensors(), second.tensors(), strict=True):
        assert torch.equal(one, other), name
    assert first.lr() == second.lr()


def test_a_member_without_a_batch_stays_bit_for_bit_with_all_that_is_its():
    lane = lane_of(SIZES, {"ema_decay": 0.7}, "stacked")
    train(lane, [0])

    def everything(place):
        part = lane._parts[0]
        moments = [v[place] for state in part.optimizer.state.values() for v in state.values() if v.dim() > 0]
        return [t[place].clone() for t in lane._moving()] + [m.clone() for m in moments], lane.lr()[place]

    before, rate = everything(1)
    lane.train_step(MemberBatches(parts=[([0, 2, 3], own_batch([torch.arange(4)] * 3))]))
    after, later_rate = everything(1)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert rate == later_rate
    lane.train_step(MemberBatches(parts=[]))
    assert all(torch.equal(one, other) for one, other in zip(before, everything(1)[0], strict=True))


def test_members_of_a_part_may_share_their_batch():
    shared, own = lane_of(SIZES, {}, "stacked"), lane_of(SIZES, {}, "stacked")
    rows = torch.arange(5)
    shared.train_step(MemberBatches(parts=[([2, 0], (X[rows], Y[rows])), ([1], own_batch([rows + 5]))]))
    own.train_step(MemberBatches(parts=[([1], own_batch([rows + 5])), ([2, 0], own_batch([rows, rows]))]))
    for (name, one), (_, other) in zip(shared.tensors(), own.tensors(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0, msg=name)


def test_slow_copies_of_those_without_a_batch_rest():
    class Pair(nn.Module):
        def __init__(self, drop_prob: float = 0.0) -> None:
            super().__init__()
            self.online, self.target = nn.Linear(2, 2).double(), nn.Linear(2, 2).double()

    class Following(OwnFolds):
        def objectives(self):
            slow = SlowCopy(source="online.", copy="target.", rate=0.5)

            def loss(model, batch, member):
                return F.cross_entropy(model.online(batch[0]), batch[1])

            return [Objective(name="follow", loss=loss, parameters=("online.*",), slow_copy=slow)]

    specs = specs_of([BASE] * 2, Pair)
    lane = build_lane(specs, Following([0, 1]), form="stacked", device=CPU, total_steps=[9, 9], direction="minimize")
    before = dict(lane.stack.named_parameters())["target.weight"].detach().clone()
    lane.train_step(MemberBatches(parts=[([1], own_batch([torch.arange(4)]))]))
    after = dict(lane.stack.named_parameters())["target.weight"]
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_the_loss_scale_of_a_member_without_a_batch_rests():
    lane = lane_of(SIZES, {"precision": "fp16"}, "stacked")
    shared = own_batch([torch.arange(4)] * 2)
    for _ in range(3):
        lane.train_step(MemberBatches(parts=[([0, 2], shared)]))
    assert lane._parts[0].scaler.state_dict()["streak_M"].tolist() == [3, 0, 3, 0]


@pytest.mark.parametrize("places", [[[0, 1], [1]], [[4]], [[-1]]])
def test_places_that_are_not_there_or_there_twice_are_refused(places):
    parts = [(own, (X[:5], Y[:5])) for own in places]
    with pytest.raises(ValueError, match=r"MemberBatches: places must be distinct and in \[0, 4\), got .* follow"):
        lane_of(SIZES, {}, "stacked").train_step(MemberBatches(parts=parts))


# -- in a cohort, killed and resumed -------------------------------------------------------------------------


def cohort_of(folder, form="stacked", **options):
    specs = specs_of([{**BASE, "lr": 0.02 * (1 + trial)} for trial in SIZES], net)
    cohort = make_cohort(
        specs,
        OwnFolds(list(SIZES)),
        moons_data(),
        LOG_LOSS,
        [(1, 3), (3, 2)],
        folder,
        steps_per_epoch=5,
        form="stacked",
        **options,
    )
    assert len(cohort.lanes) == 1
    return cohort


class Killed(BaseException):
    pass


@pytest.mark.parametrize("epoch", [1, 2])
def test_killed_and_resumed_unequal_members_end_as_if_never_stopped(tmp_path, epoch):
    whole = finish(cohort_of(tmp_path / "whole"))
    assert len(records(whole)) == 4 + 3 + 3
    killed = cohort_of(tmp_path / "killed")

    def die(progress):
        if (progress.epoch, progress.step) == (epoch, 4):
            raise Killed

    killed.hooks.on_step = die
    with pytest.raises(Killed):
        finish(killed)
    state = killed.checkpointer.load()
    again = cohort_of(tmp_path / "killed", keep_bytes=state["log_bytes"])
    again.load_state_dict(state)
    finish(again)
    assert again.log.path.read_bytes() == whole.log.path.read_bytes()
    for (name, one), (_, other) in zip(again.lanes[0].tensors(), whole.lanes[0].tensors(), strict=True):
        assert torch.equal(one, other), name
