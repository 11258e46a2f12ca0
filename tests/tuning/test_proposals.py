import math
import os
import subprocess
import sys

import optuna
import pytest

from tenfold.core.errors import InputError
from tenfold.tuning import SAMPLERS, Categorical, Constant, Float, Int, Proposer, Space, draw

SPACE = Space(
    {
        "network": Categorical(["mlp", "lenet"]),
        "hidden": Categorical([128, 256], when={"network": "mlp"}),
        "lr": Float(1e-4, 1e-2, log=True),
        "schedule": "cosine",
    }
)


def score(config):
    """Best at a rate of 1e-3 and 256 hidden units."""
    return -abs(math.log10(config["lr"]) + 3) + config.get("hidden", 0) / 256


def replay(sampler="tpe", seed=0, batches=(8, 5, 8), space=SPACE):
    """All proposals of some batches, of which each third leaves early and each seventh fails."""
    proposer, configs = Proposer(space, sampler=sampler, seed=seed), []
    for size in batches:
        for one in proposer.ask(size):
            configs.append(one.config)
            value = score(one.config)
            if one.number % 7 == 3:
                proposer.tell(one.number, None, state="failed")
            elif one.number % 3 == 0:
                proposer.tell(one.number, None, state="pruned", curve={1: value - 1, 3: value - 0.5})
            else:
                proposer.tell(one.number, [value], state="complete")
    return configs


def test_the_first_ask_is_what_draw_draws_and_numbers_go_on_counting():
    proposer = Proposer(SPACE, seed=3)
    assert proposer.ask(7) == draw(SPACE, 20, seed=3)[:7]
    assert [one.number for one in proposer.ask(3)] == [7, 8, 9]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_asks_and_tells_propose_the_same(sampler):
    first = replay(sampler)
    assert replay(sampler) == first
    assert replay(sampler, seed=1) != first
    assert len({str(config) for config in first}) == 21


def test_another_process_proposes_the_same_whatever_its_hash_seed():
    here = repr([(config["network"], config["lr"]) for config in replay()])
    code = "from tests.tuning.test_proposals import replay; print([(c['network'], c['lr']) for c in replay()])"
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)}
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=environment
    )
    assert there.stdout.strip() == here


def test_an_optuna_sampler_is_copied_and_its_seed_overruled():
    mine = optuna.samplers.TPESampler(seed=5, n_startup_trials=4)
    state = mine._rng.rng.get_state()[1].copy()
    first = replay(mine)
    assert replay(optuna.samplers.TPESampler(n_startup_trials=4)) == first
    assert (mine._rng.rng.get_state()[1] == state).all()


def test_own_configurations_come_first_and_what_they_leave_out_is_drawn():
    proposer = Proposer(SPACE, sampler="tpe", seed=0)
    proposer.enqueue({"network": "mlp", "hidden": 256, "lr": 2e-3, "schedule": "cosine"})
    proposer.enqueue({"network": "lenet"})
    first, second, _ = proposer.ask(3)
    assert first.config == {"network": "mlp", "hidden": 256, "lr": 2e-3, "schedule": "cosine"}
    assert second.config["network"] == "lenet"
    assert 1e-4 <= second.config["lr"] <= 1e-2


def test_an_own_configuration_is_proposed_once():
    proposer = Proposer(Space({"a": Int(1, 5)}), seed=0)
    for _ in range(2):
        proposer.enqueue({"a": 3})
    assert sorted(one.config["a"] for one in proposer.ask(9)) == [1, 2, 3, 4, 5]


def test_an_own_configuration_goes_under_the_names_of_a_function():
    proposer = Proposer(Space(lambda trial: {"rate": trial.suggest_float("lr", 0, 1)}), seed=0)
    proposer.enqueue({"lr": 0.25})
    assert proposer.ask(1)[0].config == {"rate": 0.25}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rate": 1}, r"there is no 'rate' in it. Choose from"),
        ({"lr": 1.0}, r"lr must be 0.0001 to 0.01, log, got 1.0"),
        ({"lr": math.nan}, r"lr must be 0.0001 to 0.01, log, got nan"),
        ({"network": "resnet"}, r"network must be mlp, lenet, got 'resnet'"),
        ({"schedule": "step"}, r"schedule must be cosine, got 'step'"),
        ({"network": "lenet", "hidden": 128}, r"'hidden' does not apply here, got hidden=128 beside network='lenet'"),
    ],
)
def test_an_own_configuration_outside_of_the_space_is_refused(config, message):
    with pytest.raises(InputError, match=message):
        Proposer(SPACE, seed=0).enqueue(config)


def test_failed_trials_count_as_bad_as_the_worst():
    proposer = Proposer(Space({"x": Float(0, 1)}), sampler="tpe:startup_trials=6", seed=0)
    tried = []
    for _ in range(12):
        for one in proposer.ask(5):
            tried.append(one.config["x"])
            failed = tried[-1] > 0.3
            proposer.tell(one.number, None if failed else [0.5], state="failed" if failed else "complete")
    assert sum(x > 0.3 for x in tried[30:]) < 10  # 21 of random ones


def test_a_value_that_is_not_finite_is_a_failure_and_all_failed_is_survived():
    proposer = Proposer(SPACE, sampler="tpe:startup_trials=2", seed=0)
    for _ in range(4):
        for one in proposer.ask(3):
            proposer.tell(one.number, [math.nan], state="complete")
    assert len(proposer.ask(3)) == 3


def test_trials_that_are_never_told_are_survived():
    proposer = Proposer(SPACE, sampler="tpe:startup_trials=2", seed=0)
    assert len([one for _ in range(4) for one in proposer.ask(4)]) == 16


