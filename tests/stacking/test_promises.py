"""The promises of the stack, over every kind of network and every optimiser with every schedule."""

import itertools

import pytest
import torch
from stacking_nets import CASES, Case
from stacking_recipes import PAIRS, recipe

from tenfold.testing import (
    check_alone_or_together,
    check_leaving_is_free,
    check_leaving_on_the_way,
    check_permutation,
    check_plain_out,
    check_saving,
    check_strangers,
)

over_cases = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
FAMILIES = [
    "mlp with batch norm and dropout", "convolutions with batch norm", "attention", "transformer", "recurrent",
    "dicts in and out",
]  # fmt: skip
BY_NAME = {case.name: case for case in CASES}


@over_cases
def test_members_train_alone_as_they_train_together_in_float64(case: Case):
    optimizer = recipe("adamw", "warm-up", clip_norm=0.5)
    check_alone_or_together(**case.job, optimizer=optimizer, predict=case.predict)


@over_cases
@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_in_float32_losses_and_predictions_stay_within_ten_nudges_of_the_input(case: Case, optimizer: str):
    check_alone_or_together(**case.job, optimizer=recipe(optimizer), dtype=torch.float32, predict=case.predict)


@over_cases
@pytest.mark.parametrize("optimizer", ["adamw", "nesterov"])
def test_a_poisoned_member_changes_no_bit_of_the_others(case: Case, optimizer: str):
    check_strangers(**case.job, optimizer=recipe(optimizer, "cosine", clip_norm=1.0))


@over_cases
def test_a_poisoned_member_changes_no_bit_of_the_others_in_the_serial_form(case: Case):
    check_strangers(**case.job, optimizer=recipe("adamw", clip_norm=1.0), form="serial", num_steps=2)


@over_cases
def test_those_who_stay_go_on_as_if_nobody_had_left(case: Case):
    check_leaving_is_free(**case.job, optimizer=recipe("adamw, all options", "warm-up", clip_norm=0.5))


@over_cases
def test_what_comes_out_is_the_users_own_model(case: Case):
    check_plain_out(**case.job, predict=case.predict)


@pytest.mark.parametrize(("optimizer", "schedule"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_every_optimiser_with_every_schedule_trains_alone_as_together(optimizer: str, schedule: str):
    case = BY_NAME["mlp with batch norm and dropout"]
    check_alone_or_together(**case.job, optimizer=recipe(optimizer, schedule))


@pytest.mark.parametrize(("optimizer", "schedule"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_every_optimiser_and_schedule_follows_those_who_stay(optimizer: str, schedule: str):
    case = BY_NAME["tied weights"]
    check_leaving_is_free(**case.job, optimizer=recipe(optimizer, schedule), num_steps=3)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_of_64_members_those_seven_who_arrive_trained_as_alone_and_as_seven(name: str, dtype: torch.dtype):
    case = BY_NAME[name]
    optimizer = recipe("adamw", "warm-up", clip_norm=0.5)
    check_leaving_on_the_way(**case.job, optimizer=optimizer, dtype=dtype, predict=case.predict)


@over_cases
def test_members_in_another_order_train_the_same(case: Case):
    check_permutation(**case.job, optimizer=recipe("adamw", clip_norm=0.5), predict=case.predict)


def test_products_and_sums_have_the_same_bits_in_another_order():
    check_permutation(**BY_NAME["linear"].job, optimizer=recipe("adamw"), exact=True)


@over_cases
@pytest.mark.parametrize("form", ["auto", "serial"])
def test_a_saved_and_loaded_stack_goes_on_with_the_same_bits(case: Case, form: str):
    check_saving(**case.job, optimizer=recipe("adamw, all options", "warm-up", clip_norm=0.5), form=form)


def test_any_of_four_members_may_stay_in_any_order():
    kept = [places for count in range(1, 5) for places in itertools.permutations(range(4), count)]
    assert len(kept) == 64
    optimizer = recipe("adamw, all options", "cosine")
    job = BY_NAME["buffers of all kinds"].job
    check_leaving_is_free(**job, optimizer=optimizer, num_members=4, num_steps=2, kept=kept)


@pytest.mark.parametrize("check", [check_alone_or_together, check_strangers, check_leaving_is_free, check_saving])
def test_with_scaled_losses_each_member_has_its_own_scale(check):
    optimizer = recipe("momentum", clip_norm=0.5, loss_scale=2.0**20)
    check(**BY_NAME["tied weights"].job, optimizer=optimizer, num_steps=6)
