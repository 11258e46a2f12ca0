import json
import math

import pytest
import torch
import torch.nn.functional as F
from train_kit import (
    ACCURACY,
    LOG_LOSS,
    Classify,
    assert_alone_agrees,
    finish,
    make_cohort,
    member_tensors,
    moons_data,
    records,
    small_net,
    specs_of,
)

from tenfold.core.errors import RunError
from tenfold.core.records import RecordLog, read_records
from tenfold.train import Clock, Hooks

STEPS = 4
CONFIGS = [
    {"lr": 1e-3, "batch_size": 16},
    {"lr": 3e-2, "batch_size": 16, "hidden": 4},
    {"lr": 1e-2, "batch_size": 16, "drop_prob": 0.1},
    {"lr": 1e-1, "batch_size": 16, "hidden": 4},
    {"lr": 3e-3, "batch_size": 16},
]
RUNGS = [(2, 4), (4, 2), (6, 2)]


def cohort_of(folder, configs=CONFIGS, rungs=RUNGS, *, metric=LOG_LOSS, seeds=(0,), steps=STEPS, **options):
    specs = specs_of(configs, seeds=seeds)
    return make_cohort(specs, Classify(), moons_data(), metric, rungs, folder, steps_per_epoch=steps, **options)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return finish(cohort_of(tmp_path_factory.mktemp("undisturbed")))


def with_scores(cohort, table):
    """Members learn as they do; the validation scores are those of a table: trial (and seed) -> score."""
    for lane in cohort.lanes:

        def evaluate(batches, lane=lane):
            scores = [table[(member.trial, member.seed)] for member in lane.ids]
            return {cohort.metric.name: torch.tensor(scores, dtype=torch.float64)}

        lane.evaluate = evaluate
    return cohort


# -- learning, alone and together ----------------------------------------------------------------------------


@pytest.mark.parametrize("trial", range(len(CONFIGS)))
def test_alone_or_together_the_same(undisturbed, trial, tmp_path):
    spec = specs_of(CONFIGS)[trial]
    rungs = [(6, 1)]
    alone = make_cohort(
        [spec], Classify(), moons_data(), LOG_LOSS, rungs, tmp_path, steps_per_epoch=STEPS, form="serial"
    )
    assert_alone_agrees(undisturbed, finish(alone), atol=1e-6)  # Adam blows up rounding before batch norm


def test_they_learn(undisturbed):
    assert min(record["valid"]["log_loss"] for record in records(undisturbed)) < 0.45
    assert undisturbed.best_score() == min(
        record["valid"]["log_loss"]
        for record in records(undisturbed)
        if record["trial"] in {member.trial for lane in undisturbed.lanes for member in lane.ids}
    )


# -- what is written -----------------------------------------------------------------------------------------


def test_the_log_holds_each_epoch_of_each_member_and_each_rung(undisturbed):
    alive, expected = {0, 1, 2, 3, 4}, []
    for number, (resource, _) in enumerate(RUNGS):
        rung = records(undisturbed, "rung")[number]
        assert (rung["rung"], rung["epoch"]) == (number, resource)
        assert set(rung["kept"]) | set(rung["left"]) == {int(trial) for trial in rung["scores"]} == alive
        begin = RUNGS[number - 1][0] if number else 0
        expected += [(trial, epoch) for epoch in range(begin + 1, resource + 1) for trial in alive]
        alive = set(rung["kept"])
        assert len(alive) == RUNGS[number][1]
    assert sorted((r["trial"], r["epoch"]) for r in records(undisturbed)) == sorted(expected)


def test_an_epoch_s_record_has_these_facts(undisturbed):
    for record in records(undisturbed):
        assert set(record) == {"kind", "trial", "fold", "seed", "epoch", "train_loss", "valid", "lr"}
        assert set(record["valid"]) == {"accuracy", "log_loss"}


def test_a_rung_compares_the_best_validation_scores_so_far(undisturbed):
    for rung in records(undisturbed, "rung"):
        here = {r["trial"] for r in records(undisturbed) if r["epoch"] == rung["epoch"]}
        so_far = {
            trial: min(
                r["valid"]["log_loss"]
                for r in records(undisturbed)
                if r["trial"] == trial and r["epoch"] <= rung["epoch"]
            )
            for trial in here
        }
        assert {int(trial): score for trial, score in rung["scores"].items()} == so_far
        best = sorted(so_far, key=so_far.get)[: len(rung["kept"])]
        assert rung["kept"] == sorted(best)


