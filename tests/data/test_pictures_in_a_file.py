"""Pictures that do not fit into memory: decoded into a file, the same pixels, batches and findings as in memory."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import make_scenes

from tenfold.data import (
    Batches,
    DataPart,
    FoldBatches,
    FoldData,
    FoldMember,
    ImageFileInputs,
    TargetEncoder,
    cut_folds,
    examine,
    feature_part,
    fit_preprocessor,
    image_preprocessor,
    preprocessor_from_json,
    read,
    read_inputs,
    split,
)
from tenfold.data.image_preprocessor import stays
from tenfold.data.inputs import PictureFormat
from tenfold.data.scratch import is_in_file

SIZES = {"small": (20, 16), "augmented": (90, 80)}


@pytest.fixture
def memory(monkeypatch, tmp_path):
    """Says how many bytes data may take in memory."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return lambda num_bytes: monkeypatch.setenv("TENFOLD_DATA_MEMORY", str(num_bytes))


@pytest.fixture
def both(memory):
    """A source read into memory, and into a file."""

    def read_twice(folder, **options):
        sources = []
        for limit in (1 << 30, 0):
            memory(limit)
            sources.append(read(folder, **options))
        memory(1 << 30)  # or the first would be handled as if there were no room for a copy
        assert [is_in_file(source.inputs.pixels) for source in sources] == [False, True]
        return sources

    return read_twice


@pytest.fixture(params=SIZES)
def sources(request, both, class_folders):
    return both(class_folders({"cat": 20, "dog": 17}, size=SIZES[request.param]))


def prepared(source, rows):
    preprocessor = fit_preprocessor(source.inputs, rows)
    encoder = TargetEncoder.fit(source.targets, source.task, rows, codes=source.codes)
    return preprocessor, DataPart.of(source, rows, preprocessor, encoder)


def assert_batches_equal(batches, others):
    batches, others = list(batches), list(others)
    assert len(batches) == len(others) > 0
    for (inputs, targets), (other_inputs, other_targets) in zip(batches, others, strict=True):
        assert all(map(torch.equal, (*inputs, targets), (*other_inputs, other_targets)))


def test_the_pixels_are_those_of_the_files(both, class_folders):
    folder = class_folders({"a": 3, "b": 3})
    _, source = both(folder)
    expected = [np.asarray(Image.open(folder / path)).transpose(2, 0, 1) for path in source.inputs.paths]
    np.testing.assert_array_equal(source.inputs.pixels, np.stack(expected))
    assert any(note.startswith("pictures: 0.0 MiB decoded to a file in ") for note in source.notes)


def test_torn_pictures_are_skipped_and_the_others_keep_their_places(both, class_folders, write):
    folder = class_folders({"a": 4, "b": 4})
    torn = folder / "a" / "1.png"
    torn.write_bytes(torn.read_bytes()[:200])
    write("pets/a/2.png", b"")
    in_memory, in_file = both(folder)
    assert [entry.path for entry in in_file.skipped] == ["a/1.png", "a/2.png"]
    assert in_file.inputs.paths == in_memory.inputs.paths == ("a/0.png", "a/3.png", *(f"b/{n}.png" for n in range(4)))
    expected = [np.asarray(Image.open(folder / path)).transpose(2, 0, 1) for path in in_file.inputs.paths]
    np.testing.assert_array_equal(in_file.inputs.pixels, np.stack(expected))


def test_a_folder_without_a_readable_picture_is_refused_as_ever(memory, write):
    memory(0)
    write("pets/a/1.png", "x")
    with pytest.raises(ValueError, match=r"none of 2 files is a readable picture: a/1\.png is no picture"):
        read(write("pets/b/2.png", "x").parent.parent)


def test_a_part_holds_places_and_no_pixels(sources):
    for source, dims in zip(sources, (4, 1), strict=True):
        _, part = prepared(source, np.arange(3, 30))
        assert part.inputs[0].ndim == dims


