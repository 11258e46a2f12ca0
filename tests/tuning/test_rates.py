import math

import numpy as np
import pytest

from tenfold.tuning.rates import advise_rates

RATES = np.geomspace(1e-6, 10, 64)


def quadratic_bowls(rates, pieces=21, per_piece=5, noise=0.0, seed=0):
    """Plain gradient descent on two bowls of curvature 1 and 0.01 from (1, 1): it is stable below a rate of 2."""
    random = np.random.Generator(np.random.Philox(seed))
    curvature, x = np.array([1.0, 0.01]), np.ones((len(rates), 2))
    losses = []
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(pieces):
            losses.append((x**2 * curvature).sum(axis=1) + 1.0)
            for _ in range(per_piece):
                x = x * (1 - rates[:, None] * curvature)
    losses = np.stack(losses, axis=1)
    losses = losses + random.normal(0, noise, losses.shape) if noise else losses
    return np.where(np.abs(losses) < 1e6, losses, np.nan)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_gradient_descent_on_a_bowl_is_stable_below_two_over_its_curvature(noise):
    advice = advise_rates(RATES, quadratic_bowls(RATES, noise=noise))
    assert advice.verdict == "found"
    assert advice.rises_from == pytest.approx(2.0, rel=0.35)
    assert 0.02 < advice.rate <= advice.rises_from / 3
    assert advice.low < advice.rate < advice.high < 2.0
    assert advice.start == pytest.approx(2.01, abs=0.02)


def test_the_sentence_has_the_numbers():
    advice = advise_rates(RATES, quadratic_bowls(RATES))
    for value in (advice.rate, advice.low, advice.high, advice.rises_from):
        assert f"{value:.4g}" in advice.sentence


@pytest.mark.parametrize("verdict", ["higher", "lower"])
def test_a_best_rate_at_an_end_says_where_to_try_next(verdict):
    fall = np.linspace(0.1, 1.0, 32) if verdict == "higher" else np.linspace(1.0, 0.1, 32)
    losses = 2.3 - np.outer(fall, np.linspace(0, 1, 11))
    advice = advise_rates(np.geomspace(1e-4, 1e-2, 32), losses)
    assert advice.verdict == verdict
    assert f"try {verdict} ones" in advice.sentence


@pytest.mark.parametrize("rates", [np.geomspace(1e-9, 1e-7, 16), np.geomspace(10, 1000, 16)])
def test_where_no_rate_learns_there_is_none(rates):
    advice = advise_rates(rates, quadratic_bowls(rates))
    assert advice.verdict == "none"
    assert (advice.rate, advice.low, advice.high) == (None, None, None)
    assert advice.sentence.startswith("No rate from ")


def test_where_the_lowest_rate_raises_the_loss_lower_ones_are_to_be_tried():
    rates = np.geomspace(10, 1000, 16)
    assert advise_rates(rates, quadratic_bowls(rates)).sentence.endswith("The lowest one raises it: try lower ones.")
    rates = np.geomspace(1e-9, 1e-7, 16)
    assert "give the pass more steps" in advise_rates(rates, quadratic_bowls(rates)).sentence


def test_a_rate_that_diverged_in_the_middle_has_no_loss_whatever_came_after():
    losses = quadratic_bowls(RATES)
    losses[20, 5] = math.nan
    assert math.isnan(advise_rates(RATES, losses).losses[20])


def test_one_rate_that_blows_up_does_not_drown_its_neighbours():
    losses = quadratic_bowls(RATES)
    calm = advise_rates(RATES, losses)
    losses[np.searchsorted(RATES, 5.0) :, 1:] = 1e30
    assert advise_rates(RATES, losses).rate == calm.rate


@pytest.mark.parametrize(
    ("rates", "losses", "message"),
    [
        (RATES[:7], np.ones((7, 3)), "rates must be eight or more ascending numbers above 0"),
        (RATES[::-1], np.ones((64, 3)), "rates must be eight or more ascending numbers above 0"),
        (RATES - 1, np.ones((64, 3)), "rates must be eight or more ascending numbers above 0"),
        (RATES, np.ones((63, 3)), r"losses must be two or more for each of 64 rates, .* got shape \(63, 3\)"),
        (RATES, np.ones((64, 1)), r"losses must be two or more for each of 64 rates, .* got shape \(64, 1\)"),
        (RATES, np.full((64, 3), np.nan), "the first of some rate finite"),
    ],
)
def test_bad_tables_are_refused(rates, losses, message):
    with pytest.raises(ValueError, match=message):
        advise_rates(rates, losses)
