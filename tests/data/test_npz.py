import numpy as np
import pytest

from tenfold.core.errors import InputError
from tenfold.data import read
from tenfold.data.npz import find_inputs

X, Y = np.arange(48.0).reshape(12, 4) / 7, np.arange(12) % 3


@pytest.mark.parametrize(
    ("x", "y"),
    [("x", "y"), ("X", "y"), ("images", "labels"), ("data", "target"), ("arr_0", "arr_1"), ("data", "labels")],
)
def test_inputs_and_targets_are_found_by_their_usual_names(tmp_path, x, y):
    np.savez(tmp_path / "a.npz", **{x: X, y: Y})
    source = read(tmp_path / "a.npz")
    assert (source.name, source.parts, source.targets.tolist()) == ("a", None, Y.tolist())
    assert source.notes[0] == f"arrays: inputs {x!r}, targets {y!r}"


@pytest.mark.parametrize(
    "names",
    [("x_train", "y_train", "x_test", "y_test"), ("X_train", "y_train", "X_test", "y_test"),
     ("train_images", "train_labels", "test_images", "test_labels")],
)  # fmt: skip
def test_parts_are_found_by_their_usual_names(tmp_path, names):
    np.savez(tmp_path / "a.npz", **dict(zip(names, (X, Y, X[:3], Y[:3]), strict=True)))
    assert read(tmp_path / "a.npz").parts.tolist() == ["train"] * 12 + ["test"] * 3


def test_a_validation_part_is_kept_apart(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=X, y_train=Y, x_val=X, y_val=Y)
    assert set(read(tmp_path / "a.npz").parts) == {"train", "valid"}


def test_a_folder_with_one_archive_is_that_archive(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    assert len(read(tmp_path)) == 12


def test_unknown_names_are_listed(tmp_path):
    np.savez(tmp_path / "a.npz", u=X, v=Y)
    with pytest.raises(InputError, match=r"a\.npz: no inputs and targets found among the arrays 'u', 'v'"):
        read(tmp_path / "a.npz")


def test_parts_of_other_shapes_are_refused():
    with pytest.raises(InputError, match=r"arrays of the test part do not fit, got shapes \(3, 2\) and \(3,\)"):
        read({"x_train": X, "y_train": Y, "x_test": X[:3, :2], "y_test": Y[:3]})


@pytest.mark.parametrize("content", [b"PK\x03\x04 torn", b"no archive", b""])
def test_a_torn_archive_is_refused(write, content):
    with pytest.raises(InputError, match=r"a\.npz: cannot be read as NumPy arrays"):
        read(write("a.npz", content))


def test_pickled_objects_are_not_opened(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}], object), y=Y)
    with pytest.raises(InputError, match="cannot be read as NumPy arrays"):
        read(tmp_path / "a.npz")


def test_inputs_alone_are_found_for_prediction():
    assert find_inputs({"X": X}, "a") is X
    assert find_inputs({"other": X}, "a") is X
    assert find_inputs({"x_train": X, "x_test": Y}, "a") is Y
    with pytest.raises(InputError, match="no inputs found among the arrays 'u', 'v'"):
        find_inputs({"u": X, "v": X}, "a")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((4, 2)) + 1j, r"^a\.npz: x must hold real numbers or text, got complex ones\. Give their parts\."),
        (
            np.zeros(4, [("u", "f8")]),
            r"^a\.npz: x must be a plain array, got records of \('u',\)\. Give their columns\.",
        ),
    ],
)
def test_arrays_that_are_no_numbers_are_refused_with_the_name_of_the_file(tmp_path, x, message):
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(4))
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.npz")
    with pytest.raises(InputError, match=message):
        find_inputs({"x": x}, "a.npz")
