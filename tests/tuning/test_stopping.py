import math

import numpy as np
import pytest

from tenfold.tuning import HALVINGS, NoStopping

NAMES = list(HALVINGS)


def curves_of(num_trials, epochs, direction="maximize", seed=0):
    """Noisy curves that rise (or fall) to a limit of their own; the higher a trial's number, the better."""
    random = np.random.Generator(np.random.Philox(seed))
    t = np.arange(1, epochs + 1)
    limits = np.linspace(0.5, 0.95, num_trials)
    curves = limits[:, None] * (1 - 0.6 * t**-0.8) + random.normal(0, 0.001, (num_trials, epochs))
    return curves if direction == "maximize" else 1 - curves


def replay(rule, curves):
    """Trains all trials side by side, epoch by epoch; returns the epochs that each trained."""
    running = set(range(len(curves)))
    lengths = [0] * len(curves)
    for _ in range(rule.max_resource):
        for trial in running:
            lengths[trial] += 1
        seen = {trial: curves[trial][: lengths[trial]].tolist() for trial in range(len(curves))}
        running -= set(rule.leavers(seen, running))
    return lengths


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("name", NAMES)
def test_the_best_trial_trains_to_the_end_and_rules_save_epochs(name, direction):
    curves = curves_of(40, 27, direction)
    lengths = replay(HALVINGS[name](40, 27, direction), curves)
    assert lengths[39] == 27
    assert sum(lengths) == 40 * 27 if name == "none" else sum(lengths) < 0.8 * 40 * 27


@pytest.mark.parametrize("name", NAMES)
def test_the_same_curves_give_the_same_leavers_and_reasons_with_a_number(name):
    rule = HALVINGS[name](40, 27, "maximize")
    curves = {trial: curve[:9].tolist() for trial, curve in enumerate(curves_of(40, 27))}
    first = rule.leavers(curves, set(curves))
    backwards = dict(reversed(curves.items()))
    again = HALVINGS[name](40, 27, "maximize").leavers(backwards, set(backwards))
    assert first == again
    assert set(first) <= set(curves)
    assert all(any(letter.isdigit() for letter in reason) for reason in first.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_at_the_end_of_training_never_leaves(name):
    rule = HALVINGS[name](12, 9, "maximize")
    curves = {trial: curve.tolist() for trial, curve in enumerate(curves_of(12, 9))}
    assert rule.leavers(curves, set(curves)) == {}


@pytest.mark.parametrize("name", NAMES)
def test_nobody_running_and_nothing_seen_are_no_trouble(name):
    rule = HALVINGS[name](12, 9, "maximize")
    assert rule.leavers({}, set()) == {}
    assert rule.leavers({0: [], 1: []}, {0, 1}) == {}
    assert rule.leavers({}, {0, 1}) == {}


@pytest.mark.parametrize("name", NAMES)
def test_one_epoch_leaves_no_room_to_stop(name):
    rule = HALVINGS[name](3, 1, "maximize")
    assert rule.leavers({0: [0.1], 1: [0.5], 2: [0.9]}, {0, 1, 2}) == {}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_no_trial_leaves_before_the_least_resource(name):
    rule = HALVINGS[name](20, 27, "maximize", min_resource=3)
    lengths = replay(rule, curves_of(20, 27))
    assert min(lengths) >= 3


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_sick_trials_leave_and_the_others_do_not_mind(name):
    curves = curves_of(20, 27)
    curves[[3, 7], 1:] = math.nan
    lengths = replay(HALVINGS[name](20, 27, "maximize"), curves)
    assert max(lengths[3], lengths[7]) < 27
    assert lengths[19] == 27


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_shows_where_trials_start_and_when_they_are_compared(name):
    rule = HALVINGS[name](40, 27, "maximize")
    assert sum(rule.start_trials) == 40
    assert len(rule.rungs()) == len(rule.start_trials)
    assert all(rungs[-1].resource == rule.max_resource == 27 for rungs in rule.rungs())


def test_an_unknown_rule_is_answered_with_the_near_miss():
    with pytest.raises(ValueError, match=r"unknown halving 'hyperbrand'\. Did you mean 'hyperband'\?"):
        HALVINGS["hyperbrand"]


@pytest.mark.parametrize("name", NAMES)
def test_rules_of_no_trials_or_no_epochs_are_refused(name):
    with pytest.raises(ValueError, match="num_trials must be a whole number >= 1, got 0"):
        HALVINGS[name](0, 9, "maximize")
    with pytest.raises(ValueError, match="max_resource must be a whole number >= 1, got 0"):
        HALVINGS[name](9, 0, "maximize")


def test_no_stopping_refuses_half_an_epoch():
    with pytest.raises(ValueError, match=r"NoStopping: max_resource must be a whole number >= 1, got 0\.5"):
        NoStopping(num_trials=1, max_resource=0.5)
