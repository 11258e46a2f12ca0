import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference
from torch import nn

import tenfold
from tenfold.core.errors import InputError
from tenfold.core.task import MemberView
from tenfold.tasks import REGRESSION_LOSSES, REGRESSION_METRICS, Regression

REFERENCES = {
    "rmse": reference.root_mean_squared_error,
    "mae": reference.mean_absolute_error,
    "r2": reference.r2_score,
    "explained_variance": reference.explained_variance_score,
    "mape": reference.mean_absolute_percentage_error,
    "median_error": reference.median_absolute_error,
}
NO_VALUES = MemberView(streams=None, values={})


def _draw(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(4, 97, generator=generator, dtype=dtype)
    return outputs, torch.randn(97, generator=generator, dtype=dtype)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (206855.8, 115395.6), (-3e-4, 1e-5)])
def test_every_member_has_the_value_that_scikit_learn_gives_it_in_raw_units(name, mean, scale):
    outputs, targets = _draw()
    task = Regression(mean=mean, scale=scale)
    values = task.evaluate([outputs[:, :50], outputs[:, 50:]], [(targets[:50],), (targets[50:],)])[name]
    assert values.shape == (4,)
    for i in range(4):
        expected = REFERENCES[name](targets.numpy() * scale + mean, outputs[i].numpy() * scale + mean)
        assert values[i].item() == pytest.approx(expected, rel=1e-9)


def test_a_target_far_from_zero_keeps_its_digits_in_float32():
    outputs, targets = _draw(torch.float32)
    task = Regression(mean=1e9, scale=1.0)
    expected = reference.mean_absolute_error(targets.double(), outputs[0].double())
    assert task.measure(outputs, targets)["mae"][0].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", REFERENCES)
def test_integer_weights_are_repeated_samples(name):
    outputs, targets = _draw()
    counts = torch.from_numpy(np.random.default_rng(3).integers(0, 4, size=(6, 97)))
    values = REGRESSION_METRICS[name].function(outputs[:1], targets, counts)
    for r in range(6):
        rows = torch.arange(97).repeat_interleave(counts[r])
        assert values[r].item() == pytest.approx(REFERENCES[name](targets[rows], outputs[0, rows]), abs=1e-9)


@pytest.mark.parametrize("name", REFERENCES)
def test_targets_may_differ_by_member(name):
    outputs, targets = _draw()
    both = torch.stack([targets, targets.flip(0), targets, targets.flip(0)])
    values = REGRESSION_METRICS[name].function(outputs, both)
    for i in range(4):
        assert values[i].item() == pytest.approx(REFERENCES[name](both[i], outputs[i]), abs=1e-9)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_broken_member_has_a_worst_value_and_changes_no_bit_of_another(name, bad):
    outputs, targets = _draw()
    before = REGRESSION_METRICS[name].function(outputs, targets)
    outputs[1, 5] = bad
    after = REGRESSION_METRICS[name].function(outputs, targets)
    assert not after[1].isfinite()
    assert torch.equal(after[[0, 2, 3]], before[[0, 2, 3]])


def test_every_metric_has_a_reference():
    assert list(REFERENCES) == list(REGRESSION_METRICS)


@pytest.mark.parametrize("name", ["r2", "explained_variance"])
def test_the_explained_share_of_constant_targets_is_nan(name):
    assert REGRESSION_METRICS[name].function(torch.randn(2, 5), torch.ones(5)).isnan().all()


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 6))
def test_few_samples_with_ties_and_zeros_have_the_values_of_scikit_learn(seed, n):
    rng = np.random.default_rng(seed)
    outputs, targets = rng.integers(-2, 3, size=(1, n)).astype(np.float64), rng.integers(-2, 3, size=n).astype(float)
    counts = rng.integers(0, 3, size=(1, n))
    counts[0, rng.integers(n)] = 1
    for weights, rows in ((None, np.arange(n)), (torch.from_numpy(counts), np.repeat(np.arange(n), counts[0]))):
        for name in REFERENCES:
            if name in ("r2", "explained_variance") and len(set(targets[rows])) == 1:
                continue  # undefined, see above
            value = REGRESSION_METRICS[name].function(torch.from_numpy(outputs), torch.from_numpy(targets), weights)
            assert value.item() == pytest.approx(
                REFERENCES[name](targets[rows], outputs[0, rows]), rel=1e-9, abs=1e-9
            )


def _log_cosh(predictions, targets):
    return torch.log(torch.cosh(predictions - targets)).mean()


LOSSES = {"mse": F.mse_loss, "l1": F.l1_loss, "huber": F.huber_loss, "log_cosh": _log_cosh}


def test_every_loss_has_a_reference():
    assert list(LOSSES) == list(REGRESSION_LOSSES)


def test_the_log_cosh_of_large_errors_is_finite_with_its_gradient():
    output = torch.tensor([-1e4, 0.0, 1e4], requires_grad=True)
    loss = REGRESSION_LOSSES["log_cosh"].function(output, torch.zeros(3))
    loss.backward()
    assert loss.item() == pytest.approx(2 * (1e4 - np.log(2)) / 3, rel=1e-6)
    torch.testing.assert_close(output.grad, torch.tensor([-1.0, 0.0, 1.0]) / 3)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("flat", [False, True])
def test_losses_and_gradients_in_a_stack_are_those_of_plain_torch(name, flat):
    torch.manual_seed(0)

    def make():
        layers = [nn.Linear(3, 1), nn.Flatten(0)] if flat else [nn.Linear(3, 1)]
        return nn.Sequential(*layers).double()

    models = [make() for _ in range(3)]
    x, y = torch.randn(20, 3, dtype=torch.float64), 3 * torch.randn(20)
    (objective,) = Regression(loss=name).objectives()
    stack = tenfold.stack(models)
    losses = stack.each(lambda model, x, y: objective.loss(model, (x, y), NO_VALUES), x, y)
    stack.backward(losses)
    gradients = dict(stack.named_parameters())
    for i, model in enumerate(models):
        model.zero_grad()
        alone = LOSSES[name](model(x).reshape(-1), y.double())
        alone.backward()
        assert losses[i].item() == pytest.approx(alone.item(), abs=1e-12)
        for key, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[key].grad[i], parameter.grad, rtol=0, atol=1e-12)


def test_predictions_have_one_dimension():
    assert Regression().predict(nn.Linear(3, 1), (torch.zeros(5, 3), None)).shape == (5,)


def test_a_model_with_several_outputs_is_refused():
    with pytest.raises(ValueError, match=r"shape \(B, 1\) or \(B,\), got \(5, 2\)\. Give its last layer 1 output"):
        Regression().predict(nn.Linear(3, 2), (torch.zeros(5, 3), None))


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 0.0), (0.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_a_scale_that_is_not_positive_is_refused(mean, scale):
    with pytest.raises(
        ValueError, match=r"mean must be finite and scale positive, got .*Take them from the training"
    ):
        Regression(mean=mean, scale=scale)


def test_an_unknown_loss_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown regression loss 'hubert'\. Did you mean 'huber'\?"):
        Regression(loss="hubert")
