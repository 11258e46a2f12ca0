import struct

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from tenfold.core.errors import InputError
from tenfold.data import fit_preprocessor, preprocessor_from_json, read, read_inputs

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"age": RNG.normal(size=20), "job": ["cook", "smith"] * 10, "y": [0, 1, 1, 0] * 5})
IMAGES, LABELS = RNG.integers(0, 256, (12, 6, 7), dtype=np.uint8), np.arange(12) % 3


def trained(source):
    return preprocessor_from_json(fit_preprocessor(source.inputs, np.arange(len(source))).to_json())


def tensors(found, preprocessor):
    return preprocessor.prepare_batch(preprocessor.transform(found.inputs), False)


@pytest.mark.parametrize("drop", [[], ["y"]])
@pytest.mark.parametrize("header", [True, False])
def test_a_table_is_read_with_or_without_target_and_header(tmp_path, drop, header):
    source = read(FRAME)
    preprocessor = trained(source)
    FRAME.drop(columns=drop).to_csv(tmp_path / "new.csv", index=False, header=header)
    found = read_inputs(tmp_path / "new.csv", preprocessor)
    assert found.labels == tuple(map(str, range(20)))
    for a, b in zip(tensors(found, preprocessor), preprocessor.transform(source.inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_columns_may_stand_in_any_order_and_rows_without_a_target_stay(tmp_path):
    preprocessor = trained(read(FRAME))
    frame = FRAME[["y", "job", "age"]].astype(object)
    frame.loc[3, "y"] = None
    frame.to_csv(tmp_path / "new.csv", index=False)
    found = read_inputs(tmp_path / "new.csv", preprocessor)
    expected = preprocessor.transform(read(FRAME).inputs)
    torch.testing.assert_close(tensors(found, preprocessor), expected)


def test_a_table_without_a_header_is_read_by_position_around_the_target(write):
    rows = [f"{i % 3},{'ab'[i % 2]},{i}.5" for i in range(20)]
    source = read(write("t.csv", "\n".join(rows)), target=1)
    preprocessor = trained(source)
    found = read_inputs(write("new.csv", "2,0.5\n1,7.5\n"), preprocessor)
    assert found.inputs.frame.columns.tolist() == ["column 0", "column 2"]


@pytest.mark.parametrize("form", ["frame", "array", "row", "dict"])
def test_rows_from_python_are_read(form):
    values = RNG.normal(size=(20, 3))
    preprocessor = trained(read((values, LABELS.repeat(2)[:20])))
    argument = {"frame": pd.DataFrame(values), "array": values, "row": values[0], "dict": {"x": values}}[form]
    found = read_inputs(argument, preprocessor)
    expected = preprocessor.transform(read((values, LABELS.repeat(2)[:20])).inputs)[0]
    torch.testing.assert_close(tensors(found, preprocessor)[0], expected[: len(found.labels)])


@pytest.mark.parametrize("names", [["x"], ["X", "y"], ["images"]])
def test_archives_may_hold_inputs_alone(tmp_path, names):
    preprocessor = trained(read((IMAGES, LABELS)))
    np.savez(tmp_path / "new.npz", **dict(zip(names, (IMAGES[:4], LABELS[:4]), strict=False)))
    found = read_inputs(tmp_path / "new.npz", preprocessor)
    np.testing.assert_array_equal(found.inputs.images[:, 0], IMAGES[:4])
    np.save(tmp_path / "new.npy", IMAGES[:2])
    assert len(read_inputs(tmp_path / "new.npy", preprocessor).labels) == 2


@pytest.mark.parametrize(
    "form",
    [lambda x: x, lambda x: x[..., None], lambda x: x[:, None], lambda x: torch.from_numpy(x), lambda x: x / 255],
)
def test_pictures_in_every_layout_and_scale_are_prepared_alike(form):
    source = read((IMAGES, LABELS))
    preprocessor = trained(source)
    found = tensors(read_inputs(form(IMAGES), preprocessor), preprocessor)
    expected = preprocessor.prepare_batch(preprocessor.transform(source.inputs), False)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_whole_floats_are_prepared_like_the_fractions_that_were_trained_on():
    images = RNG.normal(size=(12, 6, 7)) * 50
    preprocessor = trained(read((images, LABELS)))
    whole = np.abs(np.rint(images))
    found = tensors(read_inputs(whole, preprocessor), preprocessor)[0]
    np.testing.assert_allclose(found[:, 0], (whole - images.mean()) / images.std(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(6, 7), (1, 6, 7)])
def test_one_grey_picture_is_a_batch_of_one(shape):
    assert read_inputs(IMAGES[0].reshape(shape), trained(read((IMAGES, LABELS)))).labels == ("0",)


@pytest.mark.parametrize("shape", [(3, 6, 7), (6, 7, 3)])
def test_one_picture_in_colour_is_a_batch_of_one(shape):
    preprocessor = trained(read((RNG.integers(0, 256, (12, 3, 6, 7), dtype=np.uint8), LABELS)))
    found = read_inputs(np.zeros(shape, np.uint8), preprocessor)
    assert found.inputs.images.shape == (1, 3, 6, 7)


def test_folders_flat_or_of_classes_and_single_files_are_labelled_by_path(class_folders, write):
    source = read(folder := class_folders({"a": 2, "b": 2}, size=(20, 20)))
    preprocessor = trained(source)
    write("pets/a/torn.png", "x")
    write("pets/a/notes.txt", "x")
    found = read_inputs(folder, preprocessor)
    assert found.labels == ("a/0.png", "a/1.png", "b/0.png", "b/1.png")
    assert [(entry.path, entry.reason) for entry in found.skipped] == [("a/torn.png", "is no picture")]
    expected = preprocessor.prepare_batch(preprocessor.transform(source.inputs), False)
    torch.testing.assert_close(tensors(found, preprocessor), expected)
    assert read_inputs(folder / "a", preprocessor).labels == ("0.png", "1.png")
    assert read_inputs(folder / "a" / "1.png", preprocessor).labels == ("1.png",)


def test_picture_files_fit_a_model_of_arrays(class_folders):
    preprocessor = trained(read("digits"))
    found = read_inputs(class_folders({"a": 2}, mode="RGB"), preprocessor)
    assert tensors(found, preprocessor)[0].shape == (2, 1, 8, 8)


@pytest.mark.parametrize("name", ["digits", "iris"])
def test_bundled_sets_are_read_by_name(name):
    assert len(read_inputs(name, trained(read(name))).labels) == len(read(name))


def test_idx_files_are_read(data_root):
    preprocessor = trained(read(data_root / "fashion-mnist").take(np.arange(100)))
    path = data_root / "fashion-mnist" / "t10k-images-idx3-ubyte.gz"
    assert len(read_inputs(path, preprocessor).labels) == 10000


@pytest.mark.parametrize("wrap", [lambda dataset: dataset, DataLoader])
def test_data_sets_are_read(wrap):
    x, y = torch.rand(12, 5), torch.arange(12) % 3
    preprocessor = trained(read(TensorDataset(x, y)))
    assert torch.equal(tensors(read_inputs(wrap(TensorDataset(x, y)), preprocessor), preprocessor)[0], x)
    assert torch.equal(tensors(read_inputs(x, preprocessor), preprocessor)[0], x)


def test_a_data_set_of_pictures_fits_a_model_of_arrays():
    preprocessor = trained(read((IMAGES, LABELS)))
    dataset = TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS))
    assert tensors(read_inputs(dataset, preprocessor), preprocessor)[0].shape == (12, 1, 6, 7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda write: write("a", "x").with_name("b"), "no such file or folder"),
        (lambda write: pd.DataFrame({"u": [1.0]}), "has 1 columns, the model was trained on 2"),
        (
            lambda write: pd.DataFrame({"age": [1.0], "v": [2]}),
            "x: 1 of the 2 columns that the model takes is missing: 'job'",
        ),
        (lambda write: FRAME[:0], "x: no rows"),
        (lambda write: {"u": [1], "v": [2]}, "no inputs found among the arrays"),
    ],
)
def test_tables_that_do_not_fit_are_refused(write, make, message):
    preprocessor = trained(read(FRAME))
    with pytest.raises(InputError, match=message):
        tensors(read_inputs(make(write), preprocessor), preprocessor)


