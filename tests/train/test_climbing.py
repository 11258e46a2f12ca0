"""A cohort on a ladder: who climbs, what they take along, and what it costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from train_kit import LOG_LOSS, Classify, RowBatches, finish, make_cohort, moons_data, records, specs_of, two_moons

from tenfold.train import CohortData, Departure, Hooks, Judge, build_lane
from tenfold.tuning import make_ladder

CPU = torch.device("cpu")
EPOCHS = 3
ROWS = (16, 64)
SPECS = specs_of([{"lr": lr, "batch_size": 16} for lr in (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)])


def stepped_data():
    """The two moons, of which the first step sees a quarter."""
    x, y = two_moons()

    def training(batch_size, step):
        return RowBatches(ROWS[step], batch_size, lambda rows: (x[rows], y[rows]))

    return CohortData(training=training, validation=moons_data().validation, by_step=True)


def climber(folder, *, halving="successive", carried=True, told=None, seen=None, on_step=None):
    """Six trials on two steps; their next lanes are built as a study does."""
    cohort = make_cohort(SPECS, Classify(), stepped_data(), LOG_LOSS, [(EPOCHS, 9)], folder, steps_per_epoch=1)
    ladder = make_ladder(halving, (0.25, 1.0), len(SPECS), LOG_LOSS.direction)
    ladder = replace(ladder, epochs=EPOCHS, costs=(0.25, 1.0), labels=("a quarter", "all"), anew=not carried)
    cohort.judge = Judge(rule=ladder.rule, direction=LOG_LOSS.direction, ladder=ladder)

    def lane_of(specs):
        steps = EPOCHS * ROWS[specs[0].step] // 16
        return build_lane(
            specs, Classify(), form="stacked", device=CPU, total_steps=steps, direction=LOG_LOSS.direction
        )

    def climb(lanes):
        ids = [member for lane in lanes for member in lane.ids]
        specs = [
            replace(SPECS[own.trial], step=1, begins_at=EPOCHS) for own in sorted(ids, key=lambda own: own.trial)
        ]
        fresh = lane_of(specs)
        before = tensors_of(lanes)
        if carried:
            fresh.go_on_from(lanes)
        if seen is not None:
            seen.append((before, tensors_of([fresh])))
        return [fresh]

    first = [replace(spec, step=ladder.first_step(spec.id.trial)) for spec in SPECS]
    cohort.lanes = [lane_of(first[:4]), lane_of(first[4:])]
    hooks = {} if on_step is None else {"on_step": on_step}
    cohort.hooks = Hooks(admit=list, climb=climb, on_departures=({} if told is None else told).update, **hooks)
    return cohort


def tensors_of(lanes):
    return {
        member.trial: {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for lane in lanes
        for member, model in zip(lane.ids, lane.stack.unstack(), strict=True)
    }


def best_on(cohort, step):
    """Recomputed from the records: each trial's best score on a step."""
    scores = {}
    for line in records(cohort):
        if line["step"] == step:
            scores.setdefault(line["trial"], []).append(line["valid"]["log_loss"])
    return {trial: min(own) for trial, own in scores.items()}


def test_those_climb_who_are_best_by_the_recorded_scores_of_the_step(tmp_path):
    told = {}
    cohort = finish(climber(tmp_path, told=told))
    scores = best_on(cohort, 0)
    order = np.array(list(scores))[np.argsort(list(scores.values()), kind="stable")]
    assert sorted(best_on(cohort, 1)) == sorted(order[:2].tolist())
    for place, trial in enumerate(order.tolist()):
        if place >= 2:
            why = f"{scores[trial]:.4g} on a quarter is number {place + 1} of 6, and 2 go on"
            assert told[trial] == Departure(how="left", epoch=EPOCHS, reason=why)
        else:
            assert told[trial] == Departure(how="complete", epoch=2 * EPOCHS)


def test_on_data_weights_and_buffers_are_carried_bit_for_bit(tmp_path):
    seen = []
    finish(climber(tmp_path, seen=seen))
    ((before, after),) = seen
    assert len(after) == 2
    for trial, tensors in after.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, before[trial][name]), name


def test_a_larger_model_begins_with_weights_of_its_own(tmp_path):
    seen = []
    finish(climber(tmp_path, seen=seen, carried=False))
    ((_, after),) = seen
    for trial, tensors in after.items():
        for name, tensor in SPECS[trial].make_model().state_dict().items():
            assert torch.equal(tensors[name], tensor), name


