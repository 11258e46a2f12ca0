import math

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from tenfold.core.errors import InputError
from tenfold.core.seeds import generator
from tenfold.tasks import Classification, MultiLabel, OwnMetric, Regression, metric_intervals, metric_of


def _own(function, takes="predictions", direction="maximize"):
    return OwnMetric(function=function, name="own", direction=direction, takes=takes)


def _classes(members=3, n=40):
    rng = np.random.default_rng(0)
    log_probabilities = torch.log_softmax(torch.from_numpy(rng.normal(size=(members, n, 2))), dim=2)
    return log_probabilities, torch.from_numpy(rng.integers(2, size=n))


def test_a_function_of_labels_sees_the_users_own():
    log_probabilities, targets = _classes()
    own = _own(lambda y, p: reference.f1_score(y, p, pos_label="bee"))
    task = Classification(class_names=("bee", "ant"), metrics=["accuracy", own])
    values = task.measure(log_probabilities, targets)["own"]
    assert (values.shape, values.dtype) == ((3,), torch.float64)
    for i in range(3):
        expected = reference.f1_score(targets.numpy(), log_probabilities[i].argmax(1).numpy(), pos_label=0)
        assert values[i].item() == pytest.approx(expected, abs=1e-12)


def test_a_function_of_probabilities_sees_them():
    log_probabilities, targets = _classes()
    own = _own(lambda y, p: reference.log_loss(y, p, labels=[0, 1]), "probabilities", "minimize")
    values = Classification(2, metrics=["log_loss", own]).measure(log_probabilities, targets)
    torch.testing.assert_close(values["own"], values["log_loss"], rtol=0, atol=1e-9)


def test_a_function_of_labels_sets_sees_columns_of_0_and_1():
    rng = np.random.default_rng(0)
    log_odds, targets = torch.from_numpy(rng.normal(size=(2, 30, 3))), torch.from_numpy(rng.integers(2, size=(30, 3)))
    own = _own(lambda y, p: reference.jaccard_score(y, p, average="samples", zero_division=0))
    values = MultiLabel(list("abc"), metrics=[own]).measure(log_odds, targets.double())["own"]
    for i in range(2):
        expected = reference.jaccard_score(targets, log_odds[i] > 0, average="samples", zero_division=0)
        assert values[i].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("quantiles", [(), (0.1, 0.5, 0.9)])
def test_a_function_of_numbers_sees_raw_units_and_of_quantiles_the_middle_one(quantiles):
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(2, 30, 3)).astype(np.float64), rng.normal(size=30)
    middle = outputs[..., 1]
    own = _own(reference.max_error, direction="minimize")
    task = Regression(mean=7.0, scale=3.0, quantiles=quantiles, metrics=[own])
    given = torch.from_numpy(outputs if quantiles else middle)
    values = task.measure(given, torch.from_numpy(targets))["own"]
    for i in range(2):
        assert values[i].item() == pytest.approx(3 * np.abs(middle[i] - targets).max(), rel=1e-12)


def test_targets_may_differ_by_member():
    log_probabilities, targets = _classes(2)
    both = torch.stack([targets, 1 - targets])
    values = Classification(2, metrics=["accuracy", _own(reference.accuracy_score)]).measure(log_probabilities, both)
    torch.testing.assert_close(values["own"], values["accuracy"])


def test_its_interval_is_that_of_a_plain_bootstrap_loop():
    log_probabilities, targets = _classes(1)
    task = Classification(2, metrics=[_own(reference.cohen_kappa_score)])
    got = metric_intervals(task, log_probabilities[0], targets, seed=5, num_resamples=60)["own"]
    y, p = targets.numpy(), log_probabilities[0].argmax(1).numpy()
    random, values = generator(5, "sample"), []
    for _ in range(60):
        rows = random.integers(40, size=40)
        values.append(reference.cohen_kappa_score(y[rows], p[rows]))
    assert got["value"] == pytest.approx(reference.cohen_kappa_score(y, p), abs=1e-12)
    assert [got["low"], got["high"]] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=1e-9)


