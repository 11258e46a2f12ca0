import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tenfold.core.errors import InputError
from tenfold.core.task import MemberView
from tenfold.tasks import Classification, cross_entropy, cumulative_cross_entropy


def _problem(num_classes=4):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(33, num_classes, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(0, num_classes, (33,), generator=generator)


def _assert_same_with_gradient(got, expected, logits):
    assert got.item() == pytest.approx(expected.item(), abs=1e-12)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (got, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_focal_loss_is_the_equation_of_the_paper(gamma, smoothing):
    logits, targets = _problem()
    got = cross_entropy(logits, targets, label_smoothing=smoothing, focal_gamma=torch.tensor(gamma))
    p = torch.softmax(logits, dim=1)
    truth = F.one_hot(targets, 4).double() * (1 - smoothing) + smoothing / 4
    _assert_same_with_gradient(got, -(truth * (1 - p) ** gamma * p.log()).sum(dim=1).mean(), logits)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("far", [200.0, torch.inf])
def test_the_focal_loss_of_sure_predictions_has_a_finite_gradient(gamma, dtype, far):
    logits = torch.tensor([[far, 0.0, 0.0], [0.0, 0.0, -far]], dtype=dtype).clamp(max=200).requires_grad_()
    loss = cross_entropy(logits, torch.tensor([0, 1]), label_smoothing=torch.tensor(0.0), focal_gamma=gamma)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 3.0]])
def test_the_ordinal_loss_is_the_sum_of_binary_cross_entropies_at_the_thresholds(weights):
    logits, targets = _problem()
    class_weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    got = cumulative_cross_entropy(logits, targets, class_weights=class_weights)
    above = torch.softmax(logits, dim=1).flip(1).cumsum(dim=1).flip(1)[:, 1:]
    is_above = (targets[:, None] > torch.arange(3)).double()
    losses = F.binary_cross_entropy(above, is_above, reduction="none").sum(dim=1)
    counts = torch.ones(33).double() if class_weights is None else class_weights[targets]
    _assert_same_with_gradient(got, (counts * losses).sum() / counts.sum(), logits)


def test_the_ordinal_loss_of_two_classes_is_the_cross_entropy():
    logits, targets = _problem(2)
    _assert_same_with_gradient(cumulative_cross_entropy(logits, targets), F.cross_entropy(logits, targets), logits)


def test_the_ordinal_loss_of_far_logits_stays_finite_in_float32():
    logits = torch.tensor([[300.0, 0.0, -300.0]], requires_grad=True)
    loss = cumulative_cross_entropy(logits, torch.tensor([2]))
    loss.backward()
    assert loss.item() == pytest.approx(900.0)
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("loss", ["cross_entropy", "ordinal"])
def test_classes_weigh_as_a_power_of_their_weights(power, loss):
    logits, targets = _problem()
    weights = torch.tensor([0.25, 1.0, 4.0, 9.0], dtype=torch.float64)
    task = Classification(4, loss=loss, class_weights=weights)
    member = MemberView(streams=None, values={"class_weight_power": torch.tensor(power)})
    function = {"cross_entropy": F.cross_entropy, "ordinal": cumulative_cross_entropy}[loss]
    name = {"cross_entropy": "weight", "ordinal": "class_weights"}[loss]
    expected = function(logits, targets, **{name: weights**power})
    assert task.loss(nn.Identity(), (logits, targets), member).item() == pytest.approx(expected.item(), rel=1e-9)


def test_values_that_a_search_may_draw_follow_from_the_loss():
    weights = torch.ones(3)
    assert Classification(3).info.values == {"label_smoothing": 0.0}
    assert Classification(3, loss="focal").info.values == {"label_smoothing": 0.0, "focal_gamma": 2.0}
    assert Classification(3, loss="ordinal", class_weights=weights).info.values == {"class_weight_power": 1.0}


def test_metrics_that_say_nothing_here_are_left_out_unless_asked_for():
    assert "top_5_accuracy" not in Classification(5).info.metrics
    assert "top_5_accuracy" in Classification(6).info.metrics
    assert "average_precision" in Classification(10).info.metrics
    assert "average_precision" not in Classification(11).info.metrics
    assert {"quadratic_kappa", "step_error"} <= set(Classification(3, loss="ordinal").info.metrics)
    assert not {"quadratic_kappa", "step_error"} & set(Classification(3).info.metrics)
    assert list(Classification(3, metrics=["step_error"]).info.metrics) == ["step_error"]


def test_an_unknown_loss_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown classification loss 'ordnal'\. Did you mean 'ordinal'\?"):
        Classification(3, loss="ordnal")


def test_a_metric_named_twice_is_refused():
    with pytest.raises(InputError, match=r"metric 'accuracy': the name is taken\. Name each metric once"):
        Classification(3, metrics=["accuracy", "accuracy"])