def test_a_pruned_trial_without_any_value_is_a_failure():
    proposer = Proposer(SPACE, seed=0)
    proposer.ask(1)
    proposer.tell(0, None, state="pruned")
    assert len(proposer.ask(2)) == 2


@pytest.mark.parametrize("sampler", ["random", "tpe:startup_trials=2"])
def test_several_objectives_are_told_together(sampler):
    proposer = Proposer(SPACE, sampler=sampler, seed=0, directions=("maximize", "minimize"))
    for _ in range(3):
        for one in proposer.ask(4):
            state = ("complete", "pruned", "failed")[one.number % 3]
            proposer.tell(one.number, None if state == "failed" else [1.0, one.number], state=state, curve={1: 0.5})
    assert len(proposer.ask(4)) == 4


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize(
    ("parameters", "distinct"),
    [
        ({}, 1),
        ({"a": 1}, 1),
        ({"a": Int(3, 3), "b": Categorical([1])}, 1),
        ({"a": Categorical([1, 2]), "b": Int(1, 3, when={"a": 2})}, 4),
        ({"a": (Int(1, 2, when={"b": 1}), Constant(9, when={"b": 2})), "b": 1} | {"c": Categorical(["x", None])}, 0),
    ],
)
def test_a_tiny_space_ends_with_each_of_its_configurations_once(sampler, parameters, distinct):
    if not distinct:
        parameters = {"b": Categorical([1, 2]), "a": parameters["a"], "c": parameters["c"]}
        distinct = 6
    proposer, configs = Proposer(Space(parameters), sampler=sampler, seed=0), []
    while drawn := proposer.ask(2):
        configs += [str(one.config) for one in drawn]
        for one in drawn:
            proposer.tell(one.number, [0.5], state="complete")
    assert proposer.exhausted
    assert len(configs) == len(set(configs)) == distinct


def test_a_space_whose_last_values_are_rare_is_gone_through():
    rare = {f"x{level}": Int(0, 39, when={f"x{level - 1}": 0} if level else None) for level in range(3)}
    proposer = Proposer(Space(rare), seed=0)
    assert len(proposer.ask(400)) == 39 + 39 + 40
    assert proposer.exhausted


def test_a_function_that_has_no_more_is_exhausted():
    proposer = Proposer(Space(lambda trial: {"a": trial.suggest_int("a", 1, 3)}), sampler="tpe", seed=0)
    assert len(proposer.ask(9)) == 3
    assert proposer.exhausted
    assert proposer.ask(1) == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sampler": "tpee"}, InputError, r"unknown sampler 'tpee'. Did you mean 'tpe'"),
        (
            {"sampler": "tpe:startup=2"},
            InputError,
            r"settings are written 'name:setting=value', got 'startup=2'.*startup_t",
        ),
        ({"sampler": "random:n=2"}, InputError, r"got 'n=2'. It has none: leave it out"),
        (
            {"sampler": "grid:points=two"},
            InputError,
            r"sampler 'grid:points=two': Grid: points must be a whole number",
        ),
        ({"sampler": 3}, TypeError, r"sampler: must be a name or a sampler of Optuna's, got 3"),
        ({"directions": ("up",)}, ValueError, r"directions must be 'maximize' or 'minimize' .* got \('up',\)"),
        ({"directions": ()}, ValueError, r"directions must be 'maximize' or 'minimize' .* got \(\)"),
    ],
)
def test_what_cannot_be_a_proposer_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Proposer(SPACE, seed=0, **arguments)


@pytest.mark.parametrize(
    ("number", "values", "state", "message"),
    [
        (5, [1.0], "complete", r"number must be of a proposal, 0 to 1, got 5. Ask first"),
        (0, [1.0], "complete", r"each number is told once, got 0 again"),
        (1, [1.0, 2.0], "complete", r"values must be 1, one for each objective, got 2"),
        (1, [1.0], "done", r"state must be one of \('complete', 'pruned', 'failed'\), got 'done'"),
    ],
)
def test_what_cannot_be_told_is_refused(number, values, state, message):
    proposer = Proposer(SPACE, seed=0)
    proposer.ask(2)
    proposer.tell(0, [1.0], state="complete")
    with pytest.raises(ValueError, match=message):
        proposer.tell(number, values, state=state)


def test_no_proposals_at_all_are_refused():
    with pytest.raises(ValueError, match=r"Proposer.ask: n must be at least 1, got 0"):
        Proposer(SPACE, seed=0).ask(0)


def test_recorded_configurations_take_the_place_of_what_was_proposed():
    proposer = Proposer(Space({"x": Float(0, 1)}), sampler="tpe", seed=0)
    first = proposer.ask(3)[0]
    proposer.tell(first.number, [0.5], state="complete")
    taken = proposer.retake(1, [{"x": 0.25}, {"x": 0.75}])
    assert [(own.number, own.config["x"]) for own in taken] == [(1, 0.25), (2, 0.75)]
    for own in taken:
        proposer.tell(own.number, [own.config["x"]], state="complete")
    (after,) = proposer.ask(1)
    assert after.number == 3
    assert after.config not in [own.config for own in taken]


def test_what_has_been_told_is_not_taken_back():
    proposer = Proposer(Space({"x": Float(0, 1)}), sampler="random", seed=0)
    for own in proposer.ask(2):
        proposer.tell(own.number, [0.5], state="complete")
    with pytest.raises(
        ValueError, match=r"Proposer\.retake: none of them must have been told, got 1\. Retake sooner"
    ):
        proposer.retake(1, [{"x": 0.25}])