def test_the_first_epoch_s_numbers_are_those_of_plain_pytorch(tmp_path):
    config = {"lr": 0.05, "batch_size": 16, "optimizer": "sgd", "warmup_fraction": 0.0, "drop_prob": 0.0}
    cohort = finish(cohort_of(tmp_path, [config, {**config, "lr": 0.1}], [(2, 2)]))
    model = specs_of([config])[0].make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2 * STEPS)
    losses = []
    for x, y in moons_data().training(16).epoch(0, None):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    held = moons_data().validation(1)
    x, y = torch.cat([batch[0] for batch in held]), torch.cat([batch[1] for batch in held])
    with torch.no_grad():
        logits = model.eval()(x)
    record = records(cohort)[0]
    assert record["train_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert record["valid"]["log_loss"] == pytest.approx(F.cross_entropy(logits, y).item(), abs=1e-9)
    assert record["valid"]["accuracy"] == pytest.approx((logits.argmax(-1) == y).double().mean().item())
    assert record["lr"] == pytest.approx(schedule.get_last_lr()[0])


def test_no_fact_depends_on_the_clock(undisturbed, tmp_path):
    again = finish(cohort_of(tmp_path))
    assert again.log.path.read_bytes() == undisturbed.log.path.read_bytes()


def test_a_torn_line_is_dropped_when_the_log_is_opened_again(tmp_path):
    path = tmp_path / "records.jsonl"
    log = RecordLog(path)
    log.append("rung", rung=0)
    log.close()
    with open(path, "ab") as file:
        file.write(b'{"kind": "epo')
    log = RecordLog(path)
    log.append("rung", rung=1)
    log.close()
    assert [record["rung"] for record in read_records(path)] == [0, 1]


# -- batches -------------------------------------------------------------------------------------------------


def spy_on_batches(cohort):
    seen = [[] for _ in cohort.lanes]
    for lane, own in zip(cohort.lanes, seen, strict=True):

        def train_step(batch, own=own, step=lane.train_step):
            own.append(batch)
            step(batch)

        lane.train_step = train_step
    return seen


def test_lanes_of_two_structures_see_the_very_same_batches(tmp_path):
    cohort = cohort_of(tmp_path, rungs=[(3, 5)])
    seen = spy_on_batches(cohort)
    finish(cohort)
    assert len(seen) == 2
    assert [len(own) for own in seen] == [3 * STEPS, 3 * STEPS]
    assert all(one is other for one, other in zip(*seen, strict=True))
    assert not torch.equal(seen[0][0][0], seen[0][STEPS][0])


def test_each_batch_size_has_its_own_pass(tmp_path):
    cohort = cohort_of(tmp_path, [{"batch_size": 16}, {"batch_size": 32}, {"batch_size": 16}], [(1, 3)])
    seen = spy_on_batches(cohort)
    finish(cohort)
    assert sorted(len(own) for own in seen) == [2, 4]
    assert {len(batch[0]) for own in seen for batch in own} == {16, 32}


# -- rungs ---------------------------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("scores", "keep", "metric", "kept"),
    [
        ([0.3, 0.1, 0.2], 1, LOG_LOSS, [1]),
        ([0.3, 0.1, 0.2], 2, ACCURACY, [0, 2]),
        ([0.5, 0.5, 0.5], 2, ACCURACY, [0, 1]),
        ([NAN, 0.9, 0.8], 2, LOG_LOSS, [1, 2]),
        ([NAN, 0.1, NAN], 2, ACCURACY, [0, 1]),
        ([NAN, INF, 0.1], 2, LOG_LOSS, [1, 2]),
        ([NAN, -INF, 0.1], 2, ACCURACY, [1, 2]),
        ([0.3, 0.1, 0.2], 9, LOG_LOSS, [0, 1, 2]),
    ],
)
def test_the_right_trials_stay_and_nan_is_the_worst(tmp_path, scores, keep, metric, kept):
    cohort = cohort_of(tmp_path, [{"hidden": 4}, {"hidden": 8}, {"hidden": 4}], [(1, keep)], metric=metric, steps=2)
    finish(with_scores(cohort, {(trial, 0): score for trial, score in enumerate(scores)}))
    assert sorted(member.trial for lane in cohort.lanes for member in lane.ids) == kept
    (rung,) = records(cohort, "rung")
    assert rung["kept"] == kept
    assert rung["scores"] == {str(t): s if math.isfinite(s) else None for t, s in enumerate(scores)}


