from dataclasses import fields

import pytest

from tenfold.core.errors import InputError
from tenfold.optim import OPTIMIZERS, SCHEDULES
from tenfold.train.recipe import Recipe
from tenfold.tuning import draw, optimizer_space
from tenfold.tuning.defaults import OPTIMIZER_PARAMETERS, SCHEDULE_PARAMETERS


def test_the_default_space_searches_rate_and_decay_alone():
    for one in draw(optimizer_space(), 50, seed=0):
        assert set(one.params) == {"lr", "weight_decay"}
        assert 3e-4 <= one.config["lr"] <= 1e-2
        assert 1e-6 <= one.config["weight_decay"] <= 1e-1
        rest = {key: one.config[key] for key in ("optimizer", "schedule", "warmup_fraction")}
        assert rest == {"optimizer": "adamw", "schedule": "cosine", "warmup_fraction": 0.05}


def test_each_optimiser_draws_from_its_own_rates():
    draws = draw(optimizer_space(("adamw", "sgd")), 60, seed=0)
    assert {one.config["optimizer"] for one in draws} == {"adamw", "sgd"}
    for one in draws:
        sgd = one.config["optimizer"] == "sgd"
        assert ("momentum" in one.config) == sgd
        assert one.config["lr"] >= 3e-3 if sgd else one.config["lr"] <= 1e-2


@pytest.mark.parametrize("optimizers", [("adamw",), ("sgd",), ("adamw", "sgd"), tuple(OPTIMIZERS)])
@pytest.mark.parametrize("schedules", [("cosine",), tuple(SCHEDULES)])
def test_every_default_says_its_reason(optimizers, schedules):
    assert all(row["reason"] for row in optimizer_space(optimizers, schedules).to_json())


def test_every_optimiser_and_schedule_has_a_space():
    assert set(OPTIMIZER_PARAMETERS) == set(OPTIMIZERS)
    assert set(SCHEDULE_PARAMETERS) == set(SCHEDULES)


def test_what_is_drawn_for_any_optimiser_and_schedule_is_a_recipe():
    known = {field.name for field in fields(Recipe)}
    seen = set()
    for one in draw(optimizer_space(tuple(OPTIMIZERS), tuple(SCHEDULES)), 200, seed=0):
        assert set(one.config) <= known
        Recipe(**one.config)
        seen |= {one.config["optimizer"], one.config["schedule"]}
        assert ("plateau_patience" in one.config) == (one.config["schedule"] == "plateau")
    assert seen == {*OPTIMIZERS, *SCHEDULES}


def test_torchs_usual_rates_are_in_the_ranges():
    usual = {"adadelta": 1.0, "adagrad": 1e-2, "asgd": 1e-2, "sgd": 1e-1, "rmsprop": 1e-3}
    for name in OPTIMIZERS:
        lr = OPTIMIZER_PARAMETERS[name]["lr"]
        assert lr.low <= usual.get(name, 1e-3) <= lr.high


def test_an_unknown_schedule_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown schedule 'cosin'. Did you mean 'cosine'"):
        optimizer_space(schedules=("cosin",))


def test_an_unknown_optimiser_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown optimizer 'admw'. Did you mean 'adamw'"):
        optimizer_space(("admw",))


def test_no_optimiser_is_refused():
    with pytest.raises(ValueError, match="options of 'optimizer' must hold at least one"):
        optimizer_space(())
