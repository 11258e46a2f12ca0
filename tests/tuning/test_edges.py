import math

import numpy as np
import pytest

from tenfold.tuning import Categorical, Float, Int, Space
from tenfold.tuning.edges import on_the_edge


def search(parameter, best, num_trials=40, direction="maximize"):
    """A random search over one parameter whose score falls with the distance from `best`, in [0, 1] of the range."""
    random = np.random.Generator(np.random.Philox(0))
    places = random.random(num_trials)
    low, high = parameter.low, parameter.high
    values = low * (high / low) ** places if parameter.log else low + (high - low) * places
    if isinstance(parameter, Int):
        values = np.rint(values).astype(int)
        places = (values - low) / (high - low)
    scores = -np.abs(places - best) * (1 if direction == "maximize" else -1)
    configs = {trial: {"x": value} for trial, value in enumerate(values.tolist())}
    return on_the_edge(configs, dict(enumerate(scores.tolist())), Space({"x": parameter}), direction)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize(
    ("parameter", "best", "following"),
    [
        (Float(1e-4, 1e-2, log=True), 1.0, (1e-3, 1e-1)),
        (Float(1e-4, 1e-2, log=True), 0.0, (1e-5, 1e-3)),
        (Float(-2.0, 2.0), 1.0, (0.0, 4.0)),
        (Float(1.0, 5.0), 0.0, (0.0, 3.0)),
        (Float(0.1, 0.7), 1.0, (0.4, 1.0)),
        (Int(2, 10), 1.0, (6, 14)),
        (Int(2, 3), 1.0, (2, 4)),
        (Int(1, 9), 1.0, (5, 13)),
        (Int(16, 256, log=True), 1.0, (64, 1024)),
    ],
)
def test_a_best_value_at_an_end_is_said_with_the_range_to_try_next(parameter, best, following, direction):
    [verdict] = search(parameter, best, direction=direction)
    assert verdict.name == "x"
    assert verdict.next_range == pytest.approx(following)
    assert f"Try {following[0]:.4g} to {following[1]:.4g}." in verdict.sentence


@pytest.mark.parametrize(
    ("parameter", "best"),
    [
        (Float(1e-4, 1e-2, log=True), 0.5),
        (Float(1e-4, 1e-2, log=True), 0.85),
        (Float(0.0, 0.5), 0.0),  # a share cannot be negative
        (Float(0.5, 1.0), 1.0),
        (Int(1, 9), 0.0),
        (Int(0, 9), 0.0),
        (Int(2, 10), 0.5),
    ],
)
def test_nothing_is_said_inside_the_range_or_at_a_limit_of_its_own(parameter, best):
    assert search(parameter, best) == []


def test_one_lucky_trial_at_the_end_is_no_edge():
    values = np.linspace(0.0, 1.0, 30)
    configs = {trial: {"x": 1 + value} for trial, value in enumerate(values)}
    scores = {trial: -abs(value - 0.4) for trial, value in enumerate(values)} | {29: 1.0}
    assert on_the_edge(configs, scores, Space({"x": Float(1.0, 2.0)}), "maximize") == []


def test_few_trials_say_nothing_and_sick_ones_do_not_count():
    space = Space({"x": Float(1.0, 2.0)})
    configs = {trial: {"x": 1 + trial / 7} for trial in range(8)}
    scores = {trial: float(trial) for trial in range(8)}
    assert len(on_the_edge(configs, scores, space, "maximize")) == 1
    assert on_the_edge(configs, scores | {0: math.nan}, space, "maximize") == []


def test_choices_constants_and_parameters_of_other_networks_have_no_edge():
    space = Space(
        {
            "network": Categorical(["a", "b"]),
            "x": (Float(1.0, 2.0, when={"network": "a"}), Float(5.0, 6.0, when={"network": "b"})),
            "same": Float(1.0, 1.0),
            "plain": 3,
        }
    )
    configs = {trial: {"network": "a", "x": 1 + trial / 19, "same": 1.0, "plain": 3} for trial in range(20)}
    configs |= {20 + trial: {"network": "b", "x": 5 + trial / 19, "same": 1.0, "plain": 3} for trial in range(20)}
    scores = {trial: trial % 20 / 20 for trial in range(40)}
    [verdict] = on_the_edge(configs, scores, space, "maximize")
    assert verdict.name == "x"
    assert verdict.next_range == pytest.approx((1.5, 2.5))


def test_a_direction_without_a_name_is_refused():
    with pytest.raises(ValueError, match="direction must be 'maximize' or 'minimize', got 'up'"):
        on_the_edge({0: {}}, {0: 1.0}, Space({}), "up")
