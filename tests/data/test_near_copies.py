"""Near-copies of pictures in two parts: what is planted is found, what is merely alike is not."""

import io

import numpy as np
import pytest
from PIL import Image

from tenfold.data import cut_folds, examine, read, split
from tenfold.data.inputs import ArrayInputs
from tenfold.data.near_copies import find_near_copies
from tenfold.data.source import Source


def photographs(count, seed, side=48):
    """Blurred noise of several scales, as different from one another as photographs are; uint8, (N, 3, H, W)."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        layers = [
            np.asarray(
                Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).resize(
                    (side, side), Image.BICUBIC
                )
            ).astype(float)
            for size in (3, 6, 12)
        ]
        found.append(np.clip(np.mean(layers, axis=0) * 1.3 - 40, 0, 255).astype(np.uint8).transpose(2, 0, 1))
    return np.stack(found)


def as_image(picture):
    return Image.fromarray(picture.transpose(1, 2, 0))


def as_array(image):
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def encoded(picture, quality=60):
    buffer = io.BytesIO()
    as_image(picture).save(buffer, "JPEG", quality=quality)
    return as_array(Image.open(buffer))


def resized(picture):
    side = picture.shape[1]
    return as_array(as_image(picture).resize((side * 2 // 3, side * 2 // 3)).resize((side, side)))


def brighter(picture):
    return np.clip(picture.astype(int) + 30, 0, 255).astype(np.uint8)


def mirrored(picture):
    return picture[:, :, ::-1].copy()


def source_of(images):
    targets = np.arange(len(images)) % 3
    return Source(name="some", kind="image", inputs=ArrayInputs(images), targets=targets, task="classification")


def halves(count):
    return {"train": np.arange(count // 2), "valid": np.arange(count // 2, count)}


@pytest.mark.parametrize("change", [encoded, resized, brighter, mirrored, lambda picture: encoded(mirrored(picture))])
def test_changed_copies_in_another_part_are_found_and_stand_in_pairs(change):
    images = photographs(240, seed=1)
    for place in range(12):
        images[200 + place] = change(images[place])
    [found] = find_near_copies(source_of(images), halves(240), seed=0)
    pairs = {tuple(sorted(pair)) for pair in found.rows.reshape(-1, 2).tolist()}
    assert pairs == {(place, 200 + place) for place in range(12)}
    assert (found.kind, found.severity, found.number) == ("near-duplicates", "warning", 12)
    assert "12 pairs of pictures in different parts are nearly the same" in found.sentence


def test_copies_within_a_part_are_nobodys_concern():
    images = photographs(240, seed=2)
    images[50:60] = [encoded(picture) for picture in images[:10]]
    assert find_near_copies(source_of(images), halves(240), seed=0) == []


def test_exact_copies_are_left_to_those_who_look_for_them():
    images = photographs(240, seed=3)
    images[200:210] = images[:10]
    assert find_near_copies(source_of(images), halves(240), seed=0) == []


@pytest.mark.parametrize("seed", range(5))
def test_photographs_that_are_merely_alike_are_no_copies(seed):
    """A class of softly changed scenes: neighbours are near, and no pair is nearer than chance makes it."""
    images = photographs(300, seed=10 + seed)
    scene = images[0].astype(float)
    alike = np.clip(0.7 * scene + 0.3 * images.astype(float), 0, 255).astype(np.uint8)
    assert find_near_copies(source_of(alike), halves(300), seed=seed) == []


@pytest.mark.parametrize("seed", range(10))
def test_digits_which_are_very_much_alike_raise_no_alarm(seed):
    digits = read("digits")
    folds = cut_folds(digits, 5, seed=seed)
    assert find_near_copies(digits, dict(zip(folds.names, folds.valid, strict=True)), seed=seed) == []


def test_pictures_of_one_tone_are_not_compared():
    images = photographs(240, seed=4)
    images[:20] = images[200:220] = 128
    assert find_near_copies(source_of(images), halves(240), seed=0) == []


def test_a_few_pictures_and_tables_are_not_looked_at():
    images = photographs(20, seed=5)
    images[10:] = [encoded(picture) for picture in images[:10]]
    assert find_near_copies(source_of(images), halves(20), seed=0) == []
    assert find_near_copies(read("iris"), halves(150), seed=0) == []


def test_so_many_pictures_that_it_would_take_long_are_looked_at_in_part(monkeypatch):
    images = photographs(240, seed=6)
    images[120:180] = [encoded(picture) for picture in images[:60]]
    monkeypatch.setattr("tenfold.data.near_copies.MAX_PAIRS", 120 * 60)
    [found] = find_near_copies(source_of(images), halves(240), seed=0)
    assert "(60 of 120 pictures were held against those of other parts)" in found.sentence
    assert 15 < found.number < 45


def test_chunks_change_nothing(monkeypatch):
    images = photographs(240, seed=7)
    images[200:212] = [encoded(picture) for picture in images[:12]]
    [whole] = find_near_copies(source_of(images), halves(240), seed=0)
    monkeypatch.setattr("tenfold.data.near_copies.CHUNK_PAIRS", 1000)
    [cut] = find_near_copies(source_of(images), halves(240), seed=0)
    assert set(map(tuple, cut.rows.reshape(-1, 2))) == set(map(tuple, whole.rows.reshape(-1, 2)))


def test_picture_files_are_named(tmp_path):
    images = photographs(60, seed=8)
    images[50:55] = [brighter(picture) for picture in images[:5]]
    for place, picture in enumerate(images):
        (tmp_path / f"kind {place % 2}").mkdir(exist_ok=True)
        as_image(picture).save(tmp_path / f"kind {place % 2}" / f"{place:03d}.png")
    source = read(tmp_path)
    cut = split(source, seed=0)
    found = [one for one in examine(source, cut, seed=0) if one.kind == "near-duplicates"]
    owner = {row: name for name in ("train", "valid", "test") for row in getattr(cut, name).tolist()}
    number = {path: row for row, path in enumerate(source.inputs.paths)}
    planted = [
        (f"kind {a % 2}/{a:03d}.png", f"kind {b % 2}/{b:03d}.png")
        for a, b in zip(range(5), range(50, 55), strict=True)
    ]
    apart = {frozenset(pair) for pair in planted if owner[number[pair[0]]] != owner[number[pair[1]]]}
    names = found[0].names if found else ()
    assert {frozenset(names[place : place + 2]) for place in range(0, len(names), 2)} == apart


@pytest.mark.slow
def test_what_is_found_in_fashion_mnist_are_the_near_copies_that_it_holds(data_root):
    """Known to hold some: at most one picture in two hundred of the parts that are asked for."""
    source = read(data_root / "fashion-mnist")
    cut = split(source, seed=0)
    [found] = find_near_copies(source, {name: getattr(cut, name) for name in ("train", "valid", "test")}, seed=0)
    pairs = found.rows.reshape(-1, 2)
    assert 0 < len(pairs) < 0.005 * (len(cut.valid) + len(cut.test))
    same = source.targets[pairs[:, 0]] == source.targets[pairs[:, 1]]
    assert same.mean() > 0.9
