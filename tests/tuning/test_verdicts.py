import math

import numpy as np
import pytest

from tenfold.tuning.verdicts import (
    DIVERGED,
    OVERFITTING,
    RATE_TOO_HIGH,
    RATE_TOO_LOW,
    RISES_LATE,
    UNDERFITTING,
    Course,
    Verdict,
    by_kind,
    judge,
)

EPOCH = np.arange(1, 41)


def noisy(losses, seed=0, noise=0.01):
    random = np.random.Generator(np.random.Philox(seed))
    return np.asarray(losses) + random.normal(0, noise, len(losses))


def healthy(seed=0, **changes):
    train = noisy(0.2 + 2.0 * np.exp(-EPOCH / 4), seed)
    valid = noisy(0.3 + 1.9 * np.exp(-EPOCH / 4), seed + 100)
    return {"train_loss": train, "valid_loss": valid, "start_loss": 2.3, "config": {"lr": 1e-3}, **changes}


PLANTED = {
    DIVERGED: {"train_loss": [2.0, 1.0, math.nan, math.nan]},
    RATE_TOO_HIGH: {"train_loss": noisy([2.3, 3.5, 4.0, *np.linspace(3, 1, 37)]), "config": {"lr": 0.5}},
    RATE_TOO_LOW: {"train_loss": noisy(np.linspace(2.3, 2.25, 40)), "config": {"lr": 1e-7}},
    RISES_LATE: {"train_loss": noisy(0.2 + 2 * np.exp(-EPOCH / 3) + 0.03 * np.maximum(EPOCH - 20, 0))},
    OVERFITTING: {"valid_loss": noisy(0.3 + 2 * np.exp(-EPOCH / 3) + 0.02 * np.maximum(EPOCH - 15, 0))},
    UNDERFITTING: {
        "train_loss": noisy(2.3 - 0.03 * EPOCH, noise=0.003),
        "valid_loss": noisy(2.31 - 0.03 * EPOCH, noise=0.003),
    },
}


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("seed", range(5))
def test_what_was_planted_is_found_and_nothing_else(kind, seed):
    courses = [Course(trial=trial, **healthy(seed + trial)) for trial in range(3)]
    courses.append(Course(trial=7, **healthy(seed, **PLANTED[kind])))
    verdicts = judge(courses)
    assert [(verdict.trial, verdict.kind) for verdict in verdicts] == [(7, kind)]
    assert math.isfinite(verdicts[0].number)
    assert verdicts[0].sentence.startswith(f"trial 7: {kind}: ")


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_said_of_healthy_trials(seed):
    assert judge([Course(trial=trial, **healthy(seed * 10 + trial)) for trial in range(4)]) == []


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5])
def test_a_healthy_trial_in_its_first_epochs_is_left_in_peace(length):
    course = healthy()
    young = {name: course[name][:length] for name in ("train_loss", "valid_loss")}
    assert judge([Course(trial=0, is_complete=False, **{**course, **young})]) == []


def test_the_numbers_are_those_of_the_curves():
    diverged = Course(trial=0, train_loss=[1.0, 1.0], valid_loss=[1.0, math.inf])
    high = Course(trial=1, train_loss=[2.0, 3.5, 1.0, 0.5], config={"lr": 0.25})
    assert [verdict.sentence for verdict in judge([diverged, high])] == [
        "trial 0: diverged: its validation loss is not finite in epoch 2 of 2",
        "trial 1: learning rate too high: the training loss rises from 2 to 3.5 in the first 2 epochs (lr 0.25)",
    ]


def test_a_loss_above_that_of_the_untrained_network_is_a_rise_in_the_first_epoch_already():
    losses = [4.0, 3.0, 2.9, 2.8]
    assert judge([Course(trial=0, train_loss=losses)]) == []
    assert [v.kind for v in judge([Course(trial=0, train_loss=losses, start_loss=2.3)])] == [RATE_TOO_HIGH]


def test_a_trial_that_hardly_moves_at_a_higher_rate_than_the_best_has_too_high_a_one():
    dead = Course(trial=1, train_loss=[2.3] * 40, config={"lr": 1.0})
    [verdict] = judge([Course(trial=0, **healthy()), dead])
    assert verdict.kind == RATE_TOO_HIGH
    assert "whose rate 0.001 is lower" in verdict.sentence


def test_trials_without_a_rate_are_judged_all_the_same():
    moving, still = Course(trial=0, **healthy(config={})), Course(trial=1, train_loss=[2.3] * 40)
    assert [verdict.kind for verdict in judge([moving, still])] == [RATE_TOO_LOW]


def test_no_trials_and_empty_curves_have_no_verdict():
    assert judge([]) == []
    assert judge([Course(trial=0, train_loss=[])]) == []
    assert [v.kind for v in judge([Course(trial=0, train_loss=[math.nan] * 4)])] == [DIVERGED]


def test_many_trials_of_one_kind_are_one_line_with_their_number_and_an_example():
    slow = {"train_loss": np.linspace(2.3, 2.29, 40), "start_loss": 2.3, "config": {"lr": 1e-7}}
    courses = [Course(trial=0, **healthy()), *(Course(trial=trial, **slow) for trial in (4, 7, 9))]
    sick = Course(trial=11, train_loss=[1.0, math.nan])
    edge = Verdict(kind="edge", sentence="lr: look further", number=0.1, name="lr")
    found = by_kind([edge, *judge([*courses, sick])], 12)
    assert [(verdict.kind, verdict.number) for verdict in found] == [("edge", 0.1), (RATE_TOO_LOW, 3), (DIVERGED, 1)]
    assert found[0] is edge
    assert found[1].sentence.startswith(
        f"{RATE_TOO_LOW}: 3 of 12 trials, such as trial 4: the training loss falls by "
    )
    assert found[2].sentence.startswith(f"{DIVERGED}: 1 of 12 trials, trial 11: its training loss is not finite")
