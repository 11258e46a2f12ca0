"""Runs on pictures and tables that lie in files: every record and weight, bit for bit, as from memory."""

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scenes import make_scenes

import tenfold
from tenfold.data import DataPart, TargetEncoder, fit_preprocessor, read
from tenfold.study.baselines import PreparedPictures

NO_CLOCK = {"seconds", "time", "at"}
VERBS = {
    "fit": lambda data, **options: tenfold.fit(data, network="lenet", trials=2, **options),
    "fit and average": lambda data, **options: tenfold.fit(
        data, network="lenet", trials=3, final="average", **options
    ),
    "refit": lambda data, **options: tenfold.fit(data, network="lenet", trials=2, final="refit", **options),
    "folds": lambda data, **options: tenfold.cross_validate("lenet", data, folds=2, final="best", **options),
    "seeds": lambda data, **options: tenfold.replicate("lenet", data, seeds=2, final="average", **options),
}


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Two classes of 24 pictures, large enough to be augmented, one brighter than the other."""
    root, rng = tmp_path_factory.mktemp("pictures") / "pets", np.random.default_rng(0)
    for label, least in (("cat", 0), ("dog", 90)):
        (root / label).mkdir(parents=True)
        for number in range(24):
            values = rng.integers(least, 166 + least, (100, 100, 3), dtype=np.uint8)
            Image.fromarray(values).save(root / label / f"{number}.png")
    return root


def records_of(run):
    lines = [json.loads(line) for line in (run.path / "records.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in NO_CLOCK} for line in lines]


def weights_of(run):
    return {path.name: load_file(path) for path in sorted((run.path / "best").rglob("*.safetensors"))}


def run_twice(verb, data, tmp_path, monkeypatch, **options):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    runs = []
    for limit in ("1e9", "0"):
        monkeypatch.setenv("TENFOLD_DATA_MEMORY", limit)
        own = {"epochs": 2, "form": "stacked", "threads": 1, "out": tmp_path / limit} | options
        runs.append(VERBS[verb](data, **own))
        assert os.listdir(scratch) == []
    return runs


def assert_runs_equal(in_memory, in_file):
    assert records_of(in_memory) == records_of(in_file)
    weights, others = weights_of(in_memory), weights_of(in_file)
    assert weights.keys() == others.keys()
    for name, tensors in weights.items():
        assert all(torch.equal(tensor, others[name][key]) for key, tensor in tensors.items())


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_from_a_file_is_the_run_from_memory(verb, pets, tmp_path, monkeypatch):
    in_memory, in_file = run_twice(verb, pets, tmp_path, monkeypatch)
    assert_runs_equal(in_memory, in_file)
    infos = [json.loads((run.path / "run.json").read_text()) for run in (in_memory, in_file)]
    notes = [[note for note in info["source"]["notes"] if "decoded to a file" in note] for info in infos]
    assert [len(found) for found in notes] == [0, 1]
    assert infos[0]["fingerprint"] == infos[1]["fingerprint"]  # so that either is resumed as the other
    assert in_memory.predict(pets).tolist() == in_file.predict(pets).tolist()


def test_baselines_look_at_pictures_as_networks_do(pets, monkeypatch):
    monkeypatch.setenv("TENFOLD_DATA_MEMORY", "0")
    source, rows = read(pets), np.arange(40)
    preprocessor = fit_preprocessor(source.inputs, rows)
    encoder = TargetEncoder.fit(source.targets, source.task, rows)
    pictures = PreparedPictures(preprocessor, DataPart.of(source, rows, preprocessor, encoder))
    mean, std = (np.array(values)[:, None, None] for values in (preprocessor.mean, preprocessor.std))
    height, width = preprocessor.format.stored
    top, left = (height - pictures.shape[2]) // 2, (width - pictures.shape[3]) // 2
    shown = source.inputs.pixels[:40, :, top : top + pictures.shape[2], left : left + pictures.shape[3]]
    expected = (shown / 255 - mean) / std
    assert len(pictures) == 40
    for chosen in (slice(None), slice(3, 9), np.array([39, 0])):
        np.testing.assert_allclose(pictures[chosen], expected[chosen], atol=1e-4)


def test_a_segmentation_from_a_file_is_that_from_memory(tmp_path, monkeypatch):
    scenes = make_scenes(tmp_path / "scenes", count=8, height=72, width=96)
    monkeypatch.setitem(VERBS, "unet", lambda data, **own: tenfold.fit(data, network="unet", trials=1, **own))
    assert_runs_equal(*run_twice("unet", scenes, tmp_path, monkeypatch, epochs=1, form="serial"))


@pytest.mark.parametrize("options", [{}, {"max_rows": 80}, {"folds": 2}])
def test_a_run_on_a_table_in_files_is_the_run_on_the_whole(tmp_path, monkeypatch, options):
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": rng.normal(size=200), "b": rng.integers(0, 9, 200), "c": rng.choice(["u", "v", None], 200)}
    )
    frame["answer"] = np.where(frame["a"] + frame["b"] / 9 > 0.5, "high", "low")
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=64)
    monkeypatch.setitem(VERBS, "mlp", lambda data, **own: tenfold.fit(data, network="mlp", trials=2, **own))
    in_memory, in_files = run_twice("mlp", tmp_path / "t.parquet", tmp_path, monkeypatch, **options)
    assert_runs_equal(in_memory, in_files)
    assert in_memory.predict(tmp_path / "t.parquet").tolist() == in_files.predict(tmp_path / "t.parquet").tolist()
