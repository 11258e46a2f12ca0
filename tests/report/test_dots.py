import numpy as np
import pytest
from scipy.stats import binomtest

from tenfold.core.intervals import wilson
from tenfold.report.dots import Dot, dot_axis, track


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (350, 360), (1, 3)])
def test_the_wilson_interval_agrees_with_scipy(hits, n):
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(hits / n, n), (expected.low, expected.high), atol=1e-6)


@pytest.mark.parametrize(("value", "n"), [(float("nan"), 10), (0.5, None), (0.5, 0), (1.5, 10)])
def test_no_share_or_no_n_has_no_interval(value, n):
    assert np.isnan(wilson(value, n)).all()


def test_an_axis_of_shares_stays_between_0_and_1():
    axis = dot_axis([Dot(value=0.99, low=0.9, high=1.0), Dot(value=0.01)], "accuracy")
    assert axis.low >= 0
    assert axis.high <= 1.01


def test_a_value_that_is_no_number_leaves_an_empty_track():
    axis = dot_axis([Dot(value=float("nan"))], "rmse")
    assert "dot" not in track(Dot(value=float("nan")), axis, "rmse", "trial")


def test_a_value_beyond_the_axis_is_set_pale_at_its_edge():
    axis = dot_axis([Dot(value=v) for v in np.linspace(1, 2, 20)], "rmse")
    assert 'beyond" style="left:100.00%' in track(Dot(value=1e6), axis, "rmse", "trial")