def test_the_schedule_begins_anew_on_each_step_and_epochs_count_on(tmp_path):
    cohort = finish(climber(tmp_path))
    for trial in best_on(cohort, 1):
        own = [line for line in records(cohort) if line["trial"] == trial]
        assert [line["epoch"] for line in own] == list(range(1, 2 * EPOCHS + 1))
        assert [line["step"] for line in own] == [0] * EPOCHS + [1] * EPOCHS
        assert own[EPOCHS - 1]["lr"] == pytest.approx(0, abs=1e-12)
        assert own[EPOCHS]["lr"] > 0.5 * SPECS[trial].config.recipe.lr


def test_a_score_of_a_cheaper_step_does_not_count_at_the_end(tmp_path):
    cohort = finish(climber(tmp_path))
    last = best_on(cohort, 1)
    assert {own.id.trial: own.score for own in cohort.parked} == last


def test_epochs_are_counted_in_those_of_the_last_step(tmp_path):
    cohort = finish(climber(tmp_path))
    assert cohort.epochs_trained == 6 * EPOCHS * 0.25 + 2 * EPOCHS
    assert cohort.longest == EPOCHS


def test_without_halving_all_begin_on_the_last_step(tmp_path):
    cohort = finish(climber(tmp_path, halving="none"))
    assert {line["step"] for line in records(cohort)} == {1}
    assert cohort.epochs_trained == 6 * EPOCHS


@pytest.mark.parametrize("halving", ["median", "curve"])
def test_rules_that_compare_after_every_epoch_compare_after_every_step(tmp_path, halving):
    asked = []
    cohort = climber(tmp_path, halving=halving)
    rule = cohort.judge.rule

    class Spy:
        def __getattr__(self, name):
            return getattr(rule, name)

        def leavers(self, curves, running):
            asked.append({trial: list(curve) for trial, curve in curves.items()})
            return rule.leavers(curves, running)

    cohort.judge = replace(cohort.judge, rule=Spy())
    finish(cohort)
    first = best_on(cohort, 0)
    after_first = [curves for curves in asked if len(curves[0]) == 1]
    assert {trial: curve[0] for trial, curve in after_first[0].items()} == first
    expected = rule.leavers({trial: [score] for trial, score in first.items()}, set(first))
    assert sorted(set(first) - set(best_on(cohort, 1))) == sorted(expected)
    assert all("1 step " in why for why in expected.values())


def test_killed_on_the_second_step_it_goes_on_as_if_it_had_never_stopped(tmp_path):
    whole = finish(climber(tmp_path / "whole"))

    class Killed(BaseException):
        pass

    def kill(progress):
        if killed.epoch == EPOCHS + 1:
            raise Killed

    killed = climber(tmp_path / "cut", on_step=kill)
    with pytest.raises(Killed):
        finish(killed)
    state = killed.checkpointer.load()
    again = climber(tmp_path / "again")
    trials = sorted(best_on(whole, 1))
    specs = [replace(SPECS[trial], step=1, begins_at=EPOCHS) for trial in trials]
    again.lanes = [
        build_lane(
            specs, Classify(), form="stacked", device=CPU, total_steps=EPOCHS * 4, direction=LOG_LOSS.direction
        )
    ]
    again.load_state_dict(state)
    finish(again)
    mine = [line for line in records(whole) if line["epoch"] > EPOCHS + 1]
    assert mine
    assert records(again) == mine


def test_who_stops_on_a_lower_step_stays_in_the_race_and_may_climb(tmp_path, monkeypatch):
    impatient = specs_of([{"lr": lr, "batch_size": 16, "patience": 1} for lr in (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 3.0)])
    monkeypatch.setitem(globals(), "SPECS", impatient)
    told = {}
    cohort = finish(climber(tmp_path, told=told))
    stopped = {line["trial"] for line in records(cohort, "stopped") if line["epoch"] < EPOCHS}
    assert stopped, "somebody's patience ends before the step does"
    assert all(departure.epoch >= EPOCHS for departure in told.values())
    scores = best_on(cohort, 0)
    assert set(best_on(cohort, 1)) == set(sorted(scores, key=lambda trial: (scores[trial], trial))[:2])
