"""Multi-label metrics against scikit-learn's, member by member."""

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from tenfold.tasks import MULTI_LABEL_METRICS, MultiLabel, metric_intervals

MEMBERS, SAMPLES, LABELS = 4, 101, 5


def _average_precision(targets, log_odds):
    present = targets.any(axis=0)
    return reference.average_precision_score(targets[:, present], log_odds[:, present], average="macro")


def _f1(average):
    return lambda t, s: reference.f1_score(t, s > 0, average=average, zero_division=np.nan)


REFERENCES = {
    "micro_f1": _f1("micro"),
    "macro_f1": _f1("macro"),
    "subset_accuracy": lambda t, s: reference.accuracy_score(t, s > 0),
    "hamming_loss": lambda t, s: reference.hamming_loss(t, s > 0),
    "log_loss": lambda t, s: np.mean(
        [reference.log_loss(t[:, k], 1 / (1 + np.exp(-s[:, k])), labels=[0, 1]) for k in range(t.shape[1])]
    ),
    "average_precision": _average_precision,
}


def _draw(*, missing=False, ties=False, seed=0):
    rng = np.random.default_rng(seed)
    targets = (rng.random((SAMPLES, LABELS)) < [0.5, 0.3, 0.1, 0.7, 0.4]).astype(np.float64)
    targets[0] = 1
    log_odds = rng.normal(size=(MEMBERS, SAMPLES, LABELS)) + targets - 0.5
    if missing:
        targets[:, 2], log_odds[..., 2] = 0, -abs(log_odds[..., 2]) - 1
    return torch.from_numpy(log_odds.round(0) + 0.5 if ties else log_odds), torch.from_numpy(targets)


def test_every_metric_has_a_reference():
    assert list(REFERENCES) == list(MULTI_LABEL_METRICS)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_every_member_has_the_value_that_scikit_learn_gives_it(name, missing, ties):
    log_odds, targets = _draw(missing=missing, ties=ties)
    values = MULTI_LABEL_METRICS[name].function(log_odds, targets)
    assert (values.shape, values.dtype) == ((MEMBERS,), torch.float64)
    for i in range(MEMBERS):
        assert values[i].item() == pytest.approx(REFERENCES[name](targets.numpy(), log_odds[i].numpy()), abs=1e-9)


@pytest.mark.parametrize("name", REFERENCES)
def test_integer_weights_are_repeated_samples(name):
    log_odds, targets = _draw(ties=True)
    counts = torch.from_numpy(np.random.default_rng(3).integers(0, 4, size=(6, SAMPLES)))
    values = MULTI_LABEL_METRICS[name].function(log_odds[:1], targets, counts)
    for r in range(6):
        rows = torch.arange(SAMPLES).repeat_interleave(counts[r])
        expected = REFERENCES[name](targets[rows].numpy(), log_odds[0, rows].numpy())
        assert values[r].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_nan_in_one_member_gives_it_nan_and_changes_no_bit_of_another(name):
    log_odds, targets = _draw()
    function = MULTI_LABEL_METRICS[name].function
    before = function(log_odds, targets)
    log_odds[1, 7, 1] = torch.nan
    after = function(log_odds, targets)
    assert after[1].isnan()
    assert torch.equal(after[[0, 2, 3]], before[[0, 2, 3]])


@pytest.mark.parametrize("name", REFERENCES)
def test_targets_may_differ_by_member(name):
    log_odds, first = _draw()
    second = _draw(seed=1)[1]
    values = MULTI_LABEL_METRICS[name].function(log_odds, torch.stack([first, second, first, second]))
    for i, targets in enumerate([first, second, first, second]):
        assert values[i].item() == pytest.approx(REFERENCES[name](targets.numpy(), log_odds[i].numpy()), abs=1e-9)


def test_without_a_label_anywhere_the_f1_scores_have_no_value():
    nothing = torch.full((1, 4, 2), -1.0), torch.zeros(4, 2)
    assert MULTI_LABEL_METRICS["micro_f1"].function(*nothing).isnan().all()
    assert MULTI_LABEL_METRICS["macro_f1"].function(*nothing).isnan().all()


def test_subset_accuracy_has_wilsons_interval_and_hamming_loss_that_of_a_bootstrap_loop():
    from scipy.stats import binomtest

    from tenfold.core.seeds import generator

    log_odds, targets = _draw()
    task = MultiLabel(list("abcde"))
    got = metric_intervals(task, log_odds[0], targets, seed=4, num_resamples=40)
    hits = int(((log_odds[0] > 0) == (targets > 0)).all(1).sum())
    expected = binomtest(hits, SAMPLES).proportion_ci(method="wilson")
    subset = got["subset_accuracy"]
    assert (subset["low"], subset["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    random, losses = generator(4, "sample"), []
    for _ in range(40):
        rows = random.integers(SAMPLES, size=SAMPLES)
        losses.append(reference.hamming_loss(targets.numpy()[rows], log_odds[0].numpy()[rows] > 0))
    ends = got["hamming_loss"]["low"], got["hamming_loss"]["high"]
    assert ends == pytest.approx(np.quantile(losses, [0.025, 0.975]), abs=1e-9)
