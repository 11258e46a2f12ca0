import numpy as np
import pytest
import torch
from torch.func import grad, vmap
from torch.nn import functional as F

from tenfold.core.errors import InputError
from tenfold.nn import LOSSES, cross_entropy, huber, loss_by_name, mae, mse


@pytest.fixture
def logits_and_targets():
    source = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 4, generator=source, dtype=torch.float64)
    return logits, torch.randint(4, (7,), generator=source)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_cross_entropy_is_torchs_with_label_smoothing(logits_and_targets, smoothing, as_tensor):
    logits, targets = logits_and_targets
    given = torch.tensor(smoothing, dtype=torch.float64) if as_tensor else smoothing
    expected = F.cross_entropy(logits, targets, label_smoothing=smoothing)
    assert torch.allclose(cross_entropy(logits, targets, label_smoothing=given), expected, rtol=1e-12)


def test_label_smoothing_can_differ_by_member_under_vmap(logits_and_targets):
    logits, targets = logits_and_targets
    smoothing = torch.tensor([0.0, 0.05, 0.3], dtype=torch.float64)

    def loss(logits, smoothing):
        return cross_entropy(logits, targets, label_smoothing=smoothing)

    gradients = vmap(grad(loss), in_dims=(None, 0))(logits, smoothing)
    for index, value in enumerate(smoothing.tolist()):
        alone = logits.clone().requires_grad_()
        F.cross_entropy(alone, targets, label_smoothing=value).backward()
        assert torch.allclose(gradients[index], alone.grad, atol=1e-12)


def test_regression_losses_are_numpys_means():
    outputs, targets = np.array([[1.0], [2.5], [-4.0]]), np.array([1.5, 0.0, -4.25])
    error = np.abs(outputs[:, 0] - targets)
    expected = {
        mse: np.mean(error**2),
        mae: np.mean(error),
        huber: np.mean(np.where(error <= 1, error**2 / 2, error - 0.5)),
    }
    for loss, value in expected.items():
        assert loss(torch.tensor(outputs), torch.tensor(targets)).item() == pytest.approx(value, rel=1e-12)


def test_huber_changes_over_at_delta():
    outputs, targets = torch.tensor([[3.0]]), torch.tensor([0.0])
    assert huber(outputs, targets, delta=2.0).item() == pytest.approx(2.0 * (3.0 - 1.0))


def test_every_loss_is_found_by_its_name():
    assert {name: loss_by_name(name) for name in LOSSES} == {
        "cross_entropy": cross_entropy,
        "mse": mse,
        "mae": mae,
        "huber": huber,
    }


def test_an_unknown_loss_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown loss 'cross-entropy'. Did you mean 'cross_entropy'"):
        loss_by_name("cross-entropy")
