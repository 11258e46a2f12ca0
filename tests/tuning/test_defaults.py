import pytest

from tenfold.core.errors import InputError
from tenfold.tuning import draw, optimizer_space


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


@pytest.mark.parametrize("optimizers", [("adamw",), ("sgd",), ("adamw", "sgd")])
def test_every_default_says_its_reason(optimizers):
    assert all(row["reason"] for row in optimizer_space(optimizers).to_json())


def test_an_unknown_optimiser_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown optimizer 'adam'. Did you mean 'adamw'"):
        optimizer_space(("adam",))


def test_no_optimiser_is_refused():
    with pytest.raises(ValueError, match="options of 'optimizer' must hold at least one"):
        optimizer_space(())
