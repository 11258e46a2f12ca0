"""Metrics against scikit-learn's, member by member."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from tenfold.tasks import CLASSIFICATION_METRICS, confusion_matrix

MEMBERS, SAMPLES = 5, 211


def _one_vs_rest(targets, probabilities):
    if probabilities.shape[1] == 2:
        return reference.roc_auc_score(targets, probabilities[:, 1])
    return reference.roc_auc_score(targets, probabilities, multi_class="ovr", average="macro")


def _top_5(targets, probabilities):
    classes = range(probabilities.shape[1])
    return reference.top_k_accuracy_score(targets, probabilities, k=5, labels=classes) if len(classes) > 5 else 1.0


def _brier(targets, probabilities):
    if probabilities.shape[1] == 2:
        return reference.brier_score_loss(targets, probabilities[:, 1])
    return ((probabilities - np.eye(probabilities.shape[1])[targets]) ** 2).sum(axis=1).mean()


def _calibration_error(targets, probabilities):
    """By scikit-learn's reliability curve, weighted by the samples of each bin."""
    claimed, hits = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    came, said = calibration_curve(hits, claimed, n_bins=15, pos_label=True)
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, 16)[1:-1], claimed), minlength=15)
    return np.average(np.abs(came - said), weights=counts[counts > 0])


def _average_precision(targets, probabilities):
    if probabilities.shape[1] == 2:
        return reference.average_precision_score(targets, probabilities[:, 1])
    present = np.unique(targets)
    is_class = targets[:, None] == present
    return reference.average_precision_score(is_class, probabilities[:, present], average="macro")


REFERENCES = {
    "accuracy": lambda t, p: reference.accuracy_score(t, p.argmax(1)),
    "macro_f1": lambda t, p: reference.f1_score(t, p.argmax(1), average="macro"),
    "balanced_accuracy": lambda t, p: reference.balanced_accuracy_score(t, p.argmax(1)),
    "mcc": lambda t, p: reference.matthews_corrcoef(t, p.argmax(1)),
    "top_5_accuracy": _top_5,
    "log_loss": lambda t, p: reference.log_loss(t, p, labels=range(p.shape[1])),
    "brier": _brier,
    "calibration_error": _calibration_error,
    "roc_auc": _one_vs_rest,
    "average_precision": _average_precision,
    "quadratic_kappa": lambda t, p: reference.cohen_kappa_score(
        t, p.argmax(1), labels=range(p.shape[1]), weights="quadratic"
    ),
    "step_error": lambda t, p: reference.mean_absolute_error(t, p.argmax(1)),
}


def _draw(num_classes, *, seed=0, decimals=None, skewed=False):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(MEMBERS, SAMPLES, num_classes)) * rng.uniform(0.1, 4, size=(MEMBERS, 1, 1))
    if decimals is not None:
        logits = logits.round(decimals)  # many equal scores
    weights = 0.5 ** np.arange(num_classes) if skewed else np.ones(num_classes)
    targets = rng.choice(num_classes, size=SAMPLES, p=weights / weights.sum())
    targets[:num_classes] = range(num_classes)
    return torch.log_softmax(torch.from_numpy(logits), dim=2), torch.from_numpy(targets)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("decimals", [None, 0])
@pytest.mark.parametrize("skewed", [False, True])
def test_every_member_has_the_value_that_scikit_learn_gives_it(name, num_classes, decimals, skewed):
    log_probabilities, targets = _draw(num_classes, decimals=decimals, skewed=skewed)
    values = CLASSIFICATION_METRICS[name].function(log_probabilities, targets)
    assert values.shape == (MEMBERS,)
    assert values.dtype == torch.float64
    for i in range(MEMBERS):
        expected = REFERENCES[name](targets.numpy(), log_probabilities[i].exp().numpy())
        assert values[i].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", REFERENCES)
def test_targets_may_differ_by_member(name):
    log_probabilities, first = _draw(3)
    second = _draw(3, seed=1)[1]
    targets = torch.stack([first, second, first, second, first])
    function = CLASSIFICATION_METRICS[name].function
    values = function(log_probabilities, targets)
    for i in range(MEMBERS):
        assert values[i].item() == pytest.approx(function(log_probabilities, targets[i])[i].item(), abs=1e-12)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("num_classes", [2, 4])
def test_integer_weights_are_repeated_samples(name, num_classes):
    log_probabilities, targets = _draw(num_classes, decimals=0)
    counts = torch.from_numpy(np.random.default_rng(3).integers(0, 4, size=(7, SAMPLES)))
    values = CLASSIFICATION_METRICS[name].function(log_probabilities[:1], targets, counts)
    assert values.shape == (7,)
    for r in range(7):
        rows = torch.arange(SAMPLES).repeat_interleave(counts[r])
        expected = REFERENCES[name](targets[rows].numpy(), log_probabilities[0, rows].exp().numpy())
        assert values[r].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("num_classes", [2, 4])
def test_a_nan_in_one_member_gives_it_nan_and_changes_no_bit_of_another(name, num_classes):
    log_probabilities, targets = _draw(num_classes)
    function = CLASSIFICATION_METRICS[name].function
    before = function(log_probabilities, targets)
    log_probabilities[2, 7, 1] = torch.nan
    after = function(log_probabilities, targets)
    assert after[2].isnan()
    others = [0, 1, 3, 4]
    assert torch.equal(after[others], before[others])


