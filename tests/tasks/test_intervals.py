import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn import metrics as reference

from tenfold.core.intervals import wilson
from tenfold.core.seeds import generator
from tenfold.statistics import bootstrap_difference
from tenfold.tasks import Classification, Regression, metric_differences, metric_intervals


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # Newcombe 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(hits, n, low, high):
    assert wilson(hits / n, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (7, 31), (9_999, 10_000)])
def test_wilson_is_that_of_scipy(hits, n, level):
    expected = binomtest(hits, n).proportion_ci(confidence_level=level, method="wilson")
    assert wilson(hits / n, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def _classes(num_classes, n=60):
    rng = np.random.default_rng(1)
    targets = rng.integers(num_classes, size=n)
    targets[:num_classes] = range(num_classes)
    logits = rng.normal(size=(n, num_classes)) + 1.5 * np.eye(num_classes)[targets]
    return torch.log_softmax(torch.from_numpy(logits), dim=1), torch.from_numpy(targets)


def _loop(score, targets, predictions, seed, num_resamples):
    """The bootstrap as a book writes it."""
    random, values = generator(seed, "sample"), []
    for _ in range(num_resamples):
        rows = random.integers(len(targets), size=len(targets))
        values.append(score(targets[rows], predictions[rows]))
    return np.quantile(values, [0.025, 0.975])


SCORES = {
    "macro_f1": lambda t, p: reference.f1_score(t, p.argmax(1), average="macro"),
    "balanced_accuracy": lambda t, p: np.mean([(p.argmax(1) == k)[t == k].mean() for k in np.unique(t)]),
    "log_loss": lambda t, p: reference.log_loss(t, p, labels=range(p.shape[1])),
    "roc_auc": lambda t, p: reference.roc_auc_score(t, p[:, 1] if p.shape[1] == 2 else p, multi_class="ovr"),
}


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("name", SCORES)
def test_the_bootstrap_of_a_classifier_is_that_of_a_plain_loop(name, num_classes):
    outputs, targets = _classes(num_classes)
    got = metric_intervals(Classification(num_classes), outputs, targets, seed=5, num_resamples=50)[name]
    probabilities = outputs.exp().numpy()
    assert got["value"] == pytest.approx(SCORES[name](targets.numpy(), probabilities), abs=1e-9)
    assert got["n"] == 60
    expected = _loop(SCORES[name], targets.numpy(), probabilities, 5, 50)
    assert [got["low"], got["high"]] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("rmse", reference.root_mean_squared_error),
        ("mae", reference.mean_absolute_error),
        ("r2", reference.r2_score),
    ],
)
def test_the_bootstrap_of_a_regression_is_that_of_a_plain_loop_in_raw_units(name, score):
    rng = np.random.default_rng(2)
    targets = rng.normal(size=80)
    outputs = targets + rng.normal(size=80) / 2
    task = Regression(mean=100.0, scale=7.0)
    got = metric_intervals(task, torch.from_numpy(outputs), torch.from_numpy(targets), seed=3, num_resamples=60)
    expected = _loop(score, 100 + 7 * targets, 100 + 7 * outputs, 3, 60)
    assert [got[name]["low"], got[name]["high"]] == pytest.approx(expected, rel=1e-9)


def test_accuracy_has_wilsons_interval():
    outputs, targets = _classes(3)
    got = metric_intervals(Classification(3), outputs, targets, num_resamples=2)["accuracy"]
    hits = int((outputs.argmax(1) == targets).sum())
    expected = binomtest(hits, 60).proportion_ci(method="wilson")
    assert (got["value"], got["low"], got["high"]) == pytest.approx((hits / 60, expected.low, expected.high))


def test_the_interval_does_not_depend_on_how_many_resamples_are_computed_at_once(monkeypatch):
    outputs, targets = _classes(3)
    whole = metric_intervals(Classification(3), outputs, targets, num_resamples=40)
    monkeypatch.setattr("tenfold.tasks.intervals.CHUNK_NUMBERS", 7 * 60)
    assert metric_intervals(Classification(3), outputs, targets, num_resamples=40) == whole


def test_another_seed_draws_other_resamples():
    outputs, targets = _classes(3)
    first, again, other = (
        metric_intervals(Classification(3), outputs, targets, seed=seed, num_resamples=40)["log_loss"]
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first["low"] != other["low"]


def test_a_broken_model_has_nan_everywhere():
    result = metric_intervals(Classification(2), torch.full((4, 2), torch.nan), torch.tensor([0, 1, 0, 1]))
    assert all(math.isnan(entry[end]) for entry in result.values() for end in ("value", "low", "high"))


def test_resamples_without_a_value_are_left_out():
    outputs = torch.log_softmax(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), dim=1)
    result = metric_intervals(Classification(2), outputs, torch.tensor([0, 0, 0, 0, 1]), num_resamples=100)
    assert 0 <= result["roc_auc"]["low"] <= result["roc_auc"]["high"] <= 1


def test_a_metric_that_no_resample_defines_has_no_interval():
    result = metric_intervals(Regression(), torch.zeros(3), torch.ones(3), num_resamples=5)
    assert math.isnan(result["r2"]["value"])
    assert math.isnan(result["r2"]["low"])


def test_an_infinite_log_loss_raises_nothing():
    outputs = torch.tensor([[1.0, 0.0], [0.5, 0.5]]).log()
    assert metric_intervals(Classification(2), outputs, torch.tensor([1, 0]))["log_loss"]["value"] == math.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(0), torch.zeros(0)), r"at least one target, got 0 outputs and 0 targets\. Give both"),
        ((torch.zeros(3), torch.zeros(2)), r"got 3 outputs and 2 targets"),
    ],
)
def test_outputs_that_do_not_match_the_targets_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        metric_intervals(Regression(), *arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 95}, r"level must be in \(0, 1\), got 95\. Use 0\.95"),
        ({"num_resamples": 0}, r"num_resamples must be at least 1, got 0\. Use 1000"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        metric_intervals(Regression(), torch.zeros(3), torch.ones(3), **options)


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_a_difference_is_that_of_scikit_learn_on_the_same_resamples(name):
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 60)
    a, b = (rng.dirichlet(np.ones(3), 60) for _ in range(2))
    function = {
        "accuracy": lambda y, p: reference.accuracy_score(y, p.argmax(axis=1)),
        "log_loss": lambda y, p: reference.log_loss(y, p, labels=[0, 1, 2]),
    }[name]
    expected = bootstrap_difference(function, y, a, b, seed=7, num_resamples=50)
    said = [torch.from_numpy(np.log(p)) for p in (a, b)]
    task = Classification(3)
    got = metric_differences(task, said[0], said[1], torch.from_numpy(y), seed=7, num_resamples=50)[name]
    assert (got["value"], got["low"], got["high"]) == pytest.approx((expected.value, expected.low, expected.high))
    assert got["n"] == 60


def test_a_difference_needs_two_outputs_for_each_target():
    with pytest.raises(ValueError, match="metric_differences: outputs_N must be one for each"):
        metric_differences(Regression(), torch.zeros(3), torch.zeros(2), torch.zeros(3))
