import pytest

from tenfold.tuning import Categorical, Constant, Int, Space, choice_space, draw


def rows(space):
    return [(row["name"], row["type"], row["when"]) for row in space.to_json()]


def test_equal_parameters_of_two_options_become_one_with_both_reasons():
    space = choice_space(
        "network",
        {"a": {"act": Constant("relu", reason="fast")}, "b": {"act": Constant("relu", reason="usual")}},
    )
    assert rows(space)[1:] == [("act", "constant", {"network": ["a", "b"]})]
    assert space.to_json()[1]["reason"] == "fast; usual"


def test_unequal_parameters_keep_their_name_and_each_option_its_own_range():
    space = choice_space("network", {"a": {"depth": Int(2, 3)}, "b": {"depth": Categorical([18, 34])}, "c": {}})
    assert rows(space)[1:] == [
        ("depth", "int", {"network": ["a"]}),
        ("depth", "categorical", {"network": ["b"]}),
    ]
    configs = [one.config for one in draw(space, 9, seed=0)]
    assert sorted(map(str, configs)) == sorted(
        [
            "{'network': 'a', 'depth': 2}",
            "{'network': 'a', 'depth': 3}",
            "{'network': 'b', 'depth': 18}",
            "{'network': 'b', 'depth': 34}",
            "{'network': 'c'}",
        ]
    )


def test_an_options_own_condition_is_kept_beside_the_choice():
    option = {"norm": Categorical(["none", "batch"]), "momentum": Int(1, 2, when={"norm": "batch"})}
    space = choice_space("network", {"a": option, "b": {}})
    assert rows(space)[2][2] == {"network": ["a"], "norm": ["batch"]}


def test_one_option_is_a_constant_and_sets_no_condition():
    assert rows(choice_space("network", {"a": {"depth": Int(2, 3)}})) == [
        ("network", "constant", None),
        ("depth", "int", None),
    ]


def test_the_joined_space_reads_back_from_json():
    space = choice_space("network", {"a": {"depth": Int(2, 3)}, "b": {"depth": Int(4, 5)}})
    assert Space.from_json(space.to_json()).parameters == space.parameters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "options of 'network' must hold at least one, got none"),
        ({"a": {"network": Int(1, 2)}}, "no option may have a parameter 'network', got one"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        choice_space("network", options)
