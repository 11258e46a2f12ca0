import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tenfold
from tenfold.core.errors import InputError
from tenfold.core.task import MemberView
from tenfold.tasks import Classification, balanced_class_weights, cross_entropy


def _member(smoothing=None):
    return MemberView(streams=None, values={} if smoothing is None else {"label_smoothing": smoothing})


@pytest.mark.parametrize("smoothing", [None, 0.0, 0.1, 0.9, 1.0])
@pytest.mark.parametrize("weights", [None, [1.0, 1.0, 1.0, 1.0], [0.2, 3.0, 1.0, 0.0]])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_cross_entropy_and_its_gradient_are_those_of_torch(smoothing, weights, as_tensor):
    torch.manual_seed(0)
    logits = torch.randn(33, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 4, (33,))
    class_weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    given = torch.tensor(smoothing, dtype=torch.float64) if as_tensor and smoothing is not None else smoothing
    got = cross_entropy(logits, targets, label_smoothing=given, class_weights=class_weights)
    expected = F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=smoothing or 0.0)
    assert got.item() == pytest.approx(expected.item(), abs=1e-12)
    (got_gradient,) = torch.autograd.grad(got, logits)
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(got_gradient, expected_gradient, rtol=0, atol=1e-12)


def test_a_masked_class_leaves_the_loss_without_smoothing_finite_with_its_gradient():
    logits = torch.tensor([[0.0, 1.0, -torch.inf]], requires_grad=True)
    targets = torch.tensor([0])
    loss = cross_entropy(logits, targets, label_smoothing=torch.tensor(0.0))
    loss.backward()
    expected = logits.detach().clone().requires_grad_()
    F.cross_entropy(expected, targets).backward()
    assert loss.item() == pytest.approx(1.3132617, abs=1e-6)
    torch.testing.assert_close(logits.grad, expected.grad)


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0]])
def test_a_stack_with_a_smoothing_a_member_has_the_gradients_of_each_alone(weights):
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double() for _ in range(4)]
    smoothing = [0.0, 0.05, 0.2, 0.5]
    x, y = torch.randn(16, 5, dtype=torch.float64), torch.randint(0, 3, (16,))
    task = Classification(3, class_weights=None if weights is None else torch.tensor(weights))
    (objective,) = task.objectives()
    stack = tenfold.stack(models)

    def loss(model, x, y, smoothing):
        return objective.loss(model, (x, y), _member(smoothing))

    losses = stack.each(loss, x, y, tenfold.per_member(torch.tensor(smoothing, dtype=torch.float64)))
    stack.backward(losses)
    stacked = dict(stack.named_parameters())
    class_weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    for i, model in enumerate(models):
        model.zero_grad()
        alone = F.cross_entropy(model(x), y, weight=class_weights, label_smoothing=smoothing[i])
        alone.backward()
        assert losses[i].item() == pytest.approx(alone.item(), abs=1e-12)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(stacked[name].grad[i], parameter.grad, rtol=0, atol=1e-12)


def test_float32_smoothing_does_not_change_the_dtype_of_the_loss():
    stack = tenfold.stack([nn.Linear(4, 2).double() for _ in range(3)])
    task = Classification(2)
    losses = stack.each(
        lambda model, x, y, s: task.loss(model, (x, y), _member(s)),
        torch.randn(6, 4, dtype=torch.float64),
        torch.tensor([0, 1, 0, 1, 0, 1]),
        tenfold.per_member(torch.tensor([0.0, 0.1, 0.2])),
    )
    assert losses.dtype == torch.float64


