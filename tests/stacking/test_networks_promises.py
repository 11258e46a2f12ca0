"""The promises, over every registered network, optimiser and schedule: pairwise here, the full product if slow.

`pytest -m slow tests/stacking` runs the product; on a machine with a CUDA device `pytest -m gpu tests/stacking`.
"""

import itertools

import pytest
import torch
from stacking_pairs import pairwise
from stacking_recipes import flags_of, recipe, registered

from tenfold.networks import NETWORKS
from tenfold.optim import OPTIMIZERS, SCHEDULES
from tenfold.testing import (
    POISONS,
    check_alone_or_together,
    check_leaving_is_free,
    check_leaving_on_the_way,
    check_permutation,
    check_plain_out,
    check_saving,
    check_strangers,
    network_job,
)

SLOW = tuple(name for name in NETWORKS if NETWORKS[name].heavy)
ONCE = ("tabm", "realmlp", "rnn", "lstm", "gru", "transformer")  # each a second or more a row
BRIEF = [name for name in NETWORKS if name not in SLOW + ONCE]
FEW_STEPS = (*SLOW, "realmlp")  # deep, or with rates that are 16 times as large inside: see its file


def over_networks(slow=SLOW):
    return [pytest.param(name, marks=[pytest.mark.slow] if name in slow else []) for name in NETWORKS]


def check_everything(network, optimizer, schedule, number=0, **where):
    """All contracts on one row; switches, warm-up and poisons take turns with the rows' numbers."""
    switches = [(), *((flag,) for flag in flags_of(optimizer))]
    options = {"flags": switches[number % len(switches)], "total": 8, "warmup": number % 3}
    trained = {"optimizer": registered(optimizer, schedule, **options), **where}
    poisons = [list(POISONS)[(number + place) % len(POISONS)] for place in (0, 4)]
    steps = 2 if network in FEW_STEPS else 6  # a deep network at these rates soon makes its last place visible
    check_alone_or_together(**network_job(network), **trained, num_steps=steps, num_members=3)
    check_leaving_is_free(**network_job(network), **trained, num_steps=3, kept=[[2, 0]])
    check_strangers(**network_job(network), **trained, num_steps=2, poisons=poisons)
    check_saving(**network_job(network), **trained, num_steps=2)


def over_rows(rows):
    return [
        pytest.param(number, *row, marks=[pytest.mark.slow] if row[0] in SLOW + ONCE else [], id="-".join(row))
        for number, row in enumerate(rows)
    ]


def over_pairs():
    """The pairs among brief networks; of the others each meets an optimiser and a schedule, resnet18 all of them."""
    others = [name for name in SLOW + ONCE if name != "resnet18"]
    slow = zip(["resnet18"] * len(OPTIMIZERS) + others, itertools.cycle(OPTIMIZERS), itertools.cycle(SCHEDULES))
    return over_rows([*pairwise(BRIEF, list(OPTIMIZERS), list(SCHEDULES)), *slow])


@pytest.mark.parametrize(("number", "network", "optimizer", "schedule"), over_pairs())
def test_any_two_of_network_optimiser_and_schedule_keep_the_promises(number, network, optimizer, schedule):
    check_everything(network, optimizer, schedule, number)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "network", "optimizer", "schedule"), over_rows(itertools.product(BRIEF, OPTIMIZERS, SCHEDULES))
)
def test_every_network_with_every_optimiser_and_schedule_keeps_the_promises(number, network, optimizer, schedule):
    check_everything(network, optimizer, schedule, number)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("number", "network", "optimizer", "schedule"), over_pairs())
def test_on_a_gpu_any_two_of_network_optimiser_and_schedule_keep_the_promises(number, network, optimizer, schedule):
    check_everything(network, optimizer, schedule, number, device="cuda")


def test_in_a_pairwise_covering_any_two_values_meet():
    columns = [["a", "b"], ["c", "d", "e"], ["f", "g", "h"]]
    rows = pairwise(*columns)
    assert len(rows) < 18
    for one, two in itertools.combinations(range(3), 2):
        assert {(row[one], row[two]) for row in rows} == set(itertools.product(columns[one], columns[two]))


@pytest.mark.parametrize("name", over_networks())
def test_every_network_keeps_strangers_apart(name):
    check_strangers(**network_job(name), optimizer=recipe("adamw", clip_norm=1.0), num_steps=2)


@pytest.mark.parametrize("name", over_networks())
def test_every_network_trains_the_same_in_another_order(name):
    check_permutation(**network_job(name), optimizer=recipe("momentum"), num_steps=3)


@pytest.mark.parametrize("name", over_networks(slow=SLOW + ONCE))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_every_network_trains_as_alone_while_others_leave_on_the_way(name, dtype):
    large = {} if name not in FEW_STEPS else {"num_members": 6, "rungs": [(1, 4), (2, 2)], "num_steps": 4}
    check_leaving_on_the_way(**network_job(name), **large, optimizer=recipe("adamw", "warm-up"), dtype=dtype)


@pytest.mark.parametrize("name", over_networks())
def test_every_network_comes_out_plain(name):
    check_plain_out(**network_job(name))
