"""Models that nobody here designed for: each trains in a stack as alone, and what falls back says where and why."""

import re
import warnings

import pytest
import torch
from stacking_nets import Case
from users_modules import USERS

import tenfold
from tenfold.optim import SGD
from tenfold.stacking import SerialFallbackWarning
from tenfold.testing import Recipe, check_leaving_on_the_way, check_plain_out, check_strangers
from tenfold.testing.trained import member_model

FALLS_BACK = {
    "a mixture of experts": r"dynamic shape \(at .*.py:\d+: `token, nth = torch.where\(selected == i\)`\)",
    "a character LSTM": r"`data` under vmap .* \(at .*.py:\d+: `weight = next\(self.parameters\(\)\).data`\)",
    "capsules": r"\(at .*.py:\d+: `b \+= torch.matmul\(temp_u_hat, v.unsqueeze\(-1\)\)`\)",
}
# a plain step: where a member gives an expert no token, torch.optim leaves its parameters alone, and so does a zero
RECIPE = Recipe(stacked=SGD, plain=torch.optim.SGD, options={"lr": [0.1, 0.03, 0.01]}, clip_norm=1.0)
PATIENT = pytest.mark.filterwarnings("ignore::tenfold.stacking.SerialFallbackWarning")
over_users = pytest.mark.parametrize("case", USERS, ids=[case.name for case in USERS])


@over_users
def test_a_users_model_runs_as_one_program_or_says_where_it_cannot(case: Case):
    stack = tenfold.stack([member_model(case.make, i, torch.float32) for i in range(2)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SerialFallbackWarning)
        stack.backward(stack.each(case.loss, *case.batches[0]))
    sentences = [str(warning.message) for warning in caught if warning.category is SerialFallbackWarning]
    if case.name in FALLS_BACK:
        assert stack.form == "serial"
        assert re.search(FALLS_BACK[case.name], sentences[0]), sentences
    else:
        assert sentences == []
        assert stack.form == "stacked"


def test_most_users_models_run_as_one_program():
    assert len(USERS) >= 10
    assert len(FALLS_BACK) <= 3


@over_users
@PATIENT
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_a_users_model_trains_as_alone_while_others_leave(case: Case, dtype: torch.dtype):
    job = {"num_members": 9, "rungs": [(2, 5), (4, 3)], "num_steps": 6, "predict": case.predict}
    check_leaving_on_the_way(**case.job, **job, optimizer=RECIPE, dtype=dtype)


@over_users
@PATIENT
def test_a_sick_users_model_changes_no_bit_of_the_others(case: Case):
    poisons = ["infinite parameters", "a NaN loss", "a huge learning rate"]
    check_strangers(**case.job, optimizer=RECIPE, poisons=poisons, num_steps=2)


@over_users
@PATIENT
def test_a_users_model_comes_out_as_it_went_in(case: Case):
    check_plain_out(**case.job, optimizer=RECIPE, predict=case.predict)
