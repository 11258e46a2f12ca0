import json

import optuna
import pytest

from tenfold.tuning import Categorical, Constant, Float, Int, Space, draw

CONDITIONAL = {
    "network": Categorical(["mlp", "lenet"]),
    "depth": Int(2, 3, when={"network": "mlp"}, reason="few structures"),
    "lr": Float(1e-4, 1e-2, log=True),
    "epochs": 20,
}


def suggest(space, **values):
    return space.suggest(optuna.trial.FixedTrial(values))


def test_a_conditional_name_exists_only_where_its_condition_holds():
    space = Space(CONDITIONAL)
    assert suggest(space, network="mlp", depth=2, lr=1e-3) == {
        "network": "mlp",
        "depth": 2,
        "lr": 1e-3,
        "epochs": 20,
    }
    assert suggest(space, network="lenet", lr=1e-3) == {"network": "lenet", "lr": 1e-3, "epochs": 20}


def test_alternatives_of_a_name_reach_optuna_under_their_condition():
    depth = (Int(2, 3, when={"network": "mlp"}), Categorical([18, 34], when={"network": "resnet"}))
    space = Space({"network": Categorical(["mlp", "resnet"]), "depth": depth})
    for one in draw(space, 4, seed=0):
        network = one.config["network"]
        assert set(one.params) == {"network", f"depth (network={network})"}
        assert one.config["depth"] in ((2, 3) if network == "mlp" else (18, 34))


def test_a_function_of_the_trial_is_the_configuration():
    def space(trial):
        config = {"network": trial.suggest_categorical("network", ["mlp", "lenet"])}
        if config["network"] == "mlp":
            config["depth"] = trial.suggest_int("depth", 2, 3)
        return config

    assert suggest(Space(space), network="mlp", depth=3) == {"network": "mlp", "depth": 3}
    assert suggest(Space(space), network="lenet") == {"network": "lenet"}
    assert [(row["name"], row["type"]) for row in Space(space).to_json()] == [("space", "function")]


def test_what_a_function_suggests_stands_on_either_side_of_a_merge():
    def function(trial):
        return {"lr": trial.suggest_float("lr", 0.1, 1.0)}

    defaults = Space({"lr": Float(1e-4, 1e-2), "schedule": "cosine"})
    for merged in (defaults | function, Space(function) | defaults):
        assert suggest(merged, lr=0.5) == {"lr": 0.5, "schedule": "cosine"}
        assert {row["name"] for row in merged.to_json()} == {"function", "lr", "schedule"}


def test_the_right_side_of_a_merge_replaces_and_neither_side_changes():
    left, right = Space({"lr": Float(1e-4, 1e-2), "depth": 2}), Space({"lr": 0.3, "width": 5})
    assert suggest(left | right) == {"lr": 0.3, "depth": 2, "width": 5}
    assert "width" not in left
    assert "depth" not in right


def test_a_space_survives_json():
    depth = (Int(2, 3, when={"network": "mlp"}), Constant(1, when={"network": "lenet"}))
    space = Space({**CONDITIONAL, "depth": depth, "dropout": Float(0, 0.5, step=0.25)})
    rows = json.loads(json.dumps(space.to_json()))
    assert Space.from_json(rows).parameters == space.parameters


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({}, 1),
        ({"a": 1}, 1),
        ({"a": Categorical([1, 2]), "b": Int(1, 3)}, 6),
        ({"a": Categorical([1, 2]), "b": Int(1, 3, when={"a": 2})}, 4),
        ({"a": Float(0, 1, step=0.5)}, 3),
        ({"a": Float(0, 1)}, 99),
        ({"a": Categorical([1, 2]), "b": Float(0, 1, when={"a": 2})}, 99),
    ],
)
def test_configurations_are_counted_up_to_a_limit(parameters, count):
    assert Space(parameters).num_configurations(limit=99) == count


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Space(3), TypeError, "parameters must be a mapping or a function of a trial, got 3"),
        (lambda: Space({"depth": [1, 2]}), TypeError, r"'depth' must be a parameter .* got the list \[1, 2\]"),
        (
            lambda: Space({"network": "mlp", "depth": Int(1, 2, when={"netwrk": "mlp"})}),
            ValueError,
            "'depth' may depend on earlier names only, got when={'netwrk': ...}. Did you mean 'network'",
        ),
        (
            lambda: Space({"depth": Int(1, 2, when={"network": "mlp"})}),
            ValueError,
            "'depth' may depend on earlier names only.* Put that parameter first",
        ),
        (
            lambda: Space({"a": "x", "lr": (Float(0, 1, when={"a": "x"}), Float(0, 2, when={"a": ("x", "y")}))}),
            ValueError,
            "the alternatives of 'lr' must exclude each other",
        ),
        (
            lambda: Space({"lr": (Float(0, 1), Float(0, 2))}),
            ValueError,
            "the alternatives of 'lr' must exclude each other, got when=None and when=None",
        ),
        (lambda: suggest(Space(lambda trial: 3)), TypeError, "the function must return a dict .* got 3"),
        (lambda: Space(dict) | dict, TypeError, "one side of | must be a mapping, got two functions"),
        (
            lambda: Space.from_json(Space(lambda trial: {}).to_json()),
            ValueError,
            "'<lambda>' must not be a function, got one",
        ),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_with_what_came(make, error, message):
    with pytest.raises(error, match=message):
        make()
