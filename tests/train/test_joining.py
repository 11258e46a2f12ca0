"""Lanes that begin later: what a trial becomes does not depend on when it began, nor on a kill and a resume."""

import pytest
import torch
from train_kit import LOG_LOSS, Classify, finish, make_cohort, moons_data, records, specs_of

from tenfold.core.records import RecordLog
from tenfold.train import Departure, Hooks, Judge, Lane, build_lane
from tenfold.tuning import MedianStopping, NoStopping

CPU = torch.device("cpu")
STEPS, EPOCHS = 4, 5
EARLY = [{"lr": 1e-2, "batch_size": 16}, {"lr": 3e-2, "batch_size": 16, "hidden": 4}]
LATE = [{"lr": 2e-2, "batch_size": 16}, {"lr": 3e-3, "batch_size": 16, "drop_prob": 0.2}]
SPECS = specs_of([*EARLY, *LATE])


def lane_of(specs):
    return build_lane(
        specs, Classify(), form="stacked", device=CPU, total_steps=STEPS * EPOCHS, direction=LOG_LOSS.direction
    )


def cohort_of(folder, first, *, later=(), after=0, rule=None, most_parked=None, keep_bytes=None, told=None):
    """A cohort that begins with some specs; those of `later` join after so many epochs."""
    cohort = make_cohort(
        first, Classify(), moons_data(), LOG_LOSS, [(EPOCHS, 9)], folder, steps_per_epoch=STEPS, keep_bytes=keep_bytes
    )
    rule = rule or NoStopping(num_trials=9, max_resource=EPOCHS)
    cohort.judge = Judge(rule=rule, direction=LOG_LOSS.direction)
    cohort.most_parked = most_parked
    waiting = {after: list(later)} if later else {}

    def admit():
        specs = waiting.pop(cohort.epoch, [])
        return [lane_of(specs)] if specs else []

    gone = {} if told is None else told
    cohort.hooks = Hooks(admit=admit, on_departures=gone.update)
    return cohort


def by_trial(cohort):
    table = {}
    for record in records(cohort):
        table.setdefault(record["trial"], []).append(record)
    return table


@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_trial_that_begins_later_has_the_records_of_one_that_began_at_once(tmp_path, after):
    at_once = by_trial(finish(cohort_of(tmp_path / "a", SPECS[:2], later=SPECS[2:], after=0)))
    later = by_trial(finish(cohort_of(tmp_path / "b", SPECS[:2], later=SPECS[2:], after=after)))
    assert [record["epoch"] for record in later[2]] == list(range(1, EPOCHS + 1))
    assert later == at_once


def test_lanes_in_the_same_epoch_of_theirs_share_batches_and_others_do_not(tmp_path):
    cohort = cohort_of(tmp_path, SPECS[:2], later=SPECS[2:], after=2)
    seen = {}

    def spy(lane):
        def train_step(batch, step=lane.train_step):
            seen.setdefault((cohort.epoch, lane.epoch), []).append(batch[0])
            step(batch)

        lane.train_step = train_step
        return lane

    for lane in cohort.lanes:
        spy(lane)
    admit = cohort.hooks.admit
    cohort.hooks.admit = lambda: [spy(lane) for lane in admit()]
    finish(cohort)
    first, other = seen[2, 2][:2]
    assert first is other, "two lanes of one batch size in their third epoch"
    assert torch.equal(seen[2, 0][0], seen[0, 0][0]), "a first epoch is a first epoch whenever it comes"
    assert not torch.equal(seen[2, 0][0], seen[2, 2][0])


def test_who_came_to_the_end_waits_outside_with_its_best_weights_while_others_train(tmp_path):
    told = {}
    cohort = finish(cohort_of(tmp_path, SPECS[:2], later=SPECS[2:], after=3, told=told))
    assert cohort.lanes == []
    assert sorted(own.id.trial for own in cohort.parked) == [0, 1, 2, 3]
    assert told == {trial: Departure(how="complete", epoch=EPOCHS) for trial in range(4)}
    for own in cohort.parked:
        scores = [record["valid"]["log_loss"] for record in by_trial(cohort)[own.id.trial]]
        assert own.score == min(scores)
        assert own.epoch == 1 + scores.index(min(scores))


def test_only_the_best_are_kept_waiting(tmp_path, monkeypatch):
    everybody = finish(cohort_of(tmp_path / "a", SPECS[:2], later=SPECS[2:], after=2))
    best, best_model, made = min(everybody.parked, key=lambda own: own.score), Lane.best_model, []

    def noted(self, place):
        made.append(self.ids[place].trial)
        return best_model(self, place)

    monkeypatch.setattr(Lane, "best_model", noted)
    few = finish(cohort_of(tmp_path / "b", SPECS[:2], later=SPECS[2:], after=2, most_parked=1))
    assert [own.id for own in few.parked] == [best.id]
    assert len(made) <= 2  # of the two generations the best one each; the others need no model
    states = [own.model.state_dict() for own in (best, *few.parked)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_rule_that_is_asked_every_epoch_lets_trials_leave_with_its_reason(tmp_path):
    class OutAfterTwo(NoStopping):
        def leavers(self, curves, running):
            return {trial: f"seen {len(curves[trial])}" for trial in running if trial % 2 and len(curves[trial]) == 2}

    told = {}
    rule = OutAfterTwo(num_trials=9, max_resource=EPOCHS)
    cohort = finish(cohort_of(tmp_path, SPECS[:2], later=SPECS[2:], after=1, rule=rule, told=told))
    assert told[1] == told[3] == Departure(how="left", epoch=2, reason="seen 2")
    assert {trial: len(lines) for trial, lines in by_trial(cohort).items()} == {0: EPOCHS, 1: 2, 2: EPOCHS, 3: 2}
    assert cohort.epochs_trained == 2 * EPOCHS + 4


def test_median_stopping_sees_curves_of_own_epochs(tmp_path):
    seen = []

    class Spy(MedianStopping):
        def leavers(self, curves, running):
            seen.append({trial: list(curve) for trial, curve in curves.items()})
            return {}

    rule = Spy(num_trials=9, max_resource=EPOCHS, direction="minimize")
    cohort = finish(cohort_of(tmp_path, SPECS[:2], later=SPECS[2:], after=2, rule=rule))
    lines = {trial: [line["valid"]["log_loss"] for line in own] for trial, own in by_trial(cohort).items()}
    assert seen[3][0] == lines[0][:4]
    assert seen[3][2] == lines[2][:2]


def test_resumed_after_others_joined_it_ends_as_if_it_had_never_stopped(tmp_path):
    whole = finish(cohort_of(tmp_path / "whole", SPECS[:2], later=SPECS[2:], after=2))
    killed = cohort_of(tmp_path / "cut", SPECS[:2], later=SPECS[2:], after=2)

    class Killed(BaseException):
        pass

    def kill(progress):
        if (killed.epoch, progress.step) == (4, 2):
            raise Killed

    killed.hooks.on_step = kill
    with pytest.raises(Killed):
        finish(killed)
    state = killed.checkpointer.load()
    assert state["epoch"] == 4
    again = cohort_of(tmp_path / "cut", SPECS[:2], keep_bytes=state["log_bytes"])
    again.lanes.append(lane_of(SPECS[2:]))
    again.load_state_dict(state)
    finish(again)
    assert again.log.path.read_bytes() == whole.log.path.read_bytes()
    assert again.epochs_trained == whole.epochs_trained
    assert isinstance(again.log, RecordLog)
