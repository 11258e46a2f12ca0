import numpy as np
import pandas as pd
import pytest

from tenfold.core.errors import InputError
from tenfold.data.targets import clean_label_sets, clean_target


def learnable(found):
    """As `read` treats what is to be learned."""
    if found.problem:
        raise InputError(found.problem)
    return found


def clean(values, task=None, **options):
    return learnable(clean_target(values, name="y", task=task, where="t.csv", **options))


@pytest.mark.parametrize(
    ("values", "task", "kind"),
    [
        (["a", "b", "a", "b"], "classification", "U"),
        ([True, False, True, False], "classification", "U"),
        ([0, 1, 0, 1], "classification", "i"),
        ([0.0, 1.0, 0.0, 1.0], "classification", "i"),
        ([0.5, 1.5, 0.5, 1.5], "regression", "f"),
        (list(range(100)), "regression", "f"),
        ([1, 2, 3, 4], "regression", "f"),
        (list(range(21)) * 5, "regression", "f"),
        (list(range(20)) * 5, "classification", "i"),
        (pd.Categorical(["u", "v", "u", "v"]), "classification", "U"),
    ],
)
def test_the_task_follows_from_the_values(values, task, kind):
    found = clean(values)
    assert (found.task, found.values.dtype.kind) == (task, kind)
    assert "--task" in found.notes[-1]


def test_whole_numbers_beside_pictures_are_always_classes():
    assert clean(list(range(50)) * 2, whole_are_classes=True).task == "classification"


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_flag_overrules_the_values(task):
    found = clean([0, 1, 2, 0, 1, 2], task)
    assert found.task == task
    assert not found.notes


def test_rows_without_a_target_are_left_out_and_said():
    found = clean([1.5, np.nan, 2.5, None])
    assert found.kept.tolist() == [0, 2]
    assert found.notes[0] == "rows: 2 of 4 left out, they have no target"


def test_large_class_numbers_stay_apart():
    assert len(np.unique(clean([2**60, 2**60 + 1] * 4).values)) == 2


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        ([1, 1, 1], None, "target 'y' is 1 in every row, there is nothing to learn"),
        (["a", "a"], None, "is 'a' in every row"),
        ([np.nan, None], None, "no row has a value in the target 'y'"),
        ([1.0, np.inf, 2.0], None, r"infinite in 1 of 3 rows, first in row 1 \(counted from 0\)"),
        (["a", "b", "c"], "regression", "needs numbers, the target 'y' holds text such as 'a'"),
        ([1e200, 2e200], "regression", "holds values such as 2e\\+200. Scale it down"),
        (
            [f"name {i}" for i in range(20)],
            None,
            r"20 classes in 20 rows, such as 'name 0': .*Choose another --target\.$",
        ),
        (np.linspace(0, 1, 20), "classification", "or --task regression"),
        (
            [1, 2],
            "ranking",
            "task must be one of classification, regression, multilabel, segmentation, got 'ranking'",
        ),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused(values, task, message):
    with pytest.raises(InputError, match=message):
        clean(values, task)


def test_a_long_text_is_cut_in_the_message():
    with pytest.raises(InputError, match=r"such as '0x{39}\.\.\.'"):
        clean([str(i) + "x" * 500 for i in range(20)])


def sets(raw):
    return learnable(clean_label_sets(raw, name="y", where="t.csv"))


@pytest.mark.parametrize(
    ("raw", "values", "note"),
    [
        (["b;a", "a", ""], ["a;b", "a", ""], "';'"),
        (["b | a|b", "a", None], ["a;b", "a", ""], "'|'"),
        (["a, b", " a ", np.nan], ["a;b", "a", ""], "','"),
        (["a", "b", "a"], ["a", "b", "a"], "';'"),
        (["a;b,c", "a;"], ["a;b,c", "a"], "';'"),
    ],
)
def test_a_column_of_lists_becomes_sorted_sets(raw, values, note):
    found = sets(raw)
    assert found.values.tolist() == values
    assert (found.task, found.kept.tolist()) == ("multilabel", list(range(len(raw))))
    assert found.notes == (f"labels: separated by {note}",)


def test_columns_of_0_and_1_become_sets_of_their_names():
    frame = pd.DataFrame({"wind": [1, 0, 0], "sun": [True, False, True], "rain": [0.0, 1.0, 0.0]})
    found = sets(frame)
    assert found.values.tolist() == ["sun;wind", "rain", "sun"]
    assert found.notes == ("labels: 3 columns of 0 and 1",)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            pd.DataFrame({"a": [1, 2, 0]}),
            r"label column 'a' must hold 0 and 1, got 2 in 1 of 3 rows\. Mend them, or leave",
        ),
        (pd.DataFrame({"a": [1, None, 0]}), r"label column 'a' must hold 0 and 1, got nan in 1 of 3"),
        (pd.DataFrame({"a;b": [1, 0]}), r"t\.csv: the label 'a;b' must not hold ';'\. Rename it"),
        (["a;b", "b;a"], r"the target 'y' has the labels 'a;b' in every row, there is nothing to learn"),
        ([], r"has the labels '' in every row"),
    ],
)
def test_label_sets_that_cannot_be_learned_are_refused(raw, message):
    with pytest.raises(InputError, match=message):
        sets(raw)


def test_a_number_that_is_mistyped_is_shown_where_it_makes_the_target_text():
    values = [*np.arange(20) + 0.5, "12,5 EUR"]
    with pytest.raises(InputError, match=r"is text: 1 of 21 values are no numbers, such as '12,5 EUR' in row 20 \("):
        clean(values)
