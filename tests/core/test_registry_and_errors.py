import pytest

from tenfold.core.errors import InputError, RunError, StackError, TenfoldError, did_you_mean
from tenfold.core.errors import OutOfMemoryError as TenfoldOutOfMemory
from tenfold.core.registry import Registry


def make():
    registry = Registry[int]("network")
    for number, name in enumerate(["resnet18", "lenet", "mlp"]):
        registry.add(name, number)
    return registry


def test_entries_are_found_by_name_and_listed_in_order():
    registry = make()
    assert registry["lenet"] == 1
    assert list(registry) == ["resnet18", "lenet", "mlp"]
    assert len(registry) == 3
    assert "mlp" in registry
    assert "vgg" not in registry


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match=r"network 'mlp' is registered already. Choose another name"):
        make().add("mlp", 9)


def test_an_alias_finds_an_entry_and_is_not_listed():
    registry = make()
    registry.add("linear", 7, aliases=["softmax", "logistic"])
    assert registry["logistic"] == registry["linear"] == 7
    assert registry.own_name("softmax") == registry.own_name("linear") == "linear"
    assert "softmax" in registry
    assert list(registry)[-1] == "linear"
    with pytest.raises(InputError, match=r"unknown network 'logisitc'. Did you mean 'logistic'"):
        registry.own_name("logisitc")
    with pytest.raises(ValueError, match=r"network 'softmax' is registered already"):
        registry.add("other", 8, aliases=["softmax"])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("resnet-18", r"unknown network 'resnet-18'. Did you mean 'resnet18'\?"),
        ("LeNet", r"Did you mean 'lenet'\?"),
        ("zebra", r"unknown network 'zebra'. Choose from 'lenet', 'mlp', 'resnet18'"),
    ],
)
def test_a_wrong_name_is_answered_with_the_near_miss_or_the_choices(wrong, words):
    with pytest.raises(InputError, match=words):
        make()[wrong]


def test_long_lists_of_choices_are_cut_and_empty_ones_left_out():
    assert did_you_mean("zzz", [f"a{i:02}" for i in range(25)]).endswith("'a19' and 5 more.")
    assert did_you_mean("zzz", []) == ""


def test_errors_are_caught_as_what_they_are():
    assert all(issubclass(error, TenfoldError) for error in (InputError, StackError, RunError, TenfoldOutOfMemory))
    assert issubclass(InputError, ValueError)
    assert issubclass(StackError, ValueError)
    assert issubclass(TenfoldOutOfMemory, MemoryError)
