import math

import pytest

from tenfold.tuning.standing import best_by, check_whole


@pytest.mark.parametrize(
    ("curve", "epoch", "direction", "expected"),
    [
        ([0.1, 0.9, 0.5], 3, "maximize", 0.9),
        ([0.1, 0.9, 0.5], 1, "maximize", 0.1),
        ([0.1, 0.9, 0.5], 3, "minimize", 0.1),
        ([math.nan, 0.9], 2, "minimize", 0.9),
        ([0.9, math.inf], 2, "maximize", math.inf),
    ],
)
def test_the_best_of_the_first_epochs(curve, epoch, direction, expected):
    assert best_by(curve, epoch, direction) == expected


@pytest.mark.parametrize("curve", [[], [0.5], [0.5, math.nan], [math.nan, math.nan]])
def test_who_has_not_come_so_far_or_is_sick_has_nothing(curve):
    assert math.isnan(best_by(curve, 2, "maximize"))


def test_bad_arguments_are_refused_with_where_they_were_given():
    with pytest.raises(ValueError, match="here: count must be a whole number >= 2, got 1"):
        check_whole("here", "count", 1, 2)