def test_a_trial_is_the_mean_of_its_seeds_and_leaves_with_all_of_them(tmp_path):
    table = {(0, 0): 0.499, (0, 1): 0.501, (1, 0): 0.4, (1, 1): 0.4}
    cohort = with_scores(cohort_of(tmp_path, CONFIGS[:2], [(1, 1)], seeds=(0, 1)), table)
    finish(cohort)
    assert [(member.trial, member.seed) for lane in cohort.lanes for member in lane.ids] == [(1, 0), (1, 1)]
    assert records(cohort, "rung")[0]["scores"] == {"0": 0.5, "1": 0.4}


def test_a_trial_with_one_unlucky_seed_stays_beside_the_best(tmp_path):
    table = {(0, 0): 0.1, (0, 1): 0.9, (1, 0): 0.4, (1, 1): 0.4}
    cohort = finish(with_scores(cohort_of(tmp_path, CONFIGS[:2], [(1, 1)], seeds=(0, 1)), table))
    (rung,) = records(cohort, "rung")
    assert rung["scores"] == {"0": 0.5, "1": 0.4}
    assert (rung["kept"], rung["left"]) == ([0, 1], [])


def test_one_diverged_seed_spoils_its_trial(tmp_path):
    table = {(0, 0): 0.1, (0, 1): NAN, (1, 0): 5.0, (1, 1): 5.0}
    cohort = finish(with_scores(cohort_of(tmp_path, CONFIGS[:2], [(1, 1)], seeds=(0, 1)), table))
    assert {member.trial for lane in cohort.lanes for member in lane.ids} == {1}


def test_a_member_that_really_diverges_leaves_first_and_the_others_do_not_notice(tmp_path):
    wild = [{**CONFIGS[0], "lr": 1e300}, *CONFIGS[1:]]
    cohort = finish(cohort_of(tmp_path / "wild", wild, [(1, 4), (2, 4)]))
    (first, _) = records(cohort, "rung")
    assert first["left"] == [0]
    assert first["scores"]["0"] is None
    calm = finish(cohort_of(tmp_path / "calm", CONFIGS, [(1, 5), (2, 5)]))
    expected = member_tensors(calm)
    for member, tensors in member_tensors(cohort).items():
        for name, tensor in tensors.items():
            torch.testing.assert_close(tensor, expected[member][name], atol=1e-9, rtol=0)


@pytest.mark.parametrize(("score", "metric"), [(NAN, ACCURACY), (NAN, LOG_LOSS), (INF, LOG_LOSS)])
def test_when_all_have_diverged_one_sentence_says_so(tmp_path, score, metric):
    cohort = with_scores(cohort_of(tmp_path, metric=metric), {(trial, 0): score for trial in range(5)})
    with pytest.raises(
        RunError, match=rf"no member has a finite {metric.name} after epoch 2: all have diverged\. Lower"
    ):
        finish(cohort)


def test_when_all_really_diverge_one_sentence_says_so(tmp_path):
    with pytest.raises(RunError, match="all have diverged"):
        finish(cohort_of(tmp_path, [{"lr": 1e300}, {"lr": 1e290}], [(2, 1)]))


def test_a_lane_without_members_is_gone(tmp_path):
    table = {(0, 0): 0.1, (1, 0): 0.9, (2, 0): 0.2, (3, 0): 0.9, (4, 0): 0.3}
    cohort = with_scores(cohort_of(tmp_path, rungs=[(1, 3), (2, 3)]), table)
    assert len(cohort.lanes) == 2
    finish(cohort)
    assert [[member.trial for member in lane.ids] for lane in cohort.lanes] == [[0, 2, 4]]


