"""Losses by name, against NumPy's arithmetic, torch and scikit-learn, and stacked."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import f1_score, jaccard_score
from torch import nn

import tenfold
from tenfold.core.errors import InputError
from tenfold.nn import LOSSES, cross_entropy, loss_function, tversky_loss
from tenfold.testing import check_alone_or_together, check_strangers

GENERATOR = torch.Generator().manual_seed(0)


def randn(*shape):
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


ERRORS, ZEROS = 3 * randn(7, 2), torch.zeros(7, 2, dtype=torch.float64)
LOGITS, CLASSES = randn(6, 4), torch.tensor([0, 3, 1, 1, 2, 0])
LOG_ODDS, LABELS = randn(6, 3), (randn(6, 3) > 0).double()
ANCHOR, POSITIVE, NEGATIVE = randn(5, 3), randn(5, 3), randn(5, 3)
SAME = torch.tensor([1, 0, 0, 1, 0])
ROWS = np.arange(6)


def _huber(e):
    return np.where(np.abs(e) < 1, e**2 / 2, np.abs(e) - 0.5)


def _distance(a, b):
    return np.sqrt(((a - b) ** 2).sum(1))


def _bce(p, y):
    return -(y * np.log(p) + (1 - y) * np.log1p(-p))


def _overlap(logits, y, alpha, beta):
    p, t = softmax(logits, axis=1), np.eye(4)[y]
    hit, false, missed = (p * t).sum(0), (p * (1 - t)).sum(0), ((1 - p) * t).sum(0)
    return 1 - (hit + 0.5) / (hit + alpha * false + beta * missed + 0.5)


def _ordinal(logits, y):
    above = softmax(logits, axis=1)[:, ::-1].cumsum(1)[:, ::-1][:, 1:]
    return _bce(above, (y[:, None] > np.arange(3)).astype(float)).sum(1)


NUMBERS = (ERRORS, ZEROS)
# the batch, and the loss of each element (of each class for dice and tversky) by NumPy
REFERENCES = {
    "l1": (NUMBERS, lambda e, _: np.abs(e)),
    "l2": (NUMBERS, lambda e, _: e**2),
    "mse": (NUMBERS, lambda e, _: e**2),
    "smooth_l1": (NUMBERS, lambda e, _: _huber(e)),
    "huber": (NUMBERS, lambda e, _: _huber(e)),
    "log_cosh": (NUMBERS, lambda e, _: np.log(np.cosh(e))),
    "bce": ((LOG_ODDS.sigmoid(), LABELS), _bce),
    "bce_with_logits": ((LOG_ODDS, LABELS), lambda z, y: _bce(expit(z), y)),
    "binary_focal": (
        (LOG_ODDS, LABELS),
        lambda z, y: np.abs(y - expit(z)) ** 2 * _bce(expit(z), y),
    ),
    "nll": ((LOGITS.log_softmax(1), CLASSES), lambda log_p, y: -log_p[ROWS, y]),
    "cross_entropy": ((LOGITS, CLASSES), lambda z, y: -log_softmax(z, axis=1)[ROWS, y]),
    "focal": (
        (LOGITS, CLASSES),
        lambda z, y: -((1 - softmax(z, axis=1)[ROWS, y]) ** 2) * log_softmax(z, axis=1)[ROWS, y],
    ),
    "ordinal": ((LOGITS, CLASSES), _ordinal),
    "dice": ((LOGITS, CLASSES), lambda z, y: _overlap(z, y, 0.5, 0.5)),
    "tversky": ((LOGITS, CLASSES), lambda z, y: _overlap(z, y, 0.3, 0.7)),
    "triplet": (
        (ANCHOR, POSITIVE, NEGATIVE),
        lambda a, p, n: np.maximum(_distance(a, p) - _distance(a, n) + 1, 0),
    ),
    "contrastive": (
        (ANCHOR, POSITIVE, SAME),
        lambda a, b, s: (s * _distance(a, b) ** 2 + (1 - s) * np.maximum(1 - _distance(a, b), 0) ** 2) / 2,
    ),
}


def test_every_loss_has_a_reference():
    assert list(REFERENCES) == list(LOSSES)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_loss_is_its_formula_in_each_reduction(name):
    batch, formula = REFERENCES[name]
    each = formula(*(part.numpy() for part in batch))
    for reduction, expected in {"none": each, "sum": each.sum(), "mean": each.mean()}.items():
        got = loss_function(name, reduction=reduction)(*batch)
        np.testing.assert_allclose(got.numpy(), expected, rtol=2e-6 if name == "triplet" else 1e-9)  # torch's eps
    assert loss_function(name)(*batch).item() == LOSSES[name](*batch, reduction="mean").item()


@pytest.mark.parametrize("name", REFERENCES)
def test_losses_of_members_keep_the_promises_of_the_stack(name):
    (outputs, *targets), _ = REFERENCES[name]
    changed = {"bce": torch.sigmoid, "nll": lambda z: z.log_softmax(1)}.get(name, lambda z: z)

    def loss(model, x, *targets):
        return LOSSES[name](changed(model(x)), *targets)

    job = {
        "make_model": lambda: nn.Linear(3, outputs.shape[1]),
        "batches": [(randn(len(outputs), 3), *targets)],
        "loss": loss,
    }
    check_alone_or_together(**job, num_steps=5, predict=lambda model, x, *targets: model(x))
    check_strangers(**job, num_steps=1, poisons=["NaN parameters"])


@pytest.mark.parametrize("shape", [(6,), (6, 2), (2, 3, 2)])
@pytest.mark.parametrize("smoothing", [None, 0.0, 0.3])
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 3.0]])
@pytest.mark.parametrize(("soft", "ignored"), [(False, None), (False, 1), (True, None)])  # torch's combinations
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_and_its_gradient_are_those_of_torch(shape, soft, smoothing, weights, ignored, reduction):
    logits = randn(shape[0], 4, *shape[1:]).requires_grad_()
    targets = torch.randint(4, shape, generator=GENERATOR) if not soft else randn(*logits.shape).softmax(1)
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    share = None if smoothing is None else torch.tensor(smoothing, dtype=torch.float64)
    got = cross_entropy(
        logits, targets, label_smoothing=share, class_weights=weight, ignore_index=ignored, reduction=reduction
    )
    expected = F.cross_entropy(
        logits,
        targets,
        weight=weight,
        ignore_index=-100 if ignored is None else ignored,
        reduction=reduction,
        label_smoothing=smoothing or 0.0,
    )
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(loss.sum(), logits)[0] for loss in (got, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "dice", "tversky"])
def test_ignored_targets_are_as_if_they_were_not_there(name):
    targets = torch.tensor([0, 255, 1, 255, 2, 0])
    logits = LOGITS.clone().requires_grad_()
    loss = LOSSES[name](logits, targets, ignore_index=255)
    kept = targets != 255
    assert loss.item() == pytest.approx(LOSSES[name](LOGITS[kept], targets[kept]).item(), rel=1e-12)
    loss.backward()
    assert (logits.grad[~kept] == 0).all()
    assert (logits.grad[kept] != 0).any(dim=1).all()


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_a_batch_of_ignored_targets_has_no_loss_and_no_gradient(name):
    logits = LOGITS.clone().requires_grad_()
    loss = LOSSES[name](logits, torch.full((6,), -1), ignore_index=-1)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_targets_that_torch_ignores_are_ignored_by_nll():
    targets = torch.tensor([0, -100, 1, -100, 2, 0])
    log_p = LOGITS.log_softmax(1)
    kept = targets >= 0
    assert LOSSES["nll"](log_p, targets).item() == pytest.approx(-log_p[kept, targets[kept]].mean().item())


@pytest.mark.parametrize(("alpha", "score"), [(0.5, f1_score), (1.0, jaccard_score)])
def test_of_sure_predictions_dice_is_the_f1_score_and_tversky_of_ones_jaccards(alpha, score):
    predicted = torch.randint(4, (60,), generator=GENERATOR)
    targets = torch.where(randn(60) > 0, predicted, torch.randint(4, (60,), generator=GENERATOR))
    logits = 1000.0 * F.one_hot(predicted, 4).double()
    losses = tversky_loss(logits, targets, alpha=alpha, beta=alpha, smooth=0.0, reduction="none")
    np.testing.assert_allclose(1 - losses.numpy(), score(targets, predicted, average=None), rtol=1e-12)
    picture = logits.T.reshape(1, 4, 6, 10), targets.view(1, 6, 10)
    torch.testing.assert_close(tversky_loss(*picture, alpha=alpha, beta=alpha, smooth=0.0), losses.mean())


def test_a_class_that_is_neither_there_nor_predicted_costs_nothing():
    logits = torch.tensor([[1e3, 0.0, -1e3], [0.0, 1e3, -1e3]])
    losses = LOSSES["dice"](logits, torch.tensor([0, 1]), reduction="none")
    torch.testing.assert_close(losses, torch.zeros(3))


@pytest.mark.parametrize("delta", [0.5, 1.0, 2.0])
def test_hubers_loss_is_delta_times_the_smooth_l1_loss_of_beta_delta(delta):
    got = loss_function("huber", delta=delta)(*NUMBERS)
    torch.testing.assert_close(got, delta * loss_function("smooth_l1", beta=delta)(*NUMBERS))


def test_pairs_at_one_place_are_not_pushed_anywhere():
    first = torch.zeros(2, 3, requires_grad=True)
    loss = LOSSES["contrastive"](first, torch.zeros(2, 3), torch.tensor([0, 1]), margin=2.0, reduction="none")
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), torch.tensor([2.0, 0.0]))
    assert (first.grad == 0).all()


def test_options_may_be_a_members_own():
    models = [nn.Linear(3, 4).double() for _ in range(3)]
    gamma_M = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    x = randn(6, 3)
    losses = tenfold.stack(models, form="stacked").each(
        lambda model, gamma, x: LOSSES["focal"](model(x), CLASSES, focal_gamma=gamma), tenfold.per_member(gamma_M), x
    )
    for model, gamma, loss in zip(models, gamma_M.tolist(), losses, strict=True):
        p = model(x).softmax(1)[torch.arange(6), CLASSES]
        torch.testing.assert_close(loss, (-((1 - p) ** gamma) * p.log()).mean())


def test_a_function_of_ones_own_is_taken_as_it_is():
    own = lambda outputs, targets, power=2: (outputs - targets).abs().pow(power).mean()  # noqa: E731
    assert loss_function(own) is own
    assert loss_function(own, power=1)(*NUMBERS).item() == pytest.approx(ERRORS.abs().mean().item())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: loss_function("cross_entrpy"),
            InputError,
            "unknown loss 'cross_entrpy'. Did you mean 'cross_entropy'",
        ),
        (lambda: loss_function(0.5), TypeError, "loss must be a name or a function, got 0.5. Name one of .'l1'"),
        (
            lambda: loss_function("huber", beta=1),
            ValueError,
            "'beta' is not an option of 'huber'. Did you mean 'delta'",
        ),
        (lambda: loss_function("l1", reduce=False), ValueError, "'reduce' is not an option of 'l1'"),
        (
            lambda: LOSSES["dice"](LOGITS, CLASSES, reduction="men"),
            ValueError,
            "loss: reduction must be one of .* got 'men'. Did you mean 'mean'",
        ),
    ],
)
def test_a_wrong_call_is_answered_with_the_way_out(call, error, message):
    with pytest.raises(error, match=message):
        call()