def test_folders_without_pictures_are_refused(write):
    preprocessor = trained(read((IMAGES, LABELS)))
    folder = write("new/notes.txt", "x").parent
    with pytest.raises(InputError, match="holds no pictures"):
        read_inputs(folder, preprocessor)
    write("new/a.png", "x")
    with pytest.raises(InputError, match=r"none of 1 files is a readable picture: a\.png is no picture"):
        read_inputs(folder, preprocessor)


def test_a_path_for_a_model_of_a_data_set_is_refused(write):
    preprocessor = trained(read(TensorDataset(torch.rand(6, 2), torch.tensor([0, 1] * 3))))
    with pytest.raises(InputError, match="trained on a data set of the user's own"):
        read_inputs(write("a.csv", "1,2\n"), preprocessor)


@pytest.mark.parametrize("form", ["images", "rows", "uint8", "scaled", "one picture"])
def test_digits_are_taken_as_scikit_learn_keeps_them(form):
    bunch = load_digits()
    source = read("digits")
    preprocessor = fit_preprocessor(source.inputs, np.arange(1000))
    given = {
        "images": bunch.images,
        "rows": bunch.data,
        "uint8": bunch.images.astype(np.uint8),
        "scaled": bunch.images / 16,
        "one picture": bunch.images[0],
    }[form]
    read_back = preprocessor.transform(read_inputs(given, preprocessor).inputs)[0]
    expected = preprocessor.transform(source.inputs)[0][: len(read_back)]
    np.testing.assert_allclose(read_back.numpy(), expected.numpy(), atol=1e-6)


def test_inputs_of_another_kind_are_refused_by_name():
    table, pictures = trained(read("iris")), trained(read("digits"))
    with pytest.raises(InputError, match="digits: holds pictures, the model takes a table"):
        read_inputs("digits", table)
    with pytest.raises(InputError, match="iris: holds a table, the model takes pictures"):
        read_inputs("iris", pictures)


def test_a_folder_of_idx_files_is_read_as_in_training(tmp_path):
    for part, count in (("train", 12), ("t10k", 5)):
        images = RNG.integers(0, 256, (count, 9, 9), dtype=np.uint8)
        header = struct.pack(">BBBBIII", 0, 0, 8, 3, *images.shape)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = (np.arange(count) % 2).astype(np.uint8)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">BBBBI", 0, 0, 8, 1, count) + labels.tobytes()
        )
    source = read(tmp_path)
    found = read_inputs(tmp_path, trained(source))
    np.testing.assert_array_equal(found.inputs.images, source.inputs.images)