def test_the_best_weights_are_those_of_the_best_epoch_on_validation(tmp_path):
    cohort = cohort_of(tmp_path, [{"lr": 0.3, "batch_size": 16}, {"lr": 0.1, "batch_size": 16}], [(6, 2)])
    (lane,) = cohort.lanes
    seen, validation = [], cohort.data.validation

    def spy(members):
        seen.append([model.state_dict() for model in lane.stack.unstack()])
        return validation(members)

    cohort.data.validation = spy
    finish(cohort)
    for place, member in enumerate(lane.ids):
        losses = [record["valid"]["log_loss"] for record in records(cohort) if record["trial"] == member.trial]
        best = losses.index(min(losses))
        assert lane.best_epoch_M[place] == best + 1
        assert lane.best_score_M[place] == min(losses)
        for name, tensor in lane.best_model(place).state_dict().items():
            assert torch.equal(tensor, seen[best][place][name])
    assert (lane.best_epoch_M < 6).any(), "the last epoch is nobody's best, or this test shows nothing"


# -- time ----------------------------------------------------------------------------------------------------


def after(calls):
    count = iter(range(10**6))
    return lambda: next(count) >= calls


@pytest.mark.parametrize(("steps", "epoch", "share"), [(1, 1, 0.25), (4, 1, 1.0), (6, 2, 0.5), (11, 3, 0.75)])
def test_out_of_time_stops_in_the_middle_of_an_epoch_and_still_scores(tmp_path, steps, epoch, share):
    cohort = cohort_of(tmp_path, CONFIGS[:1], [(6, 1)], hooks=Hooks(out_of_time=after(steps - 1)))
    finish(cohort)
    assert cohort.stopped_early
    assert cohort.epoch == epoch
    assert cohort.epochs_trained == pytest.approx(epoch - 1 + share)
    assert len(records(cohort)) == epoch
    assert records(cohort)[-1].get("share", 1.0) == share
    (rung,) = records(cohort, "rung")
    assert (rung["rung"], rung["epoch"]) == (0, epoch)
    assert cohort.checkpointer.load()["stopped_early"] is True


@pytest.mark.parametrize(("calls", "epoch", "rung", "kept"), [(1, 1, 2, 2), (5, 2, 0, 4), (9, 3, 2, 2)])
def test_out_of_time_between_rungs_is_the_last_rung(tmp_path, calls, epoch, rung, kept):
    cohort = finish(cohort_of(tmp_path, hooks=Hooks(out_of_time=after(calls))))
    last = records(cohort, "rung")[-1]
    assert (last["epoch"], last["rung"], len(last["kept"])) == (epoch, rung, kept)
    assert cohort.epoch == epoch


def test_each_lane_counts_the_share_that_it_trained(tmp_path):
    configs = [{"batch_size": 16}, {"batch_size": 32}]
    cohort = finish(cohort_of(tmp_path, configs, [(3, 2)], hooks=Hooks(out_of_time=after(1))))
    assert [record["share"] for record in records(cohort)] == [0.5, 0.5]
    assert cohort.epochs_trained == pytest.approx(1.0)


def test_a_run_that_was_stopped_early_stays_stopped(tmp_path):
    cohort = finish(cohort_of(tmp_path, CONFIGS[:1], [(6, 1)], hooks=Hooks(out_of_time=after(5))))
    state, before = cohort.checkpointer.load(), cohort.log.path.read_bytes()
    again = cohort_of(tmp_path, CONFIGS[:1], [(6, 1)], keep_bytes=state["log_bytes"])
    again.load_state_dict(state)
    finish(again)
    assert again.log.path.read_bytes() == before


def test_the_clock_goes_on_from_what_was_used():
    assert 100.0 <= Clock(100.0)() < 200.0


# -- hooks ---------------------------------------------------------------------------------------------------


def test_progress_and_rungs_are_told(tmp_path):
    told, rungs = [], []
    hooks = Hooks(
        on_step=lambda p: told.append((p.epoch, p.step, p.steps, p.members)), on_rung=lambda: rungs.append(1)
    )
    finish(cohort_of(tmp_path, hooks=hooks))
    assert told[:STEPS] == [(0, step, STEPS, 5) for step in range(1, STEPS + 1)]
    assert told[-1] == (5, STEPS, STEPS, 2)
    assert len(told) == 6 * STEPS
    assert len(rungs) == 3


def test_the_share_that_is_done_never_falls_and_ends_at_one(tmp_path):
    shares = []
    configs = [{"batch_size": 16}, {"batch_size": 32}, {"batch_size": 16, "hidden": 4}]
    finish(cohort_of(tmp_path, configs, [(1, 2), (3, 2)], hooks=Hooks(on_step=lambda p: shares.append(p.share))))
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(2 / 4 / (3 * 1 + 2 * 2))
    assert shares[-1] == pytest.approx(1.0)


