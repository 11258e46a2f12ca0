import logging
import math

import numpy as np
import optuna
import pytest

from tenfold.core.errors import InputError
from tenfold.tuning import Categorical, Float, Int, Space, draw

SPACE = Space(
    {
        "network": Categorical(["mlp", "lenet"]),
        "hidden": Categorical([128, 256], when={"network": "mlp"}),
        "lr": Float(1e-4, 1e-2, log=True),
        "schedule": "cosine",
    }
)


def test_equal_seeds_draw_equal_configurations_whatever_the_global_state():
    np.random.seed(1)
    first = draw(SPACE, 8, seed=3)
    np.random.seed(2)
    assert draw(SPACE, 8, seed=3) == first
    assert [d.config for d in draw(SPACE, 8, seed=4)] != [d.config for d in first]


def test_more_draws_begin_with_the_fewer_ones():
    assert draw(SPACE, 20, seed=0)[:7] == draw(SPACE, 7, seed=0)


def test_drawing_leaves_the_global_generator_alone():
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    draw(SPACE, 5, seed=0)
    assert np.array_equal(np.random.get_state()[1], before)


def test_a_draw_holds_what_optuna_stores_and_the_whole_configuration():
    for number, one in enumerate(draw(SPACE, 10, seed=0)):
        assert one.number == number
        assert one.config == {**one.params, "schedule": "cosine"}
        assert one.params.keys() == one.distributions.keys()
        assert ("hidden" in one.params) == (one.config["network"] == "mlp")


def test_a_logarithmic_range_is_uniform_in_the_exponent():
    exponents = np.array([math.log10(d.config["lr"]) for d in draw(SPACE, 400, seed=0)])
    counts, _ = np.histogram(exponents, bins=4, range=(-4, -2))
    assert counts.sum() == 400
    assert counts.min() > 60  # 100 expected, standard deviation 8.7


@pytest.mark.parametrize(
    ("parameters", "distinct"),
    [
        ({"a": 1}, 1),
        ({"a": Categorical([1, 2]), "b": Int(1, 3)}, 6),
        ({"a": Categorical([1, 2]), "b": Int(1, 3, when={"a": 2})}, 4),
    ],
)
def test_a_small_space_gives_each_of_its_configurations_once(parameters, distinct):
    draws = draw(Space(parameters), 50, seed=0)
    assert len(draws) == distinct
    assert len({str(d.config) for d in draws}) == distinct


def test_a_function_with_few_configurations_ends_with_those_found():
    draws = draw(Space(lambda trial: {"a": trial.suggest_int("a", 1, 5)}), 50, seed=0)
    assert sorted(d.config["a"] for d in draws) == [1, 2, 3, 4, 5]


def test_optuna_says_nothing_and_keeps_its_level():
    optuna.logging.set_verbosity(logging.INFO)
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("optuna").addHandler(handler)
    try:
        draw(SPACE, 2, seed=0)
    finally:
        logging.getLogger("optuna").removeHandler(handler)
    assert lines == []
    assert optuna.logging.get_verbosity() == logging.INFO


def test_no_draws_at_all_is_refused():
    with pytest.raises(ValueError, match=r"Proposer.ask: n must be at least 1, got 0"):
        draw(SPACE, 0, seed=0)


def test_an_unknown_sampler_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown sampler 'randm'. Did you mean 'random'"):
        draw(SPACE, 1, seed=0, sampler="randm")
