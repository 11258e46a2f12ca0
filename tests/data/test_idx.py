import gzip
import struct

import numpy as np
import pytest

from tenfold.core.errors import InputError
from tenfold.data import read
from tenfold.data.idx import load_idx


def idx(array: np.ndarray) -> bytes:
    codes = {"uint8": 8, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    head = bytes([0, 0, codes[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (12, 5, 6), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 3


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_type_of_number_is_read(write, dtype, pack):
    np.testing.assert_array_equal(load_idx(write("a", pack(idx(IMAGES.astype(dtype))))), IMAGES.astype(dtype))


@pytest.mark.parametrize("suffix", ["-idx{}-ubyte", "-idx{}-ubyte.gz", ".idx{}-ubyte"])
def test_train_and_t10k_become_parts(write, suffix):
    pack = gzip.compress if suffix.endswith("gz") else bytes
    for part, count in (("train", 12), ("t10k", 6)):
        write(f"m/{part}-images{suffix.format(3)}", pack(idx(IMAGES[:count])))
        path = write(f"m/{part}-labels{suffix.format(1)}", pack(idx(LABELS[:count])))
    source = read(path.parent)
    assert (source.name, source.kind, source.inputs.images.shape) == ("m", "image", (18, 1, 5, 6))
    assert [(source.parts == part).sum() for part in ("train", "test")] == [12, 6]


def test_a_folder_or_file_of_the_training_part_alone_comes_in_one_piece(write):
    path = write("m/train-images-idx3-ubyte", idx(IMAGES))
    write("m/train-labels-idx1-ubyte", idx(LABELS))
    assert read(path.parent).parts is None
    assert len(read(path)) == 12


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train-images-idx3-ubyte": idx(IMAGES)}, "the labels are missing beside it. Add 'train-labels-idx1-ubyte'"),
        (
            {"train-images-idx3-ubyte": idx(IMAGES), "train-labels-idx1-ubyte": idx(LABELS[:5])},
            r"holds 12 pictures, train-labels-idx1-ubyte holds labels of shape \(5,\)",
        ),
        (
            {"train-images-idx3-ubyte": idx(IMAGES)[:-7], "train-labels-idx1-ubyte": idx(LABELS)},
            r"is torn, its header says 360 bytes of shape \(12, 5, 6\), got 353",
        ),
        ({"train-images-idx3-ubyte": b"hello", "train-labels-idx1-ubyte": idx(LABELS)}, "is no IDX file"),
        (
            {"train-images-idx3-ubyte": b"", "train-labels-idx1-ubyte": idx(LABELS)},
            r"\(its first four bytes are missing\)",
        ),
        ({"train-images-idx3-ubyte": b"\0\0\x08\x03\0", "train-labels-idx1-ubyte": idx(LABELS)}, "is torn"),
        ({"odd-images-idx3-ubyte": idx(IMAGES), "odd-labels-idx1-ubyte": idx(LABELS)}, "cannot tell its part"),
    ],
)
def test_files_that_do_not_fit_are_refused(write, files, message):
    for name, content in files.items():
        path = write(f"m/{name}", content)
    with pytest.raises(InputError, match=message):
        read(path.parent)


def test_parts_of_other_sizes_are_refused(write):
    for part, images in (("train", IMAGES), ("t10k", IMAGES[:, :4])):
        write(f"m/{part}-images-idx3-ubyte", idx(images))
        path = write(f"m/{part}-labels-idx1-ubyte", idx(LABELS))
    with pytest.raises(InputError, match=r"pictures have shape .*, others .*\. Use one size"):
        read(path.parent)


def test_fashion_mnist_is_read_with_its_test_part(data_root):
    source = read(data_root / "fashion-mnist")
    assert source.inputs.images.shape == (70000, 1, 28, 28)
    assert np.bincount(source.targets[source.parts == "test"]).tolist() == [1000] * 10
