"""Every schedule by name: what it makes of the rate over a number of steps."""

import math

import pytest
from torch import nn

import tenfold
from tenfold.core.errors import InputError
from tenfold.optim import SCHEDULES, SGD

TOTAL, WARMUP = 70, 10
AT_START_AND_END = {  # shares of the base rate at the first step, the first after the warm-up, and the last
    "constant": (1 / 11, 1.0, 1.0),
    "step": (1 / 11, 1.0, 0.01),
    "multistep": (1 / 11, 1.0, 0.01),
    "exponential": (1 / 11, 1.0, 0.01 ** (59 / 60)),
    "cosine": (1 / 11, 1.0, (1 + math.cos(math.pi * 59 / 60)) / 2),
    "cosine_restarts": (1 / 11, 1.0, (1 + math.cos(math.pi * 32 / 36)) / 2),
    "onecycle": (0.04 / 11, 0.04, 4e-6),
    "linear": (1 / 11, 1.0, 1 / 60),
    "plateau": (1 / 11, 1.0, 1.0),
}


def make():
    stack = tenfold.stack([nn.Linear(2, 2) for _ in range(2)])
    return SGD(stack.parameters(), lr=[1.0, 0.5])


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_of_the_catalogue_goes_over_its_steps(name):
    optimizer, entry = make(), SCHEDULES[name]
    schedule = entry.build(optimizer, TOTAL, WARMUP)
    assert type(schedule) is entry.schedule
    shares = []
    for _ in range(TOTAL):
        rate = optimizer.param_groups[0]["lr"]
        assert float(rate[1]) == pytest.approx(0.5 * float(rate[0]))
        shares.append(float(rate[0]))
        optimizer.step()
        schedule.step()
    assert (shares[0], shares[WARMUP], shares[-1]) == pytest.approx(AT_START_AND_END[name], rel=1e-4)
    if entry.reads_scores:
        for _ in range(12):
            schedule.step([1.0, 2.0])
        assert float(optimizer.param_groups[0]["lr"][0]) == pytest.approx(0.1)


@pytest.mark.parametrize("name", SCHEDULES)
def test_two_steps_are_enough_for_every_schedule(name):
    optimizer = make()
    schedule = SCHEDULES[name].build(optimizer, 2, 0)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"].isfinite().all()


def test_an_unknown_schedule_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown schedule 'cosinus'. Did you mean 'cosine'\?"):
        SCHEDULES["cosinus"]
