import math

import numpy as np
import pytest
from scipy.stats import multivariate_t
from scipy.stats import t as student

from tenfold.tuning.curve_families import shapes
from tenfold.tuning.curve_model import PRIOR_DEGREES, CurvePrior, Ends, curve_prior, forecast_ends
from tenfold.tuning.forecasting import forecast

PRIOR = CurvePrior(spread=0.6, noise=0.02, steps=(0.3, 0.1, 0.08, 0.07, 0.06, 0.05))


def test_one_curve_is_forecast_as_bayesian_regression_has_it_done_shape_by_shape():
    """Evidence and prediction from the joint distribution of all scores, a Student's t: no formula is shared."""
    scores = np.array([0.31, 0.52, 0.6, 0.66, 0.68, 0.71])
    shape_GR, families = shapes(20)
    n, last = len(scores), scores[-1]
    end_sd, drop_sd = PRIOR.steps[n - 1] + PRIOR.noise, PRIOR.spread
    log_evidence, middles, scales = [], [], []
    for shape in shape_GR:
        design = np.stack([np.ones(n + 1), np.append(shape[:n], 0.0)], axis=1)
        covariance = PRIOR.noise**2 * np.eye(n + 1) + design @ np.diag([end_sd**2, drop_sd**2]) @ design.T
        seen, cross, ahead = covariance[:n, :n], covariance[n, :n], covariance[n, n]
        moved = scores - last
        log_evidence.append(multivariate_t.logpdf(moved, np.zeros(n), seen, PRIOR_DEGREES))
        gain = np.linalg.solve(seen, moved)
        stretch = (PRIOR_DEGREES + moved @ gain) / (PRIOR_DEGREES + n)
        middles.append(last + cross @ gain)
        scales.append(math.sqrt(stretch * (ahead - cross @ np.linalg.solve(seen, cross))))
    weights = np.exp(np.array(log_evidence) - max(log_evidence))
    weights /= np.array([families.count(name) for name in families])
    weights /= weights.sum()

    ends = forecast_ends(scores[None], 20, PRIOR)
    np.testing.assert_allclose(ends.weight_GT[:, 0], weights, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(ends.middle_GT[:, 0], middles, rtol=1e-8)
    np.testing.assert_allclose(ends.scale_GT[:, 0], scales, rtol=1e-6)
    above = weights @ student.sf(0.74, PRIOR_DEGREES + n, middles, scales)
    assert ends.chance_above(0.74)[0] == pytest.approx(above, rel=1e-6)


def test_curves_side_by_side_are_forecast_as_alone():
    random = np.random.Generator(np.random.Philox(0))
    curves = random.random((5, 7)).cumsum(axis=1) / 7
    together = forecast_ends(curves, 30, PRIOR)
    for trial in range(5):
        alone = forecast_ends(curves[trial : trial + 1], 30, PRIOR)
        np.testing.assert_allclose(together.mean()[trial], alone.mean()[0], rtol=1e-10)
        np.testing.assert_allclose(together.std()[trial], alone.std()[0], rtol=1e-10)


def test_a_mixture_has_the_mean_spread_and_quantiles_of_its_samples():
    ends = Ends(
        weight_GT=np.array([[0.3], [0.7]]),
        middle_GT=np.array([[0.2], [0.8]]),
        scale_GT=np.array([[0.05], [0.1]]),
        degrees=8.0,
    )
    random = np.random.Generator(np.random.Philox(1))
    which = random.random(400_000) < 0.3
    samples = np.where(which, 0.2, 0.8) + np.where(which, 0.05, 0.1) * random.standard_t(8, 400_000)
    assert ends.mean()[0] == pytest.approx(samples.mean(), abs=2e-3)
    assert ends.std()[0] == pytest.approx(samples.std(), abs=2e-3)
    assert ends.chance_above(0.7)[0] == pytest.approx((samples > 0.7).mean(), abs=3e-3)
    for probability in (0.05, 0.5, 0.95):
        assert ends.quantile(probability)[0] == pytest.approx(np.quantile(samples, probability), abs=5e-3)


TRUE = {
    "power": lambda t: 0.9 - 0.5 * t**-0.7,
    "exponential": lambda t: 0.8 - 0.4 * np.exp(-0.15 * t),
    "logarithmic": lambda t: 0.3 + 0.1 * np.log(t),
    "Weibull": lambda t: 0.9 - 0.6 * np.exp(-((0.2 * t) ** 0.7)),
    "Morgan-Mercer-Flodin": lambda t: 0.9 - 0.6 / (1 + (0.2 * t) ** 1.5),
    "flat": lambda t: np.full_like(t, 0.1),
}


@pytest.mark.parametrize("name", TRUE)
def test_the_ends_of_noisy_curves_of_every_family_are_foreseen(name):
    random = np.random.Generator(np.random.Philox(2))
    epochs = np.arange(1.0, 61)
    curves = TRUE[name](epochs) + random.normal(0, 0.004, (200, 60))
    ends = forecast_ends(curves[:, :20], 60, curve_prior(list(curves[:, :20])))
    assert np.abs(ends.mean() - TRUE[name](epochs)[-1]).mean() < 0.05


def test_the_prior_is_that_of_the_curves():
    random = np.random.Generator(np.random.Philox(3))
    curves = 0.5 + random.normal(0, 0.01, (300, 12))
    prior = curve_prior(list(curves))
    assert prior.noise == pytest.approx(0.01, rel=0.1)
    assert prior.spread == pytest.approx(np.ptp(curves))
    assert prior.steps[5] == pytest.approx(np.median(np.abs(curves[:, 5] - curves[:, 2])))


@pytest.mark.parametrize(
    "curves", [[], [[]], [[0.5]], [[math.nan]], [[0.0, 0.0, 0.0]], [[math.nan, math.inf], [0.3]]]
)
def test_next_to_nothing_makes_a_prior_all_the_same(curves):
    prior = curve_prior(curves)
    assert 0 < prior.spread < math.inf
    assert 0 < prior.noise < math.inf
    assert all(0 <= step < math.inf for step in prior.steps)


@pytest.mark.parametrize("max_resource", [2, 3, 30, 1000])
def test_shapes_begin_at_one_and_end_at_zero(max_resource):
    values, families = shapes(max_resource)
    assert values.shape == (len(families), max_resource)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values[:-1, 0], 1.0)
    np.testing.assert_allclose(values[:, -1], 0.0, atol=1e-12)
    assert families[-1] == "constant"
    assert len(set(families)) >= 8