# -- resume --------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def kill_in(epoch, step):
    def on_step(progress):
        if (progress.epoch, progress.step) == (epoch, step):
            raise Killed

    return Hooks(on_step=on_step)


@pytest.mark.parametrize("form", ["stacked", "serial"])
@pytest.mark.parametrize("epoch", [1, 2, 3, 4, 5])
def test_resumed_it_ends_as_if_it_had_never_stopped(tmp_path, undisturbed, epoch, form):
    reference = undisturbed if form == "stacked" else finish(cohort_of(tmp_path / "reference", form=form))
    folder = tmp_path / "killed"
    killed = cohort_of(folder, form=form, hooks=kill_in(epoch, 3))
    with pytest.raises(Killed):
        finish(killed)
    with open(killed.log.path, "ab") as file:
        file.write(b'{"kind": "epoch", "trial": 0, "ep')  # a line that the crash tore
    state = killed.checkpointer.load()
    assert state["epoch"] == epoch
    again = cohort_of(folder, form=form, keep_bytes=state["log_bytes"])
    again.load_state_dict(state)
    finish(again)
    assert again.log.path.read_bytes() == reference.log.path.read_bytes()
    assert again.epochs_trained == reference.epochs_trained
    expected = member_tensors(reference)
    assert member_tensors(again).keys() == expected.keys()
    for member, tensors in member_tensors(again).items():
        assert all(torch.equal(tensor, expected[member][name]) for name, tensor in tensors.items())
    for lane, other in zip(again.lanes, reference.lanes, strict=True):
        assert torch.equal(lane.best_epoch_M, other.best_epoch_M)
        for place in range(len(lane)):
            one, two = lane.best_model(place).state_dict(), other.best_model(place).state_dict()
            assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("hooks", "epoch"), [(None, 6), (Hooks(out_of_time=after(9)), 3)])
def test_the_end_is_always_saved(tmp_path, hooks, epoch):
    cohort = cohort_of(tmp_path, CONFIGS[:1], [(6, 1)], hooks=hooks)
    cohort.checkpointer.every_s = 1e6
    finish(cohort)
    state = cohort.checkpointer.load()
    assert state["epoch"] == epoch
    assert state["log_bytes"] == cohort.log.path.stat().st_size


def test_killed_twice_it_still_ends_the_same(tmp_path, undisturbed):
    state, keep = None, None
    for hooks in (kill_in(2, 1), kill_in(4, 2), None):
        cohort = cohort_of(tmp_path, hooks=hooks, keep_bytes=keep)
        if state is not None:
            cohort.load_state_dict(state)
        if hooks is None:
            finish(cohort)
            break
        with pytest.raises(Killed):
            finish(cohort)
        state = cohort.checkpointer.load()
        keep = state["log_bytes"]
    assert cohort.log.path.read_bytes() == undisturbed.log.path.read_bytes()


def test_a_finished_run_resumed_has_nothing_to_do(tmp_path, undisturbed):
    whole = finish(cohort_of(tmp_path))
    state, before = whole.checkpointer.load(), whole.log.path.read_bytes()
    again = cohort_of(tmp_path, keep_bytes=state["log_bytes"])
    again.load_state_dict(state)
    finish(again)
    assert again.log.path.read_bytes() == before
    assert member_tensors(again).keys() == member_tensors(undisturbed).keys()


def test_every_line_of_the_log_is_json(undisturbed):
    for line in undisturbed.log.path.read_text().splitlines():
        assert json.loads(line)["kind"] in {"epoch", "rung"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_records_are_those_of_the_cpu(tmp_path, undisturbed):
    device = torch.device("cuda")
    cohort = make_cohort(
        specs_of(CONFIGS, small_net),
        Classify(),
        moons_data(device=device),
        LOG_LOSS,
        RUNGS,
        tmp_path,
        steps_per_epoch=STEPS,
        device=device,
    )
    finish(cohort)
    for record, expected in zip(records(cohort), records(undisturbed), strict=True):
        assert record["valid"]["log_loss"] == pytest.approx(expected["valid"]["log_loss"], abs=1e-6)
