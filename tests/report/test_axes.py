import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenfold.report.axes import Axis, fit_axis


def test_a_log_axis_places_equal_ratios_at_equal_distances():
    axis = Axis(low=1e-4, high=1.0, start=0, stop=100, log=True)
    np.testing.assert_allclose(axis.place([1e-4, 1e-3, 1e-2, 1.0]), [0, 25, 50, 100])
    assert np.isnan(axis.place([0.0, -1.0])).all()


def test_one_wild_value_does_not_press_the_others_into_a_line():
    axis = fit_axis([*np.linspace(1, 2, 30), 1e9], start=0, stop=100)
    assert axis.high < 5
    assert fit_axis([1, 2, 1e9], start=0, stop=1, robust=False).high > 1e8


@pytest.mark.parametrize("values", [[], [np.nan], [3.0], [0.0, 0.0], [np.inf, -np.inf], [[2.0, np.nan]]])
@pytest.mark.parametrize("log", [False, True])
def test_few_equal_or_wild_values_still_give_an_axis(values, log):
    axis = fit_axis(values, start=0, stop=100, log=log)
    assert axis.low < axis.high
    assert axis.ticks()


@example([1.0000000000000002e-12, 1e-12], False)
@example([1e-12, 2e-12], False)
@example([1e12, 1.0000000001e12], False)
@given(
    st.lists(st.floats(1e-12, 1e12), min_size=2, max_size=20),
    st.booleans(),
)
def test_ticks_are_few_rising_and_inside_the_axis(values, log):
    axis = fit_axis(values, start=0, stop=100, log=log)
    ticks = [value for value, _ in axis.ticks()]
    room = 1e-6 * (axis.high - axis.low)
    assert 1 <= len(ticks) <= 14
    assert ticks == sorted(set(ticks))
    assert all(axis.low - room <= tick <= axis.high + room for tick in ticks)


def test_no_tick_is_beyond_the_whole():
    axis = fit_axis([0.98], start=0, stop=100, percent=True)
    assert axis.high > 1
    assert max(value for value, _ in axis.ticks()) == 1


def test_ticks_of_whole_numbers_are_whole():
    axis = fit_axis([1, 2], start=0, stop=100, whole=True)
    assert all(float(value).is_integer() for value, _ in axis.ticks())


@pytest.mark.parametrize(
    ("high", "expected"),
    [(90_000, ["0", "20000", "40000", "60000", "80000"]), (500_001, ["0", "100k", "200k", "300k", "400k", "500k"]),
     (2.5e6, ["0", "0.5M", "1M", "1.5M", "2M", "2.5M"]), (4e9, ["0", "1e+09", "2e+09", "3e+09", "4e+09"])],
)  # fmt: skip
def test_large_numbers_are_short_and_of_one_unit(high, expected):
    assert [text for _, text in Axis(low=0.0, high=high, start=0, stop=100).ticks()] == expected