def test_predict_gives_log_probabilities_and_does_not_look_at_the_targets():
    model, x = nn.Linear(4, 3), torch.randn(7, 4)
    got = Classification(3).predict(model, (x, None))
    torch.testing.assert_close(got, F.log_softmax(model(x).double(), dim=1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_probabilities_sum_to_one_to_the_last_digit_whatever_the_model_computes_in(dtype):
    model = nn.Linear(4, 3).to(dtype)
    log_p = Classification(3).predict(model, (torch.randn(7, 4).to(dtype), None))
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(7, dtype=torch.float64), rtol=0, atol=1e-15)


def test_a_model_of_several_inputs_gets_them_all():
    class Two(nn.Module):
        def forward(self, x, codes):
            return x + codes

    x, codes = torch.randn(5, 2), torch.randint(0, 3, (5, 2))
    got = Classification(2).predict(Two(), (x, codes, torch.zeros(5).long()))
    torch.testing.assert_close(got, F.log_softmax((x + codes).double(), dim=1))


@pytest.mark.parametrize("own_targets", [False, True])
def test_evaluation_joins_the_batches(own_targets):
    task = Classification(3)
    outputs = torch.log_softmax(torch.randn(2, 10, 3), dim=2)
    targets = torch.randint(0, 3, (2, 10) if own_targets else (10,))
    whole = task.measure(outputs, targets)
    mark = tenfold.per_member if own_targets else (lambda value: value)
    batches = [(None, mark(targets[..., :6])), (None, mark(targets[..., 6:]))]
    pieces = task.evaluate([outputs[:, :6], outputs[:, 6:]], batches)
    assert list(pieces) == list(task.info.metrics)
    for name, value in whole.items():
        assert torch.equal(pieces[name], value)


def test_the_default_metric_is_accuracy_and_smoothing_is_off():
    info = Classification(2).info
    assert next(iter(info.metrics)) == "accuracy"
    assert info.values == {"label_smoothing": 0.0}


def test_roc_auc_of_very_many_classes_is_computed_when_asked_for():
    assert "roc_auc" not in Classification(100).info.metrics
    assert list(Classification(100, metrics=["roc_auc"]).info.metrics) == ["roc_auc"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"num_classes must be at least 2, got None\. Give it"),
        ({"num_classes": 1}, r"num_classes must be at least 2, got 1"),
        ({"class_names": ["a"]}, r"num_classes must be at least 2, got 1"),
        ({"class_names": ["a", "b", "a"]}, r"class_names must differ, got \['a', 'b', 'a'\]\. Remove repetitions"),
        ({"num_classes": 3, "class_names": ["a", "b"]}, r"must be num_classes = 3 names, got 2\. Leave num_classes"),
        ({"num_classes": 3, "class_weights": torch.ones(2)}, r"shape \(3,\), got \(2,\)\. Give one weight a class"),
        ({"num_classes": 2, "class_weights": torch.tensor([1.0, -1.0])}, r"not all 0, got \[1\.0, -1\.0\]"),
        ({"num_classes": 2, "class_weights": torch.tensor([1.0, torch.nan])}, r"finite, at least 0"),
        ({"num_classes": 2, "class_weights": torch.zeros(2)}, r"not all 0, got \[0\.0, 0\.0\]\. Use balanced"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Classification(**arguments)


def test_an_unknown_metric_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown metric 'acuracy'\. Did you mean 'accuracy'\?"):
        Classification(2, metrics=["acuracy"])


@pytest.mark.parametrize("outputs", [3, 5])
def test_logits_of_another_shape_are_refused(outputs):
    with pytest.raises(ValueError, match=rf"logits of shape \(B, 4\), got \(2, {outputs}\)\. Give its last layer 4"):
        Classification(4).predict(nn.Linear(3, outputs), (torch.zeros(2, 3), None))


@pytest.mark.parametrize(("outputs", "batches"), [([], []), ([torch.zeros(1, 2, 2)], [])])
def test_evaluation_of_nothing_is_refused(outputs, batches):
    with pytest.raises(ValueError, match=rf"as many and at least one, got {len(outputs)} and 0\. Give the batches"):
        Classification(2).evaluate(outputs, batches)


def test_balanced_weights_are_those_of_scikit_learn_and_zero_for_an_absent_class():
    from sklearn.utils.class_weight import compute_class_weight

    targets = torch.tensor([0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets.numpy())
    torch.testing.assert_close(balanced_class_weights(targets, 3), torch.tensor(expected, dtype=torch.float32))
    assert balanced_class_weights(targets, 4)[3] == 0
