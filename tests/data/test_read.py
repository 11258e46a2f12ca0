from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tenfold.core.errors import InputError
from tenfold.data import read, sources


def test_a_bundled_name_yields_to_a_folder_of_that_name(class_folders, monkeypatch, tmp_path):
    assert len(read("digits")) == 1797
    class_folders({"a": 2, "b": 2}, root="digits")
    monkeypatch.chdir(tmp_path)
    assert len(read("digits")) == 4


@pytest.mark.parametrize("name", [entry.name for entry in sources()])
def test_every_bundled_set_is_read_and_can_be_renamed(name):
    assert read(name).name == name
    assert read(name, name="mine").name == "mine"


def test_a_bundled_table_may_have_another_target():
    source = read("iris", target="petal width (cm)")
    assert (source.task, source.target_name) == ("regression", "petal width (cm)")
    assert "target" in source.inputs.frame.columns


def test_the_name_comes_from_the_path(write):
    path = write("我的 data/table.csv", "a,b\n" + "1,0\n2,1\n" * 5)
    assert read(path).name == read(str(path)).name == "table"
    assert read(path.parent).name == "我的 data"
    assert read(path, name="other").name == "other"


def test_a_source_can_be_cut_down_by_rows():
    source = read("digits").take(np.array([3, 1]))
    assert source.targets.tolist() == [3, 1]
    assert len(source.inputs) == 2


@pytest.mark.parametrize(
    ("argument", "options", "message"),
    [
        ("digts", {}, r"digts: no such file or folder\. Did you mean 'digits'\?"),
        ("no/such/folder.csv", {}, "no folder 'no/such' either"),
        ("", {}, "got an empty text"),
        (
            "digits",
            {"task": "ranking"},
            "task must be one of classification, regression, multilabel, segmentation, got 'ranking'",
        ),
        ("digits", {"target": "label"}, "has the one target 'target', got --target 'label'"),
        ("digits", {"image_size": 32}, "holds no picture files to resize, got --image-size 32"),
        ("iris", {"target": "petal"}, "iris: no column 'petal'"),
        ("iris", {"image_size": 32}, "holds no picture files"),
        (((np.zeros((4, 2)), [0, 1, 0, 1])), {"target": "x"}, "has the one target 'target'"),
    ],
)
def test_what_cannot_be_read_is_answered_in_one_sentence(argument, options, message):
    with pytest.raises(InputError, match=message) as caught:
        read(argument, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"), [("a.npy", "is one array, without targets"), ("a.JPG", "is one picture")]
)
def test_files_without_targets_are_refused(write, name, message):
    with pytest.raises(InputError, match=message):
        read(write(name, "x"))


@pytest.mark.parametrize("argument", [np.zeros((4, 2)), torch.zeros(4, 2)])
def test_arrays_alone_need_targets(argument):
    with pytest.raises(ValueError, match=r"arrays need targets, got x alone\. Give a pair \(x, y\)"):
        read(argument)


@pytest.mark.parametrize("argument", [None, 3, (1, 2, 3), [], object()])
def test_other_types_are_refused(argument):
    with pytest.raises(TypeError, match="argument must be a path, a bundled name"):
        read(argument)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a\n", b"a,b\n", b"\x00\x01", b"1\n2\n3\n", b"a,b\n1,\n2,\n", b",,\n,,\n"]
)
def test_files_without_a_table_are_refused_in_one_sentence(write, content):
    with pytest.raises(InputError) as caught:
        read(write("t.csv", content))
    assert "t.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_inference_names_the_flag_that_overrules_it(write):
    path = write("t.csv", "a,b,c\n" + "1,u,0\n2,v,1\n" * 5)
    notes = read(path).notes
    for flag in ("--header", "--target", "--task"):
        assert any(flag in note for note in notes), flag


def test_a_table_from_numpy_and_from_a_file_agree(tmp_path):
    values = np.random.default_rng(0).normal(size=(30, 3))
    frame = pd.DataFrame(values, columns=list("abc")).assign(y=np.arange(30) % 2)
    frame.to_csv(tmp_path / "t.csv", index=False)
    np.testing.assert_allclose(
        read(Path(tmp_path / "t.csv")).inputs.frame.to_numpy(),
        read((values, np.arange(30) % 2)).inputs.frame.to_numpy(),
    )


@pytest.mark.parametrize(
    ("argument", "task"),
    [
        (pd.DataFrame({"a": [1.0, 2.0], "y": ["b", "b"]}), None),
        ((np.zeros((2, 1, 3, 3)), np.array([1, 1])), None),
        ((np.arange(6.0).reshape(3, 2), [0.5, 0.5, 0.5]), "regression"),
        ((np.arange(6.0).reshape(3, 2), ["a;b", "b;a", "a;b"]), "multilabel"),
        ([(torch.zeros(2), 1), (torch.ones(2), 1)], None),
    ],
)
def test_one_class_alone_is_enough_to_score_a_model_and_not_to_learn(argument, task):
    argument = _Pairs(argument) if isinstance(argument, list) else argument
    with pytest.raises(InputError, match="there is nothing to learn"):
        read(argument, task=task)
    with pytest.raises(InputError, match="there is nothing to learn"):
        read(argument, task=task, max_rows=2)
    source = read(argument, task=task, to_score=True)
    assert source.problem.endswith("Choose another --target.")
    assert source.take(np.arange(1)).problem == source.problem


class _Pairs(torch.utils.data.Dataset):
    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, row):
        return self.pairs[row]


def test_tables_of_other_libraries_are_told_how_they_become_pandas():
    class DataFrame:
        def to_pandas(self):
            raise AssertionError("nobody asked")

    with pytest.raises(TypeError, match=r"got test_read\.DataFrame\. Call \.to_pandas\(\) on it\."):
        read(DataFrame())
