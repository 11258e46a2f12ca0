import itertools

import numpy as np
import pytest

from tenfold.core.errors import InputError
from tenfold.tuning import Categorical, Float, Grid, Int, Proposer, Space

LANDSCAPE = Space({"lr": Float(1e-4, 1e0, log=True), "depth": Int(1, 3), "norm": Categorical(["none", "batch"])})


def test_a_grid_is_the_product_of_its_values_each_once():
    configs = Grid(points=5).configurations(LANDSCAPE)
    rates, depths, norms = np.geomspace(1e-4, 1, 5), (1, 2, 3), ("none", "batch")
    expected = list(itertools.product(rates, depths, norms))
    assert [(config["depth"], config["norm"]) for config in configs] == [one[1:] for one in expected]
    np.testing.assert_allclose([config["lr"] for config in configs], [one[0] for one in expected])


def test_a_condition_thins_the_grid_out():
    space = Space({"network": Categorical(["a", "b"]), "depth": Int(1, 4, when={"network": "b"})})
    assert len(Grid().configurations(space)) == 5


@pytest.mark.parametrize(
    ("parameter", "points", "values"),
    [
        (Int(1, 999), 3, [1, 500, 999]),
        (Int(1, 4), 9, [1, 2, 3, 4]),
        (Int(8, 512, log=True), 4, [8, 32, 128, 512]),
        (Int(2, 11, step=3), None, [2, 5, 8, 11]),
        (Float(0.0, 1.0), 1, [0.5]),
        (Float(0.1, 0.5, step=0.2), None, [0.1, 0.3, 0.5]),
        (Float(0.0, 1.0, step=0.5), 9, [0.0, 0.5, 1.0]),
        (Float(0.25, 0.25), None, [0.25]),
    ],
)
def test_points_are_spread_evenly_and_keep_to_the_steps(parameter, points, values):
    configs = Grid(points=points).configurations(Space({"x": parameter}))
    np.testing.assert_allclose([config["x"] for config in configs], values)
    assert all(parameter.holds(config["x"]) for config in configs)


def test_points_may_differ_from_name_to_name():
    space = Space({"lr": Float(1e-4, 1e-1, log=True), "decay": Float(0, 1), "depth": Int(1, 3)})
    assert (
        Grid(points={"lr": 4, "decay": 2}).describe(space) == "a grid of 24 configurations (lr 4 x decay 2 x depth 3)"
    )


def test_the_size_is_told_before_it_starts_and_all_of_it_is_proposed_in_another_order():
    proposer = Proposer(LANDSCAPE, sampler="grid:points=5", seed=0)
    assert proposer.size == 30
    configs = [one.config for one in proposer.ask(100)]
    assert proposer.exhausted
    assert configs != Grid(points=5).configurations(LANDSCAPE)
    assert sorted(map(str, configs)) == sorted(map(str, Grid(points=5).configurations(LANDSCAPE)))


def test_each_zoom_halves_the_ranges_around_the_best():
    space = Space({"x": Float(0.0, 1.0), "lr": Float(1e-4, 1e0, log=True), "norm": Categorical(["none", "batch"])})
    proposer = Proposer(space, sampler="grid:points=5,zoom=2", seed=0, directions=("minimize",))
    rounds = []
    while drawn := proposer.ask(100):
        rounds.append([one.config for one in drawn])
        for one in drawn:
            error = (one.config["x"] - 0.3) ** 2 + (np.log10(one.config["lr"]) + 4) ** 2
            proposer.tell(one.number, [error + (one.config["norm"] == "none")], state="complete")
    assert proposer.exhausted
    assert len(rounds[0]) == 50
    assert {config["norm"] for one in rounds[1:] for config in one} == {"batch"}
    spans = [
        [(min(values), max(values)) for values in ([c[k] for c in one] for k in ("x", "lr"))] for one in rounds[1:]
    ]
    # the best of the first round is x = 0.25, lr = 1e-4: halves of the ranges that hold them, 1e-4 at the edge
    np.testing.assert_allclose(spans[0], [(0.0, 0.5), (1e-4, 1e-2)])
    # then x = 0.25 (0.3 lies nearer to it than to 0.375)
    np.testing.assert_allclose(spans[1], [(0.125, 0.375), (1e-4, 1e-3)])


def test_a_zoom_over_whole_numbers_and_conditions_stays_in_the_space():
    space = Space({"network": Categorical(["a", "b"]), "depth": Int(1, 16, when={"network": "b"}), "c": 3})
    proposer, depths = Proposer(space, sampler="grid:zoom=3", seed=0), []
    while drawn := proposer.ask(5):
        for one in drawn:
            depths.append(one.config.get("depth", 0))
            proposer.tell(one.number, [-abs(one.config.get("depth", 99) - 11)], state="complete")
    assert proposer.exhausted
    assert sorted(depths) == [*range(17)]  # all of them in the first round: there is nothing between to zoom on


def test_a_zoom_waits_for_its_round_to_be_told():
    proposer = Proposer(Space({"x": Float(0, 1)}), sampler="grid:points=3,zoom=1", seed=0)
    drawn = proposer.ask(9)
    assert (len(drawn), proposer.exhausted) == (3, False)
    assert proposer.ask(9) == []
    assert not proposer.exhausted
    for one in drawn:
        proposer.tell(one.number, [one.config["x"]], state="complete")
    assert sorted(one.config["x"] for one in proposer.ask(9)) == [0.75]  # of 0.5, 0.75 and 1.0
    assert proposer.exhausted


def test_a_zoom_on_nothing_but_failures_ends():
    proposer = Proposer(Space({"x": Float(0, 1)}), sampler="grid:points=3,zoom=1", seed=0)
    for one in proposer.ask(3):
        proposer.tell(one.number, None, state="failed")
    assert proposer.ask(3) == []
    assert proposer.exhausted


@pytest.mark.parametrize(
    ("grid", "space", "message"),
    [
        (
            Grid(),
            LANDSCAPE,
            r"lr must have points or a step, got the continuous range 0.0001 to 1, log. Take 'grid:points=5'",
        ),
        (Grid(points={"rl": 3}), LANDSCAPE, r"points has no parameter 'rl'"),
        (Grid(points={"depth": 3}), LANDSCAPE, r"lr must have points or a step"),
        (Grid(points=5), Space(lambda trial: {}), r"the space must be a mapping, got a function"),
        (
            Grid(),
            Space({str(i): Int(1, 10) for i in range(9)}),
            r"at most 100,000 configurations, got more \(0 10 x 1 10",
        ),
    ],
)
def test_a_grid_that_cannot_be_laid_is_refused(grid, space, message):
    with pytest.raises(InputError, match=message):
        Proposer(space, sampler=grid, seed=0)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"points": 0}, ValueError, r"Grid: points must be at least 1, got 0"),
        ({"points": {"lr": 0}}, ValueError, r"Grid: lr must be at least 1, got 0"),
        ({"points": 2.5}, TypeError, r"Grid: points must be a whole number, got 2.5"),
        ({"zoom": -1}, ValueError, r"Grid: zoom must be at least 0, got -1"),
    ],
)
def test_impossible_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Grid(**settings)