@pytest.mark.parametrize("name", REFERENCES)
def test_all_nan_logits_raise_nothing(name):
    log_probabilities = torch.full((2, 6, 3), torch.nan)
    assert CLASSIFICATION_METRICS[name].function(log_probabilities, torch.tensor([0, 1, 2, 0, 1, 2])).isnan().all()


def test_a_target_of_probability_zero_has_infinite_log_loss_for_its_member_alone():
    log_probabilities = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]]).log()
    values = CLASSIFICATION_METRICS["log_loss"].function(log_probabilities, torch.tensor([1, 0]))
    assert values[0] == torch.inf
    assert values[1].item() == pytest.approx(np.log(2), abs=1e-7)


def test_a_sample_of_weight_zero_does_not_count_even_when_its_loss_is_infinite():
    log_probabilities = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]]).log()
    values = CLASSIFICATION_METRICS["log_loss"].function(
        log_probabilities, torch.tensor([1, 0]), torch.tensor([[0.0, 1.0]])
    )
    assert values.item() == pytest.approx(np.log(2), abs=1e-7)


def test_roc_auc_of_two_classes_is_nan_when_one_is_absent():
    log_probabilities, _ = _draw(2)
    assert CLASSIFICATION_METRICS["roc_auc"].function(log_probabilities, torch.zeros(SAMPLES).long()).isnan().all()


def test_roc_auc_of_several_classes_leaves_out_the_absent_ones():
    log_probabilities, targets = _draw(4)
    targets[targets == 2] = 0
    values = CLASSIFICATION_METRICS["roc_auc"].function(log_probabilities, targets)
    for i in range(MEMBERS):
        areas = [reference.roc_auc_score(targets.numpy() == k, log_probabilities[i, :, k].numpy()) for k in (0, 1, 3)]
        assert values[i].item() == pytest.approx(np.mean(areas), abs=1e-9)


def test_every_metric_has_a_reference():
    assert list(REFERENCES) == list(CLASSIFICATION_METRICS)


def test_average_precision_of_two_classes_is_nan_when_the_second_is_absent():
    log_probabilities, _ = _draw(2)
    function = CLASSIFICATION_METRICS["average_precision"].function
    assert function(log_probabilities, torch.zeros(SAMPLES).long()).isnan().all()
    assert (function(log_probabilities, torch.ones(SAMPLES).long()) == 1).all()


def test_average_precision_of_several_classes_leaves_out_the_absent_ones():
    log_probabilities, targets = _draw(4)
    targets[targets == 2] = 0
    values = CLASSIFICATION_METRICS["average_precision"].function(log_probabilities, targets)
    for i in range(MEMBERS):
        each = [
            reference.average_precision_score(targets.numpy() == k, log_probabilities[i, :, k].numpy())
            for k in (0, 1, 3)
        ]
        assert values[i].item() == pytest.approx(np.mean(each), abs=1e-9)


def test_kappa_of_one_class_told_rightly_is_nan_and_correlation_is_zero():
    log_probabilities = torch.tensor([[[0.9, 0.1], [0.8, 0.2]]]).log()
    assert CLASSIFICATION_METRICS["quadratic_kappa"].function(log_probabilities, torch.tensor([0, 0])).isnan().all()
    assert CLASSIFICATION_METRICS["mcc"].function(log_probabilities, torch.tensor([0, 0])).item() == 0


@given(seed=st.integers(0, 2**32 - 1), num_classes=st.integers(2, 7), n=st.integers(1, 9))
def test_few_samples_with_ties_and_missing_classes_have_the_values_of_scikit_learn(seed, num_classes, n):
    rng = np.random.default_rng(seed)
    targets = rng.integers(num_classes, size=n)
    logits = rng.integers(-1, 2, size=(1, n, num_classes)).astype(np.float64)
    log_probabilities = torch.log_softmax(torch.from_numpy(logits), dim=2)
    probabilities = log_probabilities[0].exp().numpy()
    for name, metric in ((name, CLASSIFICATION_METRICS[name]) for name in CLASSIFICATION_METRICS):
        if name == "roc_auc" or (name == "average_precision" and num_classes == 2 and not targets.any()):
            continue  # undefined, see above
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.simplefilter("ignore")
            expected = REFERENCES[name](targets, probabilities)
        value = metric.function(log_probabilities, torch.from_numpy(targets)).item()
        assert value == pytest.approx(expected, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("name", ["macro_f1", "balanced_accuracy"])
def test_a_class_that_is_neither_target_nor_predicted_does_not_count(name):
    log_probabilities, targets = _draw(4)
    targets[targets == 2] = 0
    log_probabilities[0, :, 2] = -1e3
    values = CLASSIFICATION_METRICS[name].function(log_probabilities, targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of predicted classes without targets
        for i in range(MEMBERS):
            expected = REFERENCES[name](targets.numpy(), log_probabilities[i].exp().numpy())
            assert values[i].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("members", [None, 3])
def test_confusion_matrix_is_that_of_scikit_learn(members):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, size=50)
    predictions = rng.integers(0, 4, size=(50,) if members is None else (members, 50))
    counts = confusion_matrix(torch.from_numpy(predictions), torch.from_numpy(targets), 4).numpy()
    assert counts.shape == (*predictions.shape[:-1], 4, 4)
    for got, said in zip(counts.reshape(-1, 4, 4), predictions.reshape(-1, 50), strict=True):
        np.testing.assert_array_equal(got, reference.confusion_matrix(targets, said, labels=range(4)))
