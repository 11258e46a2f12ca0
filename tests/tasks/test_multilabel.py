import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import sigmoid_focal_loss

import tenfold
from tenfold.core.errors import InputError
from tenfold.core.task import MemberView
from tenfold.tasks import MultiLabel, balanced_positive_weights, binary_cross_entropy


def _problem():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(21, 4, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), (torch.rand(21, 4, generator=generator) < 0.4).double()


def _assert_same_with_gradient(got, expected, logits):
    assert got.item() == pytest.approx(expected.item(), abs=1e-12)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (got, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("smoothing", [None, 0.0, 0.2, 1.0])
@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 3.0, 7.0]])
def test_binary_cross_entropy_and_its_gradient_are_those_of_torch(smoothing, weights):
    logits, targets = _problem()
    positive = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    share = None if smoothing is None else torch.tensor(smoothing, dtype=torch.float64)
    got = binary_cross_entropy(logits, targets, label_smoothing=share, positive_weights=positive)
    smoothed = targets * (1 - (smoothing or 0)) + (smoothing or 0) / 2
    expected = F.binary_cross_entropy_with_logits(logits, smoothed, pos_weight=positive)
    _assert_same_with_gradient(got, expected, logits)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_and_its_gradient_are_those_of_torchvision(gamma):
    logits, targets = _problem()
    got = binary_cross_entropy(logits, targets, focal_gamma=torch.tensor(gamma))
    expected = sigmoid_focal_loss(logits, targets, alpha=-1, gamma=gamma, reduction="mean")
    _assert_same_with_gradient(got, expected, logits)


def test_targets_of_true_labels_count_as_a_power_of_their_weights():
    logits, targets = _problem()
    weights = torch.tensor([1.0, 0.5, 3.0, 7.0])
    task = MultiLabel(list("abcd"), positive_weights=weights)
    for power in (0.0, 0.5, 1.0):
        member = MemberView(streams=None, values={"class_weight_power": torch.tensor(power)})
        got = task.loss(nn.Identity(), (logits, targets), member)
        expected = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights.double() ** power)
        assert got.item() == pytest.approx(expected.item(), rel=1e-6)


def test_predict_gives_log_odds_in_float32_at_least():
    task, x = MultiLabel(list("abc")), torch.randn(5, 2)
    model = nn.Linear(2, 3)
    assert torch.equal(task.predict(model, (x, None)), model(x))
    assert task.predict(model.bfloat16(), (x.bfloat16(), None)).dtype == torch.float32


@pytest.mark.parametrize("own_targets", [False, True])
def test_evaluation_joins_the_batches_along_the_samples(own_targets):
    task = MultiLabel(list("abc"))
    outputs = torch.randn(2, 10, 3)
    targets = (torch.rand((2, 10, 3) if own_targets else (10, 3)) < 0.5).float()
    whole = task.measure(outputs, targets)
    mark = tenfold.per_member if own_targets else (lambda value: value)
    batches = [(None, mark(targets[..., :6, :])), (None, mark(targets[..., 6:, :]))]
    pieces = task.evaluate([outputs[:, :6], outputs[:, 6:]], batches)
    assert list(pieces) == list(whole)
    assert all(torch.equal(pieces[name], value) for name, value in whole.items())


def test_outputs_in_words():
    task = MultiLabel(("sun", "wind"))
    log_odds = torch.tensor([[0.0, 2.0]])
    assert task.predictions_of(log_odds).tolist() == [[0, 1]]
    np.testing.assert_allclose(task.probabilities_of(log_odds), 1 / (1 + np.exp([[0.0, -2.0]])))
    assert task.num_outputs == 2


def test_balanced_weights_are_those_that_torch_advises():
    targets = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    assert balanced_positive_weights(targets).tolist() == [2.0, 1.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_names": ()}, r"label_names must be at least one, and differ, got \[\]\. Name each"),
        ({"label_names": ("a", "a")}, r"got \['a', 'a'\]\. Name each label once"),
        (
            {"label_names": ("a", "b"), "positive_weights": torch.ones(3)},
            r"\(2,\), got \(3,\)\. Give one weight a label",
        ),
        (
            {"label_names": ("a", "b"), "positive_weights": torch.tensor([1.0, -1.0])},
            r"MultiLabel: positive_weights must be finite.* got \[1\.0, -1\.0\]\. Use balanced_positive_weights",
        ),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiLabel(**arguments)


def test_unknown_names_are_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown multi-label loss 'fokal'\. Did you mean 'focal'\?"):
        MultiLabel(["a"], loss="fokal")
    with pytest.raises(InputError, match=r"unknown metric 'makro_f1'\. Did you mean 'macro_f1'\?"):
        MultiLabel(["a"], metrics=["makro_f1"])


@pytest.mark.parametrize("model", [nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))])
def test_outputs_of_another_shape_are_refused(model):
    with pytest.raises(ValueError, match=r"log-odds of shape \(B, 4\), got .*Give its last layer 4 outputs"):
        MultiLabel(list("abcd")).predict(model, (torch.zeros(2, 3), None))
