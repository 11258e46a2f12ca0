import shutil

import numpy as np
import pytest
import scenes
from PIL import Image
from scenes import make_scenes, write_pair

from tenfold.core.errors import InputError
from tenfold.data import read, split

KINDS = ["beside", "beside-parts", "annot", "inside"]


@pytest.mark.parametrize("layout", KINDS)
def test_every_layout_gives_the_same_pictures_and_masks(tmp_path, layout):
    source = read(make_scenes(tmp_path / "shapes", layout))
    assert (source.task, source.name, len(source)) == ("segmentation", "shapes", 12)
    assert source.targets.shape == (12, 24, 32)
    assert source.targets.dtype == np.uint8
    assert source.codes.values == (0, 1, 2)
    assert source.codes.ignored == (255,)
    first = next(i for i, path in enumerate(source.inputs.paths) if path.endswith("train0.png"))
    mask, picture = scenes.draw(np.random.default_rng(0))
    assert np.array_equal(source.targets[first], mask)
    assert np.array_equal(source.inputs.pixels[source.inputs.rows[first]], picture.transpose(2, 0, 1))


@pytest.mark.parametrize("layout", KINDS)
def test_parts_are_those_of_the_folders(tmp_path, layout):
    source = read(make_scenes(tmp_path, layout))
    if layout == "beside":
        assert source.parts is None
        return
    for part, path in zip(source.parts, source.inputs.paths, strict=True):
        assert path.rsplit("/", 1)[-1].startswith({"valid": "val"}.get(part, part))
    parts = split(source, seed=0)
    assert [len(rows) for rows in (parts.train, parts.valid, parts.test)] == [6, 3, 3]


def test_lists_say_the_parts_and_what_none_lists_is_left_out(tmp_path):
    make_scenes(tmp_path, "beside")
    for part in ("train", "val"):
        lines = [f"images/{part}{number}.png masks/{part}{number}.png" for number in range(3)]
        (tmp_path / f"{part}.txt").write_text("\n".join(lines) + "\n")
    source = read(tmp_path)
    assert np.unique(source.parts, return_counts=True)[1].tolist() == [3, 3]
    assert any("6 pictures are in none" in note for note in source.notes)


def test_a_folder_around_the_folder_is_looked_through(tmp_path):
    make_scenes(tmp_path / "outer" / "inner", "annot")
    assert len(read(tmp_path / "outer")) == 12


