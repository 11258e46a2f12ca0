import math

import optuna
import pytest

from tenfold.tuning import Categorical, Constant, Float, Int


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Float("a", 1), TypeError, "Float: low must be a number, got 'a'. Convert it first."),
        (lambda: Float(0, True), TypeError, "Float: high must be a number, got True"),
        (lambda: Int(0, 2.5), TypeError, "Int: high must be a whole number, got 2.5"),
        (lambda: Int(0, 4, step=0.5), TypeError, "Int: step must be a whole number, got 0.5"),
        (lambda: Float(2, 1), ValueError, "Float: low must be finite and at most high, got 2 and 1"),
        (lambda: Float(0, math.inf), ValueError, "low must be finite and at most high, got 0 and inf"),
        (lambda: Float(math.nan, 1), ValueError, "low must be finite and at most high, got nan and 1"),
        (lambda: Float(0, 1, log=True), ValueError, "Float: low must be positive with log=True, got 0"),
        (lambda: Int(1, 9, log=True, step=2), ValueError, "Int: step must be None with log=True, got 2"),
        (lambda: Float(0, 1, step=-0.1), ValueError, "Float: step must be positive, got -0.1"),
        (lambda: Int(1, 10, step=2), ValueError, "Int: high must be low plus a whole number of steps, got 1, 10"),
        (lambda: Categorical("relu"), TypeError, "choices must be a list of values, got 'relu'"),
        (lambda: Categorical(3), TypeError, "choices must be a list of values, got 3"),
        (lambda: Categorical([]), ValueError, "choices must hold at least one value"),
        (lambda: Categorical([(1, 2)]), TypeError, r"choices must be None, bool, int, float or str, got \(1, 2\)"),
        (lambda: Categorical(["a", "b", "a"]), ValueError, "choices must differ, got"),
        (lambda: Constant(Int(1, 2)), TypeError, "Constant: value must be a plain value, got Int"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused_with_what_came(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("parameter", "distribution"),
    [
        (Float(1e-4, 1e-2, log=True), optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)),
        (Float(0.0, 0.5, step=0.1), optuna.distributions.FloatDistribution(0.0, 0.5, step=0.1)),
        (Int(1, 8, log=True), optuna.distributions.IntDistribution(1, 8, log=True)),
        (Int(2, 8, step=3), optuna.distributions.IntDistribution(2, 8, step=3)),
        (Categorical(["a", None]), optuna.distributions.CategoricalDistribution(("a", None))),
    ],
)
def test_optuna_sees_the_same_distribution(parameter, distribution):
    study = optuna.create_study()
    trial = study.ask()
    parameter.suggest(trial, "x")
    assert trial.distributions == {"x": distribution}


def test_a_constant_asks_optuna_for_nothing():
    trial = optuna.create_study().ask()
    assert Constant([1, 2]).suggest(trial, "x") == [1, 2]
    assert trial.distributions == {}


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (Float(0.0, 0.3, step=0.1), [0.0, 0.1, 0.2, 0.3]),
        (Float(2, 2), [2.0]),
        (Int(3, 5), [3, 4, 5]),
        (Categorical([True, None]), [True, None]),
        (Constant("x"), ["x"]),
    ],
)
def test_the_values_of_a_finite_parameter_are_listed(parameter, values):
    assert list(parameter.values()) == pytest.approx(values)


def test_a_condition_holds_only_when_every_name_has_one_of_its_values():
    parameter = Float(0, 1, when={"network": ["mlp", "lenet"], "optimizer": "sgd"})
    assert parameter.applies({"network": "lenet", "optimizer": "sgd"})
    assert not parameter.applies({"network": "lenet", "optimizer": "adamw"})
    assert not parameter.applies({"network": "resnet18", "optimizer": "sgd"})
    assert not parameter.applies({"optimizer": "sgd"})


def test_a_row_of_json_has_every_field_of_the_contract():
    row = Float(1e-4, 1e-2, log=True, when={"network": "mlp"}, reason="because").to_json("lr")
    assert row == {
        "name": "lr",
        "type": "float",
        "low": 1e-4,
        "high": 1e-2,
        "log": True,
        "step": None,
        "choices": None,
        "when": {"network": ["mlp"]},
        "reason": "because",
    }
