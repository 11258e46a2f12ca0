import os

import numpy as np
import pytest
from PIL import Image

from tenfold.core.errors import InputError
from tenfold.data import draw_rows, pictures, read


def test_class_folders_become_labels_and_pixels(class_folders):
    source = read(class_folders({"cat": 3, "狗": 2}))
    assert (source.name, source.kind, source.task, source.parts) == ("pets", "image", "classification", None)
    assert source.targets.tolist() == ["cat"] * 3 + ["狗"] * 2
    assert source.inputs.paths == ("cat/0.png", "cat/1.png", "cat/2.png", "狗/0.png", "狗/1.png")
    first = np.asarray(Image.open(class_folders({}) / "cat" / "0.png")).transpose(2, 0, 1)
    np.testing.assert_array_equal(source.inputs.pixels[0], first)


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_train_valid_and_test_folders_become_parts(class_folders, valid):
    for part in ("train", valid, "test"):
        folder = class_folders({"a": 2, "b": 2}, root=f"pets/{part}")
    source = read(folder.parent)
    assert [(source.parts == part).sum() for part in ("train", "valid", "test")] == [4, 4, 4]


def test_a_test_folder_without_classes_is_not_used(class_folders, write):
    class_folders({"a": 2, "b": 2}, root="pets/train")
    source = read(write("pets/test/1.png", "x").parent.parent)
    assert len(source) == 4
    assert "test/: not used, it has no class folders" in source.notes


def test_a_wrapping_folder_is_seen_through(class_folders):
    assert len(read(class_folders({"a": 2, "b": 2}, root="pets/inner").parent)) == 4


def test_pictures_of_any_depth_belong_to_their_class(class_folders):
    class_folders({"a": 2, "b": 2})
    assert read(class_folders({"deeper": 2}, root="pets/a").parent).targets.tolist() == ["a"] * 4 + ["b"] * 2


def test_files_that_are_no_pictures_are_named_and_skipped(class_folders, write):
    folder = class_folders({"a": 3, "b": 3})
    write("pets/a/notes.txt", "hello")
    write("pets/b/empty.jpg", b"")
    torn = folder / "b" / "torn.png"
    torn.write_bytes((folder / "b" / "0.png").read_bytes()[:200])
    write("pets/a/.DS_Store", "x")
    source = read(folder)
    assert [(entry.path, entry.reason.split(" (")[0]) for entry in source.skipped] == [
        ("a/notes.txt", "is no picture"),
        ("b/empty.jpg", "is empty"),
        ("b/torn.png", "cannot be decoded"),
    ]
    assert len(source) == len(source.inputs) == 6
    assert any(note.startswith("files: 3 skipped, a/notes.txt") for note in source.notes)


def test_a_class_without_a_readable_picture_is_left_out(class_folders, write):
    write("pets/c/1.png", "no picture")
    source = read(class_folders({"a": 2, "b": 2}))
    assert "class 'c': left out, it has no readable picture" in source.notes


def test_grey_pictures_stay_grey_until_one_has_colour(class_folders):
    assert read(class_folders({"a": 2, "b": 2}, mode="L")).inputs.pixels.shape[1] == 1
    assert read(class_folders({"c": 1})).inputs.pixels.shape[1] == 3


def test_large_pictures_get_a_margin_and_the_flag_overrules_their_size(class_folders):
    folder = class_folders({"a": 2, "b": 2}, size=(200, 150))
    assert read(folder).inputs.pixels.shape == (4, 3, 146, 146)
    assert read(folder, image_size=32).inputs.pixels.shape == (4, 3, 32, 32)


def test_one_class_is_refused(class_folders):
    with pytest.raises(InputError, match="the one class 'a' has readable pictures, at least two classes are needed"):
        read(class_folders({"a": 3}))


def test_only_bad_files_are_refused(write):
    write("pets/a/1.png", "x")
    with pytest.raises(InputError, match=r"none of 2 files is a readable picture: a/1\.png is no picture"):
        read(write("pets/b/2.png", "x").parent.parent)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["1.png", "2.png"], "2 pictures in it, but no class folders"),
        (["readme.md"], "no class folders with files"),
        (["train/1.png"], "no class folders with files"),
        (["Annotations/1.xml", "JPEGImages/1.jpg"], "detection is not supported yet"),
    ],
)
def test_folders_without_classes_are_refused(write, files, message):
    for name in files:
        write(f"pets/{name}", "x")
    with pytest.raises(InputError, match=message):
        read(write("pets/.hidden", "").parent)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="the folder is empty"):
        read(tmp_path)


