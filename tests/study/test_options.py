"""What may be asked for, and what a resume may not ask otherwise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from torch import nn

from tenfold.core.errors import InputError, RunError
from tenfold.core.specs import InputSpec
from tenfold.study.options import FitOptions, check_resumed, choose_networks, network_name, parse_time
from tenfold.tuning import Float, Space

TABLE = InputSpec(kind="table", shape=(4,))
SMALL = InputSpec(kind="image", shape=(1, 28, 28))
PHOTO = InputSpec(kind="image", shape=(3, 224, 224))
SCENE = InputSpec(kind="image", shape=(3, 96, 128), dense=True)


class OwnNet(nn.Linear):
    def __init__(self, width: int = 4) -> None:
        super().__init__(width, 2)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("10min", 600), ("1h30m", 5400), ("1h30m5s", 5405), ("0.5h", 1800),
     (" 2m ", 120), (7, 7), (1.5, 1.5), (None, None)],
)  # fmt: skip
def test_lengths_of_time_are_read(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 apples", "1m1h", "10d", "m"])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(InputError, match=r"--time must be a length of time such as 90s, 10m or 1h30m, got '.*'"):
        parse_time(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, r"--trials must be a whole number >= 1, got 0"),
        ({"epochs": -3}, r"--epochs must be a whole number >= 1, got -3"),
        ({"batch_size": True}, r"--batch-size must be a whole number >= 1, got True"),
        ({"image_size": 2.5}, r"--image-size must be a whole number >= 1, or height and width, got 2.5"),
        ({"threads": 0}, r"--threads must be a whole number >= 1, got 0"),
        ({"time_s": 0.0}, r"--time must be longer than nothing, got 0.0 s"),
        ({"time_s": float("nan")}, r"--time must be longer than nothing"),
        ({"valid_fraction": 0.0}, r"--valid-fraction must be in \(0, 1\)"),
        ({"valid_fraction": float("nan")}, r"--valid-fraction must be in \(0, 1\)"),
        ({"valid_fraction": 0.6, "test_fraction": 0.4}, r"together below 1, got 0.6 and 0.4"),
        ({"test_fraction": -0.1}, r"--test-fraction in \[0, 1\)"),
        ({"final": "bset"}, r"--final must be one of best, refit, average, vote, ensemble, got 'bset'"),
        ({"form": "folded"}, r"--form must be one of auto, stacked, serial, side-by-side, compiled, got 'folded'"),
        ({"reduction_factor": 1}, r"--reduction-factor must be >= 2, got 1"),
        ({"seed": 1.5}, r"--seed must be a whole number, got 1.5"),
    ],
)
def test_options_out_of_range_are_refused_by_their_flag(options, message):
    with pytest.raises(InputError, match=message):
        FitOptions(**options)


def test_whole_numbers_of_numpy_are_whole_numbers():
    options = FitOptions(trials=np.int64(3), seed=np.int32(7))
    assert json.dumps(options.given()) == '{"trials": 3, "seed": 7}'


def test_only_what_differs_from_the_defaults_is_given_and_it_is_json():
    assert FitOptions().given() == {}
    options = FitOptions(network=("mlp", OwnNet), space={"lr": Float(1e-3, 1e-1)}, seed=3, target=0)
    given = json.loads(json.dumps(options.given()))
    assert (given["network"], given["seed"], given["target"]) == (["mlp", "OwnNet"], 3, 0)
    assert given["space"] == json.loads(json.dumps(Space({"lr": Float(1e-3, 1e-1)}).to_json()))


@pytest.mark.parametrize(
    ("now", "stored", "message"),
    [
        ({"seed": 1}, {}, r"--seed must be 0, as the run was begun, got 1"),
        ({"time_s": 60.0}, {"time_s": 90.0}, r"--time must be 90.0, as the run was begun, got 60.0"),
        ({"network": ["mlp"]}, {"network": ["linear"]}, r"--network must be \['linear'\]"),
        ({"space": {"lr": Float(1e-4, 1e-1)}}, {}, r"--space must be None"),
    ],
)
def test_a_resume_that_asks_for_something_else_is_refused(now, stored, message):
    with pytest.raises(RunError, match=message):
        check_resumed(FitOptions(**now), stored)


def test_a_resume_may_repeat_or_leave_out_options():
    begun = FitOptions(seed=3, network=["mlp"], space={"lr": Float(1e-4, 1e-1, log=True)}, final="refit")
    stored = json.loads(json.dumps(begun.given()))
    check_resumed(begun, stored)
    check_resumed(FitOptions(), stored)


@pytest.mark.parametrize(
    ("spec", "names"), [(TABLE, ["mlp"]), (SMALL, ["mlp", "lenet"]), (PHOTO, ["resnet18"]), (SCENE, ["unet"])]
)
def test_the_data_choose_the_networks_where_the_user_does_not(spec, names):
    assert list(choose_networks(FitOptions(), spec)) == names


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        (["restnet18"], r"unknown network 'restnet18'. Did you mean 'resnet18'\?"),
        (["lenet"], r"--network lenet cannot take this data \(table of shape \(4,\)\)"),
        ([], r"--network must name at least one network"),
        ([lambda: None, lambda: 1], r"--network: two networks are called '<lambda>'"),
        ([3], r"--network must be a name or a function that builds a network, got 3"),
        ([nn.Linear(4, 3)], r"--network must be a function that builds a network, got a Linear that is built: each"),
    ],
)
def test_networks_that_cannot_be_are_refused(networks, message):
    with pytest.raises(InputError, match=message):
        choose_networks(FitOptions(network=networks), TABLE)


def test_a_network_named_twice_is_one_network():
    assert list(choose_networks(FitOptions(network=["mlp", "mlp"]), TABLE)) == ["mlp"]


def test_networks_are_called_by_their_own_names():
    assert [network_name(network) for network in ("mlp", OwnNet, len)] == ["mlp", "OwnNet", "len"]
