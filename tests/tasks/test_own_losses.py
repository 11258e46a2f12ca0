"""A task's loss may be a function of one's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tenfold.core.task import MemberView
from tenfold.tasks import Classification, MultiLabel, Regression

MEMBER = MemberView(streams=None, values={})


def hinge(outputs, targets):
    return F.multi_margin_loss(outputs, targets)


@pytest.mark.parametrize(
    ("task", "outputs", "targets", "expected"),
    [
        (Classification(3, loss=hinge), torch.eye(3), torch.tensor([0, 1, 0]), 1 / 3),  # (1 + 2) / 3 of the last
        (Regression(loss=F.smooth_l1_loss), torch.tensor([[0.0], [3.0]]), torch.zeros(2), 1.25),
        (MultiLabel("ab", loss=F.mse_loss), torch.zeros(2, 2), torch.ones(2, 2), 1.0),
    ],
)
def test_a_function_is_called_with_outputs_and_targets(task, outputs, targets, expected):
    assert task.loss(nn.Identity(), (outputs, targets), MEMBER).item() == pytest.approx(expected)
    assert task.info.values == {}


def test_it_is_known_by_its_name():
    assert Classification(3, loss=hinge).loss_name == "hinge"
    assert Regression(loss=nn.HuberLoss()).loss_name == "HuberLoss"


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Classification(3, loss=hinge, class_weights=torch.ones(3)), "Classification: class_weights"),
        (lambda: MultiLabel("ab", loss=hinge, positive_weights=torch.ones(2)), "MultiLabel: positive_weights"),
    ],
)
def test_weights_beside_it_are_refused(make, name):
    with pytest.raises(ValueError, match=f"{name} go with a loss by name, got a function. Weigh inside"):
        make()
