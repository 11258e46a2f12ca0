import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn import metrics as reference
from torch import nn

import tenfold
from tenfold.core.errors import InputError
from tenfold.core.task import MemberView
from tenfold.tasks import Regression, metric_intervals

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
NO_VALUES = MemberView(streams=None, values={})


def _draw(members=3, n=90):
    generator = torch.Generator().manual_seed(0)
    quantiles = torch.randn(members, n, len(LEVELS), generator=generator, dtype=torch.float64).sort(dim=2).values
    return quantiles, torch.randn(n, generator=generator, dtype=torch.float64)


def _pinball(targets, quantiles):
    return np.mean([reference.mean_pinball_loss(targets, quantiles[:, q], alpha=a) for q, a in enumerate(LEVELS)])


REFERENCES = {
    "pinball": _pinball,
    "coverage": lambda t, q: np.mean((q[:, 0] <= t) & (t <= q[:, -1])),
    "interval_width": lambda t, q: np.mean(q[:, -1] - q[:, 0]),
    "rmse": lambda t, q: reference.root_mean_squared_error(t, q[:, 2]),
    "median_error": lambda t, q: reference.median_absolute_error(t, q[:, 2]),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_every_member_has_the_value_that_scikit_learn_gives_it_in_raw_units(name):
    quantiles, targets = _draw()
    values = Regression(mean=50.0, scale=4.0, quantiles=LEVELS).measure(quantiles, targets)[name]
    assert (values.shape, values.dtype) == ((3,), torch.float64)
    for i in range(3):
        expected = REFERENCES[name](50 + 4 * targets.numpy(), 50 + 4 * quantiles[i].numpy())
        assert values[i].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", REFERENCES)
def test_integer_weights_are_repeated_samples(name):
    quantiles, targets = _draw(1)
    counts = torch.from_numpy(np.random.default_rng(3).integers(0, 4, size=(6, 90)))
    values = Regression(quantiles=LEVELS).measure(quantiles, targets, counts)[name]
    for r in range(6):
        rows = torch.arange(90).repeat_interleave(counts[r])
        expected = REFERENCES[name](targets[rows].numpy(), quantiles[0, rows].numpy())
        assert values[r].item() == pytest.approx(expected, abs=1e-9)


def test_a_nan_in_one_member_gives_it_nan_and_changes_no_bit_of_another():
    quantiles, targets = _draw()
    task = Regression(quantiles=LEVELS)
    before = task.measure(quantiles, targets)
    quantiles[1, 4] = torch.nan
    for name, after in task.measure(quantiles, targets).items():
        assert after[1].isnan()
        assert torch.equal(after[[0, 2]], before[name][[0, 2]])


def test_the_loss_is_the_mean_pinball_loss_of_scikit_learn_also_where_quantiles_cross():
    x, targets = _draw(1)
    crossed = x[0].flip(1)
    got = Regression(quantiles=LEVELS).loss(nn.Identity(), (crossed, targets), NO_VALUES)
    assert got.item() == pytest.approx(_pinball(targets.numpy(), crossed.numpy()), abs=1e-12)


def test_a_constant_that_minimises_the_loss_is_the_quantile_of_the_targets():
    targets = torch.arange(1.0, 102.0)
    task, constant = Regression(quantiles=(0.1, 0.5, 0.9)), nn.Parameter(torch.tensor([[30.0, 40.0, 60.0]]))

    def model(x):
        return constant.expand(101, 3)

    optimizer = torch.optim.SGD([constant], lr=5.0)
    for _ in range(2000):
        optimizer.zero_grad()
        task.loss(model, (None, targets), NO_VALUES).backward()
        optimizer.step()
    torch.testing.assert_close(constant[0].detach(), torch.tensor([11.0, 51.0, 91.0]), rtol=0, atol=1.0)


def test_predictions_are_in_rising_order_in_a_stack_too():
    models = [nn.Linear(2, 3) for _ in range(4)]
    task, x = Regression(quantiles=(0.1, 0.5, 0.9)), torch.randn(6, 2)
    got = tenfold.stack(models).each(lambda model, x: task.predict(model, (x, None)), x)
    expected = torch.stack([model(x).sort(dim=1).values for model in models])
    torch.testing.assert_close(got, expected)


def test_coverage_has_wilsons_interval():
    quantiles, targets = _draw(1)
    got = metric_intervals(Regression(quantiles=LEVELS), quantiles[0], targets, num_resamples=10)["coverage"]
    hits = round(REFERENCES["coverage"](targets.numpy(), quantiles[0].numpy()) * 90)
    expected = binomtest(hits, 90).proportion_ci(method="wilson")
    assert (got["low"], got["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_one_quantile_has_no_interval_to_cover():
    names = list(Regression(quantiles=(0.9,)).info.metrics)
    assert names[:2] == ["pinball", "rmse"]


@pytest.mark.parametrize(
    "quantiles", [(0.05, 0.95), (0.5, 0.1, 0.9), (0.0, 0.5, 0.9), (0.1, 0.5, 1.0), (0.5, 0.5, 0.6)]
)
def test_quantiles_without_a_middle_or_out_of_order_are_refused(quantiles):
    with pytest.raises(ValueError, match=r"quantiles must be an odd number of levels in \(0, 1\), rising, got"):
        Regression(quantiles=quantiles)


@pytest.mark.parametrize(("loss", "quantiles"), [("pinball", ()), ("huber", (0.5,))])
def test_quantiles_and_another_loss_do_not_go_together(loss, quantiles):
    with pytest.raises(InputError, match=rf"regression loss '{loss}': quantiles go with the loss 'pinball', and it"):
        Regression(loss=loss, quantiles=quantiles)


def test_outputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(B, 3\), got \(5, 1\)\. Give its last layer 3 outputs"):
        Regression(quantiles=(0.1, 0.5, 0.9)).predict(nn.Linear(3, 1), (torch.zeros(5, 3), None))


def test_an_unknown_metric_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown metric 'coverge'\. Did you mean 'coverage'\?"):
        Regression(quantiles=(0.1, 0.5, 0.9), metrics=["coverge"])