def test_statistics_of_training_rows_are_the_same(sources, monkeypatch):
    monkeypatch.setattr(image_preprocessor, "_CHUNK_BYTES", 3000)
    rows = np.arange(0, 37, 2)
    in_memory, in_file = (fit_preprocessor(source.inputs, rows) for source in sources)
    assert in_memory.to_json() == in_file.to_json()
    pixels = sources[0].inputs.pixels[rows].astype(np.float64) / 255
    np.testing.assert_allclose(in_file.mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(in_file.std, pixels.std(axis=(0, 2, 3)), rtol=1e-9)


@pytest.mark.parametrize("workers", [0, 1])
def test_training_and_validation_batches_are_the_same_bits(sources, workers):
    rows = np.random.default_rng(0).permutation(37)[:30]
    made = []
    for source in sources:
        preprocessor, part = prepared(source, rows)
        made.append(Batches(part, preprocessor, batch_size=8, seed=3, augment=True, workers=workers))
    for epoch in (0, 1):
        assert_batches_equal(*(batches.epoch(epoch) for batches in made))
    assert_batches_equal(*(batches.ordered() for batches in made))
    assert_batches_equal(*(batches.ordered(5) for batches in made))


def test_parts_of_parts_are_the_same_bits(sources):
    made = []
    for source in sources:
        preprocessor, part = prepared(source, np.arange(5, 37))
        made.append(Batches(part.take(np.array([9, 1, 30, 4])), preprocessor, batch_size=2, seed=0, workers=0))
    assert_batches_equal(*(batches.epoch(0) for batches in made))


def test_batches_of_folds_are_the_same_bits(sources):
    made = []
    for source in sources:
        data = FoldData.of(source, cut_folds(source, 3, seed=0), workers=0)
        members = [FoldMember(fold=fold, order=seed, augment=seed) for fold in range(3) for seed in range(2)]
        made.append(FoldBatches(data, members, batch_size=7))
    for steps in ([batches.epoch(2) for batches in made], [batches.ordered(padded=True) for batches in made]):
        for step, other in zip(*steps, strict=True):
            for group, other_group in zip(step, other, strict=True):
                assert group.members.tolist() == other_group.members.tolist()
                assert all(
                    map(torch.equal, (*group.inputs, group.targets), (*other_group.inputs, other_group.targets))
                )


def test_features_of_a_frozen_prefix_are_the_same_bits(sources):
    features = []
    for source in sources:
        preprocessor, part = prepared(source, np.arange(37))
        own, _ = feature_part(part, preprocessor, lambda x: x.mean(dim=(2, 3)), vary=False)
        features.append(own.inputs[0])
    assert torch.equal(*features)


def test_the_look_at_the_data_finds_the_same(both, class_folders):
    folder = class_folders({"a": 60, "b": 60}, size=(72, 72))
    for number in range(30):
        (folder / "b" / f"copy{number}.png").write_bytes((folder / "a" / f"{number}.png").read_bytes())
    findings = [examine(source, split(source, seed=0), seed=0) for source in both(folder)]
    assert findings[0]
    for one, other in zip(*findings, strict=True):
        assert (one.sentence, one.rows.tolist(), one.names) == (other.sentence, other.rows.tolist(), other.names)


def test_pictures_with_masks_are_augmented_alike(both, tmp_path):
    made = []
    for source in both(make_scenes(tmp_path / "scenes", height=72, width=96)):
        preprocessor, part = prepared(source, np.arange(len(source)))
        assert preprocessor.moves_targets
        made.append(Batches(part, preprocessor, batch_size=4, seed=1, augment=True, workers=0))
    assert_batches_equal(*(batches.epoch(1) for batches in made))
    assert_batches_equal(*(batches.ordered() for batches in made))


def test_a_torn_mask_takes_its_picture_along(both, tmp_path):
    folder = make_scenes(tmp_path / "scenes")
    (folder / "masks" / "train1.png").write_bytes((folder / "masks" / "train1.png").read_bytes()[:80])
    in_memory, in_file = both(folder)
    assert [entry.path for entry in in_file.skipped] == ["masks/train1.png"]
    np.testing.assert_array_equal(in_memory.inputs.pixels, in_file.inputs.pixels)


def test_a_trained_model_predicts_on_more_pictures_than_fit(memory, class_folders):
    folder = class_folders({"a": 9, "b": 9}, size=(90, 80))
    memory(1 << 30)
    source = read(folder)
    preprocessor = preprocessor_from_json(fit_preprocessor(source.inputs, np.arange(18)).to_json())
    (expected,) = preprocessor.transform(source.inputs)
    memory(0)
    raw = read_inputs(folder, preprocessor)
    assert is_in_file(raw.inputs.pixels)
    for rows in (np.arange(18), np.array([7, 2])):
        (images,) = preprocessor.transform(raw.inputs.take(rows))
        assert torch.equal(images, expected[torch.from_numpy(rows)])


def test_pictures_in_a_file_are_not_sent_to_another_process(sources):
    in_memory, in_file = (fit_preprocessor(source.inputs, np.arange(37)) for source in sources)
    assert pickle.loads(pickle.dumps(in_memory)).to_json() == in_memory.to_json()
    in_memory = fit_preprocessor(sources[0].inputs, np.arange(37), stay=True)
    assert pickle.loads(pickle.dumps(in_memory)).to_json() == in_memory.to_json()
    with pytest.raises(TypeError, match="pictures that lie in a file stay with the process that decoded them"):
        pickle.dumps(in_file)


@pytest.mark.parametrize(
    ("device", "free", "expected"), [("cuda", 399, True), ("cuda", 400, False), ("cpu", 1, False)]
)
def test_pictures_that_would_fill_a_device_stay_in_memory(monkeypatch, device, free, expected):
    monkeypatch.setattr(image_preprocessor, "available_memory_bytes", lambda device: free)
    pixels = np.zeros((2, 1, 10, 10), np.uint8)
    inputs = ImageFileInputs(("a", "b"), pixels, PictureFormat(channels=1, height=10, width=10))
    assert stays(inputs, device) is expected


def test_pictures_without_room_for_a_copy_stay(monkeypatch):
    inputs = ImageFileInputs(
        ("a",), np.zeros((1, 1, 10, 10), np.uint8), PictureFormat(channels=1, height=10, width=10)
    )
    monkeypatch.setenv("TENFOLD_DATA_MEMORY", "100")
    assert not stays(inputs, "cpu")
    monkeypatch.setenv("TENFOLD_DATA_MEMORY", "99")
    assert stays(inputs, "cpu")


def test_pictures_that_stay_in_memory_give_the_same_batches(sources):
    source, _ = sources
    encoder = TargetEncoder.fit(source.targets, source.task, np.arange(37))
    made = []
    for stay in (False, True):
        preprocessor = fit_preprocessor(source.inputs, np.arange(37), stay=stay)
        part = DataPart.of(source, np.arange(37), preprocessor, encoder)
        assert part.inputs[0].ndim == (1 if stay else 4)
        made.append(Batches(part, preprocessor, batch_size=8, seed=3, augment=True, workers=0))
    assert_batches_equal(*(batches.epoch(0) for batches in made))


WATCHED = """
import os, sys, threading, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np, torch
torch.set_num_threads(1)
from tenfold.data import Batches, DataPart, TargetEncoder, examine, fit_preprocessor, read, split

def own_memory():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) << 10

def watch():
    while True:
        seen.append(own_memory())
        time.sleep(0.01)

seen = [own_memory()]
threading.Thread(target=watch, daemon=True).start()
source = read(sys.argv[1], image_size=224)
cut = split(source, seed=0)
examine(source, cut, seed=0)
preprocessor = fit_preprocessor(source.inputs, cut.train)
encoder = TargetEncoder.fit(source.targets, source.task, cut.train)
part = DataPart.of(source, cut.train, preprocessor, encoder)
batches = Batches(part, preprocessor, batch_size=32, seed=0, augment=True, workers=0)
first, count = next(batches.epoch(0)), sum(len(targets) for _, targets in batches.ordered())
print(tuple(first[0][0].shape), count, source.inputs.pixels.nbytes >> 20, max(seen) - seen[0] >> 20, sep=";")
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the system does not tell a process's own memory")
def test_reading_looking_and_training_take_less_memory_than_the_pixels(tmp_path):
    first = tmp_path / "pets" / "a" / "0.png"
    for label in "ab":
        (tmp_path / "pets" / label).mkdir(parents=True)
    Image.new("RGB", (64, 64), (10, 200, 30)).save(first)
    for number in range(1, 2000):
        os.link(first, tmp_path / "pets" / "ab"[number % 2] / f"{number}.png")
    settings = os.environ | {"TENFOLD_DATA_MEMORY": "1e6", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", WATCHED, str(tmp_path / "pets")]
    ended = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    shape, count, pixels, taken = ended.stdout.split(";")
    assert (shape, int(count), int(pixels)) == ("(32, 3, 224, 224)", 1200, 375)
    assert int(taken) < 280  # about 190, of which nothing grows with the pixels; in memory 750
    assert sorted(os.listdir(tmp_path)) == ["pets"]
