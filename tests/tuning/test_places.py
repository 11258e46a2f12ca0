import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tenfold.tuning import Float, Int
from tenfold.tuning.places import neighbour, snapped, to_place, to_value

RANGES = [
    FloatDistribution(-2.0, 3.0),
    FloatDistribution(1e-5, 1e-1, log=True),
    FloatDistribution(0.0, 0.7, step=0.1),
    IntDistribution(1, 1000, log=True),
    IntDistribution(2, 11, step=3),
    Float(0.25, 0.25),
    Int(3, 3),
]


@pytest.mark.parametrize("between", RANGES, ids=str)
def test_the_ends_of_a_range_are_the_ends_of_the_places(between):
    assert to_value(between, 0.0) == pytest.approx(between.low)
    assert to_value(between, 1.0) == pytest.approx(between.high)
    assert float(to_place(between, between.low)) == 0.0


@pytest.mark.parametrize("between", RANGES, ids=str)
def test_snapped_places_are_those_of_values(between):
    places = np.linspace(0, 1, 37)
    expected = [float(to_place(between, to_value(between, place))) for place in places]
    np.testing.assert_allclose(snapped(between, places), expected, atol=1e-12)


def test_the_middle_of_a_logarithmic_range_is_its_geometric_mean():
    assert to_value(FloatDistribution(1e-6, 1e-2, log=True), 0.5) == pytest.approx(1e-4)


@pytest.mark.parametrize("distribution", RANGES[:5], ids=str)
@pytest.mark.parametrize("scale", [1e-6, 0.2, 5.0])
def test_neighbours_stay_in_the_range_and_are_others(distribution, scale):
    rng = np.random.default_rng(0)
    for place in np.linspace(0, 1, 15):
        value = to_value(distribution, place)
        moved = neighbour(distribution, value, scale, rng)
        assert distribution._contains(moved)
        assert moved != value


def test_the_neighbour_of_a_choice_is_another_one_of_its_type_and_the_only_one_stays():
    rng = np.random.default_rng(0)
    found = {repr(neighbour(CategoricalDistribution([1, True, None]), 1, 0.1, rng)) for _ in range(40)}
    assert found == {"True", "None"}
    assert neighbour(CategoricalDistribution(["a"]), "a", 0.1, rng) == "a"
    assert neighbour(IntDistribution(2, 2), 2, 0.1, rng) == 2
