import pytest

from tenfold.tuning import Categorical, Constant, Float, Int, Space, format_space


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_asked_for_and_nothing_is_left_out(width):
    reason = "a reason of many words that goes on and on beyond the end of any line that one would like to read"
    space = Space(
        {
            "network": Categorical(["mlp", "lenet"], reason=reason),
            "an_uncommonly_long_name_of_a_parameter": Float(1e-6, 1e-1, log=True, reason=reason),
            "depth": (Int(2, 3, when={"network": "mlp"}), Constant(5, when={"network": "lenet"})),
            "epochs": 20,
        },
        constraints=["depth < 4"],
    )
    lines = format_space(space, width=width).splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    assert words.count("beyond") == 2
    assert {"an_uncommonly_long_name_of_a_parameter", "1e-06", "lenet", "epochs", "20"} <= set(words)
    assert "  depth < 4" in lines


def test_a_countable_space_says_its_size_and_a_function_its_name():
    assert format_space(Space({"a": Int(1, 3), "b": 2})).splitlines() == [
        "searched", "  a  1 to 3", "fixed", "  b  2", "3 configurations in all",
    ]  # fmt: skip

    def mine(trial):
        return {}

    assert format_space(Space(mine)).splitlines() == [
        "searched",
        "  mine  whatever this function of the trial asks for",
    ]


def test_an_empty_space_is_nothing():
    assert format_space(Space({})) == ""