@pytest.mark.parametrize("ending", ["_mask", "_label", "_P"])
def test_masks_may_have_an_ending_of_their_own(tmp_path, ending):
    make_scenes(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        path.rename(path.with_name(path.stem + ending + ".png"))
    assert len(read(tmp_path)) == 12


def test_names_come_from_a_file_of_classes(tmp_path):
    make_scenes(tmp_path)
    (tmp_path / "classes.txt").write_text("ground\nsquare\ndisc\ncloud\n")
    assert read(tmp_path).codes.names == ("ground", "square", "disc", "cloud")
    assert read(tmp_path, ignore=0).codes.names == ("square", "disc", "cloud")
    assert read(tmp_path, ignore=[0, 3]).codes.values == (1, 2)


def test_pictures_are_resized_whole_and_masks_to_the_nearest_pixel(tmp_path):
    make_scenes(tmp_path, height=60, width=80)
    source = read(tmp_path, image_size=(15, 20))
    assert source.inputs.pixels.shape == (12, 3, 15, 20)
    mask, picture = scenes.draw(np.random.default_rng(0), height=60, width=80)
    first = source.inputs.paths.index("images/train0.png")
    assert np.array_equal(source.targets[first], mask[2::4, 2::4])
    expected = Image.fromarray(picture).resize((20, 15), Image.Resampling.BILINEAR)
    assert np.array_equal(source.inputs.pixels[first].transpose(1, 2, 0), np.asarray(expected))


def test_large_pictures_keep_their_proportions(tmp_path):
    make_scenes(tmp_path, count=2, height=150, width=200)
    source = read(tmp_path)
    assert source.targets.shape[1:] == (96, 128)
    assert any("resized to 96x128" in note and "--image-size" in note for note in source.notes)


def test_groups_come_from_the_names(tmp_path):
    source = read(make_scenes(tmp_path), group="/([a-z]+)[0-9]")
    assert sorted(set(source.groups)) == ["test", "train", "val"]


def test_torn_files_are_skipped_with_their_partners(tmp_path):
    make_scenes(tmp_path)
    (tmp_path / "images" / "train1.png").write_bytes(b"torn")
    (tmp_path / "masks" / "train2.png").write_bytes(b"")
    whole = (tmp_path / "masks" / "train3.png").read_bytes()
    (tmp_path / "masks" / "train3.png").write_bytes(whole[: len(whole) - 40])
    source = read(tmp_path)
    assert len(source) == len(source.inputs) == 9
    assert [item.path for item in source.skipped] == ["images/train1.png", "masks/train2.png", "masks/train3.png"]
    kept = source.inputs.paths.index("images/train5.png")
    rng = np.random.default_rng(0)
    assert np.array_equal(source.targets[kept], [scenes.draw(rng) for _ in range(6)][5][0])


def test_the_task_can_be_told_otherwise(tmp_path):
    make_scenes(tmp_path)
    assert read(tmp_path, task="classification").task == "classification"


def remove_mask(root):
    (root / "masks" / "train1.png").unlink()


def other_size(root):
    Image.new("L", (10, 12)).save(root / "masks" / "train1.png")


def coloured(root):
    Image.new("RGB", (32, 24), (1, 2, 3)).save(root / "masks" / "train1.png")


def large_values(root):
    Image.fromarray(np.full((24, 32), 700, np.uint16)).save(root / "masks" / "train1.png")


def too_few_names(root):
    (root / "codes.txt").write_text("ground\nsquare\n")


def no_names(root):
    (root / "codes.txt").write_text("\n")


def one_class(root):
    for path in (root / "masks").iterdir():
        Image.new("L", (32, 24), 4).save(path)


def all_torn(root):
    for path in (root / "images").iterdir():
        path.write_bytes(b"torn")


def no_pictures(root):
    shutil.rmtree(root / "images")
    (root / "images").mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_mask, "1 of 12 pictures have no mask, such as images/train1.png. Give each a mask of the same name"),
        (other_size, "masks/train1.png: a mask must have the size of its picture, got 12x10 for .* of 24x32"),
        (coloured, "masks/train1.png: a mask must hold one class number a pixel, got colours"),
        (large_values, "masks/train1.png: a mask must hold values from 0 to 255, got 700 to 700"),
        (too_few_names, "masks hold the value 2, which is out of range for 2 class names"),
        (no_names, "codes.txt: names no classes"),
        (one_class, "masks must hold at least two classes, got 4"),
        (all_torn, "none of the pictures can be read together with its mask: images/test0.png is no picture"),
        (no_pictures, "holds no pictures. Give a folder of pictures beside masks"),
    ],
)
def test_what_is_wrong_with_masks_is_one_sentence(tmp_path, spoil, message):
    make_scenes(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("source", ["iris", (np.zeros((4, 2)), np.zeros(4))])
def test_a_segmentation_of_something_else_is_refused(source):
    with pytest.raises(InputError, match="a segmentation needs a folder of pictures beside masks"):
        read(source, task="segmentation")


def test_a_folder_without_masks_is_refused_for_a_segmentation(class_folders, tmp_path):
    folder = class_folders({"cat": 2, "dog": 2})
    for path in (folder, folder / "cat" / "0.png"):
        with pytest.raises(InputError, match="a segmentation needs a folder of pictures beside masks"):
            read(path, task="segmentation")
    with pytest.raises(InputError, match="pets: has no masks, got --ignore 11"):
        read(folder, ignore=11)


@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16", "RGB"])
def test_masks_of_any_plain_kind_hold_their_numbers(tmp_path, mode):
    rng = np.random.default_rng(0)
    for number in range(4):
        write_pair(tmp_path / "images" / f"{number}.png", tmp_path / "masks" / f"{number}.png", rng)
        path = tmp_path / "masks" / f"{number}.png"
        values = np.asarray(Image.open(path))
        values = np.where(values == 255, 0, values).astype(np.uint8)
        if mode == "1":
            Image.fromarray(values > 0).save(path)
        elif mode == "I;16":
            Image.fromarray(values.astype(np.uint16)).save(path)
        elif mode == "RGB":
            Image.fromarray(np.repeat(values[..., None], 3, axis=2)).save(path)
        else:
            image = Image.fromarray(values)
            if mode == "P":
                image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
            image.save(path)
    source = read(tmp_path)
    assert source.codes.values == ((0, 1) if mode == "1" else (0, 1, 2))


def test_camvid_is_read_with_its_own_parts(data_root):
    folder = data_root / "camvid" / "CamVid"
    if not folder.is_dir():
        pytest.skip("no camvid/CamVid below TENFOLD_DATA")
    source = read(folder, ignore=11)
    assert np.unique(source.parts, return_counts=True)[1].tolist() == [15, 62, 9]
    assert source.codes.values == tuple(range(11))
    assert source.targets.shape == (86, 96, 128)
    assert np.unique(source.targets).max() == 11


def test_masks_that_lost_their_values_are_refused_and_no_class_folders(tmp_path):
    make_scenes(tmp_path, "beside")
    for path in list((tmp_path / "masks").iterdir()):
        Image.open(path).convert("L").save(path.with_suffix(".jpg"))
        path.unlink()
    with pytest.raises(InputError, match=r"masks must be files that keep every value \(\.png, .*, got test0\.jpg"):
        read(tmp_path)