def test_a_forecast_for_a_loss_is_that_of_the_score_upside_down():
    curve = [0.9 - 0.5 / epoch for epoch in range(1, 11)]
    up = forecast(curve, 40, best=0.9)
    down = forecast([-score for score in curve], 40, direction="minimize", best=-0.9)
    assert down.mean == pytest.approx(-up.mean)
    assert (down.low, down.high) == pytest.approx((-up.high, -up.low))
    assert down.chance_of_beating == pytest.approx(up.chance_of_beating)


def test_without_a_score_to_beat_there_is_no_chance_and_peers_widen_or_narrow_the_doubt():
    curve = [0.5, 0.6, 0.65]
    alone = forecast(curve, 30)
    assert alone.chance_of_beating is None
    settled = forecast(curve, 30, peers=[[0.5, 0.6, 0.65 + 0.001 * k, 0.65] for k in range(9)])
    assert settled.high - settled.low != alone.high - alone.low


@pytest.mark.parametrize(
    ("curve", "max_resource", "options", "message"),
    [
        ([], 9, {}, r"forecast: curve must end with a finite score, got \[\]"),
        ([0.5, math.nan], 9, {}, r"forecast: curve must end with a finite score, got \[0\.5, nan\]"),
        ([0.5, 0.6, 0.7], 2, {}, "forecast: max_resource must be a whole number >= 3, got 2"),
        ([0.5], 1, {}, "forecast: max_resource must be a whole number >= 2, got 1"),
        ([0.5], 9, {"direction": "up"}, "forecast: direction must be 'maximize' or 'minimize', got 'up'"),
        ([0.5], 9, {"level": 1.0}, r"forecast: level must be in \(0, 1\), got 1\.0"),
    ],
)
def test_impossible_forecasts_are_refused(curve, max_resource, options, message):
    with pytest.raises(ValueError, match=message):
        forecast(curve, max_resource, **options)