def test_a_resample_on_which_it_raises_is_left_out():
    def rate(y, p):
        return 1 / int(y.sum())

    log_probabilities = torch.zeros(3, 2)
    task = Classification(2, metrics=[_own(rate)])
    got = metric_intervals(task, log_probabilities, torch.tensor([0, 0, 1]), num_resamples=50)["own"]
    assert got["value"] == 1.0
    assert 1 / 3 <= got["low"] <= got["high"] <= 1


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_broken_member_has_nan_and_the_function_never_sees_it(bad):
    outputs = torch.zeros(3, 5)
    outputs[1, 2] = bad
    seen = []
    task = Regression(metrics=[_own(lambda y, p: seen.append(np.isfinite(p).all()) or 4.0)])
    values = task.measure(outputs, torch.zeros(5))["own"].tolist()
    assert (values[0], values[2], seen) == (4.0, 4.0, [True, True])
    assert math.isnan(values[1])


def test_a_nan_among_log_probabilities_gives_nan():
    log_probabilities, targets = _classes()
    log_probabilities[1, 3, 0] = torch.nan
    values = Classification(2, metrics=[_own(reference.accuracy_score)]).measure(log_probabilities, targets)["own"]
    assert values.isnan().tolist() == [False, True, False]


def test_it_has_a_direction_and_a_title():
    metric = metric_of(Regression(metrics=["rmse", _own(reference.max_error, direction="minimize")]), "own")
    assert (metric.direction, metric.title) == ("minimize", "own")


def _fails(y, p):
    raise KeyError("what\nnow")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            _fails,
            r"^metric 'own': its function failed on 40 samples \(KeyError: 'what\\nnow'\)\. Mend the function\.$",
        ),
        (lambda y, p: 1 / 0, r"failed on 40 samples \(ZeroDivisionError: division by zero\)"),
        (lambda y, p: np.zeros(3), r"'own': its function must return one number, got ndarray of shape \(3,\)\. Take"),
        (lambda y, p: None, r"must return one number, got NoneType\. Take the mean"),
    ],
)
def test_what_goes_wrong_in_it_is_one_sentence(function, message):
    log_probabilities, targets = _classes()
    with pytest.raises(InputError, match=message):
        Classification(2, metrics=[_own(function)]).measure(log_probabilities, targets)


def test_an_error_of_its_own_on_a_resample_is_no_missing_value():
    calls = []

    def once(y, p):
        calls.append(1)
        if len(calls) > 1:
            raise KeyError("gone")
        return 1.0

    log_probabilities, targets = _classes(1)
    with pytest.raises(InputError, match="KeyError: 'gone'"):
        metric_intervals(Classification(2, metrics=[_own(once)]), log_probabilities[0], targets)


def test_a_regression_has_no_probabilities():
    with pytest.raises(InputError, match=r"'own': takes must be 'predictions', regression has no probabilities"):
        Regression(metrics=[_own(reference.max_error, "probabilities")])


def test_weights_that_are_no_counts_are_refused():
    log_probabilities, targets = _classes(1)
    task = Classification(2, metrics=[_own(reference.accuracy_score)])
    with pytest.raises(ValueError, match=r"weights_MN must be whole numbers, got 0\.5\. A function of samples"):
        task.measure(log_probabilities, targets, torch.full((1, 40), 0.5))


def test_a_name_that_is_taken_is_refused():
    own = OwnMetric(function=reference.accuracy_score, name="accuracy", direction="maximize")
    with pytest.raises(InputError, match=r"metric 'accuracy': the name is taken"):
        Classification(2, metrics=["accuracy", own])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"function": 3}, r"function must be callable, got 3\. Give \(y_true, y_pred\) -> float"),
        ({"name": ""}, r"name must not be empty, got ''\. Choose one"),
        ({"direction": "up"}, r"direction must be 'maximize' or 'minimize', got 'up'\. Choose one"),
        ({"takes": "logits"}, r"takes must be 'predictions' or 'probabilities', got 'logits'\. Choose one"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        OwnMetric(**{"function": max, "name": "own", "direction": "maximize", **arguments})