def test_empty_class_folders_are_refused(tmp_path):
    (tmp_path / "pets" / "a").mkdir(parents=True)
    (tmp_path / "pets" / "b").mkdir()
    with pytest.raises(InputError, match="no class folders with files"):
        read(tmp_path / "pets")


def test_regression_on_class_folders_is_refused(class_folders):
    with pytest.raises(InputError, match="class folders ask for classification, got --task regression"):
        read(class_folders({"a": 2, "b": 2}), task="regression")


def test_a_folder_that_may_not_be_read_is_said(class_folders, monkeypatch):
    folder = class_folders({"a": 2, "b": 2})

    def refuse(top, onerror, **options):
        onerror(PermissionError(13, "Permission denied", str(top)))
        return iter(())

    monkeypatch.setattr("tenfold.data.image_folder.os.walk", refuse)
    with pytest.raises(InputError, match=r"a: cannot be listed \(Permission denied\)"):
        read(folder)


def test_ants_and_bees_are_read(data_root):
    source = read(data_root / "hymenoptera_data", image_size=32)
    assert np.unique(source.targets).tolist() == ["ants", "bees"]
    assert set(source.parts) == {"train", "valid"}
    assert len(source) + len(source.skipped) == 214


def test_rows_that_are_drawn_are_those_of_the_whole_folder_and_no_other_is_decoded(class_folders, monkeypatch):
    for part in ("train", "test"):
        folder = class_folders({"a": 12, "b": 9}, root=f"pets/{part}").parent
    whole = draw_rows(read(folder, group="/([0-9])"), 15, seed=2)
    decoded, decode = [], pictures.decode_picture
    monkeypatch.setattr(pictures, "decode_picture", lambda path, form: decoded.append(path) or decode(path, form))
    drawn = read(folder, group="/([0-9])", max_rows=15, seed=2)
    assert len(decoded) == len(drawn) == 15
    for name in ("rows", "targets", "parts", "groups"):
        assert getattr(drawn, name).tolist() == getattr(whole, name).tolist()
    assert (drawn.inputs.paths, drawn.notes) == (whole.inputs.paths, whole.notes)
    np.testing.assert_array_equal(drawn.inputs.pixels, whole.inputs.pixels[whole.inputs.rows])


def test_a_torn_picture_that_is_drawn_is_replaced_by_another(class_folders):
    folder = class_folders({"a": 10, "b": 10})
    torn = folder / read(folder, max_rows=6, seed=0).inputs.paths[1]
    torn.write_bytes(torn.read_bytes()[:200])
    source = read(folder, max_rows=6, seed=0)
    assert len(source) == len(source.inputs) == len(source.inputs.pixels) == 6
    assert [entry.path for entry in source.skipped] == [torn.relative_to(folder).as_posix()]
    assert "6 of 19 rows, drawn with classes in proportion (--max-rows)" in source.notes
    for path, pixels in zip(source.inputs.paths, source.inputs.pixels, strict=True):
        np.testing.assert_array_equal(pixels, np.asarray(Image.open(folder / path)).transpose(2, 0, 1))


def test_a_folder_smaller_than_what_is_asked_is_read_whole(class_folders):
    source = read(class_folders({"a": 2, "b": 2}), max_rows=100)
    assert (len(source), source.rows) == (4, None)


def test_links_that_lead_up_are_not_followed_and_pipes_not_waited_for(class_folders):
    folder = class_folders({"a": 2, "b": 2})
    (folder / "a" / "up").symlink_to("..")
    (folder / "b" / "of a").symlink_to(folder / "a")
    os.mkfifo(folder / "b" / "pipe.png")
    source = read(folder)
    assert dict(zip(*np.unique(source.targets, return_counts=True), strict=True)) == {"a": 2, "b": 4}
    assert [(one.path, one.reason) for one in source.skipped] == [("b/pipe.png", "is no file")]
